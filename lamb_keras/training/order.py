"""The order in which a trial sees the training images."""

import numpy as np


def order(seed: int, images: int, count: int) -> np.ndarray:
    """The first `count` places of a stream of shuffled epochs, int32.

    Every epoch shows every image once, in an order of its own. The same seed gives the
    same stream, on every machine and NumPy, and a longer one begins like a shorter one.

    Example:
        >>> stream = order(seed=0, images=5, count=12)
        >>> sorted(stream[:5].tolist()), len(stream)
        ([0, 1, 2, 3, 4], 12)
    """
    # RandomState's stream is frozen; default_rng's may change with NumPy's version.
    random = np.random.RandomState(seed)
    epochs = -(-count // images)
    return np.concatenate(
        [random.permutation(images).astype("int32") for _ in range(epochs)]
    )[:count]
