"""CIFAR-10 is read from any of its forms, or they are refused by what is wrong."""

import io
import os
import subprocess
import sys
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest

from lamb_keras.data import DataError, archive, cifar10, cifar10_files, load, split
from lamb_keras.data import check as check_data
from lamb_keras.data import fingerprint as fingerprint_of
from lamb_keras.data.cifar10_batches import TEST, TRAIN
from lamb_keras.data.cifar10_batches_test import binary, python
from lamb_keras.data.cifar10_files import CLASSES
from lamb_keras.data.pictures_test import encode

REAL = os.path.join(
    os.environ.get("LAMB_KERAS_DATA") or "-",
    *("cifar10", "cifar10-imagefolder-jpeg.tar.xz"),
)
needs_cifar10 = pytest.mark.skipif(
    not os.path.isfile(REAL),
    reason="LAMB_KERAS_DATA names no folder with cifar10-imagefolder-jpeg.tar.xz",
)
PER_CLASS = {"train": 5, "test": 2}  # in the tiny files


def tiny(part):
    """(pixels, labels), class by class as an image folder has them."""
    labels = np.repeat(np.arange(10), PER_CLASS[part])
    random = np.random.RandomState(len(labels))
    pixels = random.randint(256, size=(len(labels), 32, 32, 3)).astype(np.uint8)
    return pixels, labels


def batches(write, suffix=""):
    pixels, labels = tiny("train")
    files = {
        name + suffix: write(pixels[cut], labels[cut])
        for name, cut in zip(TRAIN, map(slice, *cuts()), strict=True)
    }
    return files | {TEST[0] + suffix: write(*tiny("test")), "readme.html": b"<p>"}


def cuts():
    return range(0, 50, 10), range(10, 60, 10)


def image_folder(format="PNG", suffix="png"):
    return {
        f"{part}/{CLASSES[label]}/{number:04}.{suffix}": encode(picture, format)
        for part in PER_CLASS
        for number, (picture, label) in enumerate(zip(*tiny(part), strict=True))
    }


