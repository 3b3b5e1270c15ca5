"""The cells that the paper took from other tables: the best setting that stands there.

Table 3 compares solvers at their best, and most of its entries are the best of a tuning
sweep. Ours are chosen by held-out accuracy among all trials of the runs of those
tables, and reported on the test set.
"""

from collections.abc import Iterable

from lamb_keras.results import paper, statistics
from lamb_keras.results.runs import Run

# The table comes last: of equal settings it decides between tables.
TUNED = (*statistics.SETTING, "table")


def derived(runs: Iterable[Run]) -> dict[tuple, dict | None]:
    """What stands in each such cell, by (table, row, column).

    None where one of the tables that it is the best of has no run that succeeded: the
    best of a part is no result.

    Example:
        >>> derived([])[3, "adam", "default"] is None
        True
    """
    latest = {
        run.table: run
        for run in sorted(runs, key=lambda run: run.started)
        if run.succeeded and run.scraps.get("trials")
    }
    return {
        (table.number, row, column): _best(sources, latest, table.column(column).metric)
        for table in paper.tables().values()
        for (row, column), sources in table.best_of.items()
    }


def _best(sources, runs, metric):
    # Of further solvers and forms, which someone tried besides, no table is made.
    trials = [
        trial | {"table": number}
        for number in sources
        if number in runs
        for trial in statistics.of_first_form(runs[number].scraps["trials"])
        if trial["solver"] == paper.tables()[number].solver
    ]
    if not trials or not set(sources) <= set(runs):
        return None
    number = statistics.choose(trials, tuned=TUNED).setting["table"]
    found = statistics.best(trials, metric, tuned=TUNED)
    # The choice names its table even where there was only one to choose from.
    found["chosen"] = {"table": number} | found["chosen"]
    run = runs[number]
    return found | {"run": run.name, "dataset": run.dataset.get("name")}
