"""CIFAR-10: from its batches or a folder of pictures, or from Keras's download.

The files are looked for in the folder `cifar10` inside the folder that the environment
variable LAMB_KERAS_DATA names. There, or in a folder in it, may be

- the python batches (`data_batch_1` ... `data_batch_5`, `test_batch`),
- the binary batches (the same with `.bin`),
- a folder of pictures, JPEG or PNG (`train/<class>/*.jpg`, `test/<class>/*.jpg`), or
- one tar archive of any of these, also of gzip or xz: `cifar-10-python.tar.gz`.

Where there is no such folder, `keras.datasets.cifar10` fetches the python batches.
"""

import numpy as np

from lamb_keras.data import cifar10_files, source
from lamb_keras.data.images import Images
from lamb_keras.data.images import fingerprint as fingerprint_of


def load() -> Images:
    """CIFAR-10, or what lies in its files; the title tells which.

    Pictures that were encoded as JPEG again are not those of CIFAR-10 to the last bit,
    and accuracies on them not strictly comparable: they are said to stand in for it.

    The pixels stay uint8. Their `mean` and `std` are computed; those of the original,
    by which recipes normalize, are (125.31, 122.95, 113.87) and (62.99, 62.09, 66.70).

    A folder or an archive of pictures takes about eight seconds to decode the first
    time, after which `lamb_keras.data.cache` keeps the pixels, 184 MB of them.
    """
    folder = source.folder("cifar10")
    if folder is None:
        train, test, jpegs = _download()
        content = fingerprint_of(*train, *test)
    else:
        files = cifar10_files.find(folder)
        content = files.fingerprint()
        train, test, jpegs = files.read(content)
    title, stands_in_for = _name(train[1], test[1], jpegs)
    return Images.from_colors(
        train,
        test,
        name="cifar10",
        title=title,
        stands_in_for=stands_in_for,
        classes=len(cifar10_files.CLASSES),
        fingerprint=content,
    )


def check() -> None:
    """Raises `DataError` where the files are missing, of the wrong kind or cut off.

    Reads batches in full, but of pictures one of each class, and of an archive its
    two ends. Where there are no files, `load` would download: that is not tried here.
    """
    folder = source.folder("cifar10")
    if folder is not None:
        cifar10_files.find(folder).check()


def fingerprint() -> str:
    """SHA-256 of the files' contents; of the download, which Keras checks, its name.

    The contents of single pictures are read once, and again when the size or the time
    of any of them has changed.
    """
    folder = source.folder("cifar10")
    if folder is None:
        return "keras.datasets.cifar10"
    return cifar10_files.find(folder).fingerprint()


def _name(train_labels, test_labels, jpegs):
    """The title, and what the pictures stand in for."""
    whole = all(
        np.bincount(labels).tolist() == [each] * len(cifar10_files.CLASSES)
        for labels, each in ((train_labels, 5_000), (test_labels, 1_000))
    )
    name = "CIFAR-10" if whole else "CIFAR-10-format pictures that are not CIFAR-10's"
    encoding = " in JPEG re-encodings" if jpegs else ""
    sizes = f"{len(train_labels):,} + {len(test_labels):,} pictures of 32x32 pixels"
    return f"{name}{encoding}, {sizes}", None if whole and not jpegs else "CIFAR-10"


def _download():
    train, test = source.download("cifar10", "CIFAR-10", cifar10_files.FORMS)
    return *((pixels, labels.ravel()) for pixels, labels in (train, test)), 0
