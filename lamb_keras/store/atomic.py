"""Files that are either whole or not there."""

import os
from pathlib import Path


def write(path: Path, text: str) -> Path:
    """Writes `text` to `path` in one step: a reader sees the old file or the new one.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "results.csv"
        >>> write(path, "table,row").read_text()
        'table,row'
    """
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Writes `content` to `path` in one step, as `write` does with text."""
    # In the same folder, for a rename cannot cross file systems; hidden, and with the
    # process in its name, so that two writers do not meet.
    unfinished = path.with_name(f".{path.name.removeprefix('.')}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
