"""Where a batch stands: its log on disk, the board drawn from that, the bar.

What happens in the batches of a scale is kept in `outputs/<scale>/batch.jsonl`, a JSON
line an event, in order. The file is only ever appended to, and safe to read at any
moment: `lamb-keras status` draws its board from it, beside a batch or after its end.
"""

import contextlib
import fcntl
import json
import os
import socket
import sys
import time

from tqdm import tqdm

from lamb_keras.batch import BatchError, outcome
from lamb_keras.batch.board import Board

NAME = "batch.jsonl"
SECONDS_BETWEEN_HEARTBEATS = 10
# Of a batch on another machine, whose lock may not be seen from here: three heartbeats.
SECONDS_OF_SILENCE = 3 * SECONDS_BETWEEN_HEARTBEATS
# A board that is drawn holds a lock too, for a moment.
SECONDS_TO_WAIT = 1
LINE_SECONDS = 10
BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class Log:
    """The log of one scale, locked by one batch from `with` to its end.

    The system takes the lock away when the process ends, however it ends.
    Another batch that holds it is a `BatchError`. The folder, that of the scale's
    outputs, is made if missing.
    """

    def __init__(self, folder):
        self.folder = folder
        self._appended = 0.0

    def __enter__(self):
        path = self.folder / NAME
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise BatchError(f"{path} cannot be written: {error.strerror}") from None
        if not _lock(self._descriptor, SECONDS_TO_WAIT):
            os.close(self._descriptor)
            began = next(iter(last_batch(self.folder)), None)
            who = f" (process {began['pid']} on {began['host']})" if began else ""
            raise BatchError(
                f"another batch{who} is writing to {self.folder}; wait for its end, or "
                "name another folder with --output"
            )
        # Whoever wrote last may have been killed, or found a full disk, in a line.
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")
        return self

    def __exit__(self, *_):
        os.close(self._descriptor)

    def append(self, event, **fields):
        """Adds an event, which happens now unless its `time` is among the fields."""
        message = {"event": event, "time": round(time.time(), 3), **fields}
        # A full disk is no reason to end a batch.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, f"{json.dumps(message)}\n".encode())
        self._appended = time.monotonic()
        return message

    def beat(self):
        """Says that the batch is alive, if it has said nothing for a while."""
        if time.monotonic() - self._appended > SECONDS_BETWEEN_HEARTBEATS:
            self.append("heartbeat")


host = socket.gethostname  # how this machine is called in a log


def read(folder):
    """All events in order; a line that is torn, or otherwise none, is left out."""
    try:
        lines = (folder / NAME).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    # What follows the last end of a line is still being written.
    return [event for event in map(parse, lines[:-1]) if event and "time" in event]


def last_batch(folder):
    """The events of the last batch, from its "began"; empty if there was none."""
    events = read(folder)
    starts = [i for i, event in enumerate(events) if event["event"] == "began"]
    return events[starts[-1] :] if starts else []


def parse(line):
    """The event in a line; None for half a line, as a full disk leaves it."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


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


def status(folder, now=None):
    """The lines that say where the batch in `folder`, a scale's outputs, stands."""
    events = last_batch(folder)
    if not events:
        return ["no batch is running, nor has one been here"]
    board = Board()
    for event in events:
        board.take(event)
    now = time.time() if now is None else now
    # Elsewhere the lock may not be seen: a heartbeat tells.
    here = events[0]["host"] == host()
    fresh = now - board.last < SECONDS_OF_SILENCE
    alive = board.ended is None and (is_held(folder) or (fresh and not here))
    return board.lines(alive, now)


class Status:
    """A batch in progress, told to its log and to the people before it.

    Args:
        trials: how many trials each run is thought to have, by the run's name.
        log: the `Log` that this process holds.
        seconds: what runs are expected to take, by name, of those where it is known.
        stream: where to show it, standard error by default: a bar on a terminal, and
            elsewhere a line every ten seconds if there is news.
    """

    def __init__(self, trials, log, seconds=None, stream=None):
        self._trials, self._log, self._board = trials, log, Board()
        self._seconds, self._stream = seconds or {}, stream or sys.stderr
        self._shown, self._at = (0, 0), time.monotonic()
        # 20 rows: a container's terminal may say 0 by 0, where tqdm draws nothing.
        self._bar = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=0, file=self._stream, bar_format=BAR, ncols=80, nrows=20
            )

    def begin(self, folder):
        """The batch begins, its temporary folder is `folder`."""
        self.note("began", host=host(), pid=os.getpid(), folder=str(folder))
        for run, count in self._trials.items():
            expected = self._seconds.get(run)
            self.note("planned", run=run, trials=count, seconds=expected)

    def note(self, event, **fields):
        """Something happened, to the run that is named by `run` if to one."""
        self._board.take(self._log.append(event, **fields))
        if event == "retried":
            self._say(f"{fields['run']}: {fields['reason']}; it is tried again")
        elif event in outcome.ALL and fields.get("reason"):
            self._say(f"{fields['run']} failed: {fields['reason']}")

    def refresh(self):
        """Brings what is seen up to date; called a few times a second."""
        self._log.beat()
        shown = done, total = self._board.done, self._board.done + self._board.left
        pause, moved = time.monotonic() - self._at, shown != self._shown
        if self._bar is not None and (moved or pause > 1):
            with contextlib.suppress(OSError):
                size = os.get_terminal_size(self._stream.fileno())
                self._bar.ncols = size.columns or 80
            self._bar.n, self._bar.total = shown
            label = f", {self._board.label}" if self._board.label else ""
            self._bar.postfix = self._board.time_left(time.time()) + label
            self._bar.refresh()
        elif self._bar is None and moved and (done == total or pause >= LINE_SECONDS):
            left = self._board.time_left(time.time())
            spent = tqdm.format_interval(time.time() - self._board.began)
            self._say(f"{done} of {total} trials after {spent}{left}")
        else:
            return
        self._shown, self._at = shown, time.monotonic()

    def close(self, how):
        """The batch is over, in words: it "ended", say."""
        self.refresh()
        if self._bar is not None:
            self._bar.close()
        self.note("ended", how=how)

    def _say(self, sentence):
        tqdm.write(sentence, file=self._stream)


def _lock(descriptor, seconds, shared=False):
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
