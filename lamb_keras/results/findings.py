"""Comparisons with the paper as sentences: of solvers, and of the settings of a sweep.

Each small function makes one finding of a table, or None where there is nothing to say.
"""

import itertools
import math
from collections import Counter
from typing import NamedTuple

import pandas as pd

from lamb_keras.results import html, paper
from lamb_keras.results.statistics import CHANCE_BAND, count, is_finite

# What a swap of two solvers is beside the larger spread of the two.
SWAPS = {
    False: "beyond the spread over seeds",
    True: "within the spread over seeds",
    None: "of single seeds, which tell no spread",
}
SWAPS_TOLD = 5
# A sweep has the paper's shape from this rank correlation on.
RANK_CORRELATION = 0.5
# An accuracy that is nowhere this far below the best of its table is held.
HELD_WITHIN = 0.02


class Finding(NamedTuple):
    """One comparison as a sentence; `agrees` is None where it is told, not judged."""

    words: str
    agrees: bool | None = None


def gap(first, second) -> float:
    """How far the first is ahead of the second; infinitely where one diverged."""
    return first - _low(second) if is_finite(first) else -math.inf


def within_spread(gap: float, *results) -> bool | None:
    """Whether the larger spread over seeds covers a gap; None if none is known."""
    known = [result.spread for result in results if is_finite(result.spread)]
    return abs(gap) <= max(known) if known else None


def away(places: int) -> str:
    """How far a best setting is from the paper's, in words; "" where it is the same."""
    if places < 2:
        return ", its neighbor" if places else ""
    return f", {places} places away in the grid"


def of_solvers(table, results) -> list[Finding | None]:
    """The order of solvers: the paper's, ours, and which pairs stand the other way."""
    column = table.column(table.results[0])
    entries = {table.entry(result.row, result.column): result for result in results}
    theirs = {name: result.published for name, result in entries.items()}
    ours = {name: _low(result.ours) for name, result in entries.items()}
    order = (
        f"Best first, the paper: {_ranked(column, theirs)}; "
        f"ours: {_ranked(column, ours)}."
    )
    pairs = _pairs(column, entries, theirs, ours)
    return [Finding(order), pairs, _gains(table, results)]


def _low(value):
    """A value as it ranks: what diverged is behind everything."""
    return value if is_finite(value) else -math.inf


def _ranked(column, values):
    """Names by falling value; "=" between those that are shown as equal."""
    order = sorted(values, key=values.get, reverse=True)
    equal = itertools.groupby(order, lambda name: column.write(values[name]))
    lost = {n: " (diverged)" for n, value in values.items() if value == -math.inf}
    return ", ".join(" = ".join(n + lost.get(n, "") for n in some) for _, some in equal)


def _pairs(column, entries, theirs, ours):
    """How many pairs of solvers stand the other way round, and by how much."""
    pairs = [
        sorted(pair, key=theirs.get, reverse=True)
        for pair in itertools.combinations(entries, 2)
        if column.write(theirs[pair[0]]) != column.write(theirs[pair[1]])
    ]
    swaps = {
        (behind, ahead): ours[ahead] - ours[behind]
        for behind, ahead in pairs
        if ours[ahead] > ours[behind]
        and column.write(ours[ahead]) != column.write(ours[behind])
    }
    if not swaps:
        every = f"All {len(pairs)} pairs are" if len(pairs) > 1 else "The one pair is"
        return Finding(f"{every} in the paper's order.", True)
    # What diverged is beyond any spread, known or not.
    judged = Counter(
        within_spread(by, *map(entries.get, pair)) if math.isfinite(by) else False
        for pair, by in swaps.items()
    )
    widest = sorted(swaps, key=swaps.get, reverse=True)
    told = []
    for pair in widest[:SWAPS_TOLD]:
        by = f" by {column.write(swaps[pair])}"
        how = by if math.isfinite(swaps[pair]) else ", which diverged"
        told.append("{1} before {0}{how}".format(*pair, how=how))
    counts = ", ".join(f"{judged[k]} {s}" for k, s in SWAPS.items() if judged[k])
    words = (
        f"Swapped: {len(swaps)} of {count(len(pairs), 'pair')} ({counts}); "
        f"{'the widest ' if len(widest) > SWAPS_TOLD else ''}{', '.join(told)}."
    )
    return Finding(words, judged[True] == len(swaps))


