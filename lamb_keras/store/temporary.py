"""Where sockets may lie, whose paths have at most 104 characters on macOS."""

import tempfile

_LONGEST = 70  # below it come 30 more


def folder() -> str:
    """The folder for temporary files, or /tmp where its path is too long."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= _LONGEST else "/tmp"
