"""Labeled images in memory, and the part of them that is held out."""

import hashlib
import numbers
from dataclasses import dataclass, field, fields

import numpy as np


class DataError(ValueError):
    """What is wrong with the data, in one sentence: what, where, and how to mend it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Images:
    """A training set and a test set of labeled images, gray or in color.

    The arrays are read-only: trials share them.

    Args:
        name: what parameters call it.
        title: what a report calls it.
        stands_in_for: the data set whose place it takes, or None if it is the thing
            itself.
        classes: how many; labels are 0 to `classes - 1`.
        fingerprint: SHA-256 of the pixels and labels as they were stored, or of the
            files that hold them, in hex.
        mean: of each channel, in units of the stored pixels; None where the images
            are ready as they are.
        std: the standard deviation of each channel, or None as `mean`.
        train_images: shape (n, height, width, channels). Gray ones are float32 in
            [0, 1], 0 the background, and ready as they are. Color ones stay uint8, a
            quarter of the memory, until `normalize` makes a batch of them float.
        train_labels: int32, shape (n,).
        test_images: as `train_images`.
        test_labels: as `train_labels`.

    Example:
        >>> pixels, labels = np.full((2, 8, 8), 16, "uint8"), np.array([0, 1], "uint8")
        >>> images = Images.from_pixels(
        ...     (pixels, labels), (pixels, labels), white=16, name="two",
        ...     title="two white squares", stands_in_for=None, classes=2)
        >>> images.train_images.shape, float(images.train_images.max())
        ((2, 8, 8, 1), 1.0)
    """

    name: str
    title: str
    stands_in_for: str | None
    classes: int
    fingerprint: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    train_images: np.ndarray = field(repr=False)
    train_labels: np.ndarray = field(repr=False)
    test_images: np.ndarray = field(repr=False)
    test_labels: np.ndarray = field(repr=False)

    def __post_init__(self):
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @classmethod
    def from_pixels(cls, train, test, *, white, **description) -> "Images":
        """Images out of (pixels, labels) pairs of uint8, as files hold them.

        `white` is the pixel value that becomes 1.0.
        """
        return cls(
            fingerprint=fingerprint(*train, *test),
            train_images=_scale(train[0], white),
            train_labels=train[1].astype(np.int32),
            test_images=_scale(test[0], white),
            test_labels=test[1].astype(np.int32),
            **description,
        )

    @classmethod
    def from_colors(cls, train, test, **description) -> "Images":
        """Images out of (pixels, labels) pairs in color, which stay as they are.

        `mean` and `std` are those of the training pixels.
        """
        mean, std = mean_and_std(train[0])
        return cls(
            mean=mean,
            std=std,
            train_images=train[0],
            train_labels=train[1].astype(np.int32),
            test_images=test[0],
            test_labels=test[1].astype(np.int32),
            **description,
        )

    def normalize(self, batch):
        """Some of the images as the net takes them: (batch - mean) / std, in float32.

        For NumPy's arrays and JAX's, also while JAX traces: so it is the device that
        makes them float. Images that are ready are returned as they are.

        Example:
            >>> pixels = np.array([[[[0, 10, 99]]], [[[20, 10, 0]]]], "uint8")
            >>> pair = pixels, np.arange(2)
            >>> images = Images.from_colors(
            ...     pair, pair, name="two", title="two pixels", stands_in_for=None,
            ...     classes=2, fingerprint="")
            >>> images.mean, images.std
            ((10.0, 10.0, 49.5), (10.0, 1.0, 49.5))
            >>> images.normalize(images.train_images[:1]).tolist()
            [[[[-1.0, 0.0, 1.0]]]]
        """
        if self.mean is None:
            return batch
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        # Multiplied, since compilers divide each in their own way: so the last bit is
        # the same everywhere.
        return (batch.astype(np.float32) - mean) * (1 / std)


class Described:
    """What data in memory and data that are streamed say of themselves alike."""

    @property
    def training_set(self) -> int:
        """How many images there are to train on, those that are held out included."""
        return self.sizes["train"] + self.sizes["validation"]

    def describe(self) -> dict:
        """What a result should say of its data: plain values, sizes counted."""
        return {
            "name": self.name,
            "title": self.title,
            "stands_in_for": self.stands_in_for,
            "classes": self.classes,
            "fingerprint": self.fingerprint,
            **self.sizes,
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Split(Described, Images):
    """Images whose training set has given up a part for choosing hyperparameters.

    `train_images` is what is left to train on; `fingerprint` is still that of the
    whole data set.

    Args:
        validation_images: the held-out part, as `train_images`.
        validation_labels: as `train_labels`.
    """

    validation_images: np.ndarray = field(repr=False)
    validation_labels: np.ndarray = field(repr=False)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.train_images.shape[1:]

    @property
    def sizes(self) -> dict[str, int]:
        """How many images there are to train on, held out and to test, by name."""
        return {
            "train": len(self.train_labels),
            "validation": len(self.validation_labels),
            "test": len(self.test_labels),
        }

    def examples(self, count: int):
        """(images, labels) of the first `count` that are trained on, to look at."""
        return self.train_images[:count], self.train_labels[:count]


def split(images: Images, validation_fraction: float, seed: int = 0) -> Split:
    """Holds out a part of the training set, in which every class has its share.

    The test set is not touched. The same seed holds out the same images, on every
    machine and NumPy; trials differ in their own seeds, not in this one, so that
    all of them are judged on the same images.

    Args:
        images: what `load` returned.
        validation_fraction: of the training images, between 0 and 1.
        seed: of the draw.

    Example:
        >>> from lamb_keras.data import load
        >>> parts = split(load("digits"), 0.1)
        >>> {part: parts.describe()[part] for part in ("train", "validation", "test")}
        {'train': 1293, 'validation': 144, 'test': 360}
    """
    is_number = isinstance(validation_fraction, numbers.Real)
    if not is_number or not 0 < validation_fraction < 1:
        raise DataError(
            f"validation_fraction is {validation_fraction!r}; expected a number "
            "between 0 and 1, such as 0.1, the part of the training set to hold out"
        )
    if not isinstance(seed, numbers.Integral) or not 0 <= seed < 2**32:
        raise DataError(
            f"the seed of the split is {seed!r}; expected a whole number "
            "from 0 to 4294967295"
        )
    labels = images.train_labels
    held_out = stratified(labels, round(validation_fraction * len(labels)), seed)
    for part, chosen in (("validation", held_out), ("training", ~held_out)):
        counts = np.bincount(labels[chosen], minlength=images.classes)
        if counts.min() == 0:
            missing = int(counts.argmin())
            raise DataError(
                f"validation_fraction {validation_fraction} of {len(labels):,} images "
                f"leaves the {part} set without an image of class {missing} "
                f"(there are {np.sum(labels == missing):,}); "
                "choose a fraction that gives both sets some"
            )
    kept = {each.name: getattr(images, each.name) for each in fields(Images)}
    kept["train_images"] = images.train_images[~held_out]
    kept["train_labels"] = labels[~held_out]
    return Split(
        **kept,
        validation_images=images.train_images[held_out],
        validation_labels=labels[held_out],
    )


def stratified(labels, count: int, seed: int):
    """A mask that draws `count` of the labels, from each class in proportion.

    Example:
        >>> mask = stratified(np.array([0, 0, 0, 0, 1, 1]), count=3, seed=0)
        >>> np.bincount(np.array([0, 0, 0, 0, 1, 1])[mask]).tolist()
        [2, 1]
    """
    classes, sizes = np.unique(labels, return_counts=True)
    quotas, remainders = np.divmod(count * sizes, len(labels))
    # The places lost in rounding down go to the classes that lost most.
    quotas[np.argsort(-remainders, kind="stable")[: count - quotas.sum()]] += 1
    # RandomState's stream is frozen; default_rng's may change with NumPy's version.
    random = np.random.RandomState(seed)
    mask = np.zeros(len(labels), bool)
    for each, quota in zip(classes, quotas, strict=True):
        mask[random.permutation(np.flatnonzero(labels == each))[:quota]] = True
    return mask


def mean_and_std(pixels):
    """The mean and standard deviation of each channel of uint8 (n, h, w, channels).

    Counted in whole numbers, so the same on every machine. A channel that never
    changes is given 1 to be divided by.

    Example:
        >>> mean_and_std(np.array([[[[0, 7]]], [[[255, 7]]]], "uint8"))
        ((127.5, 7.0), (127.5, 1.0))
    """
    channels, values = pixels.shape[-1], np.arange(256)
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(pixels), 1000):  # bincount takes eight times the memory
        some = pixels[start : start + 1000].reshape(-1, channels)
        counts += [np.bincount(some[:, c], minlength=256) for c in range(channels)]
    total = counts.sum(axis=1)
    mean = counts @ values / total
    std = np.sqrt(counts @ values**2 / total - mean**2)
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1).tolist())


def fingerprint(*arrays) -> str:
    """SHA-256 over the arrays' dtypes, shapes and bytes, in hex.

    Example:
        >>> flat = np.arange(6, dtype="uint8")
        >>> fingerprint(flat)[:16]
        '5651f86a0cf64410'
        >>> fingerprint(flat) == fingerprint(flat.reshape(2, 3))
        False
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _scale(pixels, white):
    """uint8 (n, height, width) to float32 (n, height, width, 1), in one pass."""
    return np.divide(pixels, np.float32(white), dtype=np.float32)[..., np.newaxis]
