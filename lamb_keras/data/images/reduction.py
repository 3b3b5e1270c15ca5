"""Smaller pictures and fewer of them, for machines that have no accelerator."""

import dataclasses

import numpy as np

from lamb_keras.data.images.dataset import Images, fingerprint, mean_and_std
from lamb_keras.data.source import DataError

# Of the draw: all trials of all experiments see the same pictures.
_SEED = 0


def reduced(
    images: Images, image_size: int | None = None, training_images: int | None = None
) -> Images:
    """Images shrunk to a size, and a fixed part of those to train on.

    A pixel is the mean of those in whose place it is. The test set is shrunk, too, and
    else whole. What was reduced stands in for the original, and has a title and a
    fingerprint of its own.

    Args:
        images: those of `lamb_keras.data.load`, before they are split.
        image_size: height and width, a divisor of theirs; None for pictures as they
            are.
        training_images: how many of the training images there are to be, those that
            are then held out included: equally many of each class, as far as there are
            as many. A smaller part is a part of a larger one. None for all.

    Example:
        >>> from lamb_keras import data
        >>> few = reduced(data.load("digits"), image_size=4, training_images=500)
        >>> few.image_shape, few.sizes
        ((4, 4, 1), {'train': 500, 'validation': 0, 'test': 360})
    """
    side, count = images.image_shape[0], len(images.train_labels)
    size = side if image_size is None else image_size
    if size < 1 or side % size:
        raise DataError(
            f"image_size is {size}, expected a divisor of {side}, the height and width "
            f"in pixels of {images.name}'s pictures"
        )
    chosen = count if training_images is None else training_images
    if not 1 <= chosen <= count:
        raise DataError(
            f"training_images is {chosen:,}, expected at most {count:,}, which is what "
            f"{images.name} has to train on"
        )
    said = []
    if size < side:
        said.append(f"shrunk to {size}x{size}")
    if chosen < count:
        said.append(f"{chosen:,} of those to train on")
    if not said:
        return images
    places = _balanced(images.train_labels, chosen)
    train, labels = shrunk(images.train_images[places], size), images.train_labels
    arrays = {
        "train_images": train,
        "train_labels": labels[places],
        "test_images": shrunk(images.test_images, size),
        "test_labels": images.test_labels,
    }
    mean, std = (None, None) if images.mean is None else mean_and_std(train)
    return dataclasses.replace(
        images,
        title=f"{images.title} ({'; '.join(said)})",
        # The title of an original begins with its name: "MNIST, 60,000 + ...".
        stands_in_for=images.stands_in_for or images.title.partition(",")[0],
        fingerprint=fingerprint(*arrays.values()),
        mean=mean,
        std=std,
        validation_images=train[:0],
        **arrays,
    )


def shrunk(pictures, size: int):
    """The means over the blocks of (n, height, width, channels), of the same dtype.

    Those of whole numbers are rounded, halves upwards.
    """
    count, height, width, channels = pictures.shape
    down, across = height // size, width // size
    blocks = pictures.reshape(count, size, down, size, across, channels)
    whole = np.issubdtype(pictures.dtype, np.integer)
    # Exact, so the same on every machine: a pixel of float32 has half the bits.
    sums = blocks.sum((2, 4), dtype=np.uint32 if whole else np.float64)
    area = down * across
    means = (2 * sums + area) // (2 * area) if whole else sums / area
    return means.astype(pictures.dtype)


def _balanced(labels, count):
    """The places of `count` images, in order, equally many of each class."""
    # RandomState's stream is frozen; default_rng's may change with NumPy's version.
    random = np.random.RandomState(_SEED)
    turns = np.empty(len(labels), int)  # of each image, the how manyth of its class
    for each in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == each))
        turns[places] = np.arange(len(places))
    return np.sort(np.argsort(turns, kind="stable")[:count])
