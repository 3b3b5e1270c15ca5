"""Labeled images that are read in batches while a net is trained on them."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lamb_keras.data.images import Described


@dataclass(frozen=True, eq=False, kw_only=True)
class Streamed(Described):
    """A data set too large for memory, described as a `Split` is.

    Args:
        name, title, stands_in_for, classes, fingerprint: as of `Images`.
        image_shape: (height, width, channels) of the images in a batch.
        sizes: how many images there are to train on, held out and to test, by name.
        augmentations: what is done to the training images where they are read.
        batches: a function of (split, batch_size=, seed=, process_index=,
            process_count=, workers=) to an iterator over (images, labels), as
            `lamb_keras.data.imagenet.batches` is.
        normalize: from the images of a batch to what the net takes.

    Example:
        >>> def batches(split, *, batch_size):
        ...     yield np.zeros((batch_size, 8, 8, 3), "uint8"), np.arange(batch_size)
        >>> images = Streamed(
        ...     name="black", title="black squares", stands_in_for=None, classes=9,
        ...     fingerprint="", image_shape=(8, 8, 3), augmentations=(),
        ...     sizes={"train": 7, "validation": 1, "test": 1},
        ...     batches=batches, normalize=lambda batch: batch)
        >>> images.examples(20)[1].tolist()
        [0, 1, 2, 3, 4, 5, 6]
    """

    name: str
    title: str
    stands_in_for: str | None
    classes: int
    fingerprint: str
    image_shape: tuple[int, int, int]
    sizes: dict[str, int]
    augmentations: tuple[str, ...]
    batches: Callable = field(repr=False)
    normalize: Callable = field(repr=False)

    def examples(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(images, labels) of the first `count` that are trained on, to look at."""
        count = min(count, self.sizes["train"])
        with contextlib.closing(self.batches("train", batch_size=count)) as batches:
            return next(batches)
