"""Reads the two formats in which CIFAR-10 is published: python and binary batches.

A python batch is a pickled dictionary with `data`, uint8 (n, 3072), and `labels`, a
list. A binary batch is n records of 3,073 bytes: the label, and the same 3,072. Those
are 32x32 of red, then of green, then of blue, row by row.
"""

import io
import pickle

import numpy as np

from lamb_keras.data.images import DataError

BYTES = 3 * 32 * 32  # of a picture
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)
NAMES = TRAIN + TEST
BINARY = ".bin"  # what the name of a binary batch has besides


def read(content: bytes, where: str):
    """(rows, labels) of a batch: uint8 (n, 3072) and uint8 (n,).

    Args:
        content: of the file.
        where: the file's name, with `.bin` if it is a binary batch.

    Example:
        >>> rows, labels = read(bytes([7]) + bytes(range(256)) * 12, "a.bin")
        >>> rows.shape, labels
        ((1, 3072), array([7], dtype=uint8))
    """
    return (_read_binary if where.endswith(BINARY) else _read_python)(content, where)


def pixels(rows):
    """The pictures in the rows of batches: uint8 (n, 32, 32, 3).

    Args:
        rows: a list, one entry a batch.

    Example:
        >>> red_green_blue = np.repeat(np.array([[1, 2, 3]], "uint8"), 1024, axis=1)
        >>> pixels([red_green_blue])[0, 31, 31].tolist()
        [1, 2, 3]
    """
    joined = np.empty((sum(map(len, rows)), 32, 32, 3), np.uint8)
    start = 0
    for each in rows:
        planes = each.reshape(-1, 3, 32, 32)
        joined[start : start + len(each)] = planes.transpose(0, 2, 3, 1)
        start += len(each)
    return joined


def _read_binary(content, where):
    if not content or len(content) % (1 + BYTES):
        raise DataError(
            f"{where} holds {len(content):,} bytes, expected some times 3,073, one "
            "label and 3,072 pixel values for each picture; replace it by an intact "
            "copy"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + BYTES)
    return records[:, 1:], records[:, 0].copy()


def _read_python(content, where):
    try:
        batch = _DataOnly(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # pickle's damaged files raise a dozen kinds of them
        raise DataError(
            f"{where} is no python batch of CIFAR-10 that can be read ({error}); "
            "replace it by an intact copy"
        ) from None
    rows, labels = (_entry(batch, name) for name in ("data", "labels"))
    is_data = (
        isinstance(rows, np.ndarray)
        and rows.dtype == np.uint8
        and rows.ndim == 2
        and rows.shape[1] == BYTES
        and isinstance(labels, list)
        and 0 < len(labels) == len(rows)
        and all(isinstance(label, int) and 0 <= label < 256 for label in labels)
    )
    if not is_data:
        raise DataError(
            f"{where} holds something else than a python batch of CIFAR-10, expected "
            "'data' of 3,072 bytes a picture and a label in 'labels' for each; "
            "replace it by an intact copy"
        )
    return rows, np.array(labels, np.uint8)


def _entry(batch, name):
    # Python 2 wrote the published files: their words are bytes.
    if not isinstance(batch, dict):
        return None
    return batch.get(name.encode(), batch.get(name))


class _DataOnly(pickle.Unpickler):
    """Makes arrays, bytes, strings, numbers, lists and dictionaries; runs nothing.

    A pickle may otherwise call any function there is.
    """

    _allowed = {
        (f"numpy.{core}.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0]
        for core in ("core", "_core")
    } | {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # Python 3's bytes, in a format that Python 2 could read.
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
    }

    def find_class(self, module, name):
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._allowed[module, name]
