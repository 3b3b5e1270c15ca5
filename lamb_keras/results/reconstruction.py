"""The paper's tables rebuilt: every published cell with what our runs say of it."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lamb_keras.results import best_of, paper, statistics
from lamb_keras.results.runs import Run
from lamb_keras.store import atomic

STATUSES = ("run", "diverged", "failed", "not run")
CSV_COLUMNS = (
    "table",
    "row",
    "column",
    "published",
    "ours",
    "spread",
    "n",
    "status",
    "dataset",
    "run",
)


@dataclass(frozen=True)
class Result:
    """One cell: what the paper published, and ours beside it.

    Attributes:
        published: a number, or text where the paper printed text; None for a row of
            ours that the paper does not have.
        ours: the mean over `n` seeds, or text; None where nothing was measured.
        spread: the sample standard deviation over the seeds; None for one seed.
        status: "run", "diverged", "failed" or "not run".
        extra: whether version 3 of the paper alone prints this row.
        chosen: the setting chosen on held-out data.
        settings_tried: how many settings were compared to choose it; 1 for a row that
            is one setting.
        settings: of a row that is one setting, how many such rows its run has.
        trials: how many trials that took, `diverged` of which diverged.
    """

    table: int
    row: str
    column: str
    published: float | str | None
    ours: float | str | None = None
    spread: float | None = None
    n: int | None = None
    status: str = "not run"
    dataset: str | None = None
    run: str | None = None
    extra: bool = False
    chosen: dict = field(default_factory=dict)
    settings_tried: int | None = None
    settings: int | None = None
    trials: int | None = None
    diverged: int | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus published, where both are numbers."""
        return paper.difference(self.ours, self.published)


def reconstruct(runs: Iterable[Run]) -> list[Result]:
    """Every published cell of the 25 tables, in the paper's order, with our result.

    A cell that several runs fill takes it from the run of its own table, else from
    the latest. A cell of a table whose run failed is "failed"; of one that no run
    filled, "not run". Cells that are the best of other tables come from the runs of
    these, and from nowhere else (`best_of`).

    Example:
        >>> reconstruct([])[0].status
        'not run'
    """
    runs = list(runs)
    filled, derived = _filled(runs), best_of.derived(runs)
    failed = {run.table: run for run in runs if not run.succeeded}
    results = []
    for cell in paper.cells():
        known, place = dict(cell._asdict()), cell[:3]
        if place in derived:
            known |= _known(derived[place]) if derived[place] else {}
        elif place in filled:
            known |= filled[place]
        elif cell.table in failed:
            known |= {"status": "failed", "run": failed[cell.table].name}
        results.append(Result(**known))
    return results


def unpublished(runs: Iterable[Run]) -> list[Result]:
    """Results of ours that the paper has no cell for: a solver added by hand, say.

    Example:
        >>> unpublished([])
        []
    """
    published = {cell[:3] for cell in paper.cells()}
    return [
        Result(*place, published=None, **known)
        for place, known in _filled(runs).items()
        if place not in published
    ]


def of_trials(table: paper.Table, trials: Sequence[dict], run: Run) -> list[Result]:
    """The published cells of a table as these trials of a run alone would fill them.

    Example:
        >>> trial = {"solver": "adam", "learning_rate": 0.001, "outcome": "finished",
        ...          "seed": 0, "test_accuracy": 0.8}
        >>> run = Run("table11/a", Path("a.ipynb"), "succeeded", "a", 11, "laptop")
        >>> (result,) = of_trials(paper.tables()[11], [trial], run)
        >>> result.published, result.ours
        (0.6604, 0.8)
    """
    made = {
        (cell["table"], cell["row"], cell["column"]): cell | {"run": run.name}
        for cell in statistics.cells(trials, table.number)
    }
    return [
        Result(**cell._asdict() | _known(made[cell[:3]]))
        for cell in table.cells()
        if cell[:3] in made
    ]


def table_status(results: Sequence[Result]) -> str:
    """What became of a table as a whole, from its cells.

    "run" if every cell was run or diverged, "partly run" if some were.

    Example:
        >>> table_status([Result(7, "lamb", "test_accuracy", 0.9945)])
        'not run'
    """
    counts = Counter(result.status for result in results)
    done = counts["run"] + counts["diverged"]
    if done:
        return "run" if done == len(results) else "partly run"
    return "failed" if counts["failed"] else "not run"


def by_table(results: Iterable[Result]) -> dict[int, list[Result]]:
    """The results of each table, tables and cells in the paper's order.

    Example:
        >>> list(by_table(reconstruct([])))[:3]
        [1, 2, 3]
    """
    tables = {}
    for result in results:
        tables.setdefault(result.table, []).append(result)
    return tables


def write_csv(results: Iterable[Result], path: Path) -> Path:
    """Writes one line a cell to `path`, whole or not at all.

    Numbers are written so that they read back equal; what is not known is empty.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "results.csv"
        >>> print(write_csv(reconstruct([])[:1], path).read_text().strip())
        table,row,column,published,ours,spread,n,status,dataset,run
        1,"Baseline, 512",f1_dev,90.395,,,,not run,,
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for result in results:
        writer.writerow(getattr(result, column) for column in CSV_COLUMNS)
    return atomic.write(path, text.getvalue())


def _filled(runs):
    """What the succeeded runs say of each cell, by (table, row, column)."""
    filled = {}
    succeeded = [run for run in runs if run.succeeded]
    for run in sorted(succeeded, key=lambda run: run.started):
        for cell in run.scraps.get("cells", []):
            place = (cell["table"], cell["row"], cell["column"])
            _check_status(cell, run)
            own = run.table == cell["table"]
            if own or place not in filled or not filled[place][0]:
                made_by = {"run": run.name, "dataset": run.dataset.get("name")}
                filled[place] = (own, _known(cell | made_by))
    return {place: known for place, (_, known) in filled.items()}


def _known(cell):
    copied = {name: cell[name] for name in _COPIED if name in cell}
    return {"ours": cell["value"], **copied}


_COPIED = (
    "status",
    "dataset",
    "run",
    "spread",
    "n",
    "chosen",
    "settings_tried",
    "settings",
    "trials",
    "diverged",
)


def _check_status(cell, run):
    if cell["status"] not in STATUSES:
        raise ValueError(
            f"{run.name} gives table {cell['table']}, row {cell['row']!r} the status "
            f"{cell['status']!r}; it must be one of {', '.join(STATUSES)}."
        )
