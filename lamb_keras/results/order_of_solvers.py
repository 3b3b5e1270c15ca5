"""The order of solvers: the paper's, ours, and which pairs stand the other way."""

import itertools
import math
from collections import Counter

from lamb_keras.results.finding import Finding, low, within_spread
from lamb_keras.results.statistics import count, is_finite

# What a swap of two solvers is beside the larger spread of the two.
SWAPS = {
    False: "beyond the spread over seeds",
    True: "within the spread over seeds",
    None: "of single seeds, which tell no spread",
}
SWAPS_TOLD = 5


def findings(table, results):
    """Findings of a table that compares solvers."""
    column = table.column(table.results[0])
    entries = {table.entry(result.row, result.column): result for result in results}
    theirs = {name: result.published for name, result in entries.items()}
    ours = {name: low(result.ours) for name, result in entries.items()}
    order = (
        f"Best first, the paper: {_ranked(column, theirs)}; "
        f"ours: {_ranked(column, ours)}."
    )
    pairs = _pairs(column, entries, theirs, ours)
    return [Finding(order), pairs, *_gains(table, results)]


def _ranked(column, values):
    """Names by falling value; "=" between those that are shown as equal."""
    words, before = "", None
    for name in sorted(values, key=values.get, reverse=True):
        shown = column.write(values[name])
        words += "" if before is None else " = " if shown == before else ", "
        words += name if values[name] > -math.inf else f"{name} (diverged)"
        before = shown
    return words


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
    judged = Counter()
    for pair, gap in swaps.items():
        within = within_spread(gap, *map(entries.get, pair))
        # What diverged is beyond any spread, known or not.
        judged[within if math.isfinite(gap) else False] += 1
    widest = sorted(swaps, key=swaps.get, reverse=True)
    told = [
        f"{ahead} before {behind} by {column.write(swaps[behind, ahead])}"
        if math.isfinite(swaps[behind, ahead])
        else f"{ahead} before {behind}, which diverged"
        for behind, ahead in widest[:SWAPS_TOLD]
    ]
    counts = ", ".join(
        f"{judged[k]} {words}" for k, words in SWAPS.items() if judged[k]
    )
    words = (
        f"Swapped: {len(swaps)} of {count(len(pairs), 'pair')} ({counts}); "
        f"{'the widest ' if len(widest) > SWAPS_TOLD else ''}{', '.join(told)}."
    )
    return Finding(words, judged[True] == len(swaps))


def _gains(table, results):
    """What the second column's recipe adds to each solver, the paper's and ours."""
    if len(table.results) != 2:
        return []
    column = table.column(table.results[1])
    plain, with_recipe = (
        {r.row: r for r in results if r.column == name and is_finite(r.ours)}
        for name in table.results
    )
    gains = {
        row: (after.published - before.published, after.ours - before.ours)
        for row, before in plain.items()
        if (after := with_recipe.get(row))
    }
    if not gains:
        return []
    words = "; ".join(
        f"{row} {_signed(column, theirs)} in the paper, {_signed(column, ours)} in ours"
        for row, (theirs, ours) in gains.items()
    )
    alike = all(theirs * ours > 0 for theirs, ours in gains.values())
    return [Finding(f"What “{column.suffix}” adds: {words}.", alike)]


def _signed(column, value):
    return f"{'−' if value < 0 else '+'}{column.write(abs(value))}"
