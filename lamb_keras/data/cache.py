"""Arrays that take long to work out, kept in a file for the next time.

In the folder that LAMB_KERAS_CACHE names, else in `lamb-keras` in the user's folder
for such files: $XDG_CACHE_HOME, or ~/.cache. It may be deleted at any time.
"""

import contextlib
import os
import tempfile

import numpy as np

FOLDER_VARIABLE = "LAMB_KERAS_CACHE"


def remembered(name: str, names, work_out) -> dict:
    """The arrays of these names from the file `name`, or what `work_out()` returns.

    The file's name must change with whatever the arrays depend on. A file that is
    damaged or holds something else is made again, and a folder that cannot be written
    to only costs the time again.
    """
    path = os.path.join(folder(), f"{name}.npz")
    # Damage shows itself in a dozen kinds of exceptions; NumPy checks a CRC-32.
    with contextlib.suppress(Exception), np.load(path) as file:
        if set(file.files) == set(names):
            return dict(file)
    arrays = work_out()
    with contextlib.suppress(OSError):
        _write(path, arrays)
    return arrays


def folder(environ=os.environ) -> str:
    """The cache's folder by these variables, whether it is there yet or not."""
    users = environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    chosen = environ.get(FOLDER_VARIABLE) or os.path.join(users, "lamb-keras")
    return os.path.expanduser(chosen)


def _write(path, arrays):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # Whole under another name first: another process may be reading, or writing.
    handle, unfinished = tempfile.mkstemp(dir=os.path.dirname(path))
    try:
        with open(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(unfinished)
