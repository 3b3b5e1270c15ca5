"""One comparison with the paper as a sentence, and the words that all of them share."""

import math
from typing import NamedTuple


class Finding(NamedTuple):
    """One comparison as a sentence; `agrees` is None where it is told, not judged."""

    words: str
    agrees: bool | None = None


def is_number(value):
    return isinstance(value, float | int) and math.isfinite(value)


def low(value):
    return value if is_number(value) else -math.inf


def count(number, noun):
    return f"{number} {noun}{'' if number == 1 else 's'}"
