"""What a long training needs to go on with after a stop, kept by Orbax."""

import json
import os
import signal
import threading

import grain
import jax
import orbax.checkpoint as orbax

# The one before the last stays until the last is complete, and after.
_KEPT = 2


class Checkpoints:
    """The checkpoints of one training, in a folder of its own.

    As a context manager it also hears when the process is asked to end.

    Args:
        folder: on a disk that all processes see; made if missing.
        every: steps between two checkpoints.
        of: what the training is, as plain values. One of anything else is refused.

    Attributes:
        asked_to_end: whether the scheduler will take the machine away (SIGTERM).
    """

    def __init__(self, folder: str, every: int, of: dict):
        self.folder = os.path.abspath(os.path.expanduser(folder))
        self._every = every
        self._of = json.loads(json.dumps(of))
        self._terminated = False
        self.asked_to_end = False
        # In the background it would read arrays whose memory the next step takes over.
        options = orbax.CheckpointManagerOptions(
            max_to_keep=_KEPT, enable_async_checkpointing=False
        )
        self._manager = orbax.CheckpointManager(self.folder, options=options)

    def __enter__(self):
        # With several processes JAX listens, and has all stop at the same step.
        self._listens = (
            jax.process_count() == 1
            and threading.current_thread() is threading.main_thread()
        )
        if self._listens:
            self._before = signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(self, *_):
        if self._listens:
            signal.signal(signal.SIGTERM, self._before)
        self._manager.close()

    def due(self, step: int) -> bool:
        """Whether to keep one after this step. Every process must ask at every step."""
        self.asked_to_end = self._terminated or self._manager.reached_preemption(step)
        return self.asked_to_end or step % self._every == 0

    def keep(self, step: int, state, batches, told: dict):
        """Keeps the state after a step, the place in the stream, and plain values.

        Args:
            step: steps done.
            state: a `State` of arrays.
            batches: a Grain iterator; its place may differ from process to process.
            told: what JSON can hold.
        """
        self._manager.save(
            step,
            args=orbax.args.Composite(
                state=orbax.args.StandardSave(state._asdict()),
                batches=grain.checkpoint.CheckpointSave(batches),
                told=orbax.args.JsonSave(told),
                of=orbax.args.JsonSave(self._of),
            ),
            force=True,
        )

    def last(self, state, batches):
        """(steps done, state, told) of the last one, or None where there is none.

        Args:
            state: a `State` of `jax.ShapeDtypeStruct`, which says where arrays go.
            batches: the iterator to set to its place.

        Raises:
            ValueError: for a checkpoint of another training.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        self._refuse_others(step)
        found = self._manager.restore(
            step,
            args=orbax.args.Composite(
                state=orbax.args.StandardRestore(state._asdict()),
                batches=grain.checkpoint.CheckpointRestore(batches),
                told=orbax.args.JsonRestore(),
            ),
        )
        return step, type(state)(**found.state), found.told

    def _refuse_others(self, step):
        kept = self._manager.restore(
            step, args=orbax.args.Composite(of=orbax.args.JsonRestore())
        ).of
        for name in {**self._of, **kept}:
            found, expected = kept.get(name), self._of.get(name)
            if found != expected:
                raise ValueError(
                    f"{self.folder} holds a checkpoint of a training whose {name} is "
                    f"{found!r}, expected {expected!r}: give each training a folder of "
                    "its own."
                )

    def _terminate(self, *_):
        self._terminated = True
