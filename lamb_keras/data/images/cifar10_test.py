"""CIFAR-10 is read from any of its forms, or they are refused by what is wrong."""

import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from lamb_keras.data import check, fingerprint, load, split
from lamb_keras.data.images import cifar10, dataset, pictures
from lamb_keras.data.images.cifar10 import BATCHES, CLASSES
from lamb_keras.data.images.pictures_test import encode

REAL = os.path.join(
    os.environ.get("LAMB_KERAS_DATA") or "-",
    *("cifar10", "cifar10-imagefolder-jpeg.tar.xz"),
)
PARTS = {"train": 5, "test": 2}  # pictures of a class in the tiny files


def tiny(part):
    """(pixels, labels), class by class as an image folder has them."""
    labels = np.repeat(np.arange(10), PARTS[part])
    random = np.random.RandomState(len(labels))
    pixels = random.randint(256, size=(len(labels), 32, 32, 3)).astype(np.uint8)
    return pixels, labels


def rows(pixels):
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)


def binary(pixels, labels):
    return np.column_stack([labels.astype(np.uint8), rows(pixels)]).tobytes()


def python(pixels, labels):
    return python_2({b"data": rows(pixels), b"labels": labels.tolist()})


def python_2(value):
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


def python_3(pixels, labels):
    return pickle.dumps({"data": rows(pixels), "labels": labels.tolist()})


def batches(write, suffix=""):
    pixels, labels = tiny("train")
    parts = [slice(start, start + 10) for start in range(0, 50, 10)]
    contents = [write(pixels[part], labels[part]) for part in parts]
    contents.append(write(*tiny("test")))
    names = [name + suffix for name in BATCHES]
    return dict(zip(names, contents, strict=True)) | {"readme.html": b"<p>"}


def folder_of_pictures(format="PNG", suffix="png"):
    return {
        f"{part}/{CLASSES[label]}/{number:04}.{suffix}": encode(picture, format)
        for part in PARTS
        for number, (picture, label) in enumerate(zip(*tiny(part), strict=True))
    }


