"""The forms in which CIFAR-10 lies in a folder, each read in its own way.

Every form can `check()` itself, tell the `fingerprint()` of its content, and `read` it:
a training and a test pair of (pixels, labels) of uint8, and the number of pictures that
were JPEG.
"""

import hashlib
import os
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from lamb_keras.data import archive, cache, cifar10_batches, image_folder, pictures
from lamb_keras.data.images import DataError

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SIZE = (32, 32)
PARTS = ("train", "test")
FORMS = (
    "data_batch_1 to data_batch_5 and test_batch (each with or without .bin), or "
    "train/<class>/*.jpg and test/<class>/*.jpg (or .png), or one archive of either "
    f"({', '.join(archive.SUFFIXES)})"
)

_CACHED = ("train_pixels", "train_labels", "test_pixels", "test_labels", "jpegs")


def find(folder: str):
    """The form of the files in the folder, or in a folder in it.

    Batches come before pictures, and an archive is for where there is neither.
    """
    entries = sorted(_entries(folder), key=lambda entry: entry.name)
    places = [folder, *(entry.path for entry in entries if entry.is_dir())]
    for place in places:
        names = {entry.name for entry in _entries(place)}
        for suffix in ("", cifar10_batches.BINARY):
            if names & {name + suffix for name in cifar10_batches.NAMES}:
                return Batches(place, suffix)
    for place in places:
        if {entry.name for entry in _entries(place) if entry.is_dir()} & set(PARTS):
            return Pictures(place)
    archives = [
        entry.path for entry in entries if entry.name.endswith(archive.SUFFIXES)
    ]
    if len(archives) == 1:
        return Archive(*archives)
    found = ", ".join(map(os.path.basename, archives)) or "none of CIFAR-10's files"
    raise DataError(f"{folder} holds {found}; put there {FORMS}")


class Batches(NamedTuple):
    """Python or binary batches in a folder."""

    folder: str
    suffix: str

    def check(self) -> None:
        self._batches()

    def fingerprint(self) -> str:
        return _hash(self._contents())

    def read(self, content: str):
        return _from_batches(self._batches())

    def _batches(self):
        return _batches(self._contents(), self.suffix, self.folder)

    def _contents(self):
        for name in cifar10_batches.NAMES:
            path = os.path.join(self.folder, name + self.suffix)
            if os.path.exists(path):
                yield name + self.suffix, _bytes(path)


class Pictures(NamedTuple):
    """A folder with `train` and `test`, in each a folder of pictures for each class."""

    folder: str

    def check(self) -> None:
        for listing in self._listings():
            first = {label: path for path, label in reversed(listing)}
            for path in first.values():
                pictures.decode(_bytes(path), path, SIZE)

    def fingerprint(self) -> str:
        # A hash of 60,000 files takes seconds, and their sizes and times half of one.
        listed, paths = hashlib.sha256(), []
        for listing in self._listings():
            for path, _ in listing:
                name, status = path[len(self.folder) :], os.stat(path)
                listed.update(f"{name}/{status.st_size}/{status.st_mtime_ns}".encode())
                paths.append((name, path))
        contents = ((name, _bytes(path)) for name, path in paths)
        kept = cache.remembered(
            f"cifar10-listing-{listed.hexdigest()}",
            ["sha256"],
            lambda: {"sha256": np.array(_hash(contents))},
        )
        return str(kept["sha256"])

    def read(self, content: str):
        return _cached(content, self._read)

    def _read(self):
        return _from_pictures(
            [
                [(path, path, label) for path, label in each]
                for each in self._listings()
            ],
            _bytes,
        )

    def _listings(self):
        return [
            image_folder.listing(os.path.join(self.folder, part), CLASSES)
            for part in PARTS
        ]


