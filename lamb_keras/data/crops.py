"""Cuts a square of one size out of a picture of any, as ImageNet's recipes do.

The square is cut and shrunk in one step, and a JPEG is decoded no larger than that
needs: at half, a quarter or an eighth of its sides.
"""

import io
import math

from lamb_keras.data.images import DataError
from lamb_keras.data.pictures import FORMATS

ATTEMPTS = 10  # at a random box that fits, before the middle is taken
AREA = 0.08, 1.0  # of the picture
ASPECT = 3 / 4, 4 / 3  # width over height
# Of the shorter side that a picture to judge by shows: 224 pixels out of 256.
MIDDLE = 224 / 256


def random_box(width: int, height: int, random) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a random part: Inception's, as everyone's since.

    Its area and the logarithm of its aspect ratio are uniform; where none of ten fits,
    it is the largest of an allowed aspect in the middle, as torchvision has it.

    Args:
        width, height: of the picture.
        random: a `numpy.random.Generator`. Always as many numbers are drawn from it.

    Example:
        >>> import numpy as np
        >>> random_box(500, 375, np.random.default_rng(0))
        (34, 18, 478, 368)
    """
    low, high = map(math.log, ASPECT)
    # `random` is the one method whose numbers follow from the bits alone.
    for area, aspect, right, down in random.random((ATTEMPTS, 4)).tolist():
        area = (AREA[0] + (AREA[1] - AREA[0]) * area) * width * height
        aspect = math.exp(low + (high - low) * aspect)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(right * (width - w + 1)), int(down * (height - h + 1))
            return left, top, left + w, top + h
    w = min(width, max(1, round(height * ASPECT[1])))
    h = min(height, max(1, round(width / ASPECT[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def middle_box(width: int, height: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the square in the middle, 7/8 of the shorter side.

    The same as to shrink a picture to 256 pixels and to cut 224 x 224 out of that.

    Example:
        >>> middle_box(512, 256)
        (144.0, 16.0, 368.0, 240.0)
    """
    side = MIDDLE * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def cut(content: bytes, where: str, choose, size: int):
    """A part of a picture, shrunk or enlarged to uint8 (size, size, 3).

    Args:
        content: of a JPEG or PNG file, gray, in color, indexed or in CMYK.
        where: what an error calls the picture.
        choose: a function of (width, height) to (left, top, right, bottom).
        size: of both sides of the result.

    Example:
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("CMYK", (600, 400)).save(file, "JPEG")
        >>> square = cut(file.getvalue(), "a test", middle_box, size=4)
        >>> square.shape, square.dtype, int(square.min())
        ((4, 4, 3), dtype('uint8'), 255)
    """
    import numpy as np
    from PIL import Image  # 40 ms

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            left, top, right, bottom = choose(*picture.size)
            shrunk = _draft(picture, size, right - left, bottom - top)
            part = picture.convert("RGB").resize(
                (size, size),
                Image.Resampling.BILINEAR,
                box=[side / shrunk for side in (left, top, right, bottom)],
            )
            return np.asarray(part)
    except Exception as error:  # Pillow's damaged files raise a dozen kinds of them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise DataError(
        f"{where} cannot be decoded as a JPEG or PNG picture ({reason}); replace it "
        "by an intact copy"
    )


def _draft(picture, size, width, height):
    """Has a JPEG decoded smaller where its part stays at least `size`: how many times.

    A box in the picture, over this, is the same box in what is decoded.
    """
    whole = picture.width
    smallest = (
        math.ceil(picture.width * size / width),
        math.ceil(picture.height * size / height),
    )
    drafted = picture.draft(None, smallest)  # None for a PNG
    return whole / drafted[1][2] if drafted else 1
