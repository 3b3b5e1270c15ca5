"""MNIST: from the four files of its authors, or from Keras's download.

The files are looked for in the folder `mnist` inside the folder that the environment
variable LAMB_KERAS_DATA names. Where there is none, `keras.datasets.mnist` fetches the
same images.
"""

import dataclasses
import os

import numpy as np

from lamb_keras.data import idx, source
from lamb_keras.data.images import DataError, Images
from lamb_keras.data.images import fingerprint as fingerprint_of

FILES = (  # the published name's start, and the dimensions in its end
    ("train-images", 3),
    ("train-labels", 1),
    ("t10k-images", 3),
    ("t10k-labels", 1),
)
NAMES = ", ".join(f"{stem}-idx{dimensions}-ubyte" for stem, dimensions in FILES)
CLASSES = 10
PIXELS = (28, 28)

# Of the four published files, whose unpacked content has the SHA-256 sums
# ba891046e6505d7a... (train-images), 65a50cbbf4e906d7... (train-labels),
# 0fa7898d509279e4... (t10k-images) and ff7bcfd416de3373... (t10k-labels).
FINGERPRINT = "52cd6c10ae77107af32269dd9d10ca19c1b749e83235a0c75e2f0729ebeaf141"


def load() -> Images:
    """MNIST, or what lies in its files; the title tells which.

    Fashion-MNIST, for one, comes in files of the same names and sizes. It trains all
    the same, but no report will call it MNIST.
    """
    folder = source.folder("mnist")
    if folder is None:
        train, test = source.download("mnist", "MNIST", f"{NAMES} (or each with .gz)")
    else:
        train, test = _read(folder)
    sizes = f"{len(train[1]):,} + {len(test[1]):,}"
    images = Images.from_pixels(
        train,
        test,
        white=255,
        name="mnist",
        title=f"MNIST, {sizes} handwritten digits of 28x28 pixels",
        stands_in_for=None,
        classes=CLASSES,
    )
    if images.fingerprint == FINGERPRINT:
        return images
    title = f"MNIST-format images that are not MNIST's own, {sizes} of 28x28 pixels"
    return dataclasses.replace(images, title=title, stands_in_for="MNIST")


def check() -> None:
    """Raises `DataError` unless MNIST's files are intact, or there are none.

    Where there are none, `load` would download: that is not tried here.
    """
    folder = source.folder("mnist")
    if folder is not None:
        _read(folder)


def fingerprint() -> str:
    """That of the images in the files; of the download, which Keras checks, its name.

    Raises `DataError` where the files are not intact.
    """
    folder = source.folder("mnist")
    if folder is None:
        return "keras.datasets.mnist"
    train, test = _read(folder)
    return fingerprint_of(*train, *test)


def _read(folder):
    """The training and the test pair of (images, labels), uint8, verified."""
    paths = [_find(folder, *file) for file in FILES]
    arrays = [
        idx.read(path, dimensions)
        for path, (_, dimensions) in zip(paths, FILES, strict=True)
    ]
    pairs = tuple(zip(arrays[::2], arrays[1::2], strict=True))
    for pair, pair_paths in zip(pairs, (paths[:2], paths[2:]), strict=True):
        _verify(*pair, *pair_paths)
    (train_images, train_labels), (test_images, test_labels) = pairs
    if len(train_labels) < len(test_labels):
        raise DataError(
            f"{paths[0]} holds {len(train_labels):,} images and {paths[2]} "
            f"{len(test_labels):,}, expected more to train on than to test on; "
            "the training and the test files seem to be swapped, so swap them back"
        )
    if np.array_equal(train_images, test_images):
        raise DataError(
            f"{paths[2]} holds the same images as {paths[0]}, expected other ones; "
            "put MNIST's test images under this name"
        )
    return pairs


def _find(folder, stem, dimensions):
    """The file under its published name or the common variant, gzip or not."""
    names = [f"{stem}{mark}idx{dimensions}-ubyte" for mark in "-."]
    for name in names:
        for path in (os.path.join(folder, name), os.path.join(folder, name + ".gz")):
            if os.path.isfile(path):
                return path
    raise DataError(
        f"{os.path.join(folder, names[0])} is missing, with or without .gz; "
        f"put all four of MNIST's files into that folder: {NAMES}"
    )


def _verify(images, labels, images_path, labels_path):
    if images.shape[1:] != PIXELS:
        height, width = images.shape[1:]
        raise DataError(
            f"{images_path} holds images of {height}x{width} pixels, expected 28x28; "
            "put MNIST's images under this name"
        )
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images):,} images and {labels_path} "
            f"{len(labels):,} labels, expected as many of each; "
            "take both files from one source"
        )
    if labels.max() >= CLASSES:
        position = int(np.argmax(labels >= CLASSES))
        raise DataError(
            f"{labels_path} holds the label {labels[position]} (number "
            f"{position + 1:,} of {len(labels):,}), expected 0 to {CLASSES - 1}; "
            "replace it by an intact copy"
        )
