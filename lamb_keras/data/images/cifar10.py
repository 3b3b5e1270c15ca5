"""CIFAR-10: from its batches or a folder of pictures, or from Keras's download.

The files are looked for in the folder `cifar10` inside the folder that the environment
variable LAMB_KERAS_DATA names, in one of the `FORMS`.
"""

import hashlib
import io
import pickle
import posixpath
import tarfile
from collections import defaultdict

import numpy as np

from lamb_keras.data import cache, source
from lamb_keras.data.images import pictures
from lamb_keras.data.images.dataset import Images
from lamb_keras.data.source import DataError

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
PARTS = ("train", "test")
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")
FORMS = (
    "data_batch_1 to data_batch_5 and test_batch (each with or without .bin), or "
    "train/<class>/*.jpg and test/<class>/*.jpg (or .png), or one archive of either "
    f"({', '.join(ARCHIVES)})"
)


def find() -> Images | None:
    """CIFAR-10, or what lies in its files; the title tells which.

    Pictures that were encoded as JPEG again are not those of CIFAR-10 to the last bit,
    and accuracies on them not strictly comparable: they are said to stand in for it.

    The pixels stay uint8. Their `mean` and `std` are computed; those of the original,
    by which recipes normalize, are (125.31, 122.95, 113.87) and (62.99, 62.09, 66.70).
    What takes many seconds to decode is kept by `lamb_keras.data.cache`.
    """
    folder = source.folder("cifar10")
    if folder is None:
        return None
    every = source.files(folder)
    decode, root, paths = _of_one_form(folder, every) or (_archive, folder, {})
    if decode is _archive:
        paths = {name: every[name] for name in every if name.endswith(ARCHIVES)}
        if len(paths) != 1:
            found = ", ".join(sorted(paths)) or "none of CIFAR-10's files"
            raise DataError(f"{folder} holds {found}; put there {FORMS}")
    if decode is _batches:
        return _images(**_batches(root, paths))
    # Sizes and times tell whether 60,000 pictures are the same.
    states = [(name, *source.state(path)) for name, path in sorted(paths.items())]
    key = f"cifar10-{hashlib.sha256(repr(states).encode()).hexdigest()}"
    return _images(**cache.remembered(key, lambda: decode(root, paths)))


def download() -> Images:
    """CIFAR-10 from Keras, which fetches the python batches."""
    (train, train_labels), test = source.download("cifar10", "CIFAR-10", FORMS)
    return _images(train, train_labels.ravel(), test[0], test[1].ravel(), 0)


def _images(train, train_labels, test, test_labels, jpegs):
    whole = all(
        np.bincount(labels).tolist() == [each] * len(CLASSES)
        for labels, each in ((train_labels, 5_000), (test_labels, 1_000))
    )
    name = "CIFAR-10" if whole else "CIFAR-10-format pictures that are not CIFAR-10's"
    encoding = " in JPEG re-encodings" if jpegs else ""
    sizes = f"{len(train_labels):,} + {len(test_labels):,} pictures of 32x32 pixels"
    return Images.from_pixels(
        (train, train_labels),
        (test, test_labels),
        name="cifar10",
        title=f"{name}{encoding}, {sizes}",
        stands_in_for=None if whole and not jpegs else "CIFAR-10",
        classes=len(CLASSES),
    )


def _of_one_form(root, files):
    """(function to decode, folder, files in it) of those that lie least deep.

    Batches come before pictures, and python's before binary ones.
    """
    groups = defaultdict(dict)
    for name, file in files.items():
        *above, last = name.split("/")
        if last in BATCHES:
            groups[0, len(above), "/".join(above)][last] = file
        elif last.removesuffix(".bin") in BATCHES:
            groups[1, len(above), "/".join(above)][last] = file
        elif len(above) > 1 and above[-2] in PARTS:
            place = 2, len(above) - 2, "/".join(above[:-2])
            groups[place]["/".join([*above[-2:], last])] = file
    if not groups:
        return None
    form, _, inner = place = min(groups)
    folder = f"{root}/{inner}" if inner else root
    return _pictures if form == 2 else _batches, folder, groups[place]


