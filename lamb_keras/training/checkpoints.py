"""What a training needs to go on with after a stop, saved by Orbax.

Of several processes, which have the same state, the first one reads and writes: they
need no disk that they share, and another number of them may go on.
"""

import dataclasses
import math
import os
import shutil
import time
import warnings

import jax
import numpy as np

from lamb_keras.training import processes
from lamb_keras.training.history import History
from lamb_keras.training.preemption import Notice
from lamb_keras.training.sharding import placed, whole

# How many are kept: the one before the last stays while the last is written.
_MOST = 2
SECONDS_BETWEEN = 10
# At least so many times as long as the last one took to save.
TIMES_BETWEEN = 20
# At most so many, and so many between two evaluations.
MOST_SECONDS_BETWEEN = 600


class Checkpoints:
    """The checkpoints of trials that train at once: a context manager.

    Args:
        folder: of their own.
        steps: between two checkpoints. None: the clock decides. One is saved after an
            evaluation if the last one, or the beginning, is longer ago than 20 times
            what that took to save (10 seconds to ten minutes), and between evaluations
            if it is ten minutes ago.
        notice: says when trainings are to end; a checkpoint is saved before they do.

    Attributes:
        asked_to_end: whether the trainings were to end when `due` was last called.
    """

    def __init__(self, folder, steps: int | None = None, notice: Notice | None = None):
        self.asked_to_end, self._notice = False, notice or Notice()
        self._folder, self._steps = folder, steps
        self._asked, self._took = None, 0.0
        self._began = self._saved = time.perf_counter()
        self._calls = self._next = 0  # of `due` since the last
        self._opened = None

    @property
    def _manager(self):
        if self._opened is None:
            import orbax.checkpoint as orbax  # seconds

            # In the background it would read arrays whose memory the next step takes.
            options = {"max_to_keep": _MOST, "enable_async_checkpointing": False}
            if jax.process_count() > 1:
                os.makedirs(self._folder, exist_ok=True)
                options["create"] = False
                options["multiprocessing_options"] = (
                    orbax.options.MultiprocessingOptions(
                        active_processes={0}, barrier_sync_key_prefix="0"
                    )
                )
            options = orbax.CheckpointManagerOptions(**options)
            self._opened = orbax.CheckpointManager(self._folder, options=options)
        return self._opened

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._opened is not None:
            self._opened.close()

    def due(self, step: int, evaluated: bool) -> bool:
        """Whether to save one after this step. All processes must ask at every call."""
        now, before = time.perf_counter(), self._asked
        self._asked = now
        until_next = -math.inf if before is None else now - before + self._took
        self.asked_to_end = self._notice.reached(until_next)
        if self._steps:
            return self.asked_to_end or step % self._steps == 0
        self._calls += 1
        between = MOST_SECONDS_BETWEEN
        if evaluated:
            between = min(max(SECONDS_BETWEEN, TIMES_BETWEEN * self._took), between)
        elif jax.process_count() > 1 and not self.asked_to_end:
            # `told` waits for the devices: ask at the first eight calls, and then
            # after an eighth more, by which a checkpoint may come too late.
            if self._calls < self._next:
                return False
            self._next = self._calls + self._calls // 8 + 1
        # Processes save together, and their clocks differ.
        return processes.told(self.asked_to_end or now - self._saved >= between)

    def save(self, step: int, progress, histories: list[History], losses: list):
        """Saves trials after a step: see `trainer.train`."""
        begun = time.perf_counter()
        # One after another, of those that processes share.
        arrays = [np.asarray(whole(leaf)) for leaf in jax.tree.leaves(progress)]
        if jax.process_index() == 0:
            self._save(step, arrays, histories, losses)
        self._saved = time.perf_counter()
        self._took = self._saved - begun
        self._calls = self._next = 0

    def _save(self, step, arrays, histories, losses):
        import orbax.checkpoint as orbax

        share = (time.perf_counter() - self._began) / len(histories)
        now = [dataclasses.replace(h, seconds=h.seconds + share) for h in histories]
        records = {
            "histories": [history.as_plain() for history in now],
            "losses": [[n.tolist(), np.asarray(each).tolist()] for n, each in losses],
        }
        items = orbax.args.Composite(
            progress=orbax.args.StandardSave(_by_number(arrays)),
            records=orbax.args.JsonSave(records),
        )
        try:
            self._manager.save(step, args=items, force=True)
        except (OSError, ValueError):
            # A full disk is no reason to end trials that may go on.
            if self.asked_to_end:
                raise

    def restore(self, progress, trials: list):
        """(steps done, progress, histories, losses) of the last one; None for none.

        `progress` is that of the trials before their first step, and where it lies.
        """
        leaves, structure = jax.tree.flatten(progress)
        arrays = [np.empty(np.shape(leaf), leaf.dtype) for leaf in leaves]
        found = self._found(arrays) if jax.process_index() == 0 else None
        about = processes.told(found and [found[0], found[1].records])
        if about is None:
            return None
        step, records = about
        if found:
            arrays = [found[1].progress[name] for name in _by_number(arrays)]
        found = []
        for leaf, array in zip(leaves, arrays, strict=True):
            array = processes.same_array(np.asarray(array))
            is_placed = isinstance(leaf, jax.Array)
            found.append(placed(array, leaf.sharding) if is_placed else array)
        histories = zip(records["histories"], trials, strict=True)
        losses = [
            (np.array(numbers, "int32"), np.array(each, "float32"))
            for numbers, each in records["losses"]
        ]
        histories = [History.of_plain(*each) for each in histories]
        return step, jax.tree.unflatten(structure, found), histories, losses

    def _found(self, arrays):
        """(the step, what Orbax has of it) of the last one; None for none."""
        step = self._manager.latest_step() if os.path.isdir(self._folder) else None
        if step is None:
            return None
        import orbax.checkpoint as orbax

        items = orbax.args.Composite(
            progress=orbax.args.StandardRestore(_by_number(arrays)),
            records=orbax.args.JsonRestore(),
        )
        try:
            return step, self._manager.restore(step, args=items)
        except Exception as error:  # of a damaged one: of Orbax, TensorStore, zlib
            if self._steps:
                raise  # it holds hours
            warnings.warn(f"A checkpoint is damaged: {error}", stacklevel=2)
            self._opened = self._opened.close()
            shutil.rmtree(self._folder)
            return None


def _by_number(arrays):
    return {f"{number:04d}": array for number, array in enumerate(arrays)}
