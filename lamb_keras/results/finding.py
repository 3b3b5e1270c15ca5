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
    """Whether the larger spread over seeds covers a gap; None if there is none known.

    Example:
        >>> from lamb_keras.results.reconstruction import Result
        >>> a, b = Result(7, "adam", "", 0.9, spread=0.1), Result(7, "lamb", "", 0.9)
        >>> within_spread(-0.05, a, b), within_spread(0.2, a, b), within_spread(0.2, b)
        (True, False, None)
    """
    known = [result.spread for result in results if is_finite(result.spread)]
    return abs(gap) <= max(known) if known else None


def away(places: int) -> str:
    """How far a best setting is from the paper's, in words; none where it is the same.

    Example:
        >>> [away(places) for places in (0, 1, 2)]
        ['', ', its neighbor', ', 2 places away in the grid']
    """
    if places < 2:
        return ", its neighbor" if places else ""
    return f", {places} places away in the grid"
