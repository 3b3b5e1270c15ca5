"""What of a plan is already done, and why anything else is to be done.

A run is done if the outputs hold a finished run of the same content key: everything
that its numbers depend on, by name. That is its parameters, the code of its notebook
and of every module it reaches, its data and the versions of what computes. The machine
is no part of it: what was run elsewhere is a result here too, and names its device. The
parts are kept in the run's record, so that the next plan can say what changed.
"""

import hashlib
import json
import os
import platform
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import lamb_keras
from lamb_keras import own
from lamb_keras.batch import BatchError, brought, notebook, outcome
from lamb_keras.batch.imports import Package
from lamb_keras.batch.plan import PlannedRun
from lamb_keras.store import record, scraps

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
LONGEST_REASON = 80  # characters of why an attempt failed
MOST_FILES = 3  # by name, in a reason


@dataclass(frozen=True)
class Decision:
    """Whether a run is to be executed."""

    run: PlannedRun  # with its key
    reason: str | None  # why it is to be executed; None if it is already done
    started: str = ""  # when the one that is done was started, in ISO 8601
    again: bool = True  # whether there was an attempt before

    @property
    def done(self):
        return self.reason is None


def decide(runs, project, again=False):
    """A `Decision` for each of the `PlannedRun`s; reads, and touches nothing.

    With `again`, what is already done is to be executed, too.
    """
    keys = Keys(project)
    return [_decide(replace(run, key=keys.of(run)), again) for run in runs]


class Keys:
    """The keys of a batch's runs, all of the same moment: files are read once."""

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
        root, code, versions = self._project.root, {}, {}
        try:
            for place in own.places(run.parameters):
                code |= own.files(place, root)
                versions |= own.versions(place, root)
            code |= self._package.reached("\n".join(cells))
        except own.OwnError as error:
            raise BatchError(str(error)) from None
        except OSError as error:
            reason = f"{error.filename} cannot be read: {error.strerror}"
            raise BatchError(reason) from None
        parts = {
            "parameters": run.parameters,
            "notebook": digest(cells),
            "code": dict(sorted(code.items())),
            "data": self._fingerprint(run.parameters),
            "versions": versions | self._versions,
            "settings": _settings(),
        }
        return {"sha256": digest(parts), **parts}

    def _fingerprint(self, parameters):
        if not (name := parameters.get("dataset")):
            return {}
        of = name, parameters.get("vocabulary")
        if of not in self._data:
            root = self._project.root
            asked = brought.asked("fingerprint", root, name, parameters)
            self._data[of] = asked
        return {name: self._data[of]}


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


def differences(was, now):
    """What makes two different keys different, a phrase each."""
    said = []
    for name, before, after in _changed(was["parameters"], now["parameters"]):
        change = "changed"
        if before is None or after is None:
            change = f"is {'gone' if after is None else 'new'}"
        elif before != after:
            change = f"is {after}, was {before}"
        said.append(f"parameter {name} {change}")
    if was["notebook"] != now["notebook"]:
        said.append("the notebook's code changed")
    before, after = was["versions"], now["versions"]
    for name, *_ in _changed(before, after):
        said.append(
            f"{name} {after.get(name, 'is gone')}, was {before.get(name, 'not there')}"
        )
    files = [name for name, *_ in _changed(was["code"], now["code"])]
    if before.get("python") != after.get("python"):
        # Another Python reads the same source as another tree.
        files = [name for name in files if not name.endswith(".py")]
    edited = [name for name in files if name in was["code"] and name in now["code"]]
    if edited:
        said.append(f"{_listed(edited)} changed")
    if was["data"] != now["data"] and was["data"].keys() == now["data"].keys():
        said.append("the data set changed")
    for name, *_ in _changed(was["settings"], now["settings"]):
        said.append(f"the setting {name} changed")
    # What is reached now, or no more, is so because of something above; or else:
    return said or [f"{_listed(files)} came or went"]


def _decide(run, again):
    success, failure = (record.read(run.file(end)) for end in ("json", "failed.json"))
    if success is None and failure is None:
        if run.file("ipynb").exists():
            return Decision(run, "its record is missing")
        return Decision(run, "never run", again=False)
    started = success.get("started", "") if success else ""
    reason = _failed_since(run, started, failure, success) or _no_result(run, success)
    if reason is None and again:
        reason = "asked for with --again"
    return Decision(run, reason, started)


def _failed_since(run, started, failure, success):
    """That an attempt failed after the last success, unless at something else."""
    if not failure or failure.get("started", "") <= started:
        return None
    kept = failure.get("key")
    if success and _is_key(kept) and kept != run.key:
        # Such as a --set that was a mistake: nothing against the result before it.
        return None
    reason = outcome.one_line(failure.get("reason"), LONGEST_REASON)
    return f"the last attempt failed: {reason}"


def _no_result(run, success):
    """Why what is there is no result of the planned run, or None."""
    if not success or success.get("status") != "succeeded":
        return "its record is damaged"
    if not run.file("ipynb").exists():
        return "its notebook is missing"
    try:
        finished = scraps.read(run.file("ipynb")).get("finished") is True
    except Exception:  # whatever is wrong with the file, it is no result
        finished = False
    if not finished:
        return "its notebook is damaged"
    kept = success.get("key")
    if kept is None:
        return success.get("note") or "its record has no content key"
    if not _is_key(kept):
        return "its record's key cannot be compared"
    if kept == run.key:
        return None
    return "; ".join(differences(kept, run.key))


def _is_key(value):
    """Whether what a record holds is a key that nobody has tampered with."""
    if not isinstance(value, dict):
        return False
    parts = {name: part for name, part in value.items() if name != "sha256"}
    tables = ("parameters", "code", "data", "versions", "settings")
    return value.get("sha256") == digest(parts) and all(
        isinstance(value.get(name), dict) for name in tables
    )


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
    """(name, value before, value now) of what differs, None where there is none."""
    return [
        (name, *(_shown(each[name]) if name in each else None for each in (was, now)))
        for name in dict.fromkeys([*now, *was])
        if name not in was or name not in now or digest(was[name]) != digest(now[name])
    ]


def _shown(value):
    return outcome.one_line(json.dumps(value), LONGEST_VALUE)


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
    return {name: digest(value) for name, value in found.items()}


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def digest(value) -> str:
    """The SHA-256 of a value that JSON can hold."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
