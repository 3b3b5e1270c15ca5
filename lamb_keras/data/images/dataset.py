"""Labeled images in memory or as a stream, and the part of them that is held out."""

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lamb_keras.data.source import DataError


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """What data in memory and data that are streamed have in common."""

    name: str  # as parameters have it
    title: str  # as a report has it
    stands_in_for: str | None  # the data set whose place it takes, if another's
    classes: int  # labels are 0 to classes - 1
    fingerprint: str  # SHA-256, in hex, of what tells this content from any other

    @property
    def training_set(self) -> int:
        """How many images there are to train on, those that are held out included."""
        return self.sizes["train"] + self.sizes["validation"]

    def __str__(self):
        train, held_out, test = self.sizes.values()
        return (
            f"{self.title}: {train:,} images to train on, {held_out:,} held out to "
            f"choose by, {test:,} to test on"
        )

    def describe(self) -> dict:
        """What a result should say of its data: plain values, sizes counted."""
        own = ("name", "title", "stands_in_for", "classes", "fingerprint", "duplicates")
        return {name: getattr(self, name) for name in own} | self.sizes


@dataclass(frozen=True, eq=False, kw_only=True)
class Images(Dataset):
    """Labeled images, gray or in color, to train on, to choose by and to test on.

    The arrays are read-only: trials share them. Images have the shape (n, height,
    width, channels), labels are int32. Gray images are float32 in [0, 1], 0 the
    background, and ready as they are. Color ones stay uint8, a quarter of the memory,
    until `normalize` makes a batch float. There are none to choose by before a `split`.
    """

    # Of each channel, in units of the stored pixels; None where images are ready.
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    train_images: np.ndarray = field(repr=False)
    train_labels: np.ndarray = field(repr=False)
    validation_images: np.ndarray = field(repr=False)
    validation_labels: np.ndarray = field(repr=False)
    test_images: np.ndarray = field(repr=False)
    test_labels: np.ndarray = field(repr=False)

    def __post_init__(self):
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @classmethod
    def from_pixels(cls, train, test, *, white: int = 255, **description) -> "Images":
        """Images out of two (pixels, labels) pairs of uint8, as files hold them.

        Of gray ones, without channels, `white` is the value that becomes 1.0.
        """
        gray = train[0].ndim == 3
        mean, std = (None, None) if gray else mean_and_std(train[0])
        arrays = {}
        for part, (pixels, labels) in (
            ("train", train),
            ("validation", [each[:0] for each in train]),
            ("test", test),
        ):
            if gray:
                pixels = np.divide(pixels, np.float32(white), dtype=np.float32)
                pixels = pixels[..., np.newaxis]
            arrays[f"{part}_images"] = pixels
            arrays[f"{part}_labels"] = labels.astype(np.int32)
        content = fingerprint(*train, *test)
        return cls(mean=mean, std=std, fingerprint=content, **arrays, **description)

    @functools.cached_property
    def duplicates(self) -> dict[str, int]:
        """How many images to choose by and to test on are also trained on, by name.

        The same in every pixel, whatever their labels.
        """
        trained = {hashlib.sha256(image).digest() for image in self.train_images}
        others = {"validation": self.validation_images, "test": self.test_images}
        return {
            part: sum(hashlib.sha256(image).digest() in trained for image in images)
            for part, images in others.items()
        }

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.train_images.shape[1:]

    @property
    def sizes(self) -> dict[str, int]:
        """How many images there are to train on, held out and to test, by name."""
        parts = ("train", "validation", "test")
        return {part: len(getattr(self, f"{part}_labels")) for part in parts}

    def examples(self, count: int):
        """(images, labels) of the first `count` that are trained on, to look at."""
        return self.train_images[:count], self.train_labels[:count]

    def normalize(self, batch):
        """Images as the net takes them: (batch - mean) / std, in float32.

        For NumPy's arrays and JAX's, also while JAX traces. Images that are ready are
        returned as they are.
        """
        if self.mean is None:
            return batch
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        # Multiplied, since compilers divide each in their own way: so the last bit is
        # the same everywhere.
        return (batch.astype(np.float32) - mean) * (1 / std)


@dataclass(frozen=True, eq=False, kw_only=True)
class Streamed(Dataset):
    """A data set too large for memory, described as one in memory is."""

    image_shape: tuple[int, int, int]  # (height, width, channels) in a batch
    sizes: dict[str, int]  # images to train on, held out and to test, by name
    augmentations: tuple[str, ...]  # done to training images where they are read
    # As `lamb_keras.data.imagenet.batches`, but for what is held out and the size.
    batches: Callable = field(repr=False)
    normalize: Callable = field(repr=False)  # from a batch to what the net takes

    duplicates = None  # not counted: all pictures would have to be read

    def examples(self, count: int):
        """(images, labels) of the first `count` that are trained on, to look at."""
        count = min(count, self.sizes["train"])
        with contextlib.closing(self.batches("train", batch_size=count)) as batches:
            return next(batches)


def split(images: Images, validation_fraction: float) -> Images:
    """Hold out a part of the training set, in which every class has its share.

    The test set is not touched, nor the fingerprint. The same images are held out on
    every machine and by every NumPy, so that all trials are judged on the same ones.
    """
    if not 0 < validation_fraction < 1:
        raise DataError(
            f"validation_fraction is {validation_fraction!r}; expected a number "
            "between 0 and 1, such as 0.1, the part of the training set to hold out"
        )
    labels = images.train_labels
    held_out = stratified(labels, round(validation_fraction * len(labels)))
    for part, chosen in (("validation", held_out), ("training", ~held_out)):
        missing = set(range(images.classes)) - set(labels[chosen].tolist())
        if missing:
            raise DataError(
                f"validation_fraction {validation_fraction} of {len(labels):,} images "
                f"leaves the {part} set without an image of class {min(missing)}; "
                "choose a fraction that gives both sets some of each"
            )
    return dataclasses.replace(
        images,
        train_images=images.train_images[~held_out],
        train_labels=labels[~held_out],
        validation_images=images.train_images[held_out],
        validation_labels=labels[held_out],
    )


def stratified(labels, count: int):
    """A mask that draws `count` of the labels, from each class in proportion.

    The same ones every time.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    quotas, remainders = np.divmod(count * sizes, len(labels))
    # The places lost in rounding down go to the classes that lost most.
    quotas[np.argsort(-remainders, kind="stable")[: count - quotas.sum()]] += 1
    # RandomState's stream is frozen; default_rng's may change with NumPy's version.
    random = np.random.RandomState(0)
    mask = np.zeros(len(labels), bool)
    for each, quota in zip(classes, quotas, strict=True):
        mask[random.permutation(np.flatnonzero(labels == each))[:quota]] = True
    return mask


def mean_and_std(pixels):
    """The mean and standard deviation of each channel of uint8 (n, h, w, channels).

    Summed in whole numbers, so the same on every machine. A channel that never
    changes is given 1 to be divided by.
    """
    count = pixels.size // pixels.shape[-1]
    whole = {"dtype": np.int64, "casting": "unsafe"}
    mean = np.einsum("nhwc->c", pixels, **whole) / count
    square = np.einsum("nhwc,nhwc->c", pixels, pixels, **whole) / count
    std = np.sqrt(square - mean**2)
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1).tolist())


def fingerprint(*arrays) -> str:
    """SHA-256 over the arrays' dtypes, shapes and values, in hex."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
