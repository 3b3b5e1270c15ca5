"""Where ours agrees with the paper and where it does not, in words made of the numbers.

Levels can't agree where a small data set stands in for the paper's; what is compared is
order: of solvers, of the settings of a sweep, and which settings come to nothing. Every
rule is the same for all tables and stands as a constant in the module that uses it.
"""

from collections.abc import Sequence

from lamb_keras.results import large_batches, order_of_solvers, paper, shape_of_sweeps
from lamb_keras.results.finding import Finding
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.runs import Run
from lamb_keras.results.statistics import is_finite

# Of data sets that do not say it: all that a run could have used then have ten.
CLASSES = 10


def verdict(findings: Sequence[Finding]) -> str | None:
    """What the findings of a table come to; None if nothing could be compared."""
    judged = {finding.agrees for finding in findings} - {None}
    if len(judged) == 2:
        return "agrees in part"
    return {True: "agrees", False: "differs"}[judged.pop()] if judged else None


def compare(
    table: paper.Table, results: Sequence[Result], found: Sequence[Run] = ()
) -> list[Finding]:
    """What there is to say of a table's cells beside the published ones.

    Args:
        results: the cells of this table.
        found: the runs, for what their data sets are.

    Example:
        >>> cells = [Result(7, "adam", "mean_accuracy_5_runs", 0.9936, ours=0.97,
        ...                 spread=0.01, status="run"),
        ...          Result(7, "lamb", "mean_accuracy_5_runs", 0.9945, ours=0.98,
        ...                 spread=0.01, status="run")]
        >>> for finding in compare(paper.tables()[7], cells):
        ...     print(finding.words)
        Best first, the paper: lamb, adam; ours: lamb, adam.
        The one pair is in the paper's order.
    """
    metrics = [table.column(name).metric for name in table.results]
    if "f1" in metrics:
        return large_batches.findings(table, results, found)
    measured = [
        result
        for result in results
        if is_finite(result.published)
        and (is_finite(result.ours) or result.status == "diverged")
    ]
    if len(measured) < 2 or not all(metrics):
        return []
    if table.solver is None:
        return order_of_solvers.findings(table, measured)
    names = {result.run for result in measured}
    classes = [
        r.dataset["classes"]
        for r in found
        if r.name in names and "classes" in r.dataset
    ]
    return shape_of_sweeps.findings(table, measured, (classes or [CLASSES])[0])
