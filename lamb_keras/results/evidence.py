"""When data speak for a claim and when against it: the rules, the same for all claims.

Differences are paired by seed, and every one-sided test is at 2.5 %, so that what is
supported has a 95 % interval on the claim's side. From six pairs on it is the exact
sign-flip test, which cannot reach 2.5 % below; with fewer pairs, Student's t with the
variance pooled over the comparisons of one claim, which are several batches of the same
solvers. Without six pairs and without four degrees of freedom there is no verdict.

A claim of several comparisons is supported if each of them is: an intersection-union
test, which needs no correction. It is contradicted if one of them is, by Holm's.

All numbers here were fixed before any verdict was seen.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lamb_keras.results.statistics import CHANCE_BAND

ALPHA = 0.025
SIGN_FLIPS_FROM = 6
DEGREES_OF_FREEDOM = 4
# With this chance the further seeds that are asked for decide a claim.
POWER = 0.8
# More seeds than this are not asked for.
SEEDS = 100

VERDICTS = SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_TESTED = (
    "supported",
    "contradicted",
    "inconclusive",
    "not tested here",
)


class Verdict(NamedTuple):
    """What data say of a claim.

    Attributes:
        why: the numbers behind it in a sentence, or why there are none.
        n: pairs of the comparison that has fewest.
        estimate, low, high: of the comparison that is worst for the claim, the mean
            difference and its 95 % interval.
        more_seeds: of an inconclusive one, how many further seeds would decide it;
            None where more than `SEEDS` would be needed.
    """

    verdict: str
    why: str = ""
    n: int | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    more_seeds: int | None = None


def failed_to_train(rows: pd.DataFrame) -> pd.Series:
    """Which trials came to nothing, by one rule for all solvers: they are no evidence.

    A trial failed that did not finish, whose held-out loss is no better than guessing
    by frequency (`unigram_entropy` of text, the logarithm of `classes`), or whose test
    accuracy is at chance. The paper's diverged rows end at losses of 7.9 to 8.35, about
    the entropy of English words: no infinite loss is needed.

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


def p_greater(differences: Sequence[float], sd: float, df: int) -> float:
    """The chance of so large a mean if the true one is at most zero; NaN if unknown.

    Args:
        differences: a pair each.
        sd, df: of one difference, pooled over the comparisons of a claim.
    """
    differences = np.asarray(differences, float)
    n = len(differences)
    if n >= SIGN_FLIPS_FROM:
        sums = _signs(n) @ differences
        # The first are the signs as they are; equal sums may differ in the last bit.
        return float(np.mean(sums >= sums[0] - 1e-9 * np.abs(differences).sum()))
    if n < 2 or df < DEGREES_OF_FREEDOM:
        return math.nan
    if sd == 0:
        return 0.0 if differences.mean() > 0 else 1.0
    return float(stats.t.sf(differences.mean() / (sd / math.sqrt(n)), df))


@functools.cache
def _signs(n):
    """All signs of n numbers, or 4,096 drawn ones of more than twelve.

    `scipy.stats.permutation_test` gives the same chances in fifty times the time.
    """
    if n <= 12:
        return np.array(list(itertools.product((1, -1), repeat=n)))
    drawn = np.random.default_rng(0).choice((1, -1), (2**12, n))
    return np.vstack([np.ones(n, int), drawn])


