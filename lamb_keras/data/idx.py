"""Reads the IDX format, in which MNIST is published.

A file is four bytes (0, 0, the type, the number of dimensions), then each dimension as
a big-endian 32-bit integer, then the values in C order. MNIST's are unsigned bytes.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from lamb_keras.data.images import DataError

UNSIGNED_BYTE = 0x08  # the type code
CONTENT = {1: "labels", 3: "images"}  # by the number of dimensions, in MNIST


def read(path, dimensions: int):
    """The uint8 array in an IDX file, gzip or not.

    Whether a file is gzip is seen from its content, not its name: browsers like to
    unpack a download and keep the `.gz`.

    Args:
        path: the file.
        dimensions: how many the array must have: 1 for labels, 3 for images.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        ...     _ = file.seek(0)
        ...     read(file.name, dimensions=1)
        array([7, 2, 1], dtype=uint8)
    """
    content = _bytes(Path(path))
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise DataError(
            f"{path} {_what_begins(content[:4])}, expected an IDX file of "
            f"{CONTENT[dimensions]}, which begins with {magic.hex(' ')}; "
            "put the right file under this name"
        )
    header = 4 + 4 * dimensions  # bytes
    if len(content) < header:
        raise DataError(
            f"{path} is cut off after {len(content)} bytes, inside its header; "
            "replace it by an intact copy"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    found, expected = len(content) - header, math.prod(shape)
    if found != expected:
        fault = "is cut off: it" if found < expected else "is too long: it"
        sizes = " x ".join(f"{size:,}" for size in shape)
        raise DataError(
            f"{path} {fault} holds {found:,} bytes of {CONTENT[dimensions]} where its "
            f"header announces {sizes}{f' = {expected:,}' * (dimensions > 1)}; "
            "replace it by an intact copy"
        )
    if expected == 0:
        raise DataError(
            f"{path} is intact but holds no {CONTENT[dimensions]}; "
            "replace it by a full copy"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _bytes(path):
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); "
            "make it a file that you may read"
        ) from None
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except EOFError:
        fault = "is cut off: its gzip data end too early"
    except (gzip.BadGzipFile, zlib.error) as error:
        fault = f"is damaged: its gzip data do not unpack ({error})"
    raise DataError(f"{path} {fault}; replace it by an intact copy")


def _what_begins(magic):
    if len(magic) < 4:
        return f"holds only {len(magic)} bytes"
    if magic[:3] == bytes([0, 0, UNSIGNED_BYTE]) and magic[3] in CONTENT:
        return f"holds {CONTENT[magic[3]]}"
    return f"begins with the bytes {magic.hex(' ')}"
