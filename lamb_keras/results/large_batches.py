"""What a large batch does to BERT's F1: Tables 1, 2, 4 and 8 beside the paper's.

The levels of F1 are those of a text and a net; what is compared is whether LAMB holds
it over the batch sizes, and who is ahead of whom. A pair that stands the other way
round than in the paper still agrees where the larger of both spreads covers the gap.
"""

from collections.abc import Sequence

from lamb_keras.results import paper
from lamb_keras.results.finding import Finding, is_number
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.runs import Run

# F1 that is nowhere so many points below the best of its solver is held.
HELD_WITHIN = 2.0
# The tables whose runs have minutes in Table 1.
_TIMED = (1, 4)
# Batch of Table 8, at which AdamW is compared with the LAMB of Table 4.
TUNED_AT = 16384


def findings(
    table: paper.Table, results: Sequence[Result], found: Sequence[Run]
) -> list[Finding]:
    """What there is to say of one of BERT's tables.

    Args:
        results: the cells of this table.
        found: the runs; AdamW's best is compared with the LAMB of another table.
    """
    f1 = [
        result
        for result in results
        if result.published is not None
        and table.column(result.column).metric == "f1"
        and (is_number(result.ours) or result.status == "diverged")
    ]
    by_solver = {}
    for result in f1:
        numbers = table.numbers_of(result.row, result.column)
        batches = by_solver.setdefault(numbers["solver"], {})
        batches[numbers.get("batch_size", result.row)] = result
    if table.number == 8:
        return _of_grid(table, f1, found)
    lamb = by_solver.get("lamb", {})
    told = _held({batch: r for batch, r in lamb.items() if isinstance(batch, int)})
    if table.number == 1:
        told += _of_mixed(by_solver) + _minutes(table, results, found)
    if table.number == 2:
        told += _of_lars(lamb, by_solver.get("lars", {}))
    return told


def _held(lamb):
    """How far LAMB's worst batch stays behind its best, in the paper and in ours."""
    if len(lamb) < 2:
        return []
    published = [result.published for result in lamb.values()]
    lost = max(published) - min(published)
    ours = {batch: r.ours for batch, r in lamb.items() if is_number(r.ours)}
    if len(ours) < len(lamb):
        gone = [batch for batch in lamb if batch not in ours]
        behind, held = f"ours diverged at {_listed(gone)}", False
    else:
        best, worst = max(ours, key=ours.get), min(ours, key=ours.get)
        gap = ours[best] - ours[worst]
        behind = (
            f"ours by {gap:.3f} (best {ours[best]:.3f} at {best:,}, worst "
            f"{ours[worst]:.3f} at {worst:,})"
        )
        held = gap <= HELD_WITHIN
    words = (
        f"From LAMB's best batch to its worst, {min(lamb):,} to {max(lamb):,}, the "
        f"paper's F1 falls by {lost:.3f}, {behind}; held is within {HELD_WITHIN:g}."
    )
    return [Finding(words, held == (lost <= HELD_WITHIN))]


def _of_mixed(by_solver):
    """The baseline, the mixed batch and the regular one beside each other."""
    baseline = by_solver.get("adamw", {}).get(512)
    lamb = by_solver.get("lamb", {})
    mixed = next((lamb[batch] for batch in lamb if isinstance(batch, str)), None)
    pairs = [
        ("LAMB at 512", lamb.get(512), "the baseline", baseline),
        ("The mixed batch", mixed, "the baseline", baseline),
        ("The mixed batch", mixed, "LAMB at 32,768", lamb.get(32768)),
    ]
    return [_pair(*pair) for pair in pairs if pair[1] and pair[3]]


def _minutes(table, results, found):
    """What the clock says, which is of other devices than the paper's."""
    minutes = {
        result.row: result
        for result in results
        if table.column(result.column).metric == "minutes" and is_number(result.ours)
    }
    rows = [row for row in minutes if row.startswith("LAMB")]
    if len(rows) < 2:
        return []
    first, last = minutes[rows[0]], minutes[rows[-1]]
    sizes = table.labeled_rows()
    tpus = [sizes[result.row]["tpus"] for result in (first, last)]
    shared = max(
        (
            run.scraps.get("environment", {}).get("runs_at_once", 1)
            for run in found
            if run.table in _TIMED
        ),
        default=1,
    )
    words = (
        f"Minutes of pre-training from “{first.row}” to “{last.row}”: the paper "
        f"{first.published:,.1f} to {last.published:,.1f}, on {tpus[0]} to {tpus[1]:,} "
        f"TPUs; ours {first.ours:.2f} to {last.ours:.2f}, on the same device at every "
        f"batch{f', which up to {shared} runs shared' if shared > 1 else ''}."
    )
    return [Finding(words)]


def _of_lars(lamb, lars):
    both = [batch for batch in lars if batch in lamb]
    if not both:
        return []
    return [_ahead(lamb, lars, both), *_at_the_end(lamb, lars, both)]


def _ahead(lamb, lars, both):
    """At how many batches LAMB is ahead of LARS."""
    theirs = sum(_gap(lamb[b].published, lars[b].published) > 0 for b in both)
    gaps = {b: _gap(lamb[b].ours, lars[b].ours) for b in both}
    behind = {b: gap for b, gap in gaps.items() if gap < 0}
    beyond = [b for b in behind if not _within(gaps[b], lamb[b], lars[b])]
    words = (
        f"LAMB is ahead of LARS at {theirs} of {len(both)} batches in the paper, at "
        f"{sum(gap > 0 for gap in gaps.values())} in ours"
    )
    if behind:
        told = ", ".join(_told(b, gap) for b, gap in behind.items())
        words += f"; behind {told}, {_in_words(len(beyond))} of it beyond the spread"
    return Finding(f"{words}.", not beyond)


