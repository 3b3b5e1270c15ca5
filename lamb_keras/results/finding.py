"""One comparison with the paper as a sentence, and the words that all of them share."""

import math
from typing import NamedTuple

from lamb_keras.results.statistics import is_finite


class Finding(NamedTuple):
    """One comparison as a sentence; `agrees` is None where it is told, not judged."""

    words: str
    agrees: bool | None = None


def low(value) -> float:
    """A value as it ranks: what diverged is behind everything."""
    return value if is_finite(value) else -math.inf


def gap(first, second) -> float:
    """How far the first is ahead of the second; infinitely where one diverged."""
    if is_finite(first):
        return first - low(second)
    return -math.inf


def within_spread(gap: float, *results) -> bool | None:
    """Whether the larger spread over seeds covers a gap; None if none is known."""
    known = [result.spread for result in results if is_finite(result.spread)]
    return abs(gap) <= max(known) if known else None


def away(places: int) -> str:
    """How far a best setting is from the paper's, in words; "" where it is the same."""
    if places < 2:
        return ", its neighbor" if places else ""
    return f", {places} places away in the grid"
