"""Pictures sorted into one folder a class, as ImageNet's are.

    train/cat/0001.jpg
    train/dog/0001.jpg

Nothing is decoded here: a listing of ImageNet's 1.3 million takes seconds.
"""

import os
from collections.abc import Mapping, Sequence

from lamb_keras.data.images import DataError

SUFFIXES = (".jpg", ".jpeg", ".png")  # in any case


def listing(folder, classes: Sequence[str] | None = None) -> list[tuple[str, int]]:
    """(path, label) of every picture, class by class and by name within a class.

    Args:
        folder: that holds the folders of the classes.
        classes: their names in the order of their labels; the sorted names of the
            folders if left out.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("dog", "cat"):
        ...         path = pathlib.Path(folder, name, "1.JPEG")
        ...         path.parent.mkdir()
        ...         _ = path.write_bytes(b"")
        ...     found = listing(folder)
        >>> [(os.path.relpath(path, folder), label) for path, label in found]
        [('cat/1.JPEG', 0), ('dog/1.JPEG', 1)]
    """
    folder = os.fspath(folder)
    found = {name: _pictures(os.path.join(folder, name)) for name in _folders(folder)}
    return [
        (os.path.join(folder, each, name), label)
        for each, name, label in labeled(found, classes, folder)
    ]


def labeled(
    found: Mapping[str, Sequence[str]], classes: Sequence[str] | None, where: str
) -> list[tuple[str, str, int]]:
    """(class, name, label) of every picture, in the order of `listing`.

    Args:
        found: the names of the pictures of each class.
        classes: as in `listing`.
        where: what an error calls the place in which they were found.

    Example:
        >>> labeled({"dog": ["2.png", "1.png"]}, None, "here")
        [('dog', '1.png', 0), ('dog', '2.png', 0)]
    """
    if classes is None:
        classes = sorted(found)
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise DataError(
            f"{where} holds the folder {unknown[0]!r}, expected one for each of the "
            f"classes {_few(classes)}; take it away"
        )
    for each in classes:
        if not found.get(each):
            raise DataError(
                f"{where} holds no picture ({', '.join(SUFFIXES)}) in the folder of "
                f"the class {each!r}; fill it from an intact copy"
            )
    if not classes:
        raise DataError(
            f"{where} holds no folder, expected one for each class, with its pictures "
            "in it; put them there"
        )
    return [
        (each, name, label)
        for label, each in enumerate(classes)
        for name in sorted(found[each])
    ]


def is_picture(name: str) -> bool:
    """Whether a file of that name is taken for a picture.

    Example:
        >>> is_picture("0001.JPEG"), is_picture("._0001.JPEG"), is_picture("notes.txt")
        (True, False, False)
    """
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _folders(folder):
    return [
        entry.name
        for entry in _entries(folder)
        if entry.is_dir() and not entry.name.startswith(".")
    ]


def _pictures(folder):
    return [entry.name for entry in _entries(folder) if is_picture(entry.name)]


def _entries(folder):
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed ({error.strerror}); make it a folder that you "
            "may read, with one folder of pictures for each class"
        ) from None


def _few(names):
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10:,} more"
