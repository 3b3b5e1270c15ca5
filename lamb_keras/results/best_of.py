"""The cells that the paper took from other tables: the best setting that stands there.

Table 3 compares solvers at their best, and most of its entries are the best of a tuning
sweep. Ours are chosen by held-out accuracy among all trials of the runs of those
tables, and reported on the test set.
"""

from collections.abc import Iterable

from lamb_keras.results import paper, statistics
from lamb_keras.results.runs import Run

# Settings that stand in two tables are told apart by the table.
TUNED = (*statistics.SETTING, "table")


def derived(runs: Iterable[Run]) -> dict[tuple, dict | None]:
    """What stands in each such cell, by (table, row, column).

    None where one of the tables that it is the best of has no run that succeeded: the
    best of a part is no result.

    Example:
        >>> derived([])[3, "adam", "default"] is None
        True
    """
    latest = {}
    for run in sorted(runs, key=lambda run: run.started):
        if run.succeeded and run.scraps.get("trials"):
            latest[run.table] = run
    return {
        (table.number, row, column): _best(
            [latest.get(number) for number in sources], table.column(column).metric
        )
        for table in paper.tables().values()
        for (row, column), sources in table.best_of.items()
    }


def _best(sources, metric):
    if not all(sources):
        return None
    trials = [
        {**trial, "table": run.table} for run in sources for trial in _own_trials(run)
    ]
    if not trials:
        return None
    found = statistics.best(trials, metric, tuned=TUNED)
    # The choice names its table even where there was only one to choose from.
    number = statistics.choose(trials, tuned=TUNED).setting["table"]
    found["chosen"] = {"table": number} | found["chosen"]
    run = next(run for run in sources if run.table == number)
    return found | {"run": run.name, "dataset": run.dataset.get("name")}


def _own_trials(run):
    """The trials that the table of a run is made of: of its solver, in its first form.

    Further solvers and forms are what someone tried besides.
    """
    solver = paper.tables()[run.table].solver
    trials = statistics.of_first_form(run.scraps["trials"])
    return [trial for trial in trials if trial["solver"] == solver]