def _at_the_end(lamb, lars, both):
    """Where LARS comes to nothing in the paper: the largest batch."""
    last, others = max(both), [batch for batch in both if batch != max(both)]
    if is_number(lars[last].published) or len(both) < 2:
        return []
    words = f"LARS diverges at {last:,} in the paper; ours "
    lost = [batch for batch in both if not is_number(lars[batch].ours)]
    if last in lost:
        earlier = _listed([batch for batch in lost if batch != last])
        words += f"too{f', and at {earlier}' if earlier else ''}."
        return [Finding(words, not earlier)]
    if lost:
        words += f"at {_listed(lost)}, and not there."
        return [Finding(words, False)]
    gap = _gap(lamb[last].ours, lars[last].ours)
    widest = max(_gap(lamb[batch].ours, lars[batch].ours) for batch in others)
    words += (
        f"has F1 {lars[last].ours:.3f} there, {_apart(-gap)} LAMB, and at the other "
        f"batches {_apart(-widest)} it at the most."
    )
    return [Finding(words, gap > widest)]


def _of_grid(table, f1, found):
    """AdamW's grid: where it is best, where it diverges, and LAMB beside it."""
    if len(f1) < 2:
        return []
    alive = [result for result in f1 if is_number(result.ours)]
    told = [_lost(f1)]
    if alive:
        best = max(alive, key=lambda result: result.ours)
        told = [_best(table, f1, best), *told, *_beside_lamb(f1, best, found)]
    return told


def _best(table, f1, best):
    published = [result for result in f1 if is_number(result.published)]
    theirs = max(published, key=lambda result: result.published)
    places = [_place(table, result) for result in (theirs, best)]
    away = sum(abs(a - b) for a, b in zip(*places, strict=True))
    words = (
        f"AdamW's best is at warm-up and rate {theirs.row} in the paper "
        f"({theirs.published:.3f}), at {best.row} in ours ({best.ours:.3f})"
    )
    if away:
        words += ", its neighbor" if away == 1 else f", {away} places away in the grid"
    return Finding(f"{words}.", away <= 1)


def _place(table, result):
    """Where a row stands in the grid of warm-ups and rates."""
    every = [table.numbers_of(row, result.column) for row in table.labeled_rows()]
    here = table.numbers_of(result.row, result.column)
    return [
        sorted({numbers[name] for numbers in every}).index(here[name])
        for name in ("warmup_fraction", "learning_rate")
    ]


def _lost(f1):
    """How many settings diverged, where they do in the paper and where not."""
    theirs = [result for result in f1 if not is_number(result.published)]
    others = [result for result in f1 if is_number(result.published)]
    too = sum(not is_number(result.ours) for result in theirs)
    besides = sum(not is_number(result.ours) for result in others)
    words = (
        f"AdamW diverges at {len(theirs)} of {len(f1)} settings in the paper; of "
        f"these, ours at {_in_words(too)}, and of the others at {_in_words(besides)}."
    )
    return Finding(words, too == len(theirs) and besides <= len(others) / 2)


def _beside_lamb(f1, best, found):
    published = max(r.published for r in f1 if is_number(r.published))
    for run in found:
        for cell in run.scraps.get("cells", ()) if run.succeeded else ():
            place = cell["table"], cell["row"]
            if place == (4, str(TUNED_AT)) and is_number(cell["value"]):
                theirs = paper.tables()[4].labeled_rows()[cell["row"]]["f1"]
                lamb = Result(
                    *(4, cell["row"], "f1", theirs),
                    ours=cell["value"],
                    spread=cell.get("spread"),
                )
                adamw = Result(
                    *(8, best.row, best.column, published),
                    ours=best.ours,
                    spread=best.spread,
                )
                name = f"LAMB at {TUNED_AT:,}, untuned,"
                return [_pair(name, lamb, "the best of AdamW", adamw)]
    return []


def _pair(name, first, other, second):
    """Which of two is ahead in the paper and in ours."""
    theirs = _gap(first.published, second.published)
    ours = _gap(first.ours, second.ours)
    agrees = theirs * ours > 0 or _within(ours, first, second)
    words = f"{name} is {_apart(theirs)} {other} in the paper, "
    if is_number(ours):
        words += f"{_apart(ours)} it in ours"
        if theirs * ours <= 0:
            words += f", {_judged(agrees, first, second)}"
    else:
        lost = [n for n, r in ((name, first), (other, second)) if not is_number(r.ours)]
        words += f"where ours diverged: {' and '.join(lost)}"
    return Finding(f"{words}.", agrees)


def _gap(first, second):
    """How far the first is ahead of the second; what diverged is behind everything."""
    if is_number(first) and is_number(second):
        return first - second
    return float("inf") if is_number(first) else -float("inf")


def _within(gap, *results):
    """Whether the spread over seeds could explain a gap."""
    spreads = [result.spread for result in results if is_number(result.spread)]
    return bool(spreads) and abs(gap) <= max(spreads)


def _judged(within, *results):
    if not any(is_number(result.spread) for result in results):
        return "of single seeds, which tell no spread"
    return f"{'within' if within else 'beyond'} the spread"


def _told(batch, gap):
    return f"by {-gap:.3f} at {batch:,}" if is_number(gap) else f"at {batch:,}"


def _apart(gap):
    """A gap in words: ahead of it, or behind, by so much."""
    return f"{abs(gap):.3f} {'behind' if gap < 0 else 'ahead of'}"


def _in_words(number):
    return str(number) if number else "none"


def _listed(batches):
    return ", ".join(f"{batch:,}" for batch in batches)