def below(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


def tar(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        for name, content in reversed(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return packed.getvalue()


PICTURES = folder_of_pictures()
FORMS = {
    "python": batches(python),
    "Python 3": batches(python_3),
    "python in its folder": below("cifar-10-batches-py", batches(python)),
    "python in its archive": {
        "cifar-10-python.tar.gz": gzip.compress(tar(below("cifar-10", batches(python))))
    },
    "binary": batches(binary, ".bin"),
    "pictures": PICTURES,
    "pictures in a tar": {"a.tar": tar(below("./a/b", PICTURES))},
    "pictures in a Mac's tar": {
        "a.tar": tar({"a/train/cat/._1.png": b"?"} | below("./a", PICTURES))
    },
    "pictures in a tar.xz": {"a.tar.xz": lzma.compress(tar(below(".", PICTURES)))},
    "batches beside pictures": batches(python) | {"train/cat/1.png": b"?"},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_pictures_and_has_the_same_fingerprint(put, form):
    put("cifar10", FORMS[form])
    check("cifar10")
    stored = [each.astype(np.uint8) for part in PARTS for each in tiny(part)]
    for _ in ("decoded", "from the cache"):
        images = load("cifar10")
        assert (
            images.fingerprint == fingerprint("cifar10") == dataset.fingerprint(*stored)
        )
        assert images.train_images.dtype == np.uint8
        assert images.train_labels.dtype == np.int32
        for part in PARTS:
            pixels, labels = tiny(part)
            np.testing.assert_array_equal(getattr(images, f"{part}_images"), pixels)
            np.testing.assert_array_equal(getattr(images, f"{part}_labels"), labels)


def test_the_fingerprint_is_of_the_pictures_whenever_they_were_written(put):
    folder = put("cifar10", PICTURES)
    before = fingerprint("cifar10")
    path = folder / "train" / "cat" / "0015.png"
    os.utime(path, (1, 1))
    assert fingerprint("cifar10") == before
    path.write_bytes(PICTURES["train/dog/0025.png"])
    assert fingerprint("cifar10") != before


def test_a_link_to_nowhere_is_named(put, refusal):
    path = put("cifar10", PICTURES) / "train" / "cat" / "0015.png"
    path.unlink()
    path.symlink_to("nowhere")
    assert refusal("cifar10").startswith(f"{path} cannot be read (No such file or dir")


def test_decoded_pictures_are_kept(put, monkeypatch):
    put("cifar10", PICTURES)
    expected = load("cifar10").fingerprint
    monkeypatch.setattr(pictures, "decode", None)
    assert load("cifar10").fingerprint == expected


def test_the_title_tells_jpeg_and_what_is_not_all_of_cifar_10(put):
    put("cifar10", folder_of_pictures("JPEG", "jpg"))
    for _ in ("decoded", "from the cache"):
        described = split(load("cifar10"), 0.4).describe()
        assert described["title"] == (
            "CIFAR-10-format pictures that are not CIFAR-10's in JPEG re-encodings, "
            "50 + 20 pictures of 32x32 pixels"
        )
        assert described["stands_in_for"] == "CIFAR-10"


@pytest.mark.parametrize(
    "jpegs, encoding, stands_in_for",
    [(0, "", None), (1, " in JPEG re-encodings", "CIFAR-10")],
)
def test_all_of_cifar_10_is_called_so(jpegs, encoding, stands_in_for):
    labels = [np.repeat(np.arange(10, dtype=np.uint8), n) for n in (5000, 1000)]
    pixels = [np.zeros((len(each), 1, 1, 3), np.uint8) for each in labels]
    images = cifar10._images(pixels[0], labels[0], pixels[1], labels[1], jpegs)
    sizes = "50,000 + 10,000 pictures of 32x32 pixels"
    assert images.title == f"CIFAR-10{encoding}, {sizes}"
    assert images.stands_in_for == stands_in_for


# What is refused


@pytest.mark.parametrize("suffix, write", [("", python), (".bin", binary)])
def test_a_missing_batch_is_named(put, refusal, suffix, write):
    folder = put("cifar10", batches(write, suffix))
    (folder / f"data_batch_3{suffix}").unlink()
    assert refusal("cifar10") == (
        f"{folder} holds no data_batch_3{suffix}, expected all of CIFAR-10's batches "
        "there; add it from an intact copy"
    )


class Harmful:
    def __reduce__(self):
        return exec, ("raise AssertionError('it was run')",)


class HarmfulByNumPy:
    def __reduce__(self):
        return np.testing.runstring, ("raise AssertionError('it was run')", {})


ROWS, LABELS = rows(tiny("test")[0]), tiny("test")[1].tolist()
WRONG = {
    **{f"cut off at {n}": batches(python)["test_batch"][:n] for n in (0, 5000)},
    "CIFAR-100's": python_2({b"data": ROWS, b"fine_labels": LABELS}),
    "fewer labels": python_2({b"data": ROWS, b"labels": LABELS[:2]}),
    "a label 10": python_2({b"data": ROWS, b"labels": [*LABELS[1:], 10]}),
    "numbers with a point": python_2({b"data": ROWS.astype(float), b"labels": LABELS}),
    "a call": pickle.dumps({b"data": Harmful(), b"labels": []}, protocol=5),
    "a call by NumPy": python_2({b"data": HarmfulByNumPy(), b"labels": []}),
    "an old call": pickle.dumps({b"data": Harmful(), b"labels": []}, protocol=0),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_python_batch_is_refused_and_never_run(put, refusal, name):
    folder = put("cifar10", batches(python) | {"test_batch": WRONG[name]})
    sentence = refusal("cifar10")
    assert sentence.startswith(f"{folder}/test_batch is no intact batch of CIFAR-10, ")


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes([10]) + bytes(3072)])
def test_what_is_no_binary_batch_is_refused(put, refusal, content):
    folder = put("cifar10", batches(binary, ".bin") | {"data_batch_2.bin": content})
    assert refusal("cifar10").startswith(
        f"{folder}/data_batch_2.bin is no intact batch of CIFAR-10, "
    )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "change, expected",
    [
        ({"train/cat/0015.png": b"?"}, "/train/cat/0015.png cannot be decoded as a "),
        (
            {"train/cat/0015.png": encode(np.zeros((32, 31, 3), np.uint8))},
            "/train/cat/0015.png is 32x31 pixels, expected 32x32; replace it by an",
        ),
        ({"train/zebra/1.png": b"?"}, "/train holds pictures in the folder 'zebra'"),
        (
            {"test/dog/0010.png": None, "test/dog/0011.png": None},
            "/test holds no picture (.jpg, .jpeg, .png) in the folder 'dog'; fill it",
        ),
    ],
)
def test_what_is_wrong_among_pictures_is_named(put, refusal, packed, change, expected):
    files = {name: value for name, value in (PICTURES | change).items() if value}
    root = put("cifar10", {"a.tar": tar(files)} if packed else files)
    root = root / "a.tar" if packed else root
    assert refusal("cifar10").startswith(f"{root}{expected}")


PACK = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACK)
def test_an_archive_that_is_cut_off_or_damaged_never_passes_for_a_whole_one(
    put, refusal, suffix
):
    content = tar(batches(binary, ".bin"))
    whole = PACK[suffix](content)
    path = put("cifar10", {}) / f"a{suffix}"
    # In a plain tar it is a header: of a file's content there is no checksum.
    at = content.index(b"data_batch_3.bin") + 20
    at = at if suffix == ".tar" else len(whole) // 2
    damaged = [whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]]
    end = len(content.rstrip(b"\0")) if suffix == ".tar" else len(whole) - 1
    damaged += [whole[:length] for length in (0, 600, at, end)]
    for content in damaged:
        path.write_bytes(content)
        assert refusal("cifar10", check) == (
            f"{path} is no intact tar archive; replace it by an intact copy"
        )


