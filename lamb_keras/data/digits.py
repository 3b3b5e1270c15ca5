"""scikit-learn's handwritten digits: small enough for a laptop, and on every machine.

1,797 images of 8x8 pixels with values 0 to 16, which scikit-learn bundles: its copy of
the test part of UCI's Optical Recognition of Handwritten Digits. They stay at 8x8:
scaling them up to MNIST's 28x28 would cost twelve times the work and invent detail that
is not there, so the net is brought to the images instead.
"""

import gzip
import importlib.util
import zlib
from pathlib import Path

import numpy as np

from lamb_keras.data.images import DataError, Images, stratified

TEST_SIZE = 360  # a fifth, rounded up as scikit-learn's train_test_split does
SPLIT_SEED = 0  # fixed: the test set is part of the data set, not of a trial

# Of scikit-learn 1.9.1's file, split as above.
FINGERPRINT = "1454c953bc8ca7af63af949418f1b6aa7933488f5ab591c565a404f55ff11957"


def load() -> Images:
    """The digits, with a fixed test set in which every class has its share.

    Example:
        >>> images = load()
        >>> images.stands_in_for, images.classes
        ('MNIST', 10)
        >>> np.bincount(images.test_labels).tolist()
        [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    """
    path = _path()
    table = _read(path)
    pixels, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    test = stratified(labels, TEST_SIZE, SPLIT_SEED)
    images = Images.from_pixels(
        (pixels[~test], labels[~test]),
        (pixels[test], labels[test]),
        white=16,
        name="digits",
        title="1,797 handwritten digits of 8x8 pixels from scikit-learn",
        stands_in_for="MNIST",
        classes=10,
    )
    if images.fingerprint != FINGERPRINT:
        raise DataError(f"{path} is not the file scikit-learn ships; {_CURE}")
    return images


def check() -> None:
    """Raises `DataError` unless scikit-learn's file is there and intact."""
    load()


def fingerprint() -> str:
    """The only content that `load` accepts."""
    return FINGERPRINT


_CURE = "reinstall scikit-learn from the lock file"


def _path():
    # `sklearn.datasets.load_digits` reads this file in 5 ms, after an import of 3 s
    # that nothing else here needs; finding the package does not import it.
    package = importlib.util.find_spec("sklearn")
    if package is None:
        raise DataError("the digits come with scikit-learn, which is not installed")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


def _read(path):
    """One row an image: 64 pixels and the label, uint8."""
    try:
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8, ndmin=2)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); {_CURE}") from None
    if table.shape != (1797, 65):
        raise DataError(
            f"{path} holds a table of {table.shape[0]} x {table.shape[1]}, "
            f"expected 1797 x 65; {_CURE}"
        )
    return table
