"""The time that a batch is given, `lamb-keras run --for 8m`, and what may begin in it.

A run or a trial begins if it is expected to end in time, by what others of its kind
have cost here. One that not even a fresh batch could hold begins all the same: it saves
a checkpoint when the time is up, and the next batch goes on from there.
"""

import math
import re
import time
from collections.abc import Callable, Mapping

# For kernels: when the time is up, in Unix seconds, and how long it was.
VARIABLE = "LAMB_KERAS_DEADLINE"
# What a first trial is thought to take, in seconds, with all that comes before it.
FIRST_GUESS = 60.0
# Of the whole time, what a trial may hope for: to start a kernel takes the rest.
USABLE = 0.7
# Kept for the report: a tenth of the time, at most a minute.
REPORT, LONGEST_REPORT = 0.1, 60.0

UNITS = {"h": 3600, "m": 60, "s": 1}


class Deadline:
    """When trainings are to be over; without arguments, never.

    Args:
        seconds: that there are in all.
        end: when they are over, by the clock; by default so many seconds from now.
        clock: gives the time in Unix seconds.

    Example:
        >>> deadline = Deadline(400, end=1000, clock=lambda: 900.0)
        >>> deadline.left, deadline.allows(90), deadline.allows(110)
        (100.0, True, False)
        >>> deadline.allows(1e6)  # no batch of 400 seconds could hold that
        True
    """

    def __init__(
        self,
        seconds: float = math.inf,
        end: float | None = None,
        clock: Callable[[], float] = time.time,
    ):
        self.seconds, self._clock = seconds, clock
        self.end = clock() + seconds if end is None else end

    @classmethod
    def of_batch(cls, seconds: float, clock=time.time) -> "Deadline":
        """That of a batch's trainings, which leaves time for its report."""
        report = min(REPORT * seconds, LONGEST_REPORT)
        return cls(seconds - report, clock=clock)

    @classmethod
    def of(cls, environ: Mapping) -> "Deadline":
        """The one that an environment names, as `text` wrote it."""
        end, _, seconds = environ.get(VARIABLE, "inf/inf").partition("/")
        return cls(float(seconds), float(end))

    @property
    def text(self) -> str:
        return f"{self.end}/{self.seconds}"

    @property
    def left(self) -> float:
        """The seconds that are left; infinity for no deadline, below 0 once over."""
        return self.end - self._clock()

    @property
    def is_over(self) -> bool:
        """Whether also what was to end in time is to be ended, half of a report later.

        The last cells of a notebook follow its trainings.
        """
        report = min(REPORT / (1 - REPORT) * self.seconds, LONGEST_REPORT)
        return self.left < -report / 2

    def allows(self, seconds: float | None = None) -> bool:
        """Whether what is expected to take so long may begin; None: nobody knows."""
        seconds = FIRST_GUESS if seconds is None else seconds
        if seconds > USABLE * self.seconds:
            seconds = min(FIRST_GUESS, self.seconds / 2)
        return self.left >= seconds


def duration(text: str) -> float:
    """The seconds that text such as 8m, 1h30m, 90s or 90 names; NaN for other text.

    Example:
        >>> duration("8m"), duration("1h30m"), duration("90"), duration("soon")
        (480.0, 5400.0, 90.0, nan)
    """
    number = r"(\d+(?:\.\d+)?)"
    pattern = "".join(rf"(?:{number}{unit})?" for unit in UNITS)
    found = re.fullmatch(pattern, f"{text}s" if text[-1:].isdecimal() else text)
    if not found or not text:
        return math.nan
    values = zip(found.groups(), UNITS.values(), strict=True)
    return sum(float(value) * seconds for value, seconds in values if value)