def pooled(comparisons: Sequence[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation of a difference about its comparison's mean, and its df.

    Example:
        >>> pooled([[1.0, 3.0], [5.0, 5.0]])
        (1.0, 2)
    """
    squares = sum(np.var(each) * len(each) for each in comparisons)
    df = sum(len(each) - 1 for each in comparisons)
    return math.sqrt(squares / df) if df else math.nan, df


def interval(differences: Sequence[float], sd: float, df: int) -> tuple[float, float]:
    """A 95 % interval of a mean: by bootstrap, or by Student's t of fewer than six."""
    differences = np.asarray(differences, float)
    n, mean = len(differences), differences.mean()
    if n >= SIGN_FLIPS_FROM and differences.std() > 0:
        found = stats.bootstrap((differences,), np.mean, n_resamples=2000, rng=0)
        return tuple(map(float, found.confidence_interval))
    reach = stats.t.isf(ALPHA, df) * sd / math.sqrt(n) if df else math.nan
    return float(mean - reach), float(mean + reach)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjustment of p-values, in their order; NaN counts as 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    values = np.nan_to_num(values, nan=1.0)
    order = np.argsort(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def judge(
    comparisons: Sequence[Sequence[float]],
    low: float = 0.0,
    high: float = math.inf,
) -> Verdict:
    """Whether the true mean of every comparison lies between two bounds.

    (0, ∞) is the claim to be ahead, (-margin, ∞) not to be worse by more than a margin,
    (-margin, margin) to be alike: two one-sided tests.

    Args:
        comparisons: of each, the paired differences, a seed each.

    Example:
        >>> judge([[0.1, 0.2, 0.15, 0.12, 0.18, 0.11, 0.2]]).verdict
        'supported'
        >>> judge([[0.1, 0.2, 0.15]]).verdict
        'not tested here'
    """
    comparisons = [np.asarray(each, float) for each in comparisons]
    n = min(map(len, comparisons), default=0)
    sd, df = pooled(comparisons) if n else (math.nan, 0)
    if n < 2:
        return Verdict(NOT_TESTED, "a single seed decides nothing", n)
    if n < SIGN_FLIPS_FROM and df < DEGREES_OF_FREEDOM:
        why = f"{n} pairs of seeds and nothing to pool with decide nothing"
        return Verdict(NOT_TESTED, why, n, more_seeds=SIGN_FLIPS_FROM - n)
    inside, outside, slack = [], [], []
    for each in comparisons:
        bounds = [each - low] + ([high - each] if math.isfinite(high) else [])
        inside.append(max(p_greater(bound, sd, df) for bound in bounds))
        beyond = (p_greater(-bound, sd, df) for bound in bounds)
        # Beyond either bound; two tests need twice the evidence.
        outside.append(min(len(bounds) * p for p in beyond))
        slack.append(min(bound.mean() for bound in bounds))
    worst = int(np.argmin(slack))
    told = (n, float(comparisons[worst].mean()), *interval(comparisons[worst], sd, df))
    words = f"{told[1]:+.4g} ({told[2]:+.4g} to {told[3]:+.4g}) over {n} pairs"
    if all(p <= ALPHA for p in inside):
        return Verdict(SUPPORTED, words, *told)
    if min(holm(outside)) <= ALPHA:
        return Verdict(CONTRADICTED, words, *told)
    return Verdict(INCONCLUSIVE, words, *told, _more_seeds(n, slack[worst], sd))


def _more_seeds(n, slack, sd):
    """How many further seeds would decide, if means and spread stay what they are."""
    if not slack or not sd > 0:
        return None
    z = stats.norm.isf(ALPHA) + stats.norm.isf(1 - POWER)
    needed = max(math.ceil((z * sd / slack) ** 2), SIGN_FLIPS_FROM, n + 1)
    return needed - n if needed - n <= SEEDS else None


def judge_shares(failed: int, of: int, trained: int, controls: int) -> Verdict:
    """Whether settings come to nothing of which it is claimed, while controls train.

    Both by a binomial test against one half, of settings each of which counts once.

    Example:
        >>> judge_shares(failed=10, of=10, trained=10, controls=10).verdict
        'supported'
        >>> judge_shares(failed=3, of=3, trained=3, controls=3).verdict
        'inconclusive'
    """
    if of < 2 or controls < 2:
        return Verdict(NOT_TESTED, "there are fewer than two settings to compare")
    words = (
        f"{failed} of {of} settings came to nothing, "
        f"{controls - trained} of {controls} of the controls"
    )
    if _mostly(controls - trained, controls):
        return Verdict(NOT_TESTED, f"the controls did not train either: {words}")
    if _mostly(failed, of) and _mostly(trained, controls):
        return Verdict(SUPPORTED, words, of)
    if _mostly(of - failed, of):
        return Verdict(CONTRADICTED, words, of)
    return Verdict(INCONCLUSIVE, words, of)


def _mostly(k, n):
    return stats.binomtest(k, n, 0.5, alternative="greater").pvalue <= ALPHA


def judge_correlation(
    first: Sequence[float], second: Sequence[float], below: float
) -> Verdict:
    """Whether the size of a rank correlation is below a bound, by bootstrap.

    Example:
        >>> judge_correlation(range(30), range(30), below=0.8).verdict
        'contradicted'
    """
    pairs = np.asarray([first, second], float)
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    n = pairs.shape[1]
    if n < 4 * SIGN_FLIPS_FROM:
        return Verdict(NOT_TESTED, f"{n} trials are too few for a correlation", n)

    def size(x, y):
        return abs(stats.spearmanr(x, y).statistic)

    if (estimate := float(size(*pairs))) > 1 - 1e-9:
        low = high = estimate
    else:
        drawn = stats.bootstrap(
            tuple(pairs), size, paired=True, vectorized=False, n_resamples=999, rng=0
        )
        low, high = map(float, drawn.confidence_interval)
    words = f"|ρ| = {estimate:.2f} ({low:.2f} to {high:.2f}) over {n} trials"
    verdict = (
        SUPPORTED if high < below else CONTRADICTED if low > below else INCONCLUSIVE
    )
    return Verdict(verdict, words, n, estimate, low, high)
