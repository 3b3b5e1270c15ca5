"""An iterator over batches whose place is a step, whatever makes the batches."""

from collections.abc import Callable, Iterator

import grain


class Batches(grain.DatasetIterator):
    """Batches from any step on; a Grain iterator, for Orbax to keep.

    Its state is the step alone, the number of the next batch. The state of Grain's own
    iterators has an entry for each worker, and given to another number of workers it
    fails or, without a word, goes on with other batches.

    `begin` is a function of a step to the batches from there, which have `close`.
    """

    def __init__(self, begin: Callable[[int], Iterator], step: int = 0):
        super().__init__()
        self._begin, self._step, self._batches = begin, step, None

    def __next__(self):
        if self._batches is None:
            self._batches = self._begin(self._step)
        batch = next(self._batches)
        self._step += 1
        return batch

    def get_state(self) -> dict:
        return {"step": self._step}

    def set_state(self, state: dict):
        self.close()
        self._step = state["step"]

    def close(self):
        """End the workers."""
        if self._batches is not None:
            self._batches.close()
        self._batches = None
