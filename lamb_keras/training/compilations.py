"""Counts what XLA compiles, so that "nothing is compiled again" can be asserted."""

import threading

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"
_counts = threading.local()


def compilations() -> int:
    """The number of programs this thread has compiled since the module was imported.

    Example:
        >>> import jax, numpy as np
        >>> double = jax.jit(lambda x: 2 * x)
        >>> before = compilations()
        >>> _ = double(np.float32(1)), double(np.float32(2))
        >>> compilations() - before
        1
    """
    return getattr(_counts, "total", 0)


def compile_seconds() -> float:
    """How long this thread has been compiling since the module was imported.

    Example:
        >>> compile_seconds() >= 0
        True
    """
    return getattr(_counts, "seconds", 0.0)


def _count(event, duration, **_):
    if event == _EVENT:
        _counts.total = compilations() + 1
        _counts.seconds = compile_seconds() + duration


# JAX calls listeners in the thread that compiles.
jax.monitoring.register_event_duration_secs_listener(_count)