class Archive(NamedTuple):
    """A tar archive of batches or of such a folder of pictures."""

    path: str

    def check(self) -> None:
        archive.check(self.path)

    def fingerprint(self) -> str:
        try:
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(self.path, error) from None

    def read(self, content: str):
        return _cached(content, self._read)

    def _read(self):
        files = archive.read(self.path, _is_wanted)
        folders = defaultdict(dict)
        for name, content in files.items():
            depth = 1 if os.path.basename(name) in _BATCH_FILES else 3
            folder, *inner = ("./" + name).rsplit("/", depth)
            folders[depth, folder]["/".join(inner)] = content
        if not folders:
            raise DataError(f"{self.path} holds none of CIFAR-10's files; pack {FORMS}")
        (depth, _), contents = min(folders.items())
        if depth == 1:
            suffix = cifar10_batches.BINARY
            python = any(not name.endswith(suffix) for name in contents)
            suffix = "" if python else suffix
            return _from_batches(_batches(contents.items(), suffix, self.path))
        return _from_pictures(
            [self._listing(contents, part) for part in PARTS], contents.__getitem__
        )

    def _listing(self, names, part):
        found = defaultdict(list)
        for name in names:
            its_part, its_class, file = name.split("/")
            if its_part == part:
                found[its_class].append(file)
        where = f"{part} in {self.path}"
        return [
            (f"{part}/{each}/{file}", f"{part}/{each}/{file} in {self.path}", label)
            for each, file, label in image_folder.labeled(found, CLASSES, where)
        ]


_BATCH_FILES = {
    name + suffix
    for name in cifar10_batches.NAMES
    for suffix in ("", cifar10_batches.BINARY)
}


def _is_wanted(name):
    *_, part, _, file = ["", "", *name.split("/")]
    return file in _BATCH_FILES or part in PARTS and image_folder.is_picture(file)


def _from_batches(batches):
    """Of a training and a test list of (rows, labels)."""
    pairs = [
        (
            cifar10_batches.pixels([rows for rows, _ in part]),
            np.concatenate([labels for _, labels in part]),
        )
        for part in batches
    ]
    return *pairs, 0


def _batches(contents, suffix, where):
    """The training and the test batches, each a list of (rows, labels), verified."""
    batches = {
        name: cifar10_batches.read(content, f"{where}/{name}")
        for name, content in contents
    }
    for name in cifar10_batches.NAMES:
        if name + suffix not in batches:
            raise DataError(
                f"{where} holds no {name + suffix}, expected all of CIFAR-10's batches "
                "there; add it from an intact copy"
            )
    parts = []
    for names in (cifar10_batches.TRAIN, cifar10_batches.TEST):
        parts.append([batches[name + suffix] for name in names])
        _verify_labels([labels for _, labels in parts[-1]], names, suffix, where)
    return parts


def _verify_labels(labels, names, suffix, where):
    for name, each in zip(names, labels, strict=True):
        if each.max() >= len(CLASSES):
            raise DataError(
                f"{where}/{name}{suffix} holds the label {each.max()}, expected 0 to "
                f"{len(CLASSES) - 1}; replace it by an intact copy"
            )
    missing = set(range(len(CLASSES))) - set(np.concatenate(labels).tolist())
    if missing:
        files = " to ".join(sorted({names[0] + suffix, names[-1] + suffix}))
        raise DataError(
            f"{where} holds no picture of the class {CLASSES[min(missing)]!r} in "
            f"{files}, expected all ten classes; replace it by an intact copy"
        )


def _from_pictures(listings, content_of):
    """Of two listings of (name, what an error calls it, label)."""
    pairs, jpegs = [], 0
    for listing in listings:
        pixels, count = pictures.decode_all(
            ((content_of(name), where) for name, where, _ in listing),
            len(listing),
            SIZE,
        )
        pairs.append((pixels, np.array([label for *_, label in listing], np.uint8)))
        jpegs += count
    return *pairs, jpegs


def _cached(content, read):
    def work_out():
        train, test, jpegs = read()
        return dict(zip(_CACHED, (*train, *test, np.array(jpegs)), strict=True))

    kept = cache.remembered(f"cifar10-{content}", _CACHED, work_out)
    train_pixels, train_labels, test_pixels, test_labels, jpegs = (
        kept[name] for name in _CACHED
    )
    return (train_pixels, train_labels), (test_pixels, test_labels), int(jpegs)


def _hash(contents):
    """SHA-256 over (name, content) pairs, so that a cut moved between two shows."""
    digest = hashlib.sha256()
    for name, content in contents:
        digest.update(f"{name}/{len(content)}/".encode())
        digest.update(content)
    return digest.hexdigest()


def _entries(folder):
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise _unreadable(folder, error) from None


def _bytes(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path, error):
    return DataError(
        f"{path} cannot be read ({error.strerror}); make it one that you may read"
    )
