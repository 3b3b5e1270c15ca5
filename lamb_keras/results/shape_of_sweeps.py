"""The shape of a sweep: where it is best, its order, and what comes to nothing."""

import pandas as pd

from lamb_keras.results import paper
from lamb_keras.results.finding import Finding, away
from lamb_keras.results.statistics import CHANCE_BAND, at_chance, count

# A sweep has the paper's shape from this rank correlation on.
RANK_CORRELATION = 0.5
# An accuracy that is nowhere this far below the best of its table is held.
HELD_WITHIN = 0.02


def findings(table, results, classes):
    """Findings of a table whose rows are settings of one solver.

    Args:
        classes: of our data set: guessing gets one in so many right.
    """
    first = next(c for c in table.results if table.column(c).metric == "test_accuracy")
    rows = pd.DataFrame(
        table.numbers_of(result.row, result.column)
        | {"published": result.published, "ours": result.ours}
        for result in results
        if result.column == first
    )
    if len(rows) < 2:
        return []
    known = paper.experiments()[table.experiment].classes
    rows["ours"] = rows.ours.astype(float)
    rows["paper_lost"] = [at_chance(value, known) for value in rows.published]
    rows["lost"] = [at_chance(value, classes) for value in rows.ours]
    numbers = [name for name in rows if name in table.setting(table.rows[0])]
    varied = [name for name in numbers if rows[name].nunique() > 1]
    told = []
    if "batch_size" in numbers:
        told = _held(table, results)
    elif not rows.lost.all() and not rows.paper_lost.all():
        column = table.column(table.results[0])
        told = [_highest(rows, numbers, varied, column), *_correlation(rows)]
    chance = CHANCE_BAND / known, CHANCE_BAND / classes
    return [*told, *_at_chance(rows, *chance), *_diverged(rows, varied)]


def _highest(rows, numbers, varied, column):
    """Where the best accuracy is, and how far apart the paper's place and ours are."""
    swept, *others = varied or numbers
    grid = rows[swept].rank(method="dense")
    best = rows.published.idxmax()
    top = rows.ours == rows.ours.max()
    # Of equally good ones, the one that is nearest to the paper's.
    apart = pd.DataFrame(
        {
            "others": (rows[others] != rows.loc[best, others]).any(axis=1),
            "places": (grid - grid[best]).abs().astype(int),
        }
    )
    nearest = apart[top].sort_values(["others", "places"], kind="stable").index[0]
    more = top.sum() - 1
    tie = f" and {count(more, 'more setting')} as high" if more else ""
    named = varied or numbers[:1]

    def place(row):
        return ", ".join(f"{_words(name)} {rows[name][row]:,g}" for name in named)

    words = (
        f"Highest in the paper at {place(best)} "
        f"({column.write(rows.published[best])}), in ours at {place(nearest)} "
        f"({column.write(rows.ours[nearest])}{tie}){away(apart.places[nearest])}."
    )
    return Finding(words, not apart.others[nearest] and apart.places[nearest] <= 1)


def _correlation(rows):
    """Spearman's rank correlation, all that is at chance counting as equal."""
    pair = rows.published.mask(rows.paper_lost, 0), rows.ours.mask(rows.lost, 0)
    if min(values.nunique() for values in pair) < 2:
        return []  # among equals there is no order
    # Of ranks; pandas's own "spearman" would import all of scipy.stats, a second.
    value = round(pair[0].rank().corr(pair[1].rank()), 12)
    shown = f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # no minus before 0.00
    words = (
        f"Rank correlation (Spearman) of the {len(rows)} settings, those at chance "
        f"counted as equal: {shown}."
    )
    return [Finding(words, value >= RANK_CORRELATION)]


def _at_chance(rows, paper_chance, chance):
    """Which settings come to nothing, where they do in the paper and where not."""
    dead, alive = rows[rows.paper_lost], rows[~rows.paper_lost]
    here = f"of these, ours are at chance (below {chance:g}) or diverged in"
    told = []
    if len(dead):
        words = (
            f"At chance (below {paper_chance:g}) in the paper: "
            f"{_of(len(dead), rows)}; {here} {_of(dead.lost.sum(), dead)}."
        )
        told.append(Finding(words, bool(dead.lost.all())))
    if len(alive):
        words = (
            f"Above chance in the paper: {_of(len(alive), rows)}, up to "
            f"{alive.published.max():.4f}; {here} {_of(alive.lost.sum(), alive)}."
        )
        told.append(Finding(words, bool(alive.lost.mean() <= 0.5)))
    return told


def _diverged(rows, varied):
    lost = rows[rows.ours.isna()]
    if lost.empty:
        return []
    words = f"Ours diverged at {_of(len(lost), rows)}"
    if len(lost) == len(rows):
        pass
    elif len(varied) > 1 or len(lost) > 6:
        rates = lost.learning_rate
        words += f", with learning rates from {rates.min():g} to {rates.max():g}"
    else:
        (name,) = varied
        words += f": {_words(name)} {', '.join(f'{x:g}' for x in lost[name])}"
    return [Finding(f"{words}.")]


def _held(table, results):
    """How far the worst row stays behind the best, a sentence a column."""
    told = []
    for column in map(table.column, table.results):
        cells = [result for result in results if result.column == column.name]
        published = [result.published for result in cells]
        ours = [result.ours for result in cells]
        lost = max(published) - min(published)
        behind, held = "that of ours diverged at some", False
        if None not in ours:
            behind = f"ours by {column.write(max(ours) - min(ours))}"
            held = max(ours) - min(ours) <= HELD_WITHIN
        words = (
            f"From the best batch to the worst the paper's {column.label} falls by "
            f"{column.write(lost)}, {behind}; held is within {HELD_WITHIN:g}."
        )
        told.append(Finding(words, held == (lost <= HELD_WITHIN)))
    return told


def _words(name):
    return name.replace("_", " ").replace("l2", "L2")


def _of(number, rows):
    """So many of the settings, in words."""
    every = count(len(rows), "setting")
    if number == len(rows) > 1:
        return f"all {every}"
    return f"{number or 'none'} of {every}"
