"""From tables, a scale and settings to the runs of a batch, checked before any starts.

A run's parameters are laid over one another: the notebook's own defaults, what the
paper did (`params/tables/`), how this scale shrinks it (`params/scales/`, a file for
each notebook and maybe one for the table), and what was set on the command line. Plain
Papermill does the same with an `-f` option for each file.
"""

import contextlib
import difflib
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lamb_keras import experiments, own
from lamb_keras.batch import BatchError, brought, notebook, yaml_files
from lamb_keras.experiments.schema import PAPERS_TABLES

# What chooses a run can't also be set in it.
CHOSEN_BY = {"table": "--tables", "scale": "--scale", "notebook": "--tables"}
# What makes a folder a project.
PARTS = ("notebooks", "params")
SECONDS_TRIALS_ARE_KEPT = 30 * 24 * 60 * 60


@dataclass(frozen=True)
class Project:
    """The folder that holds `notebooks/` and `params/`."""

    root: Path

    @classmethod
    def find(cls, root=None):
        """The project at `root`.

        By default that is the folder we are in, or the nearest one above it that is a
        project; else the one that this package is a checkout of.
        """
        if root is None:
            above = [Path.cwd(), *Path.cwd().parents, Path(__file__).parents[2]]
            found = [folder for folder in above if not cls._missing(folder)]
            if not found:
                raise BatchError(
                    f"neither {above[0]} nor a folder above it has notebooks/ and "
                    "params/; lamb-keras new FOLDER lays them out, --project names "
                    "a folder that has them"
                )
            return cls(found[0])
        root = Path(root).absolute()
        for folder in cls._missing(root):
            raise BatchError(
                f"{root} has no folder {folder}/, so it is no project: expected one "
                f"with {' and '.join(f'{part}/' for part in PARTS)}"
            )
        return cls(root)

    @classmethod
    def lay_out(cls, root):
        """A project in a folder, empty or not there yet: copies of the package's own.

        In the wheel these are in a folder of the package, in a checkout beside it.
        """
        root = Path(root).absolute()
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise BatchError(f"{root} is there already; expected a new or empty folder")
        check_output([root])
        package = Path(__file__).parents[1]
        in_wheel = package / "project"
        source = in_wheel if in_wheel.is_dir() else package.parent
        # As in the wheel; the last needs benchmarks/.
        ignored = shutil.ignore_patterns(".*", "update.ipynb")
        for part in PARTS:
            shutil.copytree(source / part, root / part, ignore=ignored)
        return cls(root)

    @staticmethod
    def _missing(root):
        return [folder for folder in PARTS if not (root / folder).is_dir()]

    def name(self, path):
        """A file of the project as people call it: by its path from the root."""
        return path.relative_to(self.root).as_posix()

    def notebook(self, name):
        return self.root / "notebooks" / f"{name}.ipynb"

    def table_file(self, table):
        return self.root / "params" / "tables" / f"table{table:02d}.yaml"

    def scale_file(self, scale, name):
        return self.root / "params" / "scales" / scale / f"{name}.yaml"

    def scales(self):
        """The names of the scales that there are."""
        folder = self.root / "params" / "scales"
        return sorted(path.name for path in folder.glob("*/"))

    def tables(self):
        """The numbers of the tables that have an experiment."""
        files = (self.root / "params" / "tables").glob("table[0-9][0-9].yaml")
        return sorted(int(path.stem.removeprefix("table")) for path in files)


