"""Endless batches of sequences, shuffled anew each epoch and shared by processes."""

import numpy as np


def batches(
    sequences: int,  # how many there are
    *,
    batch_size: int,  # sequences of a step, of all processes; a multiple of them
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    start_step: int = 0,  # the first batch, counted from 0
):
    """A Grain iterator over batches, each the numbers of its sequences.

    They come as one stream of epochs, each shuffled in its own way; a batch may span
    two. Each of several processes makes its part of every batch; together they make
    what one alone would, in another order within the batch.
    """
    import grain  # seconds

    here = batch_size // process_count
    # As in `imagenet`: else the second epoch of seed 0 were the first of seed 1.
    (order_seed,) = map(int, np.random.SeedSequence(seed).generate_state(1))
    numbers = grain.MapDataset.range(sequences).shuffle(order_seed).repeat()
    numbers = numbers[process_index::process_count][start_step * here :]
    # An endless stream has no remainder, but without dropping it Grain counts one batch
    # of one too many for `len`.
    numbers = numbers.batch(here, drop_remainder=True)
    # Nothing is read here: threads would cost more than they prefetch.
    return iter(numbers.to_iter_dataset(grain.ReadOptions(num_threads=0)))
