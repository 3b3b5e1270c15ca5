"""What a training needs to go on with after a stop, saved by Orbax."""

import dataclasses
import os
import shutil
import signal
import threading
import time
import warnings

import jax
import numpy as np

from lamb_keras.deadline import Deadline
from lamb_keras.training.history import History

# The one before the last stays until the last is complete, and after.
_MOST = 2
SECONDS_BETWEEN = 10
# At least so many times as long as it took to save the last one.
TIMES_BETWEEN = 20


class Checkpoints:
    """The checkpoints of trials that train at once: a context manager.

    One that saves every so many steps also hears when the process is asked to end
    (SIGTERM).

    Args:
        folder: of their own, on a disk that all processes see.
        steps: between two. None: one after an evaluation, unless the last, or the
            begin, is a few seconds ago.
        deadline: of the training. One more is saved when what follows up to the next
            one would not end in time.

    Attributes:
        asked_to_end: whether the scheduler will take the machine away, or time is up.
    """

    def __init__(
        self, folder, steps: int | None = None, deadline: Deadline | None = None
    ):
        self._deadline, self._asked, self._took = deadline or Deadline(), None, 0.0
        self.asked_to_end = self._terminated = self._listens = False
        self._folder, self._steps = folder, steps
        self._began = self._saved = time.perf_counter()
        self._opened = None

    @property
    def _manager(self):
        if self._opened is None:
            import orbax.checkpoint as orbax  # seconds

            # In the background it would read arrays whose memory the next step takes.
            options = orbax.CheckpointManagerOptions(
                max_to_keep=_MOST, enable_async_checkpointing=False
            )
            self._opened = orbax.CheckpointManager(self._folder, options=options)
        return self._opened

    def __enter__(self):
        # With several processes JAX listens, and has all stop at the same step.
        in_main_thread = threading.current_thread() is threading.main_thread()
        if self._steps and jax.process_count() == 1 and in_main_thread:
            self._listens = True
            self._before = signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(self, *_):
        if self._listens:
            signal.signal(signal.SIGTERM, self._before)
        if self._opened is not None:
            self._opened.close()

    def due(self, step: int, evaluated: bool) -> bool:
        """Whether to save one after this step. Every process must ask at every step."""
        # Processes save together, and their clocks differ.
        alone = jax.process_count() == 1
        now, before = time.perf_counter(), self._asked
        self._asked = now
        self.asked_to_end = bool(
            alone and before and self._deadline.left < now - before + self._took
        )
        if self._steps is None:
            between = max(SECONDS_BETWEEN, TIMES_BETWEEN * self._took)
            recent = alone and now - self._saved < between
            return evaluated and (self.asked_to_end or not recent)
        self.asked_to_end |= self._terminated or self._manager.reached_preemption(step)
        return self.asked_to_end or step % self._steps == 0

    def save(self, step: int, progress, histories: list[History], losses: list):
        """Saves trials after a step: see `trainer.train`."""
        import orbax.checkpoint as orbax

        begun = time.perf_counter()
        share = (begun - self._began) / len(histories)
        now = [dataclasses.replace(h, seconds=h.seconds + share) for h in histories]
        records = {
            "histories": [history.as_plain() for history in now],
            "losses": [[n.tolist(), np.asarray(each).tolist()] for n, each in losses],
        }
        items = orbax.args.Composite(
            progress=orbax.args.StandardSave(_by_number(progress)),
            records=orbax.args.JsonSave(records),
        )
        try:
            self._manager.save(step, args=items, force=True)
        except (OSError, ValueError):
            # A full disk is no reason to lose trials that may stay.
            if self.asked_to_end:
                raise
        self._saved = time.perf_counter()
        self._took = self._saved - begun

    def restore(self, progress, trials: list):
        """(steps done, progress, histories, losses) of the last one; None for none.

        `progress` is that of the trials before their first step.
        """
        step = self._manager.latest_step() if os.path.isdir(self._folder) else None
        if step is None:
            return None
        import orbax.checkpoint as orbax

        like = _by_number(progress)
        items = orbax.args.Composite(
            progress=orbax.args.StandardRestore(like),
            records=orbax.args.JsonRestore(),
        )
        try:
            found = self._manager.restore(step, args=items)
        except Exception as error:  # of a damaged one: of Orbax, TensorStore, zlib
            if self._steps:
                raise  # it holds hours
            warnings.warn(f"A checkpoint is damaged: {error}", stacklevel=2)
            self._opened = self._opened.close()
            shutil.rmtree(self._folder)
            return None
        structure = jax.tree.structure(progress)
        progress = jax.tree.unflatten(structure, [found.progress[n] for n in like])
        histories = zip(found.records["histories"], trials, strict=True)
        losses = [
            (np.array(numbers, "int32"), np.array(each, "float32"))
            for numbers, each in found.records["losses"]
        ]
        return step, progress, [History.of_plain(*each) for each in histories], losses

    def _terminate(self, *_):
        self._terminated = True


def _by_number(tree):
    leaves = enumerate(jax.tree.leaves(tree))
    return {
        f"{number:04d}": leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        for number, leaf in leaves
    }
