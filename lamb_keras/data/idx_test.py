"""The IDX reader takes what it is meant to, and says what is wrong with the rest."""

import gzip

import numpy as np
import pytest

from lamb_keras.data import idx
from lamb_keras.data.images import DataError

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([7, 2, 1], np.uint8)


def encode(array):
    """The array as an IDX file holds it."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def refusal(tmp_path):
    """The sentence with which the reader refuses a file of the given content."""

    def read(content, dimensions=3):
        path = tmp_path / "some-file"
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            idx.read(path, dimensions)
        assert caught.value.__cause__ is None
        sentence = str(caught.value)
        assert sentence.startswith(str(path)) and "\n" not in sentence
        return sentence.removeprefix(f"{path} ")

    return read


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("array", [IMAGES, LABELS], ids=["images", "labels"])
def test_what_was_written_is_read(tmp_path, array, pack):
    path = tmp_path / "file"
    path.write_bytes(pack(encode(array)))
    read = idx.read(path, array.ndim)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


def test_the_content_tells_gzip_not_the_name(tmp_path):
    (tmp_path / "plain.gz").write_bytes(encode(LABELS))
    (tmp_path / "packed").write_bytes(gzip.compress(encode(LABELS)))
    for name in ("plain.gz", "packed"):
        np.testing.assert_array_equal(idx.read(tmp_path / name, 1), LABELS)


def test_sizes_are_big_endian(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 1, 2]) + bytes(258))
    assert idx.read(path, 1).shape == (258,)


def test_a_truncated_file_is_refused_with_both_sizes(refusal):
    assert refusal(encode(IMAGES)[:-5]) == (
        "is cut off: it holds 19 bytes of images where its header announces "
        "2 x 3 x 4 = 24; replace it by an intact copy"
    )


def test_a_file_that_goes_on_after_its_end_is_refused(refusal):
    assert refusal(encode(LABELS) + b"\0", 1) == (
        "is too long: it holds 4 bytes of labels where its header announces 3; "
        "replace it by an intact copy"
    )


def test_a_file_cut_off_inside_its_header_is_refused(refusal):
    assert "is cut off after 10 bytes, inside its header" in refusal(
        encode(IMAGES)[:10]
    )


def test_labels_are_refused_where_images_belong_and_the_reverse(refusal):
    assert refusal(encode(LABELS), 3) == (
        "holds labels, expected an IDX file of images, "
        "which begins with 00 00 08 03; put the right file under this name"
    )
    assert "holds images, expected an IDX file of labels" in refusal(encode(IMAGES), 1)


def test_what_is_no_idx_file_is_refused(refusal):
    assert "begins with the bytes 3c 68 74 6d, expected" in refusal(b"<html>404</html>")
    assert "holds only 0 bytes, expected" in refusal(b"")
    shorts = bytes([0, 0, 0x0B, 3]) + encode(IMAGES)[4:]
    assert "begins with the bytes 00 00 0b 03, expected" in refusal(shorts)


def test_an_array_without_values_is_refused(refusal):
    assert "is intact but holds no labels" in refusal(encode(LABELS[:0]), 1)


def test_a_truncated_gzip_file_is_refused(refusal):
    packed = gzip.compress(encode(IMAGES))
    assert "is cut off: its gzip data end too early" in refusal(packed[:-9])


def test_a_gzip_file_with_a_wrong_checksum_is_refused(refusal):
    packed = bytearray(gzip.compress(encode(IMAGES)))
    packed[-8] ^= 1  # the CRC's first byte
    assert "is damaged: its gzip data do not unpack (CRC check failed" in refusal(
        bytes(packed)
    )


def test_a_gzip_file_damaged_in_the_middle_is_refused(refusal):
    packed = bytearray(gzip.compress(encode(IMAGES)))
    packed[10] = 0xFF  # the first block's type: none of deflate's
    assert "is damaged: its gzip data do not unpack" in refusal(bytes(packed))


def test_a_gzip_file_with_something_behind_it_is_refused(refusal):
    assert "is damaged" in refusal(gzip.compress(encode(IMAGES)) + b"more")


def test_a_folder_under_the_name_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        idx.read(tmp_path, 3)
