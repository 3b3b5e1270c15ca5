"""When data speak for a claim and when against it: the rules, the same for all claims.

Every one-sided test is at 2.5 %, so that what is supported has a 95 % interval on the
claim's side. With six pairs of seeds or more it is the exact sign-flip test; with
fewer, Student's t of two means, each with the spread of its solver's seeds pooled over
the settings that are compared (`comparisons`). Without four degrees of freedom there is
no verdict. Of what failed to train no metric is compared; that it failed is evidence
where the other setting trained, by Fisher's exact test.

A claim of several comparisons is supported if each of them is: an intersection-union
test, which needs no correction. It is contradicted if one of them is, by Holm's.

F1 is compared within a margin only where pre-training adds more than the margin to it:
else everything would be alike.

All numbers here were fixed before any verdict was seen, but for two choices that
`decisions.yaml` names. How often each rule errs is simulated in `evidence_test.py`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lamb_keras.results.comparisons import ALPHA, Comparison, Failures, Pairs
from lamb_keras.results.statistics import CHANCE_BAND

# With this chance the further seeds that are asked for decide a claim.
POWER = 0.8
# More seeds than this are not asked for.
SEEDS = 100
# Fewer trials than this say nothing of a correlation or of what explains accuracy.
TRIALS = 24
RESAMPLES = 999
# Of what explains accuracy, an interval of 99 %: one of 95 %, of the few trials of a
# sweep, would be wrong in up to nine of a hundred.
EXPLAINS = 0.005

SUPPORTED, CONTRADICTED = "supported", "contradicted"
INCONCLUSIVE, NOT_TESTED = "inconclusive", "not tested here"
VERDICTS = SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_TESTED


class Verdict(NamedTuple):
    """What data say of a claim, by the comparison that is worst for it."""

    verdict: str
    why: str = ""  # the numbers behind it in a sentence, or why there are none
    n: int | None = None  # seeds, trials or settings of each side
    estimate: float | None = None  # the mean difference, and its 95 % interval
    low: float | None = None
    high: float | None = None
    more_seeds: int | None = None  # that would decide it; None of more than `SEEDS`


def failed_to_train(rows: pd.DataFrame) -> pd.Series:
    """Which trials came to nothing, by one rule for all solvers: they are no evidence.

    A trial failed that did not finish, whose held-out loss of text is no better than
    guessing words by frequency (`unigram_entropy`), or whose test accuracy of images is
    at chance, of so many `classes`. The paper's diverged rows end at losses of 7.9 to
    8.35, about the entropy of English words: no infinite loss is needed.

    Example:
        >>> rows = pd.DataFrame({"outcome": ["finished"] * 3 + ["diverged"],
        ...                      "validation_loss": [4.0, 6.0, math.nan, 4.0],
        ...                      "unigram_entropy": 5.5})
        >>> failed_to_train(rows).tolist()
        [False, True, True, True]
    """
    failed = rows.outcome != "finished"
    if "unigram_entropy" in rows:
        guess = rows.unigram_entropy.astype(float)
        failed |= guess.notna() & ~(rows.validation_loss.astype(float) < guess)
    if "classes" in rows:
        chance = CHANCE_BAND / rows.classes.astype(float)
        failed |= chance.notna() & ~(rows.test_accuracy.astype(float) >= chance)
    return failed


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjustment of p-values, in their order; NaN counts as 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    values = np.nan_to_num(values, nan=1.0)
    order = np.argsort(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    values[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return values.tolist()


def judge(
    comparisons: Sequence[Comparison], low: float = 0.0, high: float = math.inf
) -> Verdict:
    """Whether the true difference of every comparison lies between two bounds.

    (0, ∞) is the claim to be ahead, (-margin, ∞) not to be worse by more than a margin,
    (-margin, margin) to be alike: two one-sided tests. A comparison without evidence
    keeps a claim from being supported, and not from being contradicted by another one.

    Example:
        >>> from lamb_keras.results.comparisons import Nothing
        >>> judge([Pairs([0.1, 0.2, 0.15, 0.12, 0.18, 0.11, 0.2])]).verdict
        'supported'
        >>> judge([Nothing("there is no trial of lamb")]).verdict
        'not tested here'
    """
    known = [each for each in comparisons if not each.why]
    chances = [_chances(each, low, high) for each in known]
    outside = [p for _, p in chances] + [1.0] * (len(comparisons) - len(known))
    contradicted = min(holm(outside)) <= ALPHA
    if len(known) < len(comparisons) and not contradicted:
        unknown = next(each for each in comparisons if each.why)
        return Verdict(NOT_TESTED, unknown.why, unknown.n)
    slack = [_slack(each, low, high) for each in known]
    worst = known[max(range(len(known)), key=lambda i: (chances[i][0], -slack[i]))]
    told = _told(worst)
    if contradicted:
        return Verdict(CONTRADICTED, *told)
    if all(inside <= ALPHA for inside, _ in chances):
        return Verdict(SUPPORTED, *told)
    more = _more_seeds(worst, low, high, len(comparisons))
    return Verdict(INCONCLUSIVE, *told, more)


def _chances(comparison, low, high):
    """The p-values of the true difference being inside the bounds, and outside."""
    inside, outside = comparison.p_above(low), comparison.p_below(low)
    if math.isfinite(high):  # beyond either bound: two tests need twice the evidence
        inside = max(inside, comparison.p_below(high))
        outside = min(1.0, 2 * min(outside, comparison.p_above(high)))
    return inside, outside


def _slack(comparison, low, high):
    """How far inside the bounds the estimate lies."""
    return min(comparison.estimate - low, high - comparison.estimate)


def _told(comparison):
    name = f"{comparison.name}: " if comparison.name else ""
    if isinstance(comparison, Failures):
        return name + comparison.words, comparison.n
    estimate, (low, high) = comparison.estimate, comparison.interval()
    reach = f"{estimate:+.4g} ({low:+.4g} to {high:+.4g})"
    words = f"{name}{reach} over {comparison.n} {comparison.unit}"
    return words, comparison.n, estimate, low, high


def _more_seeds(comparison, low, high, comparisons):
    """How many further seeds would decide, if means and spread stay what they are."""
    slack, sd, n = _slack(comparison, low, high), comparison.sd, comparison.n
    if not slack or not sd > 0:
        return None
    least = comparison.least
    if slack < 0 and isinstance(comparison, Pairs):
        # By Holm one of several is to contradict: so many signs it takes at least.
        least = max(least, math.ceil(math.log2(comparisons / ALPHA)))
    z = stats.norm.isf(ALPHA) + stats.norm.isf(1 - POWER)
    more = max(math.ceil((z * sd / slack) ** 2), least, n + 1) - n
    return more if more <= SEEDS else None


def judge_shares(failed: int, of: int, trained: int, controls: int) -> Verdict:
    """Whether settings come to nothing of which it is claimed, while controls train.

    Both by a binomial test against one half, of settings each of which counts once.
    """
    if of < 2 or controls < 2:
        return Verdict(NOT_TESTED, "there are fewer than two settings to compare")
    lost = controls - trained
    words = f"{failed} of {of} settings came to nothing, "
    words += f"{lost} of {controls} of the controls"
    if _mostly(lost, controls):
        return Verdict(NOT_TESTED, f"the controls did not train either: {words}")
    verdict = CONTRADICTED if _mostly(of - failed, of) else INCONCLUSIVE
    if _mostly(failed, of) and _mostly(trained, controls):
        verdict = SUPPORTED
    return Verdict(verdict, words, of)


def _mostly(k, n):
    return stats.binomtest(k, n, 0.5, alternative="greater").pvalue <= ALPHA


def judge_correlation(
    first: Sequence[float], second: Sequence[float], below: float
) -> Verdict:
    """Whether the size of a rank correlation is below a bound, by bootstrap."""
    pairs = np.asarray([first, second], float)
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    n = pairs.shape[1]
    if n < TRIALS:
        return Verdict(NOT_TESTED, f"{n} trials are too few for a correlation", n)

    def size(x, y, axis=-1):
        x, y = (stats.rankdata(each, axis=axis) for each in (x, y))
        x, y = (each - each.mean(axis, keepdims=True) for each in (x, y))
        squares = (x**2).sum(axis) * (y**2).sum(axis)
        return np.abs((x * y).sum(axis)) / np.sqrt(squares)

    low = high = estimate = float(size(*pairs))
    if estimate <= 1 - 1e-9:  # of equal ranks every resample is equal too
        drawn = stats.bootstrap(pairs, size, paired=True, n_resamples=RESAMPLES, rng=0)
        low, high = map(float, drawn.confidence_interval)
    words = f"|ρ| = {estimate:.2f} ({low:.2f} to {high:.2f}) over {n} trials"
    within = SUPPORTED if high < below else INCONCLUSIVE
    verdict = CONTRADICTED if low > below else within
    return Verdict(verdict, words, n, estimate, low, high)


def judge_explained(values: Sequence[float], factors: dict[str, Sequence]) -> Verdict:
    """Whether the first of several numbers explains most of the variance of ranks.

    The share that a number explains is ε² of a one-way layout: the part of the variance
    between its levels, less what as many levels would seem to explain by chance. The
    first number's share is compared with that of every other one; the interval is a
    bootstrap of 99 %, of the error of a share about that of the trials drawn from.
    """
    ranks, n = stats.rankdata(values), len(values)
    every = [pd.factorize(np.asarray(of))[0] for of in factors.values()]
    first, *others = (of for of in every if len(set(of)) > 1 or of is every[0])
    if n < max(TRIALS, 2 * len(set(first))) or len(set(first)) < 2 or not others:
        return Verdict(NOT_TESTED, f"{n} trials are too few to tell numbers apart", n)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    counts, once = drawn.astype(float), np.ones((1, n))  # products of floats are faster

    def ahead(counts, other, less=1):
        mine, its = (_explained(ranks, counts, each, less) for each in (first, other))
        return mine - its

    found = []
    for other in others:
        share, plain = ahead(once, other), ahead(once, other, 0)
        again = ahead(counts, other)
        low, high = share - np.quantile(again - plain, (1 - EXPLAINS, EXPLAINS))
        found.append((float(share[0]), float(low), float(high)))
    # Of several, each could be above by chance.
    estimate, low, high = min(found)
    name = next(iter(factors))
    words = (
        f"{name.replace('_', ' ')} explains {_explained(ranks, once, first)[0]:.0%} of "
        f"the variance of ranks, {estimate:+.2f} ({low:+.2f} to {high:+.2f}) against "
        f"what explains most beside it, over {n} trials"
    )
    verdict = CONTRADICTED if high < 0 else INCONCLUSIVE
    verdict = SUPPORTED if all(low > 0 for _, low, _ in found) else verdict
    return Verdict(verdict, words, n, estimate, low, high)


def _explained(values, counts, levels, less=1):
    """ε² for each row of how often a value counts; η² if nothing is to be taken off."""
    indicator = np.asarray(levels[:, None] == np.unique(levels), float)
    sizes, sums = counts @ indicator, (counts * values) @ indicator
    n, mean = counts.sum(1), (counts @ values) / counts.sum(1)
    total = counts @ values**2 - n * mean**2
    parts = np.divide(sums**2, sizes, out=np.zeros(sums.shape), where=sizes > 0)
    between, df = parts.sum(1) - n * mean**2, (sizes > 0).sum(1) - 1
    within = (total - between) / (n - df - 1)
    return (between - less * df * within) / total
