"""MNIST is read from its files, or they are refused with what is wrong with them."""

import gzip
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from lamb_keras.data import DataError, check, fingerprint, load, mnist, source, split
from lamb_keras.data.idx_test import encode

TRAIN, TEST = 40, 20  # images in the tiny files
needs_mnist = pytest.mark.skipif(
    not os.path.isdir(os.path.join(os.environ.get("LAMB_KERAS_DATA") or "-", "mnist")),
    reason="LAMB_KERAS_DATA names no folder that holds mnist/",
)


def tiny(count, seed):
    random = np.random.RandomState(seed)
    images = random.randint(256, size=(count, 28, 28)).astype(np.uint8)
    return images, np.arange(count).astype(np.uint8) % 10


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Tiny files in MNIST's format, where LAMB_KERAS_DATA names them."""
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    folder = tmp_path / "mnist"
    folder.mkdir()
    for part, pair in (("train", tiny(TRAIN, 0)), ("t10k", tiny(TEST, 1))):
        for kind, array in zip(("images-idx3", "labels-idx1"), pair, strict=True):
            (folder / f"{part}-{kind}-ubyte").write_bytes(encode(array))
    return folder


def refusal():
    """The one sentence with which every way in refuses the files."""
    sentences = set()
    for ask in (load, check, fingerprint):
        with pytest.raises(DataError) as caught:
            ask("mnist")
        sentences.add(str(caught.value))
    (sentence,) = sentences
    assert "\n" not in sentence
    return sentence


def test_what_the_files_hold_is_loaded(files):
    check("mnist")
    images = load("mnist")
    for arrays, (pixels, labels) in (
        ((images.train_images, images.train_labels), tiny(TRAIN, 0)),
        ((images.test_images, images.test_labels), tiny(TEST, 1)),
    ):
        assert arrays[0].dtype == np.float32 and arrays[1].dtype == np.int32
        np.testing.assert_array_equal(
            arrays[0][..., 0], (pixels / 255).astype(np.float32)
        )
        np.testing.assert_array_equal(arrays[1], labels)


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_the_names_in_use_are_all_found(files, mark, packed):
    expected = load("mnist").fingerprint
    for path in list(files.iterdir()):
        content = path.read_bytes()
        path.unlink()
        name = path.name.replace("-idx", f"{mark}idx") + ".gz" * packed
        (files / name).write_bytes(gzip.compress(content) if packed else content)
    assert load("mnist").fingerprint == fingerprint("mnist") == expected


def test_the_fingerprint_tells_every_pixel_and_label(files):
    found = {fingerprint("mnist")}
    for name in ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        content = bytearray((files / name).read_bytes())
        content[-1] ^= 1
        (files / name).write_bytes(content)
        found.add(fingerprint("mnist"))
    assert len(found) == 3


def test_images_that_are_not_mnist_are_not_called_mnist(files):
    images = load("mnist")
    assert images.title == (
        "MNIST-format images that are not MNIST's own, 40 + 20 of 28x28 pixels"
    )
    assert images.stands_in_for == "MNIST"


def test_images_that_are_mnist_are_called_mnist(files, monkeypatch):
    monkeypatch.setattr(mnist, "FINGERPRINT", load("mnist").fingerprint)
    images = load("mnist")
    assert images.title == "MNIST, 40 + 20 handwritten digits of 28x28 pixels"
    assert images.stands_in_for is None


def test_a_truncated_file_is_named(files):
    path = files / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    assert refusal().startswith(f"{path} is cut off: it holds 15,679 bytes of images")


def test_a_file_damaged_in_its_gzip_data_is_named(files):
    plain = files / "train-labels-idx1-ubyte"
    packed = bytearray(gzip.compress(plain.read_bytes()))
    packed[-8] ^= 1
    plain.unlink()
    path = files / "train-labels-idx1-ubyte.gz"
    path.write_bytes(packed)
    assert refusal().startswith(f"{path} is damaged")


def test_labels_under_the_name_of_images_are_named(files):
    path = files / "train-images-idx3-ubyte"
    path.write_bytes((files / "train-labels-idx1-ubyte").read_bytes())
    assert refusal().startswith(f"{path} holds labels, expected an IDX file of images")


@pytest.mark.parametrize(
    "name", ["train-images-idx3", "train-labels-idx1", "t10k-labels-idx1"]
)
def test_a_missing_file_is_named(files, name):
    path = files / f"{name}-ubyte"
    path.unlink()
    assert refusal() == (
        f"{path} is missing, with or without .gz; put all four of MNIST's files into "
        "that folder: train-images-idx3-ubyte, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"
    )


def test_a_folder_with_the_name_of_a_file_is_not_the_file(files):
    path = files / "train-images-idx3-ubyte"
    content = path.read_bytes()
    path.unlink()
    path.mkdir()  # as some archives unpack
    (files / "train-images.idx3-ubyte").write_bytes(content)
    check("mnist")


def test_a_label_outside_0_to_9_is_named(files):
    path = files / "t10k-labels-idx1-ubyte"
    labels = tiny(TEST, 1)[1]
    labels[12] = 10
    path.write_bytes(encode(labels))
    assert refusal() == (
        f"{path} holds the label 10 (number 13 of 20), expected 0 to 9; "
        "replace it by an intact copy"
    )


