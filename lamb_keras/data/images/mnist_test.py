"""MNIST is read from its files, or they are refused with what is wrong with them."""

import gzip
import os
import socket

import numpy as np
import pytest

from lamb_keras.data import check, fingerprint, load, split
from lamb_keras.data.images import mnist

needs_mnist = pytest.mark.skipif(
    not os.path.isdir(os.path.join(os.environ.get("LAMB_KERAS_DATA") or "-", "mnist")),
    reason="LAMB_KERAS_DATA names no folder that holds mnist/",
)


def idx(array):
    """The array as an IDX file holds it."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def tiny(count, seed):
    random = np.random.RandomState(seed)
    images = random.randint(256, size=(count, 28, 28)).astype(np.uint8)
    return images, np.arange(count).astype(np.uint8) % 10


TRAIN, TEST = tiny(300, 0), tiny(20, 1)  # 300: a size of two bytes
CONTENT = dict(zip(mnist.NAMES, map(idx, (*TRAIN, *TEST)), strict=True))
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = mnist.NAMES


def test_what_the_files_hold_is_loaded_and_not_called_mnist(put):
    put("mnist", CONTENT)
    check("mnist")
    images = load("mnist")
    for arrays, (pixels, labels) in (
        ((images.train_images, images.train_labels), TRAIN),
        ((images.test_images, images.test_labels), TEST),
    ):
        assert arrays[0].dtype == np.float32 and arrays[1].dtype == np.int32
        np.testing.assert_array_equal(
            arrays[0][..., 0], (pixels / 255).astype(np.float32)
        )
        np.testing.assert_array_equal(arrays[1], labels)
    assert images.stands_in_for == "MNIST"
    assert images.title == (
        "MNIST-format images that are not MNIST's own, 300 + 20 of 28x28 pixels"
    )


def test_images_that_are_mnist_are_called_mnist(put, monkeypatch):
    put("mnist", CONTENT)
    monkeypatch.setattr(mnist, "FINGERPRINT", fingerprint("mnist"))
    assert load("mnist").title == "MNIST, 300 + 20 handwritten digits of 28x28 pixels"
    assert load("mnist").stands_in_for is None


@pytest.mark.parametrize("mark, suffix", [("-", ".gz"), (".", ""), (".", ".gz")])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_the_names_in_use_are_all_found_and_the_content_tells_gzip(
    put, mark, suffix, pack
):
    files = {
        name.replace("-idx", f"{mark}idx") + suffix: pack(content)
        for name, content in CONTENT.items()
    }
    put("mnist", files)
    np.testing.assert_array_equal(load("mnist").test_labels, TEST[1])


DOTTED = {name.replace("-idx", ".idx"): CONTENT[name] for name in CONTENT}
PACKED_TOO = {f"{name}.gz": gzip.compress(CONTENT[name]) for name in CONTENT}
LAYOUTS = {
    "torchvision's": ("mnist/MNIST/raw", CONTENT | PACKED_TOO),
    "torchvision's, whose root it is": ("MNIST/raw", CONTENT | PACKED_TOO),
    "torchvision's, still packed": ("mnist/MNIST/raw", PACKED_TOO),
    # Each file in a folder of its own name, and beside it.
    "Kaggle's": (
        "mnist",
        DOTTED | {f"{name}/{name}": CONTENT[name] for name in CONTENT},
    ),
    "Kaggle's, one kind": (
        "mnist",
        {f"{name}/{name}": CONTENT[name] for name in CONTENT},
    ),
    "Kaggle's, in a folder": (
        "mnist/archive",
        DOTTED | {"._t10k-labels.idx1-ubyte": b""},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_files_are_found_in_the_folders_of_those_who_hand_them_on(put, layout):
    put(*LAYOUTS[layout])
    check("mnist")
    images = load("mnist")
    assert images.sizes == {"train": 300, "validation": 0, "test": 20}
    np.testing.assert_array_equal(images.test_labels, TEST[1])


def test_two_copies_side_by_side_are_refused(put, refusal):
    files = [(of, name) for of in ("FashionMNIST", "MNIST") for name in CONTENT]
    folder = put("mnist", {f"{of}/raw/{name}": CONTENT[name] for of, name in files})
    assert refusal("mnist") == (
        f"{folder}/{TRAIN_IMAGES}, with or without .gz, is in FashionMNIST/raw and in "
        "MNIST/raw; put one copy of MNIST's files into that folder: "
        f"{', '.join(mnist.NAMES)}"
    )


def test_the_fingerprint_tells_every_pixel_and_label(put):
    folder = put("mnist", CONTENT)
    found = {fingerprint("mnist"), load("mnist").fingerprint}
    for name in (TRAIN_IMAGES, TEST_LABELS):
        content = bytearray(CONTENT[name])
        content[-1] ^= 1
        (folder / name).write_bytes(content)
        found.add(fingerprint("mnist"))
    assert len(found) == 3


PACKED = gzip.compress(CONTENT[TRAIN_LABELS])


DAMAGED = {
    "a page": b"<html>404</html>",
    "cut off": CONTENT[TRAIN_LABELS][:-1],
    "images": CONTENT[TRAIN_IMAGES],
    "gzip cut off": PACKED[:-9],
    "another checksum": PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_is_damaged_or_another_is_named(put, refusal, name):
    folder = put("mnist", CONTENT | {TRAIN_LABELS: DAMAGED[name]})
    sentence = refusal("mnist")
    assert sentence == (
        f"{folder}/{TRAIN_LABELS} is no intact IDX file of labels; replace it by "
        "MNIST's own of that name"
    )


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TEST_LABELS])
def test_a_missing_file_is_named(put, refusal, name):
    folder = put("mnist", CONTENT)
    (folder / name).unlink()
    assert refusal("mnist") == (
        f"{folder / name}, with or without .gz, is missing; put one copy of MNIST's "
        f"files into that folder: {', '.join(mnist.NAMES)}"
    )


@pytest.mark.parametrize(
    "changed, words",
    [
        ({TEST_LABELS: idx(np.full(20, 10, np.uint8))}, "(20, 28, 28) with 20 labels"),
        ({TRAIN_LABELS: idx(TRAIN[1][:-1])}, "(300, 28, 28) with 299 labels up to 9"),
        ({TRAIN_IMAGES: idx(np.zeros((300, 32, 30), np.uint8))}, "(300, 32, 30) with"),
        (
            {TEST_LABELS: idx(TEST[1][:0]), TEST_IMAGES: idx(TEST[0][:0])},
            "(0, 28, 28) with 0 labels",
        ),
    ],
)
def test_images_and_labels_that_are_not_mnists_are_refused(
    put, refusal, changed, words
):
    folder = put("mnist", CONTENT | changed)
    sentence = refusal("mnist")
    assert sentence.startswith(f"{folder} holds ") and words in sentence


def test_training_and_test_files_that_are_swapped_are_refused(put, refusal):
    train, test = list(CONTENT.values())[:2], list(CONTENT.values())[2:]
    put("mnist", dict(zip(mnist.NAMES, [*test, *train], strict=True)))
    assert "expected more to train on, and other ones" in refusal("mnist")


def test_a_data_folder_that_does_not_exist_is_not_passed_over(monkeypatch, refusal):
    monkeypatch.setenv("LAMB_KERAS_DATA", "no/such/folder")
    assert refusal("mnist") == (
        "LAMB_KERAS_DATA is 'no/such/folder', which is not a folder; "
        "correct it, or unset it to let Keras download the data"
    )


def test_without_files_keras_downloads_but_not_to_check(keras_downloads):
    asked = []

    def give():
        asked.append(1)
        return TRAIN, TEST

    keras_downloads("mnist", give)
    assert check("mnist") is None
    assert fingerprint("mnist") == "keras.datasets.mnist"
    assert not asked
    np.testing.assert_array_equal(load("mnist").test_labels, TEST[1])


def test_without_files_or_network_a_sentence_says_where_to_put_them(
    keras_downloads, refusal
):
    def give():
        raise Exception("URL fetch failure on some://where: None -- no such host")

    keras_downloads("mnist", give)
    assert refusal("mnist", load) == (
        "there are no MNIST files on this machine, and Keras could not download them "
        f"(no such host); put {', '.join(mnist.NAMES)} (or each with .gz) into a "
        "folder named mnist, and set LAMB_KERAS_DATA to the folder that holds it"
    )
    assert socket.getdefaulttimeout() is None  # as it was


@needs_mnist
def test_the_real_mnist_is_recognized_and_a_tenth_held_out_in_proportion():
    images = load("mnist")
    assert images.title == "MNIST, 60,000 + 10,000 handwritten digits of 28x28 pixels"
    assert images.stands_in_for is None
    # The well-known beginnings, and the mean that recipes normalize by.
    assert images.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert images.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert abs(images.train_images.mean(dtype=np.float64) - 0.1307) < 5e-5
    whole = np.bincount(images.train_labels)
    held_out = np.bincount(split(images, 0.1).validation_labels)
    assert held_out.sum() == 6000 and np.all(abs(held_out - whole / 10) < 1)