def below(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


def tar(files, mode):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as file:
        for name, content in reversed(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return packed.getvalue()


FORMS = {
    "python": batches(python),
    "python in its folder": below("cifar-10-batches-py", batches(python)),
    "python in its archive": {
        "cifar-10-python.tar.gz": tar(below("cifar-10", batches(python)), "w:gz")
    },
    "binary": batches(binary, ".bin"),
    "binary in its folder": below("cifar-10-batches-bin", batches(binary, ".bin")),
    "binary in its archive": {
        "cifar-10-binary.tar.gz": tar(
            below("cifar-10", batches(binary, ".bin")), "w:gz"
        )
    },
    "pictures": image_folder(),
    "pictures in a folder": below("cifar10-png", image_folder()),
    "pictures in a tar": {"a.tar": tar(image_folder(), "w")},
    "pictures in a tar.gz": {"a.tgz": tar(below("./a/b", image_folder()), "w:gz")},
    "pictures in a tar.xz": {"a.tar.xz": tar(below(".", image_folder()), "w:xz")},
}


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Writes files to where LAMB_KERAS_DATA says, with a cache of their own."""
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cifar10"
    folder.mkdir()

    def write(files):
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    return write


def refusal(*asks):
    """The one sentence with which every way in refuses the files."""
    sentences = set()
    for ask in asks or (load, check_data):
        with pytest.raises(DataError) as caught:
            ask("cifar10")
        assert caught.value.__cause__ is None
        sentences.add(str(caught.value))
    (sentence,) = sentences
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_pictures_and_tells_its_fingerprint(put, form):
    put(FORMS[form])
    check_data("cifar10")
    for _ in ("decoded", "from the cache"):
        images = load("cifar10")
        assert images.fingerprint == fingerprint_of("cifar10")
        assert images.train_images.dtype == np.uint8
        assert images.train_labels.dtype == np.int32
        for part in PER_CLASS:
            pixels, labels = tiny(part)
            np.testing.assert_array_equal(getattr(images, f"{part}_images"), pixels)
            np.testing.assert_array_equal(getattr(images, f"{part}_labels"), labels)


def test_the_order_of_the_classes_is_cifar_10s():
    assert CLASSES == tuple(
        "airplane automobile bird cat deer dog frog horse ship truck".split()
    )


@pytest.mark.parametrize("form", ["python", "pictures", "pictures in a tar.xz"])
def test_the_fingerprint_is_of_the_content_wherever_it_lies(put, form):
    folder = put(FORMS[form])
    before = fingerprint_of("cifar10")
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    assert fingerprint_of("cifar10") == before
    path = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    assert fingerprint_of("cifar10") != before


def test_decoded_pictures_are_kept_and_a_damaged_cache_is_made_again(put, monkeypatch):
    folder = put(FORMS["pictures"])
    expected = load("cifar10")
    kept = folder.parent / "cache" / f"cifar10-{expected.fingerprint}.npz"
    decode_all, decoded = cifar10_files.pictures.decode_all, []

    def counting(*arguments):
        decoded.append(1)
        return decode_all(*arguments)

    monkeypatch.setattr(cifar10_files.pictures, "decode_all", counting)
    load("cifar10")
    assert decoded == []
    kept.write_bytes(kept.read_bytes()[:-5000])
    again = load("cifar10")
    assert len(decoded) == 2
    np.testing.assert_array_equal(again.train_images, expected.train_images)
    load("cifar10")
    assert len(decoded) == 2


def test_the_title_tells_jpeg_and_what_is_not_all_of_cifar_10(put):
    put(image_folder("JPEG", "jpg"))
    for _ in ("decoded", "from the cache"):
        described = split(load("cifar10"), 0.4).describe()
        assert described["title"] == (
            "CIFAR-10-format pictures that are not CIFAR-10's in JPEG re-encodings, "
            "50 + 20 pictures of 32x32 pixels"
        )
        assert described["stands_in_for"] == "CIFAR-10"


@pytest.mark.parametrize(
    "jpegs, expected",
    [
        (0, ("CIFAR-10, 50,000 + 10,000 pictures of 32x32 pixels", None)),
        (
            1,
            (
                "CIFAR-10 in JPEG re-encodings, 50,000 + 10,000 pictures of 32x32 "
                "pixels",
                "CIFAR-10",
            ),
        ),
    ],
)
def test_all_of_cifar_10_is_called_so(jpegs, expected):
    train, test = np.repeat(np.arange(10), 5000), np.repeat(np.arange(10), 1000)
    assert cifar10._name(train, test, jpegs) == expected


# What is refused


@pytest.mark.parametrize("suffix, write", [("", python), (".bin", binary)])
@pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
def test_a_missing_batch_is_named(put, name, suffix, write):
    folder = put(batches(write, suffix))
    (folder / (name + suffix)).unlink()
    assert refusal() == (
        f"{folder} holds no {name + suffix}, expected all of CIFAR-10's batches there; "
        "add it from an intact copy"
    )


@pytest.mark.parametrize("suffix, write", [("", python), (".bin", binary)])
def test_a_truncated_batch_is_named(put, suffix, write):
    folder = put(batches(write, suffix))
    path = folder / f"data_batch_2{suffix}"
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal().startswith(f"{path} ")


def test_a_label_beyond_the_classes_is_named(put):
    folder = put(batches(binary, ".bin"))
    (folder / "data_batch_2.bin").write_bytes(bytes([10]) + bytes(3072))
    assert refusal() == (
        f"{folder}/data_batch_2.bin holds the label 10, expected 0 to 9; replace it by "
        "an intact copy"
    )


def test_batches_without_one_of_the_classes_are_refused(put):
    folder = put(batches(binary, ".bin"))
    (folder / "data_batch_2.bin").write_bytes(bytes(3073))
    assert refusal() == (
        f"{folder} holds no picture of the class 'bird' in data_batch_1.bin to "
        "data_batch_5.bin, expected all ten classes; replace it by an intact copy"
    )


def test_a_class_without_pictures_is_named(put):
    files = image_folder()
    kept = {name: content for name, content in files.items() if "test/dog" not in name}
    folder = put(kept)
    assert refusal() == (
        f"{folder}/test holds no picture (.jpg, .jpeg, .png) in the folder of the "
        "class 'dog'; fill it from an intact copy"
    )


def test_a_missing_part_is_named(put):
    files = image_folder()
    folder = put({name: files[name] for name in files if name.startswith("train")})
    assert refusal().startswith(f"{folder}/test cannot be listed")


def test_a_picture_of_another_size_is_named(put):
    folder = put(image_folder())
    path = folder / "train" / "cat" / "0015.png"
    path.write_bytes(encode(np.zeros((32, 31, 3), np.uint8)))
    assert refusal() == (
        f"{path} is 32x31 pixels, expected 32x32; replace it by an intact copy"
    )


def test_a_picture_that_cannot_be_decoded_is_named(put):
    folder = put(image_folder())
    path = folder / "test" / "truck" / "0019.png"
    path.write_bytes(path.read_bytes()[:500])
    assert refusal(load).startswith(f"{path} cannot be decoded (")


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"train/cat/0015.png": b"?"}, "train/cat/0015.png in {} is neither a JPEG"),
        ({"train/zebra/1.png": b"?"}, "train in {} holds the folder 'zebra'"),
        ({"test/dog/0010.png": None, "test/dog/0011.png": None}, "test in {} holds no"),
    ],
)
def test_what_is_wrong_in_an_archive_is_named(put, change, expected):
    files = image_folder() | change
    files = {name: content for name, content in files.items() if content is not None}
    folder = put({"a.tar": tar(files, "w")})
    assert refusal(load).startswith(expected.format(folder / "a.tar"))


def test_an_archive_that_is_cut_off_is_named(put):
    (name, content), *_ = FORMS["pictures in a tar.xz"].items()
    folder = put({name: content[: len(content) // 2]})
    for ask in (load, check_data):
        assert refusal(ask).startswith(f"{folder}/{name} is no intact tar archive (")


def test_an_archive_of_something_else_is_refused(put):
    folder = put({"a.tar": tar({"notes.txt": b"hi"}, "w")})
    assert refusal(load) == (
        f"{folder}/a.tar holds none of CIFAR-10's files; pack {cifar10_files.FORMS}"
    )


@pytest.mark.parametrize(
    "names, found",
    [([], "none of CIFAR-10's files"), (["a.tar", "b.tgz"], "a.tar, b.tgz")],
)
def test_no_files_and_several_archives_are_refused(put, names, found):
    folder = put(dict.fromkeys(names, b""))
    assert refusal(load, check_data, fingerprint_of) == (
        f"{folder} holds {found}; put there {cifar10_files.FORMS}"
    )


# How it is had


def test_the_files_are_read_without_keras_jax_or_scikit_learn(put):
    put(FORMS["pictures"])
    code = (
        "import sys; from lamb_keras import data; data.check('cifar10');"
        "data.fingerprint('cifar10'); data.load('cifar10');"
        "print({'jax', 'keras', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


@pytest.fixture
def keras_whose_download(monkeypatch):
    monkeypatch.delenv("LAMB_KERAS_DATA", raising=False)

    def set_up(load_data):
        module = SimpleNamespace(load_data=load_data)
        keras = SimpleNamespace(datasets=SimpleNamespace(cifar10=module))
        monkeypatch.setitem(sys.modules, "keras", keras)

    return set_up


def test_without_files_keras_downloads(keras_whose_download):
    pairs = [(pixels, labels[:, None]) for pixels, labels in map(tiny, PER_CLASS)]
    keras_whose_download(lambda: pairs)
    images = load("cifar10")
    np.testing.assert_array_equal(images.test_images, pairs[1][0])
    np.testing.assert_array_equal(images.test_labels, pairs[1][1].ravel())


def test_check_and_fingerprint_download_nothing(keras_whose_download):
    def load_data():
        raise AssertionError("reached for the network")

    keras_whose_download(load_data)
    assert check_data("cifar10") is None
    assert fingerprint_of("cifar10") == "keras.datasets.cifar10"


def test_without_files_or_network_a_sentence_says_what_to_put_where(
    keras_whose_download,
):
    def load_data():
        raise Exception("URL fetch failure on some://where: None -- no such host")

    keras_whose_download(load_data)
    assert refusal(load) == (
        "there are no CIFAR-10 files on this machine, and Keras could not download "
        f"them (no such host); put {cifar10_files.FORMS} into a folder named cifar10, "
        "and set LAMB_KERAS_DATA to the folder that holds it"
    )


@needs_cifar10
def test_the_real_archive_is_checked_and_told_apart_without_being_unpacked(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path))
    next_member, seen = archive._next, []

    def one_more(*arguments):
        seen.append(next_member(*arguments))
        return seen[-1]

    monkeypatch.setattr(archive, "_next", one_more)
    check_data("cifar10")
    assert len(fingerprint_of("cifar10")) == 64
    assert len(seen) == 1
    assert list(tmp_path.iterdir()) == []


@needs_cifar10
@pytest.mark.slow
def test_the_real_pictures_are_cifar_10_in_jpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path))
    images = load("cifar10")
    assert images.title == (
        "CIFAR-10 in JPEG re-encodings, 50,000 + 10,000 pictures of 32x32 pixels"
    )
    assert images.stands_in_for == "CIFAR-10"
    assert images.train_images.shape == (50000, 32, 32, 3)
    assert np.bincount(images.train_labels).tolist() == [5000] * 10
    # Those of the original, which the new encoding has hardly moved.
    np.testing.assert_allclose(images.mean, (125.31, 122.95, 113.87), atol=0.1)
    np.testing.assert_allclose(images.std, (62.99, 62.09, 66.70), atol=0.5)
    again = load("cifar10")  # from the cache
    np.testing.assert_array_equal(again.train_images, images.train_images)
    parts = split(again, 0.1)
    assert np.bincount(parts.validation_labels).tolist() == [500] * 10