def test_labels_for_other_images_are_refused_by_their_number(files):
    (files / "train-labels-idx1-ubyte").write_bytes(encode(tiny(TRAIN - 1, 0)[1]))
    assert refusal() == (
        f"{files}/train-images-idx3-ubyte holds 40 images and "
        f"{files}/train-labels-idx1-ubyte 39 labels, expected as many of each; "
        "take both files from one source"
    )


def exchange(folder, kind):
    train, test, aside = (folder / f"{p}-{kind}" for p in ("train", "t10k", "aside"))
    train.rename(aside)
    test.rename(train)
    aside.rename(test)


def test_training_files_swapped_with_test_files_are_refused(files):
    exchange(files, "images-idx3-ubyte")
    assert "holds 20 images and" in refusal()
    exchange(files, "labels-idx1-ubyte")
    assert "the training and the test files seem to be swapped" in refusal()


def test_training_images_in_place_of_the_test_images_are_refused(files):
    for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        content = (files / f"train-{kind}").read_bytes()
        (files / f"t10k-{kind}").write_bytes(content)
    assert "t10k-images-idx3-ubyte holds the same images as" in refusal()


def test_images_of_another_size_are_refused(files):
    path = files / "train-images-idx3-ubyte"
    path.write_bytes(encode(np.zeros((TRAIN, 32, 30), np.uint8)))
    assert refusal() == (
        f"{path} holds images of 32x30 pixels, expected 28x28; "
        "put MNIST's images under this name"
    )


def test_a_data_folder_that_does_not_exist_is_not_passed_over(monkeypatch):
    monkeypatch.setenv("LAMB_KERAS_DATA", "no/such/folder")
    assert refusal() == (
        "LAMB_KERAS_DATA is 'no/such/folder', which is not a folder; "
        "correct it, or unset it to let Keras download the data"
    )


def test_the_files_are_read_without_keras_jax_or_scikit_learn(files):
    code = (
        "import sys; from lamb_keras import data; data.check('mnist');"
        "data.load('mnist');"
        "print({'jax', 'keras', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


@pytest.fixture(params=["variable unset", "variable empty", "no mnist/ in the folder"])
def no_files(request, tmp_path, monkeypatch):
    values = {"variable empty": "", "no mnist/ in the folder": str(tmp_path)}
    monkeypatch.delenv("LAMB_KERAS_DATA", raising=False)
    if request.param in values:
        monkeypatch.setenv("LAMB_KERAS_DATA", values[request.param])


def keras_whose_download(load_data):
    datasets = SimpleNamespace(mnist=SimpleNamespace(load_data=load_data))
    return SimpleNamespace(datasets=datasets)


def test_without_files_keras_downloads(no_files, monkeypatch):
    pairs = tiny(TRAIN, 0), tiny(TEST, 1)
    monkeypatch.setitem(sys.modules, "keras", keras_whose_download(lambda: pairs))
    np.testing.assert_array_equal(load("mnist").test_labels, pairs[1][1])


def test_check_downloads_nothing(no_files, monkeypatch):
    def load_data():
        raise AssertionError("check reached for the network")

    monkeypatch.setitem(sys.modules, "keras", keras_whose_download(load_data))
    assert check("mnist") is None


def test_the_fingerprint_of_a_download_is_its_name_and_downloads_nothing(no_files):
    assert fingerprint("mnist") == "keras.datasets.mnist"


def test_without_files_or_network_a_sentence_says_where_to_put_them(
    no_files, monkeypatch
):
    timeouts = []

    def load_data():
        assert timeouts == [source.DOWNLOAD_TIMEOUT_SECONDS]
        raise Exception("URL fetch failure on some://where: None -- no such host")

    monkeypatch.setattr("socket.setdefaulttimeout", timeouts.append)
    monkeypatch.setitem(sys.modules, "keras", keras_whose_download(load_data))
    with pytest.raises(DataError) as caught:
        load("mnist")
    assert str(caught.value) == (
        "there are no MNIST files on this machine, and Keras could not download them "
        "(no such host); put train-images-idx3-ubyte, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (or each with .gz) into a "
        "folder named mnist, and set LAMB_KERAS_DATA to the folder that holds it"
    )
    assert caught.value.__cause__ is None
    assert timeouts[1:] == [socket.getdefaulttimeout()]  # as it was


@needs_mnist
def test_the_real_mnist_is_recognized():
    check("mnist")
    images = load("mnist")
    assert images.title == "MNIST, 60,000 + 10,000 handwritten digits of 28x28 pixels"
    assert images.stands_in_for is None
    assert images.train_images.shape == (60000, 28, 28, 1)
    assert images.test_images.shape == (10000, 28, 28, 1)
    assert images.train_images.min() == 0 and images.train_images.max() == 1
    # The well-known beginnings, and the mean that recipes normalize by.
    assert images.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert images.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert abs(images.train_images.mean(dtype=np.float64) - 0.1307) < 5e-5


@needs_mnist
def test_a_tenth_of_the_real_mnist_is_held_out_in_proportion():
    images = load("mnist")
    parts = split(images, 0.1)
    assert (len(parts.train_labels), len(parts.validation_labels)) == (54000, 6000)
    whole, held_out = (
        np.bincount(labels) for labels in (images.train_labels, parts.validation_labels)
    )
    assert np.all(abs(held_out - whole / 10) < 1)
