"""How an attempt at a run ended, and whether another one may end better.

An error in code is one every time. A process that was killed may have had bad luck or
too little memory: such a run gets a second attempt, in the latter case with half the
trials at a time.
"""

import re
import signal
from pathlib import Path
from typing import NamedTuple

SUCCEEDED, FAILED, INTERRUPTED = "succeeded", "failed", "interrupted"
KILLED, OUT_OF_MEMORY, TIMED_OUT = "killed", "out of memory", "timed out"
ALL = (SUCCEEDED, FAILED, INTERRUPTED, KILLED, OUT_OF_MEMORY, TIMED_OUT)

MOST_ATTEMPTS = 2
# Of the machine's memory. Below this its kernel soon ends somebody.
SCARCE = 0.05
# Where Linux counts whom it ended for want of memory: here, and in either cgroup.
COUNTS = (
    Path("/proc/vmstat"),
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
)


class Outcome(NamedTuple):
    """How an attempt ended, in one of the words above, and why, if it failed."""

    how: str
    reason: str | None = None
    signal: int | None = None  # that ended the kernel or the worker, if known

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
    return Outcome(how, f"{name}: {value}")


def of_process(name, code):
    """The outcome of a process that should have lived on.

    Args:
        name: of the process, "the kernel".
        code: negative for a signal, as of `subprocess.Popen`; None if nobody knows.

    Example:
        >>> of_process("the kernel", -9).reason
        'the kernel was killed by signal 9'
    """
    if code is None:
        return Outcome(KILLED, f"{name} died")
    if code < 0:
        return Outcome(KILLED, f"{name} was killed by signal {-code}", -code)
    return Outcome(FAILED, f"{name} ended itself with exit code {code}")


def one_line(text, longest):
    r"""Text on one line, without the colors that a kernel gives to exceptions.

    Example:
        >>> one_line("\x1b[0;31mValueError\x1b[0m: no\n\n  more of it", 15)
        'ValueError: no…'
    """
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(text)).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


class Memory:
    """Whether memory was scarce at any time since this was made."""

    def __init__(self):
        self._ended_before = _ended_for_memory()
        self._scarce = False

    def check(self):
        """Takes note of this moment; called a few times a second."""
        import psutil

        memory = psutil.virtual_memory()
        self._scarce |= memory.available < SCARCE * memory.total

    def explain(self, outcome):
        """The outcome, "out of memory" for a kill that was perhaps for want of it."""
        if outcome.how != KILLED or outcome.signal not in (signal.SIGKILL, None):
            return outcome
        if not self._scarce and _ended_for_memory() <= self._ended_before:
            return outcome
        reason = f"{outcome.reason}, perhaps for want of memory"
        return outcome._replace(how=OUT_OF_MEMORY, reason=reason)


def _ended_for_memory():
    count = 0
    for path in COUNTS:
        try:
            found = re.findall(r"^oom_kill (\d+)", path.read_text(), re.MULTILINE)
        except OSError:
            continue
        count += sum(map(int, found))
    return count