def _archive(_, paths):
    (path,) = paths.values()
    try:
        with tarfile.open(path) as archive:
            contents = {
                posixpath.normpath(member.name): archive.extractfile(member).read()
                for member in archive
                # A Mac's tar adds a hidden file of its own to each.
                if member.isreg() and posixpath.basename(member.name)[0] != "."
            }
            # tarfile takes a damaged header for the end, where there are zeros, and
            # does not go on to the checksum after it.
            archive.fileobj.seek(archive.offset)
            if archive.fileobj.read(1024) != bytes(1024):
                raise ValueError("it does not end as an archive does")
            while archive.fileobj.read(2**20):
                pass
    except Exception:  # of tarfile, gzip, lzma and zlib, of every kind
        raise DataError(
            f"{path} is no intact tar archive; replace it by an intact copy"
        ) from None
    found = _of_one_form(path, contents)
    if found is None:
        raise DataError(f"{path} holds none of CIFAR-10's files; pack {FORMS}")
    decode, root, files = found
    return decode(root, files)


def _content(file):
    return file if isinstance(file, bytes) else source.read(file)


def _pictures(root, files):
    arrays = {"jpegs": np.array(0)}
    for part in PARTS:
        begin = f"{part}/"
        names = [n.removeprefix(begin) for n in files if n.startswith(begin)]
        names = pictures.labeled(names, CLASSES, f"{root}/{part}")
        arrays[part] = np.empty((len(names), 32, 32, 3), np.uint8)
        for place, (name, _) in enumerate(names):
            # One after the other: threads only get into each other's way at 90 µs each.
            content, where = _content(files[begin + name]), f"{root}/{begin}{name}"
            pixels, format = pictures.decode(content, where, (32, 32))
            arrays[part][place] = pixels
            arrays["jpegs"] += format != "PNG"
        arrays[f"{part}_labels"] = np.array([label for _, label in names], np.uint8)
    return arrays


def _batches(root, files):
    suffix = "" if any(name in BATCHES for name in files) else ".bin"
    batches = []
    for name in (f"{name}{suffix}" for name in BATCHES):
        if name not in files:
            raise DataError(
                f"{root} holds no {name}, expected all of CIFAR-10's batches there; "
                "add it from an intact copy"
            )
        batches.append(_batch(_content(files[name]), f"{root}/{name}"))
    arrays = {"jpegs": 0}
    for part, some in zip(PARTS, (batches[:-1], batches[-1:]), strict=True):
        rows, arrays[f"{part}_labels"] = map(np.concatenate, zip(*some, strict=True))
        # Red, then green, then blue, each row by row.
        planes = rows.reshape(-1, 3, 32, 32)
        arrays[part] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return arrays


def _batch(content, where):
    """(rows, labels) of a batch: uint8 (n, 3072) and uint8 (n,).

    A python batch is a pickled dictionary of `data` and `labels`; a binary one n times
    a label and a row.
    """
    try:
        if where.endswith(".bin"):
            records = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3072)
            rows, labels = records[:, 1:], records[:, 0]
        else:
            batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
            # Python 2 wrote the published files: their words are bytes.
            rows, labels = (
                batch.get(name.encode(), batch.get(name)) for name in ("data", "labels")
            )
            labels = np.array(labels, np.uint8)
        expected = rows.dtype == np.uint8 and rows.shape == (len(labels), 3072)
        if not expected or labels.max() >= len(CLASSES):
            raise ValueError("other pictures or labels")
    except Exception:  # damaged pickles raise a dozen kinds of them
        raise DataError(
            f"{where} is no intact batch of CIFAR-10, expected 3,072 bytes a picture "
            "and for each a label 0 to 9; replace it by an intact copy"
        ) from None
    return rows, labels


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds NumPy's arrays and plain values; a pickle may else call any function."""

    def find_class(self, module, name):
        allowed = ("_reconstruct", "ndarray", "dtype")
        if module.split(".")[0] == "numpy" and name in allowed:
            return super().find_class(module.replace(".core.", "._core."), name)
        if (module, name) == ("_codecs", "encode"):  # bytes, for Python 2 to read
            return lambda text, encoding: text.encode("latin1")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
