"""MNIST: from the four files of its authors, or from Keras's download.

The files, gzipped or not, are looked for in the folder `mnist`, or any folder in it,
inside the folder that the environment variable LAMB_KERAS_DATA names.
"""

import gzip
import os

import numpy as np

from lamb_keras.data import source
from lamb_keras.data.images.dataset import Images, fingerprint
from lamb_keras.data.source import DataError

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

# Of the four published files, whose unpacked content has the SHA-256 sums
# ba891046e6505d7a... (train-images), 65a50cbbf4e906d7... (train-labels),
# 0fa7898d509279e4... (t10k-images) and ff7bcfd416de3373... (t10k-labels).
FINGERPRINT = "52cd6c10ae77107af32269dd9d10ca19c1b749e83235a0c75e2f0729ebeaf141"


def find() -> Images | None:
    """MNIST, or what its files hold: Fashion-MNIST's have the same names and sizes."""
    folder = source.folder("mnist")
    if folder is None:
        return None
    arrays = [_read(path) for path in _paths(folder)]
    train, test = pairs = arrays[:2], arrays[2:]
    for (images, labels), name in zip(pairs, NAMES[::2], strict=True):
        count, largest = len(labels), labels.max(initial=0)
        if count == 0 or largest > 9 or images.shape != (count, 28, 28):
            raise DataError(
                f"{folder} holds {name} of shape {images.shape} with {count:,} labels "
                f"up to {largest}, expected images of 28 x 28 pixels and a label 0 to "
                "9 for each; take both files from one intact copy"
            )
    if len(train[1]) < len(test[1]) or np.array_equal(train[0], test[0]):
        raise DataError(
            f"{folder} holds {len(train[1]):,} images to train on and {len(test[1]):,} "
            "to test on, expected more to train on, and other ones; put each file "
            "under its own name"
        )
    return _images(train, test)


def download() -> Images:
    """MNIST from Keras."""
    cure = f"{', '.join(NAMES)} (or each with .gz)"
    return _images(*source.download("mnist", "MNIST", cure))


def _images(train, test):
    sizes = f"{len(train[1]):,} + {len(test[1]):,}"
    is_mnist = fingerprint(*train, *test) == FINGERPRINT
    kind = f"MNIST, {sizes} handwritten digits"
    if not is_mnist:
        kind = f"MNIST-format images that are not MNIST's own, {sizes}"
    return Images.from_pixels(
        train,
        test,
        name="mnist",
        title=f"{kind} of 28x28 pixels",
        stands_in_for=None if is_mnist else "MNIST",
        classes=10,
    )


def _paths(folder):
    """The paths of the four files, of those in folders the ones that lie least deep."""
    every, paths = source.files(folder), []
    for name in NAMES:
        dotted = name.replace("-idx", ".idx")
        known = (name, f"{name}.gz", dotted, f"{dotted}.gz")
        found = sorted(
            (file.count("/"), known.index(os.path.basename(file)), file)
            for file in every
            if os.path.basename(file) in known
        )
        folders = {os.path.dirname(f) for depth, _, f in found if depth == found[0][0]}
        if len(folders) != 1:
            fault = f"in {' and in '.join(sorted(folders))}" if folders else "missing"
            raise DataError(
                f"{os.path.join(folder, name)}, with or without .gz, is {fault}; put "
                f"one copy of MNIST's files into that folder: {', '.join(NAMES)}"
            )
        paths.append(every[found[0][2]])
    return paths


def _read(path):
    """The array in an IDX file.

    That is 0, 0, 8 and the number of dimensions, each dimension as a big-endian 32-bit
    integer, and the values, unsigned bytes in C order.
    """
    content = source.read(path)
    kind, dimensions = (
        ("images", 3) if "idx3" in os.path.basename(path) else ("labels", 1)
    )
    try:
        if content[:2] == b"\x1f\x8b":  # browsers unpack a download and keep the `.gz`
            content = gzip.decompress(content)
        if content[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError("another header")
        shape = np.frombuffer(content, ">u4", dimensions, offset=4)
        values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
        return values.reshape(shape)
    except Exception:  # damage shows itself in half a dozen kinds of them
        raise DataError(
            f"{path} is no intact IDX file of {kind}; replace it by MNIST's own of "
            "that name"
        ) from None