@pytest.mark.parametrize(
    "files, found",
    [
        ({}, "none of CIFAR-10's files; put there"),
        ({"a.tar": b"", "b.tgz": b""}, "a.tar, b.tgz; put there"),
        ({"a.tar": tar({"notes.txt": b"hi"})}, "none of CIFAR-10's files; pack"),
    ],
)
def test_no_files_and_several_archives_are_refused(put, refusal, files, found):
    folder = put("cifar10", files)
    where = folder / "a.tar" if "pack" in found else folder
    assert refusal("cifar10") == f"{where} holds {found} {cifar10.FORMS}"


# How it is had


def test_without_files_keras_downloads_but_not_to_check(keras_downloads):
    asked = []

    def give():
        asked.append(1)
        return [(pixels, labels[:, None]) for pixels, labels in map(tiny, PARTS)]

    keras_downloads("cifar10", give)
    assert check("cifar10") is None
    assert fingerprint("cifar10") == "keras.datasets.cifar10" and not asked
    images = load("cifar10")
    np.testing.assert_array_equal(images.test_images, tiny("test")[0])
    np.testing.assert_array_equal(images.test_labels, tiny("test")[1])


@pytest.mark.skipif(not os.path.isfile(REAL), reason=f"there is no {REAL}")
@pytest.mark.slow
def test_the_real_pictures_are_cifar_10_in_jpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path))
    images = load("cifar10")
    assert images.title == (
        "CIFAR-10 in JPEG re-encodings, 50,000 + 10,000 pictures of 32x32 pixels"
    )
    assert images.stands_in_for == "CIFAR-10"
    # Those of the original, which the new encoding has hardly moved.
    np.testing.assert_allclose(images.mean, (125.31, 122.95, 113.87), atol=0.1)
    np.testing.assert_allclose(images.std, (62.99, 62.09, 66.70), atol=0.5)
    parts = split(images, 0.1)
    assert np.bincount(parts.validation_labels).tolist() == [500] * 10
