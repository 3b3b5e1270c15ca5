"""Counts what XLA compiles, so that "nothing is compiled again" can be asserted."""

import contextlib
import threading

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"


class _Counts(threading.local):
    """What a thread has compiled, and what of it not within `expected()`."""

    total, late, seconds, expected = 0, 0, 0.0, False


_counts = _Counts()


def counts() -> tuple[int, int, float]:
    """(programs, those not within `expected()`, seconds), compiled by this thread.

    Example:
        >>> before, double = counts(), jax.jit(lambda x: 2 * x)
        >>> with expected():
        ...     _ = double(1.5)
        >>> _ = double(2.5), double(1)
        >>> [now - then for now, then in zip(counts()[:2], before, strict=False)]
        [2, 1]
    """
    return _counts.total, _counts.late, _counts.seconds


@contextlib.contextmanager
def expected():
    """A context in which programs are compiled that trials share."""
    before, _counts.expected = _counts.expected, True
    try:
        yield
    finally:
        _counts.expected = before


def _count(event, duration, **_):
    if event == _EVENT:
        _counts.total += 1
        _counts.late += not _counts.expected
        _counts.seconds += duration


# JAX calls listeners in the thread that compiles.
jax.monitoring.register_event_duration_secs_listener(_count)
