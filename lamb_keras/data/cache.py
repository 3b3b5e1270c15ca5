"""Arrays that take long to work out, kept in a file for the next time.

In the folder that LAMB_KERAS_CACHE names, else in `lamb-keras` in the user's folder
for such files: $XDG_CACHE_HOME, or ~/.cache. It may be deleted at any time.
"""

import contextlib
import io
import os
from pathlib import Path

import numpy as np

from lamb_keras.store import atomic

FOLDER_VARIABLE = "LAMB_KERAS_CACHE"


def remembered(name: str, work_out) -> dict:
    """The arrays, by name, of the file `name`, or what `work_out()` returns.

    The file's name must change with whatever the arrays depend on. A file that is
    damaged is made again, and a folder that cannot be written to only costs the time
    again.
    """
    path = Path(folder(), f"{name}.npz")
    # Damage shows itself in a dozen kinds of exceptions; NumPy checks a CRC-32.
    with contextlib.suppress(Exception), np.load(path) as file:
        return dict(file)
    arrays, content = work_out(), io.BytesIO()
    np.savez(content, **arrays)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, content.getbuffer())
    return arrays


def folder(environ=os.environ) -> str:
    """The cache's folder by these variables, whether it is there yet or not."""
    users = environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    chosen = environ.get(FOLDER_VARIABLE) or os.path.join(users, "lamb-keras")
    return os.path.expanduser(chosen)
