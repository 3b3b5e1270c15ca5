"""JPEG and PNG files in one folder a class, and their pixels, whole or cut to a square.

A square is cut and shrunk in one step, and a JPEG is decoded no larger than that needs:
at half, a quarter or an eighth of its sides.
"""

import contextlib
import io
import math
from collections import defaultdict

import numpy as np

from lamb_keras.data.source import DataError

SUFFIXES = (".jpg", ".jpeg", ".png")  # in any case

# Of random squares, as Inception's training and everyone's since has them.
ATTEMPTS = 10  # at a random box that fits, before the middle is taken
AREA = 0.08, 1.0  # of the picture
ASPECT = 3 / 4, 4 / 3  # width over height
# Of the shorter side that a picture to judge by shows: 224 pixels out of 256.
MIDDLE = 224 / 256


def labeled(files, classes, where: str) -> list[tuple[str, int]]:
    """The pictures among files that are named class/file, and their labels.

    `classes` are in the order of their labels; None: those that are there, sorted. An
    error calls the place `where`.

    Example:
        >>> labeled(["dog/2.png", "dog/1.PNG", "cat/1.jpg", "README"], None, "here")
        [('cat/1.jpg', 0), ('dog/1.PNG', 1), ('dog/2.png', 1)]
    """
    found = defaultdict(list)
    for name in files:
        if name.lower().endswith(SUFFIXES) and name.count("/") == 1:
            found[name.split("/")[0]].append(name)
    classes = sorted(found) if classes is None else classes
    if unknown := sorted(set(found) - set(classes)):
        raise DataError(
            f"{where} holds pictures in the folder {unknown[0]!r}, expected one folder "
            f"for each of {len(classes):,} classes, such as {classes[0]!r}; take it "
            "away"
        )
    for name in classes or ["<class>"]:
        if not found[name]:
            raise DataError(
                f"{where} holds no picture ({', '.join(SUFFIXES)}) in the folder "
                f"{name!r}; fill it from an intact copy"
            )
    return [
        (name, label)
        for label, each in enumerate(classes)
        for name in sorted(found[each])
    ]


def decode(content: bytes, where: str, size: tuple[int, int]):
    """(pixels, format) of a picture: uint8 (height, width, 3), and Pillow's name.

    Gray, transparent and indexed ones become red, green and blue; of 16 bits the upper
    8 are taken. A picture not of this `size`, (height, width), is refused.
    """
    with _opened(content, where) as picture:
        # Opening reads no more than the header: a picture of the wrong size, however
        # large, takes no memory.
        if (picture.height, picture.width) != size:
            raise DataError(
                f"{where} is {picture.height}x{picture.width} pixels, expected "
                f"{size[0]}x{size[1]}; replace it by an intact copy"
            )
        return np.asarray(_in_color(picture)), picture.format


def cut(content: bytes, where: str, choose, size: int):
    """A part of a picture, shrunk or enlarged to uint8 (size, size, 3).

    `choose` is a function of (width, height) to (left, top, right, bottom).
    """
    from PIL import Image  # 40 ms

    with _opened(content, where) as picture:
        width, height = picture.size
        left, top, right, bottom = choose(width, height)
        smallest = (
            math.ceil(width * size / (right - left)),
            math.ceil(height * size / (bottom - top)),
        )
        drafted = picture.draft(None, smallest)  # None for a PNG
        # The box in the picture, over this, is the same box in what is decoded.
        shrunk = width / drafted[1][2] if drafted else 1
        part = _in_color(picture).resize(
            (size, size),
            Image.Resampling.BILINEAR,
            box=[side / shrunk for side in (left, top, right, bottom)],
        )
        return np.asarray(part)


def random_box(width: int, height: int, random) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a random part of a picture.

    Its area and the logarithm of its aspect ratio are uniform; where none of ten fits,
    it is the largest of an allowed aspect in the middle, as torchvision has it. Always
    as many numbers are drawn from `random`, a `numpy.random.Generator`.
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
    """
    side = MIDDLE * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _in_color(picture):
    from PIL import Image

    if picture.mode.startswith("I"):
        # Gray of 16 bits, from which Pillow would cut what is above 255. Of color it
        # takes the upper bits itself.
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture.convert("RGB")


@contextlib.contextmanager
def _opened(content, where):
    from PIL import Image  # 40 ms

    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
            yield picture
    except DataError:
        raise
    except Exception:  # damaged files raise a dozen kinds of them
        raise DataError(
            f"{where} cannot be decoded as a JPEG or PNG picture; replace it by an "
            "intact copy"
        ) from None
