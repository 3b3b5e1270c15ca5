"""scikit-learn's handwritten digits: small enough for a laptop, and on every machine.

1,797 images of 8x8 pixels with values 0 to 16: scikit-learn's copy of the test part of
UCI's Optical Recognition of Handwritten Digits. They stay at 8x8: MNIST's 28x28 would
cost twelve times the work and invent detail that is not there.
"""

import importlib.util
from pathlib import Path

import numpy as np

from lamb_keras.data.images.dataset import Images, stratified
from lamb_keras.data.source import DataError

TEST_SIZE = 360  # a fifth, rounded up as scikit-learn's train_test_split does

# Of scikit-learn 1.9.1's file, split as here.
FINGERPRINT = "1454c953bc8ca7af63af949418f1b6aa7933488f5ab591c565a404f55ff11957"


def find() -> Images:
    """The digits, with a fixed test set in which every class has its share."""
    path = _path()
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
        pixels, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
        test = stratified(labels, TEST_SIZE, seed=0)
        images = Images.from_pixels(
            (pixels[~test], labels[~test]),
            (pixels[test], labels[test]),
            white=16,
            name="digits",
            title="1,797 handwritten digits of 8x8 pixels from scikit-learn",
            stands_in_for="MNIST",
            classes=10,
        )
        if images.fingerprint == FINGERPRINT:
            return images
    except Exception:  # a damaged file shows itself in a dozen kinds of them
        pass
    raise DataError(
        f"{path} is not the table of 1,797 digits that scikit-learn ships; "
        "reinstall scikit-learn from the lock file"
    )


def _path():
    # `sklearn.datasets.load_digits` reads this file in 5 ms, after an import of 3 s
    # that nothing else here needs; finding the package does not import it.
    package = importlib.util.find_spec("sklearn")
    if package is None:
        raise DataError("the digits come with scikit-learn, which is not installed")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
