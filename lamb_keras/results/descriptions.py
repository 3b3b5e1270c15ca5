"""A table beside the paper's in a few sentences, which tell and do not judge.

What data say for or against the paper is said of its claims (`claims`), by rules that
noise does not pass. These sentences are for readers of a table of twenty rows.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from lamb_keras.results import paper, wording
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.statistics import CHANCE_BAND, count, is_finite

SIDES = "published", "ours"
NAMED = 3  # Up to so many settings that came to nothing are told by name.


def sentences(table: paper.Table, results: Sequence[Result]) -> list[str]:
    """What there is to tell of a table's cells beside the published ones."""
    known = paper.experiments().get(table.experiment, paper.Experiment("")).classes
    chance, rows = CHANCE_BAND / known if known else 0, []
    for cell in results:
        column = table.columns[cell.column]
        judged = cell.published is not None and column.metric in ("test_accuracy", "f1")
        if not judged or not (is_finite(cell.ours) or cell.status == "diverged"):
            continue
        batch = column.holds.get("batch_size")
        name = table.entry(cell.row, cell.column) + (f" at {batch:,}" if batch else "")
        # What did not train has no value, in the paper as in ours.
        theirs = is_finite(cell.published) and cell.published >= chance
        ours = cell.status == "run" and is_finite(cell.ours)
        values = {"published": cell.published if theirs else None}
        values |= {"ours": cell.ours if ours else None, "name": name, "column": column}
        rows.append(table.numbers_of(cell.row, cell.column) | values)
    if len(rows) < 2:
        return []
    rows = pd.DataFrame(rows).astype({"published": float, "ours": float})
    return [*_told(table, rows.column[0], rows)]


def _told(table, column, rows) -> Iterator[str]:
    batches = rows.get("batch_size", pd.Series(dtype=object))
    if batches.nunique() > 1:
        for solver, line in rows.groupby("solver", sort=False):
            if len(line) > 1:
                yield _falls(solver, column, line)
    elif not table.solver:
        order = (_ranked(column, rows, side) for side in SIDES)
        yield "Best first, the paper: {}; ours: {}.".format(*order)
    elif rows.published.any() and rows.ours.any():
        yield _highest(table, column, rows)
        sides = [rows[side].fillna(0) for side in SIDES]
        if min(side.nunique() for side in sides) > 1:  # among equals there is no order
            # Of ranks; pandas's own "spearman" would import all of scipy.stats.
            value = round(sides[0].rank().corr(sides[1].rank()), 2) + 0.0
            yield (
                f"Rank correlation (Spearman) of the {len(rows)} settings with the "
                "paper's, those that came to nothing counted as equal: "
                f"{'−' if value < 0 else ''}{abs(value):.2f}."
            )
    theirs, ours = rows.published.isna(), rows.ours.isna()
    if (theirs | ours).any():
        lost, both, others = (
            _named(rows.name[each]) for each in (theirs, theirs & ours, ~theirs & ours)
        )
        yield (
            f"Came to nothing, of {len(rows)}: {lost} in the paper; of these {both} in "
            f"ours, of the others {others}."
        )


def _named(names):
    few = 0 < len(names) <= NAMED
    return f"{len(names)} ({'; '.join(names)})" if few else len(names) or "none"


def _falls(solver, column, line):
    """How far the worst batch lies behind the best, of those that trained."""
    theirs, ours = (
        column.write(line[side].max() - line[side].min()) if line[side].any() else None
        for side in SIDES
    )
    metric = "F1" if column.metric == "f1" else column.metric.replace("_", " ")
    behind = f"ours by {ours}" if ours else "none of ours trained"
    return (
        f"From the best batch of {solver} to the worst the paper's {metric} falls by "
        f"{theirs}, {behind}."
    )


def _ranked(column, rows, side):
    """Names by falling value; "=" between those that are shown as equal."""
    shown = rows.assign(shown=rows[side].map(column.write, na_action="ignore"))
    shown = shown.sort_values(side, ascending=False, kind="stable")
    equal = shown.groupby("shown", sort=False).name.agg(" = ".join)
    lost = [f"{name} (came to nothing)" for name in rows.name[rows[side].isna()]]
    return ", ".join([*equal, *lost])


def _highest(table, column, rows):
    """The best settings; of ours, how many more are as high."""
    numbers = [*table.setting(table.rows[0])]
    varied = [name for name in numbers if rows[name].nunique() > 1] or numbers[:1]

    def place(side):
        row = rows.loc[rows[side].idxmax()]
        where = ", ".join(f"{wording.words(name)} {row[name]:,g}" for name in varied)
        more = (rows[side] == row[side]).sum() - 1
        tie = f" and {count(more, 'more setting')} as high" if more else ""
        return f"{where} ({column.write(float(row[side]))}{tie})"

    return f"Highest in the paper at {place('published')}, in ours at {place('ours')}."
