"""Where a data set's files are looked for, and Keras's download where there are none.

The files lie in a folder of the data set's name inside the folder that the environment
variable LAMB_KERAS_DATA names.
"""

import os
import socket

from lamb_keras.data.images import DataError

FOLDER_VARIABLE = "LAMB_KERAS_DATA"

# A firewall that swallows packets would otherwise hold up a run for minutes.
DOWNLOAD_TIMEOUT_SECONDS = 30


def folder(name: str) -> str | None:
    """Where the files of the data set should be, or None to download them.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, LAMB_KERAS_DATA="."):
        ...     print(folder("no such data"))
        None
    """
    root = os.environ.get(FOLDER_VARIABLE)
    if not root:
        return None
    root = os.path.expanduser(root)
    if not os.path.isdir(root):
        raise DataError(
            f"{FOLDER_VARIABLE} is {root!r}, which is not a folder; "
            "correct it, or unset it to let Keras download the data"
        )
    found = os.path.join(root, name)
    return found if os.path.isdir(found) else None


def download(name: str, title: str, cure: str):
    """What `keras.datasets` gives under that name.

    Args:
        name: the module in `keras.datasets`.
        title: what an error calls the data set.
        cure: what to put where instead, the middle of a sentence.
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
