"""The data sets by name."""

import difflib

from lamb_keras.data import cifar10, digits, imagenet, mnist, text_data
from lamb_keras.data.images import DataError, Images, Split, split
from lamb_keras.data.streamed import Streamed

# One module each, with `check()` and `fingerprint()`, and with `load()`, or
# `streamed(validation_fraction)` where there is too much to be loaded.
DATASETS = {
    "digits": digits,
    "mnist": mnist,
    "cifar10": cifar10,
    "imagenet": imagenet,
}


def open(name: str, validation_fraction: float) -> Split | Streamed:
    """The data set of that name, a part of its training images held out.

    Either kind says of itself `name`, `title`, `stands_in_for`, `classes`,
    `image_shape`, `sizes` and `describe()`, shows `examples`, and can `normalize`.

    Args:
        name: one of `DATASETS`.
        validation_fraction: of the training images, held out to choose by.

    Example:
        >>> images = open("digits", 0.1)
        >>> images.image_shape, images.sizes
        ((8, 8, 1), {'train': 1293, 'validation': 144, 'test': 360})
    """
    module = _module(name)
    if _is_streamed(module):
        return module.streamed(validation_fraction)
    return split(module.load(), validation_fraction)


def load(name: str) -> Images:
    """The data set of that name, in memory.

    Example:
        >>> images = load("digits")
        >>> images.title
        '1,797 handwritten digits of 8x8 pixels from scikit-learn'
        >>> images.train_images.shape, images.test_images.shape
        ((1437, 8, 8, 1), (360, 8, 8, 1))
    """
    module = _module(name)
    if _is_streamed(module):
        raise DataError(
            f"{name} is too large to be loaded into memory; use data.open, which "
            "reads it as a stream"
        )
    return module.load()


def check(name: str, parameters=None) -> None:
    """Raises `DataError`, naming the file, where `load` would stumble over one.

    Of images or of text (`library`). Cheap enough to run before anything is started:
    it reads the files (MNIST's in 0.2 s on two CPU cores; of pictures, one a class),
    but imports neither Keras nor scikit-learn and downloads nothing.

    Example:
        >>> check("digits")
    """
    if name in text_data.LIBRARIES:
        return text_data.check(name, parameters)
    _module(name).check()


def fingerprint(name: str) -> str:
    """What tells this data set's content from any other, without loading it.

    As cheap as `check`: where `load` would download, it is the name of that download.

    Example:
        >>> fingerprint("digits") == load("digits").fingerprint
        True
    """
    if name in text_data.LIBRARIES:
        return text_data.fingerprint(name)
    return _module(name).fingerprint()


def _is_streamed(module):
    return hasattr(module, "streamed")


def _module(name):
    if isinstance(name, str) and name in DATASETS:
        return DATASETS[name]
    nearest = difflib.get_close_matches(str(name), DATASETS, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    known = ", ".join(DATASETS)
    raise DataError(f"there is no data set {name!r}; {hint}(there are: {known})")
