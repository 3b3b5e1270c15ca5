"""How an attempt at a run ended, and whether another one may end better.

An error in code is one every time. A kernel that was killed may have had bad luck or
too little memory: such a run gets a second attempt, with half the trials at a time.
"""

import re
from typing import NamedTuple

SUCCEEDED, FAILED, INTERRUPTED = "succeeded", "failed", "interrupted"
KILLED, OUT_OF_MEMORY, TIMED_OUT = "killed", "out of memory", "timed out"
# It has kept what it needs to go on in a later batch.
LEFT = "left"
ALL = (SUCCEEDED, FAILED, INTERRUPTED, KILLED, OUT_OF_MEMORY, TIMED_OUT, LEFT)

MOST_ATTEMPTS = 2


class Outcome(NamedTuple):
    """How an attempt ended, in one of the words above, and why, if it failed."""

    how: str
    reason: str | None = None

    @property
    def is_well(self):
        return self.how in (SUCCEEDED, LEFT)

    @property
    def may_be_retried(self):
        return self.how in (KILLED, OUT_OF_MEMORY)


def of_error(name, value):
    """The outcome of an exception in the notebook.

    Example:
        >>> of_error("ValueError", "no").how
        'failed'
        >>> of_error("XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory").how
        'out of memory'
    """
    how = FAILED
    if name.endswith("MemoryError") or "RESOURCE_EXHAUSTED" in value:
        how = OUT_OF_MEMORY
    elif name == "KeyboardInterrupt":
        how = INTERRUPTED
    elif name == "Preempted":
        how = LEFT
    return Outcome(how, f"{name}: {value}")


def of_process(name, code):
    """The outcome of a process of this name that should have lived on.

    The code is negative for a signal, as of `subprocess.Popen`; None if nobody knows.

    Example:
        >>> of_process("the kernel", -9).reason
        'the kernel was killed by signal 9'
    """
    if code is None:
        return Outcome(KILLED, f"{name} died")
    if code < 0:
        return Outcome(KILLED, f"{name} was killed by signal {-code}")
    return Outcome(FAILED, f"{name} ended itself with exit code {code}")


def one_line(text, longest):
    r"""Text on one line, without the colors that a kernel gives to exceptions.

    Example:
        >>> one_line("\x1b[0;31mValueError\x1b[0m: no\n\n  more of it", 15)
        'ValueError: no…'
    """
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(text)).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
