"""Labeled images by name, ready to train on.

`open` finds a data set and holds out a part of its training images, whether it fits
into memory or is read as a stream; `load` and `split` are its two halves for the first.
`check` finds a damaged file before a batch starts, and `fingerprint` tells one content
from another. Nothing here imports JAX, and Keras only when it has to download.
"""

from lamb_keras.data.datasets import DATASETS, check, fingerprint, load, open
from lamb_keras.data.images import DataError, Images, Split, split
from lamb_keras.data.streamed import Streamed

__all__ = [
    "DATASETS",
    "DataError",
    "Images",
    "Split",
    "Streamed",
    "check",
    "fingerprint",
    "load",
    "open",
    "split",
]
