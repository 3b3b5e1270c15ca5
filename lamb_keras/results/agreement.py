"""Where ours agrees with the paper and where it does not, in words made of the numbers.

Levels can't agree where a small data set stands in for the paper's; what is compared is
order: of solvers, of the settings of a sweep, and which settings come to nothing. Every
rule is the same for all tables and stands as a constant in the module that uses it.
"""

from collections.abc import Sequence

from lamb_keras.results import findings, large_batches, paper
from lamb_keras.results.findings import Finding
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.runs import Run

# Of data sets that do not say it: all that a run could have used then have ten.
CLASSES = 10


def verdict(found: Sequence[Finding]) -> str | None:
    """What the findings of a table come to; None if nothing could be compared."""
    judged = {finding.agrees for finding in found} - {None}
    if len(judged) == 2:
        return "agrees in part"
    return {True: "agrees", False: "differs"}[judged.pop()] if judged else None


def compare(
    table: paper.Table, results: Sequence[Result], found: Sequence[Run] = ()
) -> list[Finding]:
    """What there is to say of a table's cells (`results`) beside the published ones.

    The runs tell of how many classes the data are, and how fast BERT was pre-trained.

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
    metrics = {name: table.column(name).metric for name in table.results}
    measured = [r for r in results if r.measured]
    if "f1" in metrics.values():
        f1 = [r for r in measured if metrics[r.column] == "f1"]
        made = large_batches.findings(table, f1, results, found)
    else:
        measured = [r for r in measured if not isinstance(r.published, str)]
        if len(measured) < 2 or not all(metrics.values()):
            return []
        if table.solver is None:
            made = findings.of_solvers(table, measured)
        else:
            names = {result.run for result in measured}
            classes = [r.dataset.get("classes") for r in found if r.name in names]
            known = next(filter(None, classes), CLASSES)
            made = findings.of_settings(table, measured, known)
    return [finding for finding in made if finding]
