"""What takes long to work out, kept in a file for the next time.

In the folder that LAMB_KERAS_CACHE names, else in `lamb-keras` in the user's folder
for such files: $XDG_CACHE_HOME, or ~/.cache. It may be deleted at any time.
"""

import contextlib
import os
import tempfile

import numpy as np

FOLDER_VARIABLE = "LAMB_KERAS_CACHE"


def remembered(name: str, names, work_out) -> dict:
    """The arrays that `work_out` returns, by name, from the file if there is one.

    A file that is damaged or holds something else is made again, and a folder that
    cannot be written to is no failure: it only costs the time again.

    Args:
        name: of what is kept. It must change with whatever the arrays depend on.
        names: of the arrays.
        work_out: is called, without arguments, where there is no such file.

    Example:
        >>> from unittest import mock
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with mock.patch.dict(os.environ, LAMB_KERAS_CACHE=folder):
        ...         first = remembered("sum", ["of"], lambda: {"of": np.array(1 + 1)})
        ...         again = remembered("sum", ["of"], lambda: 1 / 0)
        >>> int(first["of"]), int(again["of"])
        (2, 2)
    """
    path = os.path.join(folder(), f"{name}.npz")
    arrays = _read(path)
    if arrays is None or arrays.keys() != set(names):
        arrays = work_out()
        _write(path, arrays)
    return arrays


def folder(environ=os.environ) -> str:
    """Where files are kept, whether it is there yet or not.

    Args:
        environ: the variables that say where, by default this process's.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, LAMB_KERAS_CACHE="kept"):
        ...     folder()
        'kept'
    """
    chosen = environ.get(FOLDER_VARIABLE)
    if chosen:
        return os.path.expanduser(chosen)
    users = environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return os.path.join(os.path.expanduser(users), "lamb-keras")


def _read(path):
    try:
        with np.load(path) as file:  # which checks a CRC-32 of every array
            return dict(file)
    except Exception:  # damage shows itself in a dozen kinds of them
        return None


def _write(path, arrays):
    folder = os.path.dirname(path)
    temporary = None
    try:
        os.makedirs(folder, exist_ok=True)
        # Whole under another name first: another process may be reading, or writing.
        handle, temporary = tempfile.mkstemp(dir=folder)
        with open(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    except OSError:
        if temporary:
            with contextlib.suppress(OSError):
                os.remove(temporary)
