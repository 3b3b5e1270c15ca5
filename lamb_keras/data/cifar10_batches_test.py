"""Batches are read as Python 2 and later wrote them, and run nothing."""

import io
import pickle
import struct

import numpy as np
import pytest

from lamb_keras.data.cifar10_batches import pixels, read
from lamb_keras.data.images import DataError

PIXELS = np.random.RandomState(0).randint(256, size=(3, 32, 32, 3)).astype(np.uint8)
LABELS = [4, 0, 9]


def rows(pictures):
    return pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)


def binary(pictures=PIXELS, labels=LABELS):
    return np.column_stack([np.array(labels, np.uint8), rows(pictures)]).tobytes()


def python(pictures=PIXELS, labels=LABELS):
    return as_python_2({b"data": rows(pictures), b"labels": list(map(int, labels))})


def as_python_2(value):
    """The pickle that Python 2 and the NumPy of its time made, as those published."""

    class Python2(pickle._Pickler):
        def save_string(self, value):
            value = value.encode("latin1") if isinstance(value, str) else value
            self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

        dispatch = pickle._Pickler.dispatch | {bytes: save_string, str: save_string}

    file = io.BytesIO()
    Python2(file, protocol=2).dump(value)
    return file.getvalue().replace(
        b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"
    )


def refusal(content, where="a/data_batch_1"):
    with pytest.raises(DataError) as caught:
        read(content, where)
    assert caught.value.__cause__ is None
    sentence = str(caught.value)
    assert sentence.startswith(f"{where} ") and "\n" not in sentence
    return sentence.removeprefix(f"{where} ")


@pytest.mark.parametrize(
    "content, where",
    [
        (binary(), "a.bin"),
        (python(), "a"),
        (pickle.dumps({"data": rows(PIXELS), "labels": LABELS}, protocol=2), "a"),
        (pickle.dumps({b"data": rows(PIXELS), b"labels": LABELS}, protocol=4), "a"),
    ],
    ids=["binary", "Python 2", "Python 3, protocol 2", "Python 3, protocol 4"],
)
def test_what_was_written_is_read(content, where):
    found, labels = read(content, where)
    assert found.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(pixels([found]), PIXELS)
    assert labels.tolist() == LABELS


class Harmful:
    def __reduce__(self):
        return exec, ("raise AssertionError('it was run')",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_would_run_something_is_refused(protocol):
    harmful = pickle.dumps({b"data": Harmful(), b"labels": []}, protocol=protocol)
    assert refusal(harmful).startswith(
        "is no python batch of CIFAR-10 that can be read (it asks for "
    )


@pytest.mark.parametrize("length", [0, 1, 50, 5000, -1])
def test_a_python_batch_that_is_cut_off_is_refused(length):
    assert refusal(python()[:length]).startswith("is no python batch of CIFAR-10")


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        {},
        {b"data": rows(PIXELS)},
        {b"data": rows(PIXELS), b"labels": LABELS[:2]},
        {b"data": rows(PIXELS)[:, 1:], b"labels": LABELS},
        {b"data": rows(PIXELS).astype(float), b"labels": LABELS},
        {b"data": rows(PIXELS)[:0], b"labels": []},
        {b"data": rows(PIXELS), b"labels": [4, -1, 9]},
        {b"data": rows(PIXELS), b"fine_labels": LABELS},  # CIFAR-100's
    ],
)
def test_a_pickle_of_something_else_is_refused(value):
    assert refusal(as_python_2(value)).startswith("holds something else than a python")


@pytest.mark.parametrize("length", [0, 3072, 3 * 3073 - 1])
def test_a_binary_batch_of_another_size_is_refused(length):
    assert refusal(binary()[:length], "a/b.bin").startswith(
        f"holds {length:,} bytes, expected some times 3,073"
    )


def test_several_batches_are_joined_in_order():
    joined = pixels([rows(PIXELS[:1]), rows(PIXELS[1:])])
    assert joined.flags.c_contiguous
    np.testing.assert_array_equal(joined, PIXELS)
