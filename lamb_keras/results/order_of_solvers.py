"""The order of solvers: the paper's, ours, and which pairs stand the other way."""

import itertools
import math
from collections import Counter

from lamb_keras.results.finding import Finding, count, is_number, low

# What a swap of two solvers is beside the larger spread of the two.
SWAPS = BEYOND, WITHIN, UNKNOWN = (
    "beyond the spread over seeds",
    "within the spread over seeds",
    "of single seeds, which tell no spread",
)
SWAPS_TOLD = 5


def findings(table, results):
    """Findings of a table that compares solvers."""
    column = table.column(table.results[0])
    entries = {table.entry(result.row, result.column): result for result in results}
    paper_says = {name: result.published for name, result in entries.items()}
    ours = {name: low(result.ours) for name, result in entries.items()}
    order = (
        f"Best first, the paper: {_ranked(column, paper_says)}; "
        f"ours: {_ranked(column, ours)}."
    )
    pairs = _pairs(column, entries, paper_says, ours)
    return [Finding(order), pairs, *_gains(table, results)]


def _ranked(column, values):
    """Names by falling value; "=" between those that are shown as equal."""
    ordered = sorted(values, key=values.get, reverse=True)
    words = ""
    for before, name in itertools.pairwise([None, *ordered]):
        if before is not None:
            equal = column.write(values[before]) == column.write(values[name])
            words += " = " if equal else ", "
        words += name if values[name] > -math.inf else f"{name} (diverged)"
    return words


def _pairs(column, entries, published, ours):
    """How many pairs of solvers stand the other way round, and by how much."""
    pairs = [
        sorted(pair, key=published.get, reverse=True)
        for pair in itertools.combinations(entries, 2)
        if column.write(published[pair[0]]) != column.write(published[pair[1]])
    ]
    swapped = [
        (better, worse)
        for better, worse in pairs
        if ours[worse] > ours[better]
        and column.write(ours[worse]) != column.write(ours[better])
    ]
    every = f"All {len(pairs)} pairs are" if len(pairs) > 1 else "The one pair is"
    if not swapped:
        return Finding(f"{every} in the paper's order.", True)
    gaps = {pair: ours[pair[1]] - ours[pair[0]] for pair in swapped}
    judged = Counter(
        _judge(gaps[pair], [entries[n].spread for n in pair]) for pair in gaps
    )
    counts = ", ".join(f"{judged[words]} {words}" for words in SWAPS if judged[words])
    widest = sorted(gaps, key=gaps.get, reverse=True)
    told = [_told(column, pair, gaps[pair]) for pair in widest[:SWAPS_TOLD]]
    words = (
        f"Swapped: {len(swapped)} of {count(len(pairs), 'pair')} ({counts}); "
        f"{'the widest ' if len(widest) > SWAPS_TOLD else ''}{', '.join(told)}."
    )
    return Finding(words, judged[WITHIN] == len(swapped))


def _told(column, pair, gap):
    behind, ahead = pair
    if not math.isfinite(gap):
        return f"{ahead} before {behind}, which diverged"
    return f"{ahead} before {behind} by {column.write(gap)}"


def _judge(gap, spreads):
    """Whether the spread over seeds could explain a swap of two solvers."""
    known = [spread for spread in spreads if is_number(spread)]
    if not known and math.isfinite(gap):
        return UNKNOWN
    return WITHIN if known and gap <= max(known) else BEYOND


def _gains(table, results):
    """What the second column's recipe adds to each solver, the paper's and ours."""
    if len(table.results) != 2:
        return []
    column = table.column(table.results[1])
    by_place = {(result.row, result.column): result for result in results}
    gains = {}
    for row in dict.fromkeys(result.row for result in results):
        both = [by_place.get((row, name)) for name in table.results]
        if all(both) and all(is_number(result.ours) for result in both):
            gains[row] = [
                both[1].published - both[0].published,
                both[1].ours - both[0].ours,
            ]
    if not gains:
        return []
    words = "; ".join(
        f"{row} {_signed(column, paper_gains)} in the paper, "
        f"{_signed(column, ours)} in ours"
        for row, (paper_gains, ours) in gains.items()
    )
    alike = all(published * ours > 0 for published, ours in gains.values())
    return [Finding(f"What “{column.suffix}” adds: {words}.", alike)]


def _signed(column, value):
    return f"{'−' if value < 0 else '+'}{column.write(abs(value))}"