@dataclass(frozen=True)
class PlannedRun:
    """One execution of a notebook that is to be, with every parameter of it."""

    table: int
    scale: str
    notebook: Path  # the file
    folder: Path  # where the executed notebook and its record go
    parameters: dict  # all of them, the notebook's defaults included
    overrides: dict  # those set on the command line
    key: dict | None = None  # what its numbers depend on (`cache.Keys`), once known

    @property
    def name(self):
        return f"{self.folder.name}/{self.notebook.stem}"

    def file(self, ending):
        """A file of this run beside its executed notebook, such as "failed.json"."""
        return self.folder / f"{self.notebook.stem}.{ending}"

    @property
    def trials_folder(self):
        """Where its finished trials are kept until it has succeeded, or None.

        It is named by the content key, so that trials of other code, data or parameters
        are never taken for its own; a run without a key has none.
        """
        return self.key and self._all_trials / self.key["sha256"][:16]

    @property
    def kept(self):
        """How many trainings of its are finished and kept."""
        return len(list(self.trials_folder.glob("*.json"))) if self.key else 0

    @property
    def part_left(self):
        """The part of its trials that is not kept."""
        a_training = len(self.parameters.get("finetuning_seeds") or [None])
        trials = experiments.count_trials(self.parameters)
        return max(0.0, 1 - self.kept * a_training / trials)

    @property
    def _all_trials(self):
        return self.folder / f".{self.notebook.stem}.trials"

    def forget_trials(self):
        """Removes its trials, and of other keys those that nobody came back to."""
        if self.key is not None:
            shutil.rmtree(self.trials_folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            # There may be others, or never have been any.
            for path in self._all_trials.iterdir():
                if time.time() - path.stat().st_mtime > SECONDS_TRIALS_ARE_KEPT:
                    shutil.rmtree(path, ignore_errors=True)
            self._all_trials.rmdir()


def plan(project, scale, output, tables=None, settings=(), solvers=(), dataset=None):
    """The runs that fill tables at a scale, whose outputs go to a folder in `output`.

    `tables` is what `--tables` was given, None for every table with an experiment;
    `settings` is what each `--set` was given, `solvers` what each `--solver`, `dataset`
    what `--dataset` was.

    Example:
        >>> from pathlib import Path
        >>> [run] = plan(Project.find(), "laptop", Path("outputs"), ["7"], ["epochs=3"])
        >>> run.name, run.parameters["epochs"], run.parameters["batch_size"]
        ('table07/lenet_mnist', 3, 1024)
    """
    check_scale(project, scale)
    known = project.tables()
    numbers = known if tables is None else parse_tables(tables, known)
    overrides = {}
    for name, value in map(yaml_files.read_setting, settings):
        if name in CHOSEN_BY:
            raise BatchError(f"--set {name}: the {name} is chosen by {CHOSEN_BY[name]}")
        if name in overrides:
            raise BatchError(f"--set {name} is there twice, expected one value")
        overrides[name] = value
    added = {}
    for place in (brought.inside(project, "--solver", each) for each in solvers):
        name = own.name(place)
        if added.setdefault(name, place) != place:
            raise BatchError(f"--solver: two are called {name}; rename a function")
    if dataset is not None:
        is_place = own.is_place(dataset)
        overrides["dataset"] = (
            brought.inside(project, "--dataset", dataset) if is_place else dataset
        )
    folder = Path(output).absolute() / scale
    return [_run(project, scale, n, folder, overrides, added) for n in numbers]


def experiment(project, table):
    """What `params/tables/` says of a table, its notebook included."""
    path = project.table_file(table)
    if not path.exists():
        known = ", ".join(map(str, project.tables())) or "none"
        raise BatchError(
            f"table {table} has no experiment yet; tables that have one: {known}"
        )
    name = project.name(path)
    paper = yaml_files.read_file(path, name)
    if paper.get("table") != table:
        raise BatchError(f"{name}: expected table: {table}, as the file's name says")
    if not isinstance(paper.get("notebook"), str):
        raise BatchError(f"{name}: expected notebook: and the name of one")
    return paper


def _run(project, scale, table, folder, overrides, solvers):
    paper = experiment(project, table)
    table_name = project.name(project.table_file(table))
    # Checked first, so that the name is no path to somewhere else.
    experiments.validate(
        {"notebook": paper["notebook"], "table": table},
        source={"notebook": table_name, "table": table_name},
    )
    path = project.notebook(paper["notebook"])
    defaults = notebook.defaults(path, project.name(path))
    layers = {
        project.name(path): defaults,
        table_name: paper,
        **_scale_layers(project, scale, table, path.stem),
        "--set": overrides,
    }
    merged, source = {}, {}
    for where, layer in layers.items():
        merged |= layer
        source |= dict.fromkeys(layer, where)
    if solvers:
        overrides = overrides | {
            "own_solvers": (merged.get("own_solvers") or {}) | solvers
        }
        merged, source = merged | overrides, source | {"own_solvers": "--solver"}
    if isinstance(rows := merged.get("own_solvers"), dict):
        merged["own_solvers"] = {
            each: brought.solver(place, project.root) if own.is_place(place) else place
            for each, place in rows.items()
        }
    return PlannedRun(
        table=table,
        scale=scale,
        notebook=path,
        folder=folder / f"table{table:02d}",
        parameters=experiments.validate(merged, known=defaults, source=source),
        overrides=overrides,
    )


def _scale_layers(project, scale, table, name):
    """What a scale says of a table: the parameters in each of its files, by file."""
    path = project.scale_file(scale, name)
    smaller = yaml_files.read_file(path, project.name(path))
    if smaller.get("scale") != scale:
        raise BatchError(
            f"{project.name(path)}: expected scale: {scale}, as its folder says"
        )
    layers = {project.name(path): smaller}
    # What the table needs besides its notebook's file; few have it.
    path = project.scale_file(scale, f"table{table:02d}")
    if path.exists():
        layers[project.name(path)] = yaml_files.read_file(path, project.name(path))
    chosen = {"notebook": name, "table": table, "scale": scale}
    for where, layer in layers.items():
        for each, value in chosen.items():
            if layer.get(each, value) != value:
                raise BatchError(f"{where}: expected {each}: {value}, or none at all")
    return layers


def parse_tables(texts, own=()):
    """The table numbers in what `--tables` was given, in order, each once.

    They are of the paper's tables, or of the project's `own`.

    Example:
        >>> parse_tables(["7", "13-15,3"])
        [3, 7, 13, 14, 15]
    """
    numbers = set()
    for text in ",".join(texts).split(","):
        first, dash, last = text.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise BatchError(
                f"--tables {text!r} is not the number of a table, such as 7 or 13-20"
            )
        chosen = range(int(first), int(last or first) + 1)
        for number in (int(first), int(last or first)):
            if not 1 <= number <= PAPERS_TABLES and number not in own:
                raise BatchError(
                    f"table {number}: the paper has tables 1 to {PAPERS_TABLES}"
                )
        if not chosen:
            raise BatchError(f"--tables {text!r} ends before it begins")
        numbers.update(chosen)
    return sorted(numbers)


def check_scale(project, scale):
    """Raises `BatchError` for a scale that there isn't."""
    scales = project.scales()
    if scale not in scales:
        nearest = difflib.get_close_matches(scale, scales, n=1)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        raise BatchError(
            f"unknown scale {scale!r}; {hint}there are: {', '.join(scales)}"
        )


def check_data(runs):
    """Raises `BatchError` where a data set that these runs train on is damaged."""
    from lamb_keras import data

    distinct = {}  # by what of the parameters decides which data are read
    for run in runs:
        if dataset := run.parameters.get("dataset"):
            chosen = [run.parameters.get(name) for name in data.options(dataset)]
            distinct[dataset, str(chosen)] = run
    for (dataset, _), run in sorted(distinct.items()):
        brought.asked("check", run.notebook.parents[1], dataset, run.parameters)


def check_output(folders):
    """Raises `BatchError` where outputs could not be written to these folders.

    Nothing is left behind: where a folder is still to be made, the one above is tried.
    A file is really written, since permissions alone don't tell: root may do anything,
    except on a read-only or a virtual file system.
    """
    for folder in sorted(set(folders)):
        while not folder.exists() and not folder.is_symlink():
            folder = folder.parent
        if not folder.is_dir():
            raise BatchError(f"the output folder cannot be made: {folder} is a file")
        try:
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"?")
        except OSError as error:
            reason = error.strerror or error
            raise BatchError(
                f"the output folder {folder} cannot be written to: {reason}"
            ) from None
