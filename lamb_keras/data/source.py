"""The files of a data set, and Keras's download where there are none.

They lie in a folder of the data set's name inside the folder that the environment
variable LAMB_KERAS_DATA names.
"""

import contextlib
import functools
import hashlib
import os
import socket
from pathlib import Path

from lamb_keras import own

FOLDER_VARIABLE = "LAMB_KERAS_DATA"

# A firewall that swallows packets would otherwise hold up a run for minutes.
DOWNLOAD_TIMEOUT_SECONDS = 30


class DataError(ValueError):
    """What is wrong with the data, in one sentence: what, where, and how to mend it."""


def folder(name: str) -> Path | None:
    """The folder of a data set, or None where there is none.

    Its name may be in capitals, as torchvision's `MNIST` is.
    """
    if not os.environ.get(FOLDER_VARIABLE):
        return None
    root = Path(os.environ[FOLDER_VARIABLE]).expanduser()
    if not root.is_dir():
        raise DataError(
            f"{FOLDER_VARIABLE} is '{root}', which is not a folder; "
            "correct it, or unset it to let Keras download the data"
        )
    found = (each for each in root.iterdir() if each.name.lower() == name)
    return max(filter(Path.is_dir, found), default=None)  # small letters first


@contextlib.contextmanager
def _readable():
    """Make a `DataError` of what cannot be read."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be read ({error.strerror}); put an intact copy "
            "there that you may read"
        ) from None


@_readable()
def files(folder: Path | str) -> dict[str, str]:
    """The paths of all files below a folder, by their names in it: "train/cat/1.jpg".

    Links are followed; what is hidden is left out.
    """

    def refuse(error):
        raise error

    begin = len(os.path.join(folder, ""))
    return {
        path[begin:].replace(os.sep, "/"): path
        for place, _, names in os.walk(folder, onerror=refuse, followlinks=True)
        for path in (os.path.join(place, name) for name in names if name[0] != ".")
    }


@_readable()
def read(path: str) -> bytes:
    """The content of a file."""
    return Path(path).read_bytes()


@_readable()
def digest(path: str) -> bytes:
    """The SHA-256 of a file's content, worked out once for as long as it stays."""
    return _digest(path, *state(path))


@functools.cache
def _digest(path, *_):
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


@_readable()
def state(path: str) -> tuple[int, int]:
    """The size of a file, in bytes, and when it was written, in nanoseconds."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def of_user(place: str):
    """(title, what it returns) of the function at a place, `file.py:name`.

    The title is the first line of its docstring, else its name.
    """
    try:
        function = own.load(place)
        found = own.call(function, place)
    except own.OwnError as error:
        raise DataError(str(error)) from error
    title = (function.__doc__ or own.name(place)).strip().partition("\n")[0]
    return title.rstrip("."), found


def download(name: str, title: str, cure: str):
    """The two pairs of (images, labels) of a module in `keras.datasets`.

    An error calls the data set by its title, and says what to put where instead.
    """
    import keras  # 3 s or more, for nothing where the files are there

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        return getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises bare ones
        # Keras's words are "URL fetch failure on <address>: <number> -- <reason>".
        reason = str(error).rpartition(" -- ")[2] or type(error).__name__
        raise DataError(
            f"there are no {title} files on this machine, and Keras could not download "
            f"them ({reason}); put {cure} into a folder named {name}, and set "
            f"{FOLDER_VARIABLE} to the folder that holds it"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)
