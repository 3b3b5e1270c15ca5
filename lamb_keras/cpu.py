"""How much of the machine is ours."""

import os


def processors() -> int:
    """How many processors this process may use: in a container, not the machine's all.

    Example:
        >>> processors() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share(parts: int) -> int:
    """How many processors each of so many has that use them at once: at least one.

    Example:
        >>> share(processors()), share(2 * processors())
        (1, 1)
    """
    return max(1, processors() // parts)
