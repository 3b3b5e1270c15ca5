"""What a large batch does to BERT's F1: Tables 1, 2, 4 and 8 beside the paper's.

The levels of F1 are those of a text and a net; what is compared is whether LAMB holds
it over the batch sizes, and who is ahead of whom. A pair that stands the other way
round than in the paper still agrees where the larger of both spreads covers the gap.
"""

import dataclasses

from lamb_keras.results import paper
from lamb_keras.results.findings import Finding, away, gap, within_spread
from lamb_keras.results.statistics import is_finite

# F1 that is nowhere so many points below the best of its solver is held.
HELD_WITHIN = 2.0
# The tables whose runs have minutes in Table 1.
TIMED = (1, 4)
# Batch of Table 8, at which AdamW is compared with the LAMB of Table 4.
TUNED_AT = 16384


def findings(table, f1, results, found) -> list[Finding | None]:
    """Findings of one of BERT's tables: of its F1 (`f1`), and of all its `results`.

    Of the runs `found`, Table 1 takes how many shared the device, Table 8 LAMB's F1.
    """
    if table.number == 8:
        return list(_grid(table, f1, found)) if len(f1) > 1 else []
    lines = {"lamb": {}, "lars": {}, "adamw": {}}  # by batch
    for result in f1:
        numbers = table.numbers_of(result.row, result.column)
        lines[numbers["solver"]][numbers["batch_size"]] = result
    lamb, lars, baseline = lines["lamb"], lines["lars"], lines["adamw"].get(512)
    made = [_held({batch: r for batch, r in lamb.items() if isinstance(batch, int)})]
    if table.number == 1:
        mixed = lamb.get("65536/32768")
        made += [
            _pair("LAMB at 512", lamb.get(512), "the baseline", baseline),
            _pair("The mixed batch", mixed, "the baseline", baseline),
            _pair("The mixed batch", mixed, "LAMB at 32,768", lamb.get(32768)),
            _minutes(table, results, found),
        ]
    both = [batch for batch in lars if batch in lamb]
    if table.number == 2 and both:
        ours = {b: gap(lamb[b].ours, lars[b].ours) for b in both}
        made += [_ahead(lamb, lars, ours), _at_the_end(lars, ours)]
    return made


def _held(lamb):
    """How far LAMB's worst batch stays behind its best, in the paper and in ours."""
    if len(lamb) < 2:
        return None
    published = [result.published for result in lamb.values()]
    lost = max(published) - min(published)
    ours = {batch: r.ours for batch, r in lamb.items() if is_finite(r.ours)}
    if len(ours) < len(lamb):
        gone = [batch for batch in lamb if batch not in ours]
        behind, held = f"ours diverged at {_listed(gone)}", False
    else:
        best, worst = max(ours, key=ours.get), min(ours, key=ours.get)
        held = ours[best] - ours[worst] <= HELD_WITHIN
        behind = (
            f"ours by {ours[best] - ours[worst]:.3f} (best {ours[best]:.3f} at "
            f"{best:,}, worst {ours[worst]:.3f} at {worst:,})"
        )
    words = (
        f"From LAMB's best batch to its worst, {min(lamb):,} to {max(lamb):,}, the "
        f"paper's F1 falls by {lost:.3f}, {behind}; held is within {HELD_WITHIN:g}."
    )
    return Finding(words, held == (lost <= HELD_WITHIN))


def _minutes(table, results, found):
    """What the clock says, which is of other devices than the paper's."""
    lamb = [r for r in results if r.row.startswith("LAMB") and is_finite(r.ours)]
    rows = [r for r in lamb if table.column(r.column).metric == "minutes"]
    if len(rows) < 2:
        return None
    first, last = rows[0], rows[-1]
    tpus = [table.labeled_rows()[result.row]["tpus"] for result in (first, last)]
    timed = [r.scraps.get("environment", {}) for r in found if r.table in TIMED]
    shared = max((each.get("runs_at_once", 1) for each in timed), default=1)
    words = (
        f"Minutes of pre-training from “{first.row}” to “{last.row}”: the paper "
        f"{first.published:,.1f} to {last.published:,.1f}, on {tpus[0]} to {tpus[1]:,} "
        f"TPUs; ours {first.ours:.2f} to {last.ours:.2f}, on the same device at every "
        f"batch{f', which up to {shared} runs shared' if shared > 1 else ''}."
    )
    return Finding(words)


