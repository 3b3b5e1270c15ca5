"""Every kind of JPEG and PNG is decoded to color, and a damaged one is named."""

import io

import numpy as np
import pytest
from PIL import Image

from lamb_keras.data.images import DataError
from lamb_keras.data.pictures import decode, decode_all

NOISE = np.random.RandomState(0).randint(256, size=(32, 32, 3)).astype(np.uint8)


def encode(pixels, format="PNG", mode=None, **options):
    picture = Image.fromarray(pixels)
    file = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(file, format, **options)
    return file.getvalue()


def refusal(content, size=None):
    with pytest.raises(DataError) as caught:
        decode(content, "some/picture", size)
    assert caught.value.__cause__ is None
    sentence = str(caught.value)
    assert sentence.startswith("some/picture ") and "\n" not in sentence
    assert sentence.endswith("; replace it by an intact copy")
    return sentence.removeprefix("some/picture ").rpartition(";")[0]


def test_a_png_is_decoded_to_the_last_bit():
    pixels, format = decode(encode(NOISE), "")
    assert format == "PNG" and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, NOISE)


def test_a_jpeg_is_decoded_nearly():
    smooth = np.broadcast_to(np.arange(0, 256, 8, "uint8")[:, None, None], NOISE.shape)
    pixels, format = decode(encode(smooth, "JPEG", quality=95), "")
    assert format == "JPEG"
    assert abs(pixels.astype(int) - smooth).max() < 5


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "I;16"])
def test_pictures_of_other_kinds_become_color(mode):
    pixels, _ = decode(encode(np.full_like(NOISE, 255), mode=mode), "", (32, 32))
    assert pixels.shape == (32, 32, 3)
    assert np.all(pixels == 255)


def test_height_comes_before_width():
    assert decode(encode(NOISE[:20]), "", (20, 32))[0].shape == (20, 32, 3)
    assert refusal(encode(NOISE[:20]), (32, 20)) == "is 20x32 pixels, expected 32x20"


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_picture_cut_off_anywhere_is_refused(format):
    content = encode(NOISE, format)
    for length in (0, 1, 8, 20, 100, len(content) // 2, len(content) - 99):
        fault = refusal(content[:length])
        assert fault.startswith(("cannot be decoded (", "is neither a JPEG nor a PNG"))


def test_damage_inside_a_png_is_refused():
    content = bytearray(encode(NOISE))
    content[len(content) // 2] ^= 255
    assert refusal(bytes(content)).startswith("cannot be decoded (")


def test_a_picture_in_another_format_is_refused():
    assert refusal(encode(NOISE, "GIF")) == "is neither a JPEG nor a PNG picture"
    assert refusal(b"text") == "is neither a JPEG nor a PNG picture"


def test_many_are_decoded_in_order_and_jpegs_counted():
    given = [(encode(NOISE), ""), (encode(NOISE, "JPEG"), ""), (encode(~NOISE), "")]
    pixels, jpegs = decode_all(iter(given), 3, (32, 32))
    assert jpegs == 1
    np.testing.assert_array_equal(pixels[0], NOISE)
    np.testing.assert_array_equal(pixels[2], ~NOISE)
