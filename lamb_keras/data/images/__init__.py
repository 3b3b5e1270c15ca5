"""Labeled images, in memory or as a stream, and one module for each data set."""

from lamb_keras.data.images.dataset import Images, Streamed
from lamb_keras.data.source import DataError

__all__ = ["DataError", "Images", "Streamed"]
