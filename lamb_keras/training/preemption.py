"""Whether trainings are to save and to end: on SIGTERM, or when their time is up."""

import itertools
import math
import os
import signal
import threading

import jax
from jax.experimental import multihost_utils

from lamb_keras.deadline import Deadline

# JAX wants the calls of all processes numbered, over all sweeps.
_calls = itertools.count(1)


class Preempted(Exception):
    """Trainings were asked to end before all had finished; they may be continued."""


class Notice:
    """Whether all trainings of a sweep are to save and to end.

    As a context manager it handles SIGTERM. Of several processes JAX does: whichever
    gets the signal, `reached` becomes true at the same call on all, and so all must
    call it equally often, in the same order.

    Args:
        deadline: by which they are to end; that of the first of several processes.
    """

    def __init__(self, deadline: Deadline | None = None):
        self._deadline, self._asked, self._before = deadline or Deadline(), False, None

    def __enter__(self):
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and jax.process_count() == 1:
            self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def reached(self, seconds: float = -math.inf) -> bool:
        """Whether to save and to end now.

        Also if less time is left than `seconds`, those until the next call.
        """
        late = self._deadline.left < seconds
        if jax.process_count() == 1:
            return self._asked or late
        if late and jax.process_index() == 0 and not self._asked:
            os.kill(os.getpid(), signal.SIGTERM)
        reached = multihost_utils.reached_preemption_sync_point(next(_calls))
        self._asked = self._asked or reached
        return self._asked

    def _hear(self, *_):
        self._asked = True
