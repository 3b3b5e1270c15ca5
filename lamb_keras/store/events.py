"""Events of a run in progress, a JSON line each, for whoever watches it.

Training calls `emit`; the batch names the file in the environment and reads it to
draw its progress bar. In JupyterLab, or under plain Papermill, nobody names a file
and nothing is written.
"""

import json
import os
import time

VARIABLE = "LAMB_KERAS_EVENTS"


def emit(event, **fields):
    """Append an event to the file that `$LAMB_KERAS_EVENTS` names, if it names one.

    A line is written by one call on a file opened for appending, so that the lines
    of several processes never mix.

    Args:
        event: what happened, such as "trial finished".
        fields: what there is to say about it; NumPy and JAX scalars are welcome.

    Example:
        >>> emit("trial finished", done=13, total=100)
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return
    message = {"event": event, "time": time.time(), **fields}
    line = json.dumps(message, default=_plain) + "\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    except OSError:
        # A full disk or a watcher that is gone is no reason to lose the training.
        pass


def _plain(value):
    return value.item() if hasattr(value, "item") else str(value)
