"""What happens in the batches of one scale, a JSON line an event, in order.

`outputs/<scale>/batch.jsonl` is only ever appended to, and safe to read at any moment.
While a batch goes on it holds a lock on the file, so that no other one starts on the
same folder; the system takes the lock away when the process ends, however it ends.
"""

import contextlib
import json
import os
import socket
import time

from lamb_keras.batch import BatchError

NAME = "batch.jsonl"
SECONDS_BETWEEN_HEARTBEATS = 10
# A board that looks holds a lock too, for a moment.
SECONDS_TO_WAIT = 1


class Log:
    """The log of one scale, held by one batch from `with` to its end.

    Args:
        folder: that of the scale's outputs; made if missing.

    Raises:
        BatchError: on `with`, if another batch holds it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> with Log(folder) as log:
        ...     log.append("started", run="table07/lenet_mnist", attempt=1)
        ...     is_held(folder)
        True
        >>> [event["event"] for event in read(folder)], is_held(folder)
        (['started'], False)
    """

    def __init__(self, folder):
        self.folder = folder
        self._descriptor = None
        self._said = 0.0

    def __enter__(self):
        path = self.folder / NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(
                path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644
            )
        except OSError as error:
            raise BatchError(f"{path} cannot be written: {error.strerror}") from None
        if not _lock(self._descriptor, SECONDS_TO_WAIT):
            os.close(self._descriptor)
            raise BatchError(
                f"another batch{_who(self.folder)} is writing to {self.folder}; wait "
                "for its end, or name another folder with --output"
            )
        self._end_torn_line()
        return self

    def __exit__(self, *_):
        os.close(self._descriptor)

    def append(self, event, **fields):
        """Adds an event, which happens now unless its `time` is among the fields."""
        message = {"event": event, "time": round(time.time(), 3), **fields}
        # A full disk is no reason to end a batch.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, f"{json.dumps(message)}\n".encode())
        self._said = time.monotonic()

    def beat(self):
        """Says that the batch is alive, if it has said nothing for a while."""
        if time.monotonic() - self._said > SECONDS_BETWEEN_HEARTBEATS:
            self.append("heartbeat")

    def begin(self, folder):
        """Adds the event with which a batch begins.

        Args:
            folder: its temporary one, by which `left_behind` finds what it leaves
                behind if it is killed.
        """
        self.append("began", host=host(), pid=os.getpid(), folder=str(folder))

    def left_behind(self):
        """The temporary folder of a batch that was killed on this machine, or None."""
        events = last_batch(read(self.folder))
        if not events or events[-1]["event"] == "ended" or events[0]["host"] != host():
            return None
        return events[0]["folder"]

    def _end_torn_line(self):
        """Whoever wrote last may have been killed, or found a full disk, in a line."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")


def host():
    """How this machine is called in a log."""
    return socket.gethostname()


def read(folder):
    """All events in order; a line that is torn, or otherwise none, is left out."""
    try:
        lines = (folder / NAME).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    # What follows the last end of a line is still being written.
    return [event for event in map(_event, lines[:-1]) if event]


def last_batch(events):
    """The events of the last batch, from its "began"; empty if there was none."""
    starts = [i for i, event in enumerate(events) if event["event"] == "began"]
    return events[starts[-1] :] if starts else []


def is_held(folder):
    """Whether a batch on this machine holds the log of `folder`."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, 0, shared=True)
    finally:
        os.close(descriptor)


def _lock(descriptor, seconds, shared=False):
    try:
        import fcntl
    except ImportError:
        # Windows has no such lock; nobody is refused there.
        return True
    until = time.monotonic() + seconds
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)


def _who(folder):
    events = last_batch(read(folder))
    return f" (process {events[0]['pid']} on {events[0]['host']})" if events else ""


def _event(line):
    try:
        event = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(event, dict) and {"event", "time"} <= event.keys()
    return event if whole else None
