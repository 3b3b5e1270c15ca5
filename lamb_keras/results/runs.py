"""The runs of a scale as they lie on disk: what each one was, and what it left.

A run is believed only if its record says it succeeded and its notebook agrees: every
cell free of errors and the last scrap, "finished", in place. Papermill's own metadata
is not consulted, for a killed kernel looks completed there.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from lamb_keras.results import paper
from lamb_keras.store import record, scraps
from lamb_keras.store.scraps import Picture

# What a record says of its run.
RECORDED = (
    *("notebook", "table", "scale", "parameters", "overrides"),
    *("started", "seconds", "commit"),
)


@dataclass(frozen=True)
class Run:
    """One run: its record, and the scraps of its notebook if it succeeded."""

    name: str  # folder and notebook, "table07/lenet_mnist"
    path: Path  # the executed notebook, of a failed run as far as it came
    status: str  # "succeeded" or "failed"
    notebook: str
    table: int
    scale: str
    reason: str | None = None  # of a failed run, why, in one line
    parameters: dict = field(default_factory=dict)
    overrides: dict = field(default_factory=dict)  # what was set by hand
    started: str = ""
    seconds: float | None = None
    commit: str | None = None
    scraps: dict = field(default_factory=dict)  # by name; empty for a failed run
    later_failure: "Run | None" = None  # a later attempt that failed

    @property
    def succeeded(self) -> bool:
        return self.status == "succeeded"

    @property
    def trials(self) -> list[dict]:
        return self.scraps.get("trials", [])

    @property
    def dataset(self) -> dict:
        """What the run trained on, as it says itself."""
        return self.scraps.get("dataset", {})

    @property
    def stands_in_for(self) -> str | None:
        """The paper's data set if another one, or a part of it, was in its place.

        A data set knows what it usually stands for; of which experiment it is the data
        here, the run knows.
        """
        experiment = paper.experiments().get(self.notebook)
        # As parameters write names: "CIFAR-10" is "cifar10".
        used = str(self.dataset.get("name") or "").lower().replace("-", "")
        if used and experiment:
            own = experiment.data.lower().replace("-", ""), *experiment.datasets
            if used not in own:
                return experiment.data
        return self.dataset.get("stands_in_for")

    def pictures(self) -> dict[str, Picture]:
        """The figures of the run's notebook by name."""
        return scraps.pictures(self.path) if self.succeeded else {}


def folder(outputs: str | Path, scale: str) -> Path:
    """The folder of a scale's runs; a relative `outputs` counts from the project.

    The project is looked for upward from the working folder, so that the summary finds
    the runs from whatever folder it is opened in.
    """
    here = Path.cwd()
    around = (each for each in (here, *here.parents) if (each / "params").is_dir())
    return next(around, Path(__file__).parents[2]) / outputs / scale


def read(folder: Path) -> list[Run]:
    """The runs in `folder` (that is `outputs/<scale>`), by table; one entry a run.

    Where an attempt succeeded, that is the run, and a later failure is noted on it;
    where none did, the last failure is. Notebooks without a record are no runs, nor
    is anything that is still being written.
    """
    runs = {}
    # Of a run, "x.failed.json" comes before "x.json".
    for path in sorted(folder.glob("table*/[!.]*.json")):
        run = _read_attempt(path, scale=folder.name)
        failure = runs.get(run.name)
        if failure and failure.started > run.started:
            run = replace(run, later_failure=failure) if run.succeeded else failure
        runs[run.name] = run
    return sorted(runs.values(), key=lambda run: (run.table, run.name))


def _read_attempt(path, scale):
    stem = path.stem.removesuffix(".failed")
    told = record.read(path) or {}
    known = {
        "name": f"{path.parent.name}/{stem}",
        "path": path.with_suffix(".ipynb"),
        "notebook": stem,
        "table": int("".join(filter(str.isdigit, path.parent.name)) or 0),
        "scale": scale,
    } | {name: told[name] for name in RECORDED if name in told}

    def failed(reason):
        return Run(**known, status="failed", reason=reason)

    if stem != path.stem or told.get("status") != "succeeded":
        damaged = f"its record {path.name} cannot be read; run it again."
        return failed(told.get("reason") or damaged)
    try:
        left = scraps.read(known["path"])
    except Exception as error:  # whatever is wrong with the file, it is no result
        name = known["path"].name
        return failed(f"its notebook {name} cannot be read ({error}); run it again.")
    if left.get("finished") is not True:
        return failed("its notebook did not come to its end; run it again.")
    return Run(**known, status="succeeded", scraps=left)
