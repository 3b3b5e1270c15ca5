"""Endless batches of rows, shuffled anew each epoch and shared by processes."""

import numpy as np

from lamb_keras.data.source import DataError


def batches(
    arrays: dict[str, np.ndarray],  # of the same number of rows
    *,
    batch_size: int,  # rows of a step, of all processes together
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    start_step: int = 0,  # the first batch, counted from 0
):
    """A Grain iterator over batches: dicts of arrays with the same names.

    The rows come as one stream of epochs, each shuffled in its own way; a batch may
    span two. Each of several processes makes its part of every batch; together they
    make what one alone would, in another order within the batch.
    """
    import grain  # seconds

    if batch_size < 1 or batch_size % process_count:
        raise DataError(
            f"a batch of {batch_size} sequences cannot be shared by {process_count} "
            "processes alike; choose a multiple of their number"
        )
    here = batch_size // process_count
    rows = range(len(next(iter(arrays.values()))))
    # As in `imagenet`: else the second epoch of seed 0 were the first of seed 1.
    (order_seed,) = map(int, np.random.SeedSequence(seed).generate_state(1))
    numbers = grain.MapDataset.source(rows).shuffle(order_seed).repeat()
    numbers = numbers[process_index::process_count][start_step * here :]
    # An endless stream has no remainder, but without dropping it Grain counts one batch
    # of one too many for `len`.
    numbers = numbers.batch(here, drop_remainder=True)
    taken = numbers.map(lambda rows: {name: a[rows] for name, a in arrays.items()})
    # The arrays are in memory: threads would cost more than they prefetch.
    return iter(taken.to_iter_dataset(grain.ReadOptions(num_threads=0)))
