"""Two settings compared over seeds: how surprising the difference would be.

Each kind of comparison has `p_above(bound)`, the chance of data such as these if the
true difference is at most the bound, and `p_below(bound)`. Which kind fits is decided
by what there is: `Pairs` of six seeds or more, else `Means`; `Failures` where one of
the two did not train; `Nothing` where there is no evidence.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

ALPHA = 0.025
SIGN_FLIPS_FROM = 6
DEGREES_OF_FREEDOM = 4


class Pairs:
    """Differences that are paired by seed, whose mean is judged by flipping signs.

    The exact test assumes no distribution, and cannot reach 2.5 % below six pairs.

    Example:
        >>> Pairs([0.1, 0.2, 0.15, 0.12, 0.18, 0.11]).p_above(0)  # 1 of 64
        0.015625
    """

    why = None
    unit = "pairs"
    name = ""  # of what is compared, for whoever reads

    def __init__(self, differences: Sequence[float]):
        self.differences = np.asarray(differences, float)
        self.n = len(self.differences)
        self.estimate = float(self.differences.mean())
        self.sd = float(self.differences.std(ddof=1))
        self.least = SIGN_FLIPS_FROM

    def p_above(self, bound: float) -> float:
        beyond = self.differences - bound
        sums = _signs(self.n) @ beyond
        # The first are the signs as they are; equal sums may differ in the last bit.
        return float(np.mean(sums >= sums[0] - 1e-9 * np.abs(beyond).sum()))

    def p_below(self, bound: float) -> float:
        return Pairs(-self.differences).p_above(-bound)

    def interval(self) -> tuple[float, float]:
        """95 %, by bootstrap."""
        if self.sd == 0:
            return self.estimate, self.estimate
        found = stats.bootstrap((self.differences,), np.mean, n_resamples=2000, rng=0)
        return tuple(map(float, found.confidence_interval))


@functools.cache
def _signs(n):
    """All signs of n numbers, or 4,096 drawn ones of more than twelve.

    `scipy.stats.permutation_test` gives the same chances in fifty times the time.
    """
    if n <= 12:
        return np.array(list(itertools.product((1, -1), repeat=n)))
    drawn = np.random.default_rng(0).choice((1, -1), (2**12, n))
    return np.vstack([np.ones(n, int), drawn])


class Spread(NamedTuple):
    """The variance of a solver's seeds about the mean of their setting."""

    variance: float
    df: int


def spread(values: pd.Series, settings: pd.Series) -> Spread:
    """The variance of seeds, pooled over the settings that they are of."""
    residuals = values - values.groupby(settings).transform("mean")
    df = len(values) - settings.nunique()
    return Spread(float((residuals**2).sum() / df) if df else math.nan, df)


class Means:
    """The difference of two means over few seeds, by Student's t.

    Each mean has the `Spread` of its solver, of which it is assumed that it is the same
    in all the solver's settings that are pooled; of two solvers the spreads may differ
    (Welch). Pairing is not used: seeds that move both alike make the test stricter.
    """

    unit = "seeds of each"
    name = ""

    def __init__(self, first, second, of_first: Spread, of_second: Spread):
        self.n = min(len(first), len(second))
        self.estimate = float(np.mean(first) - np.mean(second))
        a, b = of_first.variance / len(first), of_second.variance / len(second)
        self.error = math.sqrt(a + b)
        known = {of_first, of_second}  # of one solver, its spread is known once
        self.known = sum(each.df for each in known) if all(s.df for s in known) else 0
        self.df = float(self.known)
        if len(known) == 2 and self.error > 0:  # Satterthwaite
            self.df = (a + b) ** 2 / (a**2 / of_first.df + b**2 / of_second.df)
        self.sd = self.error * math.sqrt(self.n)
        self.least = self.n + 1

    @property
    def why(self) -> str | None:
        if self.n < 2:
            return "a single seed decides nothing"
        if self.known < DEGREES_OF_FREEDOM:
            return f"{self.n} seeds and too few to pool with decide nothing"
        return None

    def p_above(self, bound: float) -> float:
        return self._p_positive(self.estimate - bound)

    def p_below(self, bound: float) -> float:
        return self._p_positive(bound - self.estimate)

    def _p_positive(self, beyond):
        if self.error == 0:
            return 0.0 if beyond > 0 else 1.0
        return float(stats.t.sf(beyond / self.error, self.df))

    def interval(self) -> tuple[float, float]:
        reach = float(stats.t.isf(ALPHA, self.df)) * self.error
        return self.estimate - reach, self.estimate + reach


class Failures:
    """Trainings that failed of two settings, by Fisher's exact test.

    A training that failed has no metric to compare. That it failed, while another did
    not, is itself what "falls behind" says, if it happens to seeds enough: of 4 and 4,
    all and none have a chance of 1 in 70. Whoever compares sees to it that the solver
    trains elsewhere: one that never does was run wrongly.
    """

    unit = "seeds of each"
    name = ""
    sd = math.nan

    def __init__(self, failed: int, of: int, second_failed: int, second_of: int):
        self.table = [[second_failed, failed], [second_of - second_failed, of - failed]]
        self.n = min(of, second_of)
        sides = sorted([(failed, of), (second_failed, second_of)], key=lambda s: -s[0])
        (most, of_most), (least, of_least) = sides
        self.words = f"{most} of {of_most} failed to train, and {least} of {of_least}"
        self.estimate = math.copysign(math.inf, second_failed - failed)

    @property
    def why(self) -> str | None:
        seeds = sum(map(sum, self.table))
        if 1 / math.comb(seeds, self.n) > ALPHA:
            return f"an exact test needs 4 seeds of each where {self.words}"
        return None

    def p_above(self, bound: float) -> float:
        """Of so many more failures of the second, if it fails no more often."""
        return float(stats.fisher_exact(self.table, "greater").pvalue)

    def p_below(self, bound: float) -> float:
        return float(stats.fisher_exact(self.table, "less").pvalue)


class Nothing(NamedTuple):
    """A comparison of which there is no evidence, and why."""

    why: str
    n: int | None = None


Comparison = Pairs | Means | Failures | Nothing
