"""The content key of a run: everything that its numbers depend on, by name.

Two runs with one key are the same run: same parameters, same code of the notebook
and of every module it reaches, same data, same versions. The machine is no part of
it: what was run elsewhere, on a GPU for one, is a result here too, and it names its
device. The parts are kept in the run's record, so that the next plan can say what
changed.
"""

import hashlib
import json
import os
import platform
from importlib import metadata
from pathlib import Path

import lamb_keras
from lamb_keras.batch import BatchError, notebook
from lamb_keras.batch.reach import Package

# What computes the numbers; the rest only carries or draws them.
PACKAGES = ("jax", "jaxlib", "keras", "numpy")

# What else makes JAX and Keras compute other numbers, unseen in the code.
VARIABLES = (
    "JAX_ALLOW_F16_REDUCTIONS",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_DEFAULT_PRNG_IMPL",
    "JAX_DISABLE_JIT",
    "JAX_DISABLE_MOST_OPTIMIZATIONS",
    "JAX_ENABLE_X64",
    "JAX_NUMPY_DTYPE_PROMOTION",
    "JAX_OPTIMIZATION_LEVEL",
    "JAX_RANDOM_SEED_OFFSET",
    "JAX_THREEFRY_PARTITIONABLE",
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "LIBTPU_INIT_ARGS",
    "NVIDIA_TF32_OVERRIDE",
    "XLA_FLAGS",
)
# In the user's keras.json, with what Keras takes where there is none.
KERAS_DEFAULTS = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
}

LONGEST_VALUE = 40  # characters of a parameter's value, in a reason
MOST_FILES = 3  # by name, in a reason


class Keys:
    """The keys of a batch's runs, all of the same moment: files are read once.

    Example:
        >>> from lamb_keras.batch.plan import Project, plan
        >>> project = Project.find()
        >>> [run] = plan(project, "laptop", Path("outputs"), ["7"])
        >>> key = Keys(project).of(run)
        >>> "lamb_keras/schedules.py" in key["code"]
        True
        >>> key == Keys(project).of(run)
        True
    """

    def __init__(self, project):
        # A kernel works in the project's root, so that it finds a package there first.
        own = project.root / lamb_keras.__name__
        installed = Path(lamb_keras.__file__).parent
        self._package = Package(own if (own / "__init__.py").exists() else installed)
        self._project = project
        self._versions = {"python": ".".join(platform.python_version_tuple()[:2])} | {
            name: version for name in PACKAGES if (version := _version(name))
        }
        self._data = {}

    def of(self, run):
        """The parts of a `PlannedRun`'s key by name, with the key itself: "sha256"."""
        cells = notebook.code(run.notebook, self._project.name(run.notebook))
        try:
            reached = self._package.reached("\n".join(cells))
        except OSError as error:
            raise BatchError(
                f"{error.filename} cannot be read: {error.strerror}"
            ) from None
        parts = {
            "parameters": _hash(run.parameters),
            "notebook": _hash(cells),
            "code": dict(sorted(reached.items())),
            "data": self._fingerprints(run.parameters),
            "versions": self._versions,
            "settings": _settings(),
        }
        return {"sha256": _hash(parts), **parts}

    def _fingerprints(self, parameters):
        name = parameters.get("dataset")
        if not name:
            return {}
        if name not in self._data:
            from lamb_keras import data

            try:
                self._data[name] = data.fingerprint(name)
            except data.DataError as error:
                raise BatchError(str(error)) from error
        return {name: self._data[name]}


def confirmed(run, project):
    """The entries of a record that tell its key, if nothing changed since the plan.

    What was edited while the run went on may or may not be in its numbers: such a run
    has no key, and a note of what it was.
    """
    if run.key is None:
        return {"key": None}
    try:
        now = Keys(project).of(run)
    except BatchError:
        note = "its notebook, code or data could not be read when it ended"
        return {"key": None, "note": note}
    if now == run.key:
        return {"key": now}
    changed = "; ".join(differences(run.key, now))
    return {"key": None, "note": f"{changed} while it ran"}


def is_key(value):
    """Whether what a record holds is a key that nobody has tampered with.

    Example:
        >>> is_key({"sha256": "0" * 64, "code": {}}), is_key(None)
        (False, False)
    """
    if not isinstance(value, dict) or not {"parameters", "notebook"} <= value.keys():
        return False
    tables = ("code", "data", "versions", "settings")
    if not all(isinstance(value.get(name), dict) for name in tables):
        return False
    parts = {name: part for name, part in value.items() if name != "sha256"}
    return value.get("sha256") == _hash(parts)


def differences(was, now, parameters_were=None, parameters=None):
    """What makes two different keys different, in words.

    Args:
        was: a key of then.
        now: a key of today.
        parameters_were: the parameters of then, by name, as the record keeps them.
        parameters: those of today.
    """
    said = []
    if was["parameters"] != now["parameters"]:
        said += _parameters(parameters_were or {}, parameters or {}) or [
            "the parameters changed"
        ]
    if was["notebook"] != now["notebook"]:
        said.append("the notebook's code changed")
    before, after = was["versions"], now["versions"]
    for name in _changed(before, after):
        said.append(
            f"{name} {after.get(name, 'is gone')}, was {before.get(name, 'not there')}"
        )
    files = _changed(was["code"], now["code"])
    if before.get("python") != after.get("python"):
        # Another Python reads the same source as another tree.
        files = [name for name in files if not name.endswith(".py")]
    edited = [name for name in files if name in was["code"] and name in now["code"]]
    if edited:
        said.append(f"{_listed(edited)} changed")
    if was["data"] != now["data"] and was["data"].keys() == now["data"].keys():
        said.append("the data set changed")
    for name in _changed(was["settings"], now["settings"]):
        said.append(f"the setting {name} changed")
    # What is reached now, or no more, is so because of something above; or else:
    return said or [f"{_listed(files)} came or went"]


def _parameters(were, are):
    said = []
    for name in _changed(were, are):
        if name not in were or name not in are:
            said.append(f"parameter {name} is {'new' if name in are else 'gone'}")
            continue
        value, before = _shown(are[name]), _shown(were[name])
        told = f"is {value}, was {before}" if value != before else "changed"
        said.append(f"parameter {name} {told}")
    return said


def _listed(names):
    """The names as part of a sentence, the first of them if there are many.

    Example:
        >>> _listed(["a.py", "b.py"]), _listed(["a.py", "b.py", "c.py", "d.py", "e.py"])
        ('a.py and b.py', 'a.py, b.py, c.py and 2 more')
    """
    shown, more = names[:MOST_FILES], len(names) - MOST_FILES
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def _changed(was, now):
    return [
        name
        for name in dict.fromkeys([*now, *was])
        if name not in was or name not in now or _hash(was[name]) != _hash(now[name])
    ]


def _shown(value):
    text = json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _settings():
    """What is set that changes numbers, by name; hashed, for a path may be in it."""
    found = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    home = os.environ.get("KERAS_HOME") or Path("~", ".keras")
    try:
        chosen = json.loads(Path(home, "keras.json").expanduser().read_bytes())
        for name, default in KERAS_DEFAULTS.items():
            if chosen.get(name, default) != default:
                found[f"{name} in keras.json"] = chosen[name]
    except (OSError, ValueError, AttributeError, RuntimeError):
        # Not there, or nothing that Keras itself could start with.
        pass
    return {name: _hash(value) for name, value in found.items()}


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _hash(value):
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