def _ahead(lamb, lars, ours):
    """At how many batches LAMB is ahead of LARS."""
    theirs = [gap(lamb[b].published, lars[b].published) for b in ours]
    behind = {b: by for b, by in ours.items() if by < 0}
    beyond = [b for b in behind if not within_spread(ours[b], lamb[b], lars[b])]
    words = (
        f"LAMB is ahead of LARS at {sum(g > 0 for g in theirs)} of {len(ours)} batches "
        f"in the paper, at {sum(g > 0 for g in ours.values())} in ours"
    )
    if behind:
        by = {b: f"by {-g:.3f} " if is_finite(g) else "" for b, g in behind.items()}
        told = ", ".join(f"{by[batch]}at {batch:,}" for batch in behind)
        words += f"; behind {told}, {len(beyond) or 'none'} of it beyond the spread"
    return Finding(f"{words}.", not beyond)


def _at_the_end(lars, ours):
    """What becomes of LARS at the largest batch, at which the paper's diverges."""
    last = max(ours)
    others = [batch for batch in ours if batch != last]
    if is_finite(lars[last].published) or not others:
        return None
    lost = [batch for batch in ours if not is_finite(lars[batch].ours)]
    earlier = _listed([batch for batch in lost if batch != last])
    if last in lost:
        words, agrees = f"too{earlier and f', and at {earlier}'}", not earlier
    elif lost:
        words, agrees = f"at {earlier}, and not there", False
    else:
        widest = max(ours[batch] for batch in others)
        agrees = ours[last] > widest
        words = (
            f"has F1 {lars[last].ours:.3f} there, {_apart(-ours[last])} LAMB, and at "
            f"the other batches {_apart(-widest)} it at the most"
        )
    return Finding(f"LARS diverges at {last:,} in the paper; ours {words}.", agrees)


def _grid(table, f1, found):
    """AdamW's grid: where it is best, where it diverges, and LAMB beside it."""
    in_paper = [r for r in f1 if is_finite(r.published)]
    ours = [r for r in f1 if is_finite(r.ours)]
    if ours:
        best = max(ours, key=lambda result: result.ours)
        theirs = max(in_paper, key=lambda result: result.published)
        pairs = zip(_place(table, theirs), _place(table, best), strict=True)
        places = sum(abs(a - b) for a, b in pairs)
        words = (
            f"AdamW's best is at warm-up and rate {theirs.row} in the paper "
            f"({theirs.published:.3f}), at {best.row} in ours ({best.ours:.3f})"
        )
        yield Finding(f"{words}{away(places)}.", places <= 1)
    gone = [not is_finite(r.ours) for r in f1 if not is_finite(r.published)]
    besides = [not is_finite(result.ours) for result in in_paper]
    words = (
        f"AdamW diverges at {len(gone)} of {len(f1)} settings in the paper; of these, "
        f"ours at {sum(gone) or 'none'}, and of the others at {sum(besides) or 'none'}."
    )
    yield Finding(words, all(gone) and sum(besides) <= len(besides) / 2)
    if ours:
        adamw = dataclasses.replace(best, published=theirs.published)
        name = f"LAMB at {TUNED_AT:,}, untuned,"
        yield _pair(name, _lamb(found, best), "the best of AdamW", adamw)


def _place(table, result):
    """Where a row stands in the grid of warm-ups and rates."""
    every = [table.numbers_of(row, result.column) for row in table.labeled_rows()]
    here = table.numbers_of(result.row, result.column)
    return [
        sorted({numbers[name] for numbers in every}).index(here[name])
        for name in ("warmup_fraction", "learning_rate")
    ]


def _lamb(found, like):
    """LAMB's F1 at AdamW's batch, of Table 4's run, as a result."""
    row = str(TUNED_AT)
    for run in found:
        for cell in run.scraps.get("cells", ()) if run.succeeded else ():
            if (cell["table"], cell["row"]) == (4, row) and is_finite(cell["value"]):
                published = paper.tables()[4].labeled_rows()[row]["f1"]
                ours = {"ours": cell["value"], "spread": cell.get("spread")}
                return dataclasses.replace(like, published=published, **ours)
    return None


def _pair(name, first, other, second):
    """Which of two is ahead in the paper and in ours."""
    if not first or not second:
        return None
    theirs = gap(first.published, second.published)
    ours = gap(first.ours, second.ours)
    within = within_spread(ours, first, second)
    same = theirs * ours > 0
    words = f"{name} is {_apart(theirs)} {other} in the paper, "
    if is_finite(ours):
        words += f"{_apart(ours)} it in ours"
        if not same:
            spread = {True: "within the spread", False: "beyond the spread"}
            words += f", {spread.get(within, 'of single seeds, which tell no spread')}"
    else:
        lost = [n for n, r in ((name, first), (other, second)) if not is_finite(r.ours)]
        words += f"where ours diverged: {' and '.join(lost)}"
    return Finding(f"{words}.", same or bool(within))


def _apart(gap):
    """A gap in words: ahead of it, or behind, by so much."""
    return f"{abs(gap):.3f} {'behind' if gap < 0 else 'ahead of'}"


def _listed(batches):
    return ", ".join(f"{batch:,}" for batch in batches)
