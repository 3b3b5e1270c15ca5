"""The paper's tables rebuilt: every published cell with what our runs say of it."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from lamb_keras.results import best_of, paper
from lamb_keras.results.runs import Run
from lamb_keras.store import atomic

STATUSES = ("run", "diverged", "failed", "not run")
CSV_COLUMNS = (
    *("table", "row", "column", "published", "ours", "spread", "n"),
    *("status", "dataset", "run", "commit", "date"),
)


@dataclass(frozen=True)
class Result:
    """One cell: what the paper published, and ours beside it.

    Attributes:
        published: a number, or text where the paper printed text; None for a row of
            ours that the paper does not have.
        ours: the mean over `n` seeds, or text; None where nothing was measured.
        spread: the sample standard deviation over the seeds; None for one seed.
        status: one of `STATUSES`.
        extra: whether version 3 of the paper alone prints this row.
        chosen: the setting chosen on held-out data.
        settings_tried: how many settings were compared to choose it; 1 for a row that
            is one setting.
        settings: of a row that is one setting, how many such rows its run has.
        trials: how many trials that took, `diverged` of which diverged.
        commit: of the code of its run, which began at `date`.
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
    commit: str | None = None
    date: str | None = None

    @property
    def done(self) -> bool:
        return self.status in ("run", "diverged")

    @property
    def difference(self) -> float | None:
        """Ours minus published, where both are numbers."""
        both = self.ours, self.published
        if all(isinstance(value, float | int) for value in both):
            return self.ours - self.published
        return None


def reconstruct(runs: Iterable[Run]) -> list[Result]:
    """Every cell of the 25 tables, in the paper's order, with our result.

    A cell that several runs fill takes it from the run of its own table, else from
    the latest. A cell of a table whose run failed is "failed"; of one that no run
    filled, "not run". Cells that are the best of other tables come from the runs of
    these, and from nowhere else (`best_of`). Cells that the paper does not have, of a
    solver added by hand, say, follow those of their table.

    Example:
        >>> reconstruct([])[0].status
        'not run'
    """
    runs = list(runs)
    measured = _measured(runs)
    for place, cell in best_of.derived(runs).items():
        measured[place] = _ours(cell) if cell else {}
    failed = {
        run.table: {"status": "failed", "run": run.name}
        for run in runs
        if not run.succeeded
    }
    for ours in measured.values():
        run = next((run for run in runs if run.name == ours.get("run")), None)
        ours |= {"commit": run.commit, "date": run.started} if run else {}
    results = []
    for table in paper.tables().values():
        for cell in table.cells():
            ours = measured.pop(cell[:3], failed.get(cell.table, {}))
            results.append(Result(**cell._asdict() | ours))
        own = [place for place in measured if place[0] == table.number]
        results += [Result(*place, None, **measured[place]) for place in own]
    return results


def table_status(results: Sequence[Result]) -> str:
    """What became of a table as a whole, from its cells.

    "run" if every cell was run or diverged, "partly run" if some were.
    """
    if any(result.done for result in results):
        return "run" if all(result.done for result in results) else "partly run"
    return "failed" if any(r.status == "failed" for r in results) else "not run"


def by_table(results: Iterable[Result]) -> dict[int, list[Result]]:
    """The results of each table, in the order in which they come."""
    tables = {}
    for result in results:
        tables.setdefault(result.table, []).append(result)
    return tables


def write_csv(results: Iterable[Result], path: Path) -> Path:
    """Writes one line a cell to `path`, whole or not at all.

    Numbers are written so that they read back equal; what is not known is empty. A
    line whose values are those of the file that was there keeps its commit and date:
    they tell since when the result has been what it is.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "results.csv"
        >>> print(write_csv(reconstruct([])[:1], path).read_text().strip())
        table,row,column,published,ours,spread,n,status,dataset,run,commit,date
        1,"Baseline, 512",f1_dev,90.395,,,,not run,,,,
    """
    try:
        before = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        before = []
    *values, _, _ = CSV_COLUMNS
    since = {tuple(line[: len(values)]): line for line in before}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for result in results:
        line = [getattr(result, column) for column in CSV_COLUMNS]
        line = ["" if value is None else str(value) for value in line]
        same = since.get(tuple(line[: len(values)]), [])
        writer.writerow(same if len(same) == len(line) else line)
    return atomic.write(path, text.getvalue())


def _measured(runs):
    """What the succeeded runs say of each cell, by (table, row, column)."""
    cells = [
        (run, cell)
        for run in runs
        if run.succeeded
        for cell in run.scraps.get("cells", ())
    ]
    # The last one stands.
    cells.sort(key=lambda each: (each[0].table == each[1]["table"], each[0].started))
    measured = {}
    for run, cell in cells:
        if cell["status"] not in STATUSES:
            raise ValueError(
                f"{run.name} gives table {cell['table']}, row {cell['row']!r} the "
                f"status {cell['status']!r}; it must be one of {', '.join(STATUSES)}."
            )
        made_by = {"run": run.name, "dataset": run.dataset.get("name")}
        place = cell["table"], cell["row"], cell["column"]
        measured[place] = _ours(cell | made_by)
    return measured


def _ours(cell):
    """What a run's cell says of a `Result`."""
    return {"ours": cell["value"]} | {n: cell[n] for n in _OURS if n in cell}


_OURS = {each.name for each in fields(Result)} - {*paper.Cell._fields, "ours"}