def _gains(table, results):
    """What the second column's recipe adds to each solver, the paper's and ours."""
    if len(table.results) != 2:
        return None
    column = table.column(table.results[1])
    plain, with_recipe = (
        {r.row: r for r in results if r.column == name and is_finite(r.ours)}
        for name in table.results
    )
    both = [(plain[r], with_recipe[r]) for r in plain if r in with_recipe]
    if not both:
        return None
    gains = {a.row: (b.published - a.published, b.ours - a.ours) for a, b in both}

    def signed(gain):
        return html.signed(column.write(gain))

    words = "; ".join(
        f"{row} {signed(theirs)} in the paper, {signed(ours)} in ours"
        for row, (theirs, ours) in gains.items()
    )
    alike = all(theirs * ours > 0 for theirs, ours in gains.values())
    return Finding(f"What “{column.suffix}” adds: {words}.", alike)


def of_settings(table, results, classes: int) -> list[Finding | None]:
    """The shape of a sweep: where it is best, its order, and what comes to nothing.

    Of our data, guessing gets one in `classes` right.
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
    chance = CHANCE_BAND / known, CHANCE_BAND / classes
    rows["ours"] = rows.ours.astype(float)
    # What diverged is not a number, and so not above chance.
    rows["paper_lost"] = ~(rows.published >= chance[0])
    rows["lost"] = ~(rows.ours >= chance[1])
    numbers = [name for name in rows if name in table.setting(table.rows[0])]
    varied = [name for name in numbers if rows[name].nunique() > 1]
    made = []
    if "batch_size" in numbers:
        made = [_held(table.column(name), results) for name in table.results]
    elif not rows.lost.all() and not rows.paper_lost.all():
        column = table.column(table.results[0])
        made = [_highest(rows, numbers, varied, column), _correlation(rows)]
    return [*made, *_at_chance(rows, *chance), _diverged(rows, varied)]


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

    def place(row):
        named = varied or numbers[:1]
        return ", ".join(f"{html.words(name)} {rows[name][row]:,g}" for name in named)

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
        return None  # among equals there is no order
    # Of ranks; pandas's own "spearman" would import all of scipy.stats, a second.
    value = round(pair[0].rank().corr(pair[1].rank()), 12)
    shown = f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # no minus before 0.00
    words = (
        f"Rank correlation (Spearman) of the {len(rows)} settings, those at chance "
        f"counted as equal: {shown}."
    )
    return Finding(words, value >= RANK_CORRELATION)


def _at_chance(rows, paper_chance, chance):
    """Which settings come to nothing, where they do in the paper and where not."""
    dead, alive = rows[rows.paper_lost], rows[~rows.paper_lost]
    here = f"of these, ours are at chance (below {chance:g}) or diverged in"
    if len(dead):
        words = (
            f"At chance (below {paper_chance:g}) in the paper: "
            f"{_of(len(dead), rows)}; {here} {_of(dead.lost.sum(), dead)}."
        )
        yield Finding(words, bool(dead.lost.all()))
    if len(alive):
        words = (
            f"Above chance in the paper: {_of(len(alive), rows)}, up to "
            f"{alive.published.max():.4f}; {here} {_of(alive.lost.sum(), alive)}."
        )
        yield Finding(words, bool(alive.lost.mean() <= 0.5))


def _diverged(rows, varied):
    lost = rows[rows.ours.isna()]
    if lost.empty:
        return None
    words = f"Ours diverged at {_of(len(lost), rows)}"
    if len(lost) < len(rows) and (len(varied) > 1 or len(lost) > 6):
        rates = lost.learning_rate
        words += f", with learning rates from {rates.min():g} to {rates.max():g}"
    elif len(lost) < len(rows):
        (name,) = varied
        words += f": {html.words(name)} {', '.join(f'{x:g}' for x in lost[name])}"
    return Finding(f"{words}.")


def _held(column, results):
    """How far the worst row stays behind the best."""
    cells = [result for result in results if result.column == column.name]
    published, ours = [r.published for r in cells], [r.ours for r in cells]
    lost = max(published) - min(published)
    behind, held = "that of ours diverged at some", False
    if None not in ours:
        behind = f"ours by {column.write(max(ours) - min(ours))}"
        held = max(ours) - min(ours) <= HELD_WITHIN
    words = (
        f"From the best batch to the worst the paper's {column.label} falls by "
        f"{column.write(lost)}, {behind}; held is within {HELD_WITHIN:g}."
    )
    return Finding(words, held == (lost <= HELD_WITHIN))


def _of(number, rows):
    """So many of the settings, in words."""
    every = count(len(rows), "setting")
    if number == len(rows) > 1:
        return f"all {every}"
    return f"{number or 'none'} of {every}"
