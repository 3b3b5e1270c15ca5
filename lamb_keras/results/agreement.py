"""Where ours agrees with the paper and where it does not, in words made of the numbers.

Levels can't agree where a small data set stands in for the paper's; what is compared is
order: of solvers, of the settings of a sweep, and which settings come to nothing. Every
rule is the same for all tables and stands as a constant in the module that uses it.
"""

from collections.abc import Sequence

from lamb_keras.results import large_batches, order_of_solvers, paper, shape_of_sweeps
from lamb_keras.results.finding import Finding, is_number
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.runs import Run

# Of data sets that do not say it: all that a run could have used then have ten.
CLASSES = 10
# Judged by F1, which is no accuracy and has no chance level.
BERT = "bert_squad"


def verdict(findings: Sequence[Finding]) -> str | None:
    """What the findings of a table come to; None if nothing could be compared.

    Example:
        >>> verdict([Finding("", True), Finding("", None), Finding("", False)])
        'agrees in part'
    """
    judged = {finding.agrees for finding in findings} - {None}
    if not judged:
        return None
    if len(judged) == 2:
        return "agrees in part"
    return "agrees" if judged == {True} else "differs"


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
    if table.experiment == BERT:
        return large_batches.findings(table, results, found)
    measured = [
        result
        for result in results
        if is_number(result.published)
        and (is_number(result.ours) or result.status == "diverged")
    ]
    if len(measured) < 2 or not all(table.column(c).metric for c in table.results):
        return []
    if table.solver is None:
        return order_of_solvers.findings(table, measured)
    return shape_of_sweeps.findings(table, measured, _classes(measured, found))


def _classes(results, found):
    names = {result.run for result in results}
    runs = [run for run in found if run.name in names]
    return next(
        (run.dataset["classes"] for run in runs if "classes" in run.dataset), CLASSES
    )
