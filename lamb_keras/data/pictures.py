"""Decodes JPEG and PNG files, one at a time or a whole set of one size."""

import io

import numpy as np

from lamb_keras.data.images import DataError

FORMATS = ("JPEG", "PNG")


def decode(content: bytes, where: str, size: tuple[int, int] | None = None):
    """(pixels, format) of a picture: uint8 (height, width, 3), and "JPEG" or "PNG".

    Gray, transparent and indexed ones become red, green and blue.

    Args:
        content: of the file.
        where: what an error calls the picture.
        size: the (height, width) it must have, if it must.

    Example:
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("L", (3, 2), 7).save(file, "PNG")
        >>> pixels, format = decode(file.getvalue(), "a test")
        >>> pixels.shape, format, set(pixels.ravel().tolist())
        ((2, 3, 3), 'PNG', {7})
    """
    from PIL import Image, UnidentifiedImageError  # 40 ms

    try:
        # Opening reads no more than the header: a picture of the wrong size, however
        # large, takes no memory.
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            height, width = picture.height, picture.width
            if size is None or (height, width) == size:
                color = picture if picture.mode == "RGB" else picture.convert("RGB")
                return np.asarray(color), picture.format
    except UnidentifiedImageError:
        fault = "is neither a JPEG nor a PNG picture"
    except Exception as error:  # Pillow's damaged files raise a dozen kinds of them
        fault = f"cannot be decoded ({error})"
    else:
        fault = f"is {height}x{width} pixels, expected {size[0]}x{size[1]}"
    raise DataError(f"{where} {fault}; replace it by an intact copy")


def decode_all(pictures, count: int, size: tuple[int, int]):
    """(pixels, jpegs) of `count` pictures: uint8 (count, h, w, 3), how many are JPEG.

    One after the other: at 32x32, 90 µs each, threads only get into each other's way.

    Args:
        pictures: yields (content, where), as `decode` takes them.
        count: how many those are.
        size: the (height, width) that each must have.
    """
    pixels, jpegs = np.empty((count, *size, 3), np.uint8), 0
    for place, (content, where) in enumerate(pictures):
        pixels[place], format = decode(content, where, size)
        jpegs += format == "JPEG"
    return pixels, jpegs
