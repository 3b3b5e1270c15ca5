"""Batches of packed sequences, shuffled anew each epoch and shared by processes."""

import math

import numpy as np

from lamb_keras.data.images import DataError


def batches(
    arrays: dict[str, np.ndarray],
    *,
    batch_size: int,
    seed: int,
    epochs: float | None = None,
    process_index: int = 0,
    process_count: int = 1,
    start_step: int = 0,
):
    """An iterator over dicts of arrays with the same names, a part of the rows each.

    The rows come as one stream of epochs, each shuffled in its own way; a batch may
    span two. With several processes each makes its part of every batch, and together
    they make what one alone would, in another order within the batch.

    It has Grain's `get_state` and `set_state`: an iterator made in the same way, given
    the state of another, goes on as that one would have.

    Args:
        arrays: by name, of the same length: `PairData.arrays()`, for instance.
        batch_size: rows of a step, of all processes together.
        seed: of the order.
        epochs: how long; the last batch is filled up from one more epoch. None:
            without end.
        process_index, process_count: which part of each batch is made here;
            `jax.process_index()` and `jax.process_count()`.
        start_step: the first batch, counted from 0.

    Raises:
        lamb_keras.data.DataError: where there are no rows, or a batch cannot be shared.

    Example:
        >>> rows = {"row": np.arange(4)}
        >>> found = [batch["row"] for batch in batches(
        ...     rows, batch_size=2, seed=0, epochs=1)]
        >>> sorted(np.concatenate(found).tolist())
        [0, 1, 2, 3]
    """
    import grain  # seconds

    rows = _rows(arrays)
    _refuse_impossible(batch_size, process_index, process_count)
    here = batch_size // process_count
    end = None if epochs is None else math.ceil(epochs * rows / batch_size) * here
    # As in `imagenet`: else the second epoch of seed 0 were the first of seed 1.
    (order_seed,) = map(int, np.random.SeedSequence(seed).generate_state(1))
    numbers = grain.MapDataset.source(range(rows)).shuffle(order_seed).repeat()
    numbers = numbers[process_index::process_count][start_step * here : end]

    def gather(chosen):
        return {name: array[chosen] for name, array in arrays.items()}

    reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    return iter(numbers.batch(here).map(gather).to_iter_dataset(reading))


def _rows(arrays):
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise DataError(
            f"the arrays have {lengths} rows; expected the same number in all, and some"
        )
    return next(iter(lengths.values()))


def _refuse_impossible(batch_size, process_index, process_count):
    if batch_size < 1 or batch_size % process_count:
        raise DataError(
            f"a batch of {batch_size} sequences cannot be shared by {process_count} "
            "processes alike; choose a multiple of their number"
        )
    if not 0 <= process_index < process_count:
        raise DataError(
            f"process_index is {process_index}; expected 0 to {process_count - 1}, "
            "less than process_count"
        )
