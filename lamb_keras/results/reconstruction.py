"""The paper's tables rebuilt: every published cell with what our runs say of it."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from lamb_keras.results import evidence, paper, statistics, trials
from lamb_keras.results.runs import Run
from lamb_keras.store import atomic

CSV_COLUMNS = (
    *("table", "row", "column", "published", "ours", "spread", "n"),
    *("status", "dataset", "run", "commit", "date"),
)
# Of equal settings of several tables, the first table's is chosen.
TUNED = (*statistics.SETTING, "table")
UNTRAINED = "did not train"


@dataclass(frozen=True)
class Result:
    """One cell: what the paper published, and ours beside it.

    `ours` is the mean over n seeds with the sample standard deviation, or text; None
    where nothing was measured. `published` is None for a row that the paper lacks.
    """

    table: int
    row: str
    column: str
    published: float | str | None
    ours: float | str | None = None
    spread: float | None = None  # None for one seed
    n: int | None = None
    status: str = "not run"  # or "run", "diverged", UNTRAINED, "failed"
    dataset: str | None = None
    run: str | None = None
    extra: bool = False  # whether version 3 of the paper alone prints this row
    chosen: dict = field(default_factory=dict)  # on held-out data, of settings_tried
    settings_tried: int | None = None
    settings: int | None = None  # of a row that is one setting: of how many such rows
    trials: int | None = None
    diverged: int | None = None  # of the trials
    commit: str | None = None
    date: str | None = None  # when its run began

    @property
    def done(self) -> bool:
        return self.status in ("run", "diverged", UNTRAINED)

    @property
    def difference(self) -> float | None:
        """Ours minus published, where both are numbers."""
        both = self.ours, self.published
        numbers = all(isinstance(value, float | int) for value in both)
        return self.ours - self.published if numbers else None


def reconstruct(runs: Iterable[Run]) -> list[Result]:
    """Every cell of the 25 tables, in the paper's order, with our result.

    A cell that several runs fill takes it from the run of its own table, else from
    the latest. A cell of a table whose run failed is "failed"; of one that no run
    filled, "not run". Cells that are the best of other tables come from the runs of
    these, and from nowhere else (`best_of`). Cells that the paper does not have, of a
    solver added by hand, say, follow those of their table; tables of a project's own
    come last. A cell whose trials all ended no better than guessing did not train,
    whatever value it has.
    """
    runs = list(runs)
    cells = [(run, cell) for run in runs for cell in run.scraps.get("cells", ())]
    # The last one stands.
    cells.sort(key=lambda each: (each[0].table == each[1]["table"], each[0].started))
    measured = {
        (cell["table"], cell["row"], cell["column"]): cell | _made_by(run)
        for run, cell in cells
    } | best_of(runs)
    by_run = {run.name: _with_failures(run) for run in runs if run.trials}
    for place, cell in measured.items():
        measured[place] = ours = _ours(cell) if cell else {}
        of_run = by_run.get(ours.get("run"), ())
        if ours.get("status") == "run" and _all_failed(place, ours, of_run):
            ours["status"] = UNTRAINED
    lost = [run for run in runs if not run.succeeded]
    no_run = {run.table: {"status": "failed", "run": run.name} for run in lost}
    results = []
    for table in paper.tables().values():
        for cell in table.cells():
            ours = measured.pop(cell[:3], no_run.get(cell.table, {}))
            results.append(Result(**cell._asdict() | ours))
        own = [place for place in measured if place[0] == table.number]
        results += [Result(*place, None, **measured.pop(place)) for place in own]
    others = sorted(measured, key=lambda place: place[0])
    return results + [Result(*place, None, **measured[place]) for place in others]


def best_of(runs: Iterable[Run]) -> dict[tuple, dict | None]:
    """The cells that the paper took from other tables, by (table, row, column).

    Most entries of Table 3 are the best of tuning sweeps. Ours are chosen by held-out
    accuracy among all trials of the runs of those tables, and reported on the test set;
    None where one of the tables has no run that succeeded: the best of a part is no
    result.
    """
    started = sorted(runs, key=lambda run: run.started)
    latest = {run.table: run for run in started if run.trials}
    return {
        (table.number, row, column): _best(sources, latest, table.columns[column])
        for table in paper.tables().values()
        for (row, column), sources in table.best_of.items()
    }


def _best(sources, runs, column):
    # Of further solvers and forms, which someone tried besides, no table is made.
    trials = [
        trial | {"table": number}
        for number in sources
        if number in runs
        for trial in statistics.of_first_form(runs[number].trials)
        if trial["solver"] == paper.tables()[number].solver
    ]
    if not trials or not set(sources) <= set(runs):
        return None
    number = statistics.choose(trials, tuned=TUNED).setting["table"]
    found = statistics.best(trials, column.metric, tuned=TUNED)
    # The choice names its table even where there was only one to choose from.
    found["chosen"] = {"table": number} | found["chosen"]
    return found | _made_by(runs[number])


def table_status(results: Sequence[Result]) -> str:
    """What became of a table: "run" (or diverged), "partly run", or why it was not."""
    if any(result.done for result in results):
        return "run" if all(result.done for result in results) else "partly run"
    return "failed" if any(r.status == "failed" for r in results) else "not run"


def by_table(results: Iterable[Result]) -> dict[int, list[Result]]:
    """The results of each table, in the order in which they come."""
    return statistics.grouped(results, lambda result: result.table)


def write_csv(results: Iterable[Result], path: Path) -> Path:
    """Writes one line a cell to `path`, whole or not at all.

    Numbers are written so that they read back equal; what is not known is empty. A
    line whose values are those of the file that was there keeps its commit and date:
    they tell since when the result has been what it is.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    since = {tuple(line[:-2]): line[-2:] for line in csv.reader(io.StringIO(before))}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for result in results:
        values = (getattr(result, column) for column in CSV_COLUMNS)
        *line, commit, date = ("" if v is None else str(v) for v in values)
        writer.writerow([*line, *since.get(tuple(line), (commit, date))])
    return atomic.write(path, text.getvalue())


def _made_by(run):
    known = {"run": run.name, "dataset": run.dataset.get("name")}
    return known | {"commit": run.commit, "date": run.started}


def _ours(cell):
    """What a run's cell says of a `Result`."""
    known = {each.name for each in fields(Result)} - {*paper.Cell._fields}
    return {"ours": cell["value"]} | {n: cell[n] for n in known if n in cell}


def _with_failures(run):
    """The trials of a run, each with whether it came to nothing."""
    failed = evidence.failed_to_train(trials.frame([run]))
    return [t | {"failed": lost} for t, lost in zip(run.trials, failed, strict=True)]


def _all_failed(place, ours, trials):
    """Whether every trial that a cell is made of came to nothing."""
    number, row, column = place
    table = paper.table(number, [column])
    if table.columns[column].metric == "minutes":
        return False
    numbers = table.numbers_of(row, column) | ours.get("chosen", {})
    numbers.pop("table", None)
    trials, tried = statistics.of_first_form(trials), ours.get("settings_tried") or 1
    if table.solver and tried == 1:  # a row is a setting
        trials = statistics.of_settings(trials)
    group = [
        trial
        for trial in trials
        if all(trial.get(name) == value for name, value in numbers.items())
        and trial.get("rewarmup") is not False
    ]
    group = statistics.of_setting(group, tried)
    return bool(group) and all(trial["failed"] for trial in group)
