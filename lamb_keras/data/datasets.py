"""The data sets by name."""

import difflib

from lamb_keras.data import digits, mnist
from lamb_keras.data.images import DataError, Images

# One module each, with `load()`, `check()` and `fingerprint()`.
DATASETS = {"digits": digits, "mnist": mnist}


def load(name: str) -> Images:
    """The data set of that name, in memory.

    Example:
        >>> images = load("digits")
        >>> images.title
        '1,797 handwritten digits of 8x8 pixels from scikit-learn'
        >>> images.train_images.shape, images.test_images.shape
        ((1437, 8, 8, 1), (360, 8, 8, 1))
    """
    return _module(name).load()


def check(name: str) -> None:
    """Raises `DataError`, naming the file, where `load` would stumble over one.

    Cheap enough to run before anything is started: it reads the files (MNIST's in
    0.2 s on two CPU cores), but imports neither Keras nor scikit-learn and downloads
    nothing.

    Example:
        >>> check("digits")
    """
    _module(name).check()


def fingerprint(name: str) -> str:
    """What tells this data set's content from any other, without loading it.

    As cheap as `check`: where `load` would download, it is the name of that download.

    Example:
        >>> fingerprint("digits") == load("digits").fingerprint
        True
    """
    return _module(name).fingerprint()


def _module(name):
    if isinstance(name, str) and name in DATASETS:
        return DATASETS[name]
    nearest = difflib.get_close_matches(str(name), DATASETS, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    known = ", ".join(DATASETS)
    raise DataError(f"there is no data set {name!r}; {hint}(there are: {known})")
