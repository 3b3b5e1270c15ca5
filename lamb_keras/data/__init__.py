"""Data sets by name: labeled images here, texts in `text_data`.

Nothing here imports JAX, and Keras only to download.
"""

import functools
from types import SimpleNamespace

from lamb_keras import own
from lamb_keras.data import text_data
from lamb_keras.data.images import (
    Images,
    Streamed,
    cifar10,
    digits,
    imagenet,
    mnist,
    pictures,
)
from lamb_keras.data.images import own as own_images
from lamb_keras.data.images.dataset import split
from lamb_keras.data.images.reduction import reduced
from lamb_keras.data.source import DataError

__all__ = ["DataError", "Images", "Streamed"]
__all__ += ["check", "fingerprint", "load", "open", "options", "pictures", "split"]

# One module each. `find()` gives what lies on this machine, which has a `fingerprint`,
# or None; `download()` gets it, and `streamed()` reads what is too much to be loaded.
DATASETS = {"digits": digits, "mnist": mnist, "cifar10": cifar10, "imagenet": imagenet}

# Of a run's parameters, those that make images smaller and fewer.
_REDUCTION = ("image_size", "training_images")


def open(
    name: str,
    validation_fraction: float,
    image_size: int | None = None,
    training_images: int | None = None,
) -> Images | Streamed:
    """The data set of that name, a part of its training images held out to choose by.

    Args:
        name: digits, mnist, cifar10 or imagenet, of which the last is streamed; or the
            place of a function of yours, such as "mine.py:load".
        validation_fraction: of the training images, as much of each class.
        image_size, training_images: how far to shrink images in memory, as
            `lamb_keras.data.images.reduction.reduced` tells; None for not at all.

    Raises:
        DataError: for an unknown name, a faulty file, or a part without a class.

    Example:
        >>> images = open("digits", 0.1)
        >>> images.image_shape, images.sizes
        ((8, 8, 1), {'train': 1293, 'validation': 144, 'test': 360})
    """
    if _module(name) is imagenet:
        _refuse_reduction(name, image_size, training_images)
        return imagenet.streamed(validation_fraction)
    images = reduced(load(name), image_size, training_images)
    return split(images, validation_fraction)


def load(name: str) -> Images:
    """The data set of that name, in memory and whole, with none held out.

    Where there are no files, Keras downloads MNIST and CIFAR-10.
    """
    module = _module(name)
    if module is imagenet:
        raise DataError(
            f"{name} is too large to be loaded into memory; use data.open, which "
            "reads it as a stream"
        )
    return module.find() or module.download()


def options(name: str) -> tuple[str, ...]:
    """Which of a run's parameters decide how much of this data set is read."""
    if own.is_place(name):  # of images or of text
        return (*text_data.OPTIONS, *_REDUCTION)
    if name in text_data.NAMES:
        return text_data.OPTIONS
    return ("validation_fraction", *_REDUCTION)


def check(name: str, parameters=None) -> None:
    """Raise `DataError` where `open` would stumble over a file or over parameters.

    Of images or of texts, those with the run's `parameters`. All is read and decoded,
    except ImageNet, which is listed; what takes long is kept for `open`. Nothing is
    downloaded.
    """
    parameters = parameters or {}
    if _is_text(name, parameters):
        text_data.check(name, parameters)
        return
    found = _module(name).find()
    reduction = [parameters.get(each) for each in _REDUCTION]
    if _module(name) is imagenet:
        _refuse_reduction(name, *reduction)
    elif found:
        images = reduced(found, *reduction)
        if "validation_fraction" in parameters:
            split(images, parameters["validation_fraction"])


def fingerprint(name: str, parameters=None) -> str:
    """What tells this content from any other; of a download, its name.

    Of images or of texts, those with the run's `parameters`.
    """
    if _is_text(name, parameters):
        return text_data.fingerprint(name, (parameters or {}).get("vocabulary"))
    found = _module(name).find()
    return found.fingerprint if found else f"keras.datasets.{name}"


def _is_text(name, parameters):
    of_place = own.is_place(name) and text_data.OPTIONS[-1] in (parameters or {})
    return name in text_data.NAMES or of_place


def _refuse_reduction(name, *reduction):
    for parameter, value in zip(_REDUCTION, reduction, strict=True):
        if value is not None:
            raise DataError(
                f"{parameter} is {value}, expected none with {name}, which is read as "
                f"a stream; leave it out or choose another data set"
            )


def _module(name):
    if own.is_place(name):
        return SimpleNamespace(find=functools.partial(own_images.find, name))
    if name in DATASETS:
        return DATASETS[name]
    raise DataError(f"there is no data set {name!r}; there are: {', '.join(DATASETS)}")
