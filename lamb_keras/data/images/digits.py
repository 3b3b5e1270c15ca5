"""scikit-learn's handwritten digits: small enough for a laptop, and on every machine.

1,797 images of 8x8 pixels with values 0 to 16: scikit-learn's copy of the test part of
UCI's Optical Recognition of Handwritten Digits. They stay at 8x8: MNIST's 28x28 would
cost twelve times the work and invent detail that is not there.
"""

import importlib.util
from pathlib import Path

import numpy as np

from lamb_keras.data.images.dataset import Images, stratified

TEST_SIZE = 360  # a fifth, rounded up as scikit-learn's train_test_split does


def find() -> Images:
    """The digits, with a fixed test set in which every class has its share."""
    # `sklearn.datasets.load_digits` reads this file in 5 ms, after an import of 3 s
    # that nothing else here needs; finding the package does not import it.
    package = Path(importlib.util.find_spec("sklearn").origin).parent
    path = package / "datasets" / "data" / "digits.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    pixels, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    test = stratified(labels, TEST_SIZE)
    return Images.from_pixels(
        (pixels[~test], labels[~test]),
        (pixels[test], labels[test]),
        white=16,
        name="digits",
        title="1,797 handwritten digits of 8x8 pixels from scikit-learn",
        stands_in_for="MNIST",
        classes=10,
    )
