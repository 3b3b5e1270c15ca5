"""A crop shows the part of the picture that it says, at the size that it says."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from lamb_keras.data.crops import cut, middle_box, random_box
from lamb_keras.data.images import DataError


def file(picture, format="PNG", **options):
    content = io.BytesIO()
    picture.save(content, format, **options)
    return content.getvalue()


def ramp(width, height):
    """A smooth picture whose red tells the column and whose green tells the row."""
    row, column = np.mgrid[:height, :width]
    blue = np.full_like(row, 128)
    pixels = np.stack([255 * column / width, 255 * row / height, blue], axis=-1)
    return Image.fromarray(pixels.astype("uint8"))


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


def test_the_middle_is_that_of_a_picture_shrunk_to_256():
    left, top, right, bottom = middle_box(400, 300)
    assert right - left == bottom - top == pytest.approx(300 * 224 / 256)
    assert (left + right, top + bottom) == pytest.approx((400, 300))


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    "box", [(0, 0, 640, 480), (100, 60, 500, 420), (311, 17, 340, 50)]
)
def test_what_is_cut_is_the_box_at_every_scale_of_decoding(format, box):
    width, height = 640, 480
    options = {"quality": 95} if format == "JPEG" else {}
    content = file(ramp(width, height), format, **options)
    square = cut(content, "ramp", lambda *_: box, 16).astype(float)
    left, top, right, bottom = box
    centers = (np.arange(16) + 0.5) / 16
    columns = 255 * (left + centers * (right - left)) / width
    rows = 255 * (top + centers * (bottom - top)) / height
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
    content = file(ramp(640, 480), "JPEG")
    cut(content, "ramp", lambda *size: (0, 0, *size), 100)
    for part in (100, 100), (100, 480), (640, 100):
        cut(content, "ramp", lambda *_, part=part: (0, 0, *part), 100)
    assert decoded == [(160, 120), *[(640, 480)] * 3]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_pictures_of_every_kind_become_red_green_and_blue(mode):
    picture = Image.new(mode, (40, 30))
    content = file(picture, "JPEG" if mode == "CMYK" else "PNG")
    square = cut(content, "one", middle_box, 8)
    assert square.shape == (8, 8, 3) and square.dtype == np.uint8
    assert len(np.unique(square)) == 1


@pytest.mark.parametrize("content", [b"", b"GIF89a", "cut off"])
def test_a_damaged_picture_is_named_in_one_sentence(content):
    if content == "cut off":
        content = file(ramp(64, 64), "JPEG")[:-700]
    with pytest.raises(DataError) as caught:
        cut(content, "cats/1.JPEG", middle_box, 8)
    assert str(caught.value).startswith("cats/1.JPEG cannot be decoded as a JPEG or")
    assert str(caught.value).endswith("; replace it by an intact copy")


def test_as_many_numbers_are_drawn_whatever_the_picture():
    after = []
    for width, height in [(500, 375), (3, 4000)]:
        random = np.random.Generator(np.random.Philox(7))
        random_box(width, height, random)
        after.append(random.random())
    assert after[0] == after[1] and math.isfinite(after[0])
