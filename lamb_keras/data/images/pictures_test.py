"""Pictures of every kind become color, squares show the part that they say."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lamb_keras.data import DataError
from lamb_keras.data.images.pictures import (
    cut,
    decode,
    labeled,
    middle_box,
    random_box,
)

NOISE = np.random.RandomState(0).randint(256, size=(32, 32, 3)).astype(np.uint8)


def encode(pixels, format="PNG", mode=None, **options):
    picture = Image.fromarray(pixels)
    file = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(file, format, **options)
    return file.getvalue()


# Names


def test_classes_and_pictures_come_sorted_by_name_and_nothing_else():
    names = ["n02/b.png", "n02/a.JPEG", "n-1/y.Jpg", "n/z.jpeg", "README", "n/x.txt"]
    assert labeled(names, None, "") == [
        ("n/z.jpeg", 0),
        ("n-1/y.Jpg", 1),
        ("n02/a.JPEG", 2),
        ("n02/b.png", 2),
    ]
    assert labeled(["ant/1.png", "bee/1.png"], ["bee", "ant"], "") == [
        ("bee/1.png", 0),
        ("ant/1.png", 1),
    ]


@pytest.mark.parametrize(
    "names, classes, sentence",
    [
        (["ant/1.png", "bee/1.txt"], ["ant", "bee"], "no picture .* folder 'bee'; f"),
        (["ant/1.png", "zebra/1.png"], ["ant"], "pictures in the folder 'zebra', exp"),
        (["1.png"], None, "no picture .* in the folder '<class>'"),
    ],
)
def test_a_missing_and_an_unknown_class_are_named(names, classes, sentence):
    with pytest.raises(DataError, match=f"^here holds {sentence}"):
        labeled(names, classes, "here")


# Whole pictures


def test_a_png_is_decoded_to_the_last_bit_and_a_jpeg_nearly():
    pixels, format = decode(encode(NOISE), "", (32, 32))
    assert format == "PNG" and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, NOISE)
    smooth = np.broadcast_to(np.arange(0, 256, 8, "uint8")[:, None, None], NOISE.shape)
    pixels, format = decode(encode(smooth, "JPEG", quality=95), "", (32, 32))
    assert format == "JPEG"
    assert abs(pixels.astype(int) - smooth).max() < 5


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK"])
def test_pictures_of_every_kind_become_red_green_and_blue(mode):
    white = np.full((20, 32, 3), 255, np.uint8)
    content = encode(white, "JPEG" if mode == "CMYK" else "PNG", mode)
    pixels, _ = decode(content, "", (20, 32))
    assert pixels.shape == (20, 32, 3) and np.all(pixels == 255)
    square = cut(content, "", middle_box, 8)
    assert square.shape == (8, 8, 3) and square.dtype == np.uint8
    assert np.all(square == 255)


def deep_png(samples, kind, extra=b""):
    """A PNG of 16 bits, which Pillow does not write in color or with transparency."""

    def chunk(name, content):
        checked = name + content
        sizes = struct.pack(">I", len(content)), struct.pack(">I", zlib.crc32(checked))
        return sizes[0] + checked + sizes[1]

    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = chunk(b"IHDR", header) + (chunk(b"tRNS", extra) if extra else b"")
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunks
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "kind, channels, extra",
    [(0, 1, b""), (0, 1, b"\0\0"), (2, 3, b""), (4, 2, b""), (6, 4, b"")],
    ids=["gray", "gray with a transparent value", "color", "gray, alpha", "RGBA"],
)
def test_the_upper_8_of_16_bits_are_taken(kind, channels, extra):
    ramp = np.linspace(0, 65535, 32).astype(int)
    samples = np.broadcast_to(ramp[None, :, None], (32, 32, channels))
    content = deep_png(samples, kind, extra)
    expected = np.broadcast_to((ramp >> 8)[None, :, None], (32, 32, 3))
    pixels, _ = decode(content, "", (32, 32))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)
    square = cut(content, "", lambda *_: (0, 0, 32, 32), 32)
    np.testing.assert_array_equal(square, expected)


def test_a_picture_of_another_size_is_refused_height_before_width():
    with pytest.raises(DataError) as caught:
        decode(encode(NOISE[:20]), "some/picture", (32, 20))
    assert str(caught.value) == (
        "some/picture is 20x32 pixels, expected 32x20; replace it by an intact copy"
    )


DAMAGED = {
    "GIF": encode(NOISE, "GIF"),
    **{f"PNG[:{n}]": encode(NOISE)[:n] for n in (100, 2000)},
    **{f"JPEG[:{n}]": encode(NOISE, "JPEG")[:n] for n in (20, 900)},
    "PNG with a bit changed": encode(NOISE).replace(b"IDATx", b"IDATy"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_picture_is_named_in_one_sentence(name):
    for read, *how in ((decode, (32, 32)), (cut, middle_box, 8)):
        with pytest.raises(DataError) as caught:
            read(DAMAGED[name], "cats/1.JPEG", *how)
        sentence = str(caught.value)
        assert sentence.startswith("cats/1.JPEG cannot be decoded as a JPEG or PNG pic")
        assert sentence.endswith("; replace it by an intact copy")
        assert caught.value.__cause__ is None and "\n" not in sentence


# Squares


def ramp(width, height, format, **options):
    """A smooth picture whose red tells the column and whose green tells the row."""
    row, column = np.mgrid[:height, :width]
    blue = np.full_like(row, 128)
    pixels = np.stack([255 * column / width, 255 * row / height, blue], axis=-1)
    return encode(pixels.astype("uint8"), format, **options)


def boxes(width, height, count=3000):
    random = np.random.Generator(np.random.Philox(1))
    return np.array([random_box(width, height, random) for _ in range(count)])


@pytest.mark.parametrize("width, height", [(500, 375), (375, 500), (32, 32), (1, 1)])
def test_a_random_box_lies_inside_with_an_area_and_aspect_as_allowed(width, height):
    left, top, right, bottom = boxes(width, height).T
    assert np.all((left >= 0) & (top >= 0) & (right <= width) & (bottom <= height))
    w, h = right - left, bottom - top
    assert np.all((w >= 1) & (h >= 1))
    if min(width, height) > 100:  # else rounding to whole pixels tells
        assert np.all((w * h / (width * height) >= 0.079) & (w / h <= 1.36))
        assert np.all(w / h >= 0.735)


def test_areas_are_spread_evenly_and_every_edge_is_reached():
    left, top, right, bottom = boxes(1000, 1000).T
    area = (right - left) * (bottom - top) / 1e6
    # Large boxes of an extreme aspect do not fit, so evenness holds for small ones.
    small = area[area < 0.6]
    quarters, _ = np.histogram(small, np.linspace(0.08, 0.6, 5))
    assert quarters.min() > 0.85 * quarters.max()
    for low, high in ((left, right), (top, bottom)):
        assert low.min() <= 5 and high.max() >= 995
        size, small = high - low, area < 0.3
        place = low[small] / (1000 - size[small])
        quartiles = np.quantile(place, [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quartiles, [0.25, 0.5, 0.75], atol=0.06)


def test_where_no_box_fits_the_largest_of_an_allowed_aspect_is_taken_in_the_middle():
    assert set(map(tuple, boxes(2000, 20, 20).tolist())) == {(986, 0, 1013, 20)}
    assert set(map(tuple, boxes(20, 2000, 20).tolist())) == {(0, 986, 20, 1013)}


def test_as_many_numbers_are_drawn_whatever_the_picture():
    after = set()
    for width, height in [(500, 375), (3, 4000)]:
        random = np.random.Generator(np.random.Philox(7))
        random_box(width, height, random)
        after.add(random.random())
    assert len(after) == 1


def test_the_middle_is_that_of_a_picture_shrunk_to_256():
    left, top, right, bottom = middle_box(400, 300)
    assert right - left == bottom - top == pytest.approx(300 * 224 / 256)
    assert (left + right, top + bottom) == pytest.approx((400, 300))


@pytest.mark.parametrize("format, options", [("PNG", {}), ("JPEG", {"quality": 95})])
@pytest.mark.parametrize(
    "box", [(0, 0, 640, 480), (100, 60, 500, 420), (311, 17, 340, 50)]
)
def test_what_is_cut_is_the_box_at_every_scale_of_decoding(format, options, box):
    content = ramp(640, 480, format, **options)
    square = cut(content, "ramp", lambda *_: box, 16).astype(float)
    left, top, right, bottom = box
    centers = (np.arange(16) + 0.5) / 16
    columns = 255 * (left + centers * (right - left)) / 640
    rows = 255 * (top + centers * (bottom - top)) / 480
    # The ramp was rounded down, and JPEG moves a value by a few units.
    inner = slice(2, -2)
    np.testing.assert_allclose(square[:, :, 0].mean(0)[inner], columns[inner], atol=3)
    np.testing.assert_allclose(square[:, :, 1].mean(1)[inner], rows[inner], atol=3)


def test_a_jpeg_is_decoded_no_larger_than_needed_but_never_smaller(monkeypatch):
    decoded = []
    convert = Image.Image.convert

    def watch(self, *args, **kwargs):
        decoded.append(self.size)
        return convert(self, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "convert", watch)
    content = ramp(640, 480, "JPEG")
    for part in (640, 480), (100, 100), (100, 480), (640, 100):
        cut(content, "ramp", lambda *_, part=part: (0, 0, *part), 100)
    assert decoded == [(160, 120), *[(640, 480)] * 3]
