"""Labeled images by name, ready to train on.

`load` brings a data set into memory, `split` holds out a part of its training set,
`check` finds a damaged file before a batch starts, and `fingerprint` tells one content
from another. Nothing here imports JAX, and Keras only when it has to download MNIST.
"""

from lamb_keras.data.datasets import DATASETS, check, fingerprint, load
from lamb_keras.data.images import DataError, Images, Split, split

__all__ = [
    "DATASETS",
    "DataError",
    "Images",
    "Split",
    "check",
    "fingerprint",
    "load",
    "split",
]
