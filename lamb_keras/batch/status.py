"""Where a batch stands: its log on disk, the board drawn from that, the bar.

What happens in the batches of a scale is kept in `outputs/<scale>/batch.jsonl`, a JSON
line an event, in order. The file is only ever appended to, and safe to read at any
moment: `lamb-keras status` draws its board from it, beside a batch or after its end.
"""

import contextlib
import json
import os
import socket
import sys
import time
from dataclasses import dataclass

from tqdm import tqdm

from lamb_keras.batch import BatchError, outcome

NAME = "batch.jsonl"
SECONDS_BETWEEN_HEARTBEATS = 10
# Of a batch on another machine, whose lock may not be seen from here: three heartbeats.
SECONDS_OF_SILENCE = 3 * SECONDS_BETWEEN_HEARTBEATS
# A board that is drawn holds a lock too, for a moment.
SECONDS_TO_WAIT = 1
SECONDS_BETWEEN_LINES = 10
LONGEST_REASON = 100
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


@dataclass
class Run:
    """What the events say of one run."""

    total: int
    state: str = "waiting"
    done: int = 0
    known: int = 0  # done in earlier batches: they say nothing of how long one takes
    attempt: int = 0
    reason: str = ""
    training: float | None = None  # when its trials began
    last: float | None = None  # when the last one finished
    seconds: float | None = None

    def __str__(self):
        trials = f"{self.done} of {self.total} trials"
        again = ""
        if self.attempt > 1 or (self.reason and self.state == "waiting"):
            why = f", since {self.reason}" if self.reason else ""
            again = f"; tried again{why}"
        match self.state:
            case "running":
                return f"running  {trials}{self._rate()}{again}"
            case "waiting":
                return f"waiting  {trials}{again}"
            case outcome.SUCCEEDED:
                return f"done     {trials} in {tqdm.format_interval(self.seconds)}"
        last = self.reason.strip().rpartition("\n")[2]
        reason = outcome.one_line(last, LONGEST_REASON)
        return f"{self.state} after {trials}{': ' * bool(reason)}{reason}"

    def _rate(self):
        if self.training is None or self.done <= self.known:
            return ""
        seconds = (self.last - self.training) / (self.done - self.known)
        if seconds <= 1:
            return f", {1 / max(seconds, 1e-3):.1f} a second"
        if seconds <= 60:
            return f", {60 / seconds:.1f} a minute"
        return f", {seconds / 60:.1f} minutes each"


class Board:
    """A batch as its events tell it.

    Example:
        >>> board = Board()
        >>> for event in [
        ...     {"event": "began", "time": 0.0, "host": "a", "pid": 1},
        ...     {"event": "planned", "time": 0.0, "run": "table07/lenet_mnist",
        ...      "trials": 100},
        ...     {"event": "started", "time": 1.0, "run": "table07/lenet_mnist",
        ...      "attempt": 1},
        ...     {"event": "trials planned", "time": 5.0, "run": "table07/lenet_mnist",
        ...      "total": 100, "done": 20},
        ...     {"event": "trial finished", "time": 15.0, "run": "table07/lenet_mnist",
        ...      "done": 40, "total": 100}]:
        ...     board.take(event)
        >>> print("\\n".join(board.lines(alive=True, now=15.0)))
        table07/lenet_mnist  running  40 of 100 trials, 2.0 a second
        a batch is running: 0 of 1 run done, 40 of 100 trials, about 00:30 left
    """

    def __init__(self):
        self.runs, self.label = {}, ""
        self.last, self.ended = 0.0, None

    def take(self, event):
        """Takes note of an event; of a run that nobody planned there is nothing."""
        name, what = event.get("run"), event["event"]
        self.last = event["time"]
        if what == "planned":
            self.runs[name] = Run(event["trials"])
        elif what == "ended":
            self.ended = event["how"]
        run = self.runs.get(name)
        if run is None:
            return
        if what == "started":
            run.state, run.attempt = "running", event["attempt"]
        elif what == "trials planned":
            run.total, run.training = event["total"], event["time"]
            run.known += max(0, event.get("done", 0) - run.done)
            run.done = max(run.done, event.get("done", 0))
        elif what == "trial finished":
            # Trials that finish together may be heard of in any order.
            run.done = max(run.done, event.get("done", run.done + 1))
            run.total, run.last = max(run.total, run.done), event["time"]
            self.label = event.get("label", "")
        elif what == "retried":
            run.state, run.reason = "waiting", event["reason"]
        elif what in outcome.ALL:
            run.state, run.reason = what, event.get("reason") or ""
            run.seconds = event.get("seconds")

    @property
    def done(self):
        return sum(run.done for run in self.runs.values())

    @property
    def left(self):
        """The trials still to come: those of a run that failed are not."""
        going_on = [r for r in self.runs.values() if r.state in ("waiting", "running")]
        return sum(run.total - run.done for run in going_on)

    def time_left(self, now):
        """By what trials took so far, in words to be put behind others.

        Empty until a tenth has been trained. The longest come first: by a few
        pre-trainings a hundred sweeps would take days.
        """
        runs = self.runs.values()
        began = [run.training for run in runs if run.training is not None]
        known = sum(run.known for run in runs)
        trained, total = self.done - known, sum(run.total for run in runs) - known
        if not began or trained <= 0 or 10 * trained < total:
            return ""
        last = max(run.last for run in runs if run.last is not None)
        needed = (last - min(began)) / trained * self.left
        left = max(0.0, needed - (now - last))
        return f", about {tqdm.format_interval(left)} left"

    def lines(self, alive, now):
        """The board, a line a run and one of the whole; "alive" if it still goes on."""
        width = max(map(len, self.runs), default=0)
        lines = []
        for name, run in self.runs.items():
            line = str(run)
            if run.state == "running" and not alive:
                line = f"ended with the batch after {run.done} of {run.total} trials"
            lines.append(f"{name:{width}}  {line}")
        runs = self.runs.values()
        ready = sum(run.state == outcome.SUCCEEDED for run in runs)
        counts = (
            f"{ready} of {len(runs)} run{'s' * (len(runs) != 1)} done, "
            f"{self.done} of {sum(run.total for run in runs)} trials"
        )
        if alive:
            return [*lines, f"a batch is running: {counts}{self.time_left(now)}"]
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.last))
        how = f"{self.ended} at" if self.ended else "was killed by"
        return [*lines, f"no batch is running; the last one {how} {when}: {counts}"]


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
        stream: where to show it, standard error by default: a bar on a terminal, and
            elsewhere a line for every tenth of the trials.
    """

    def __init__(self, trials, log, stream=None):
        self._trials, self._log, self._board = trials, log, Board()
        stream = stream or sys.stderr
        self._display = (_Bar if stream.isatty() else _Lines)(stream)

    def begin(self, folder):
        """The batch begins, its temporary folder is `folder`."""
        self.note("began", host=host(), pid=os.getpid(), folder=str(folder))
        for run, count in self._trials.items():
            self.note("planned", run=run, trials=count)

    def note(self, event, **fields):
        """Something happened, to the run that is named by `run` if to one."""
        self._board.take(self._log.append(event, **fields))
        if event == "retried":
            reason = f"{fields['run']}: {fields['reason']}; it is tried again"
            self._display.say(reason)
        elif event in outcome.ALL and fields.get("reason"):
            self._display.say(f"{fields['run']} failed: {fields['reason']}")

    def refresh(self):
        """Brings what is seen up to date; called a few times a second."""
        self._display.show(self._board)
        self._log.beat()

    def close(self, interrupted):
        """The batch is over, before its end if it was interrupted."""
        self._display.show(self._board)
        self._display.close()
        self.note("ended", how="was interrupted" if interrupted else "ended")


class _Bar:
    def __init__(self, stream):
        self._stream, self._shown = stream, 0.0
        # 20 rows: a container's terminal may say 0 by 0, where tqdm draws nothing.
        self._bar = tqdm(
            total=0, unit="trial", file=stream, bar_format=BAR, ncols=80, nrows=20
        )

    def show(self, board):
        bar, total = self._bar, board.done + board.left
        moved = (board.done, total) != (bar.n, bar.total)
        if not moved and time.monotonic() < self._shown + 1:
            return
        self._shown = time.monotonic()
        with contextlib.suppress(OSError):
            bar.ncols = os.get_terminal_size(self._stream.fileno()).columns or 80
        bar.n, bar.total = board.done, total
        label = f", {board.label}" if board.label else ""
        bar.postfix = board.time_left(time.time()) + label
        bar.refresh()

    def say(self, sentence):
        tqdm.write(sentence, file=self._stream)

    def close(self):
        self._bar.close()


class _Lines:
    """A line for every tenth of the trials, or every ten seconds if there is news."""

    def __init__(self, stream):
        self._stream, self._done = stream, 0
        self._began = self._said = time.monotonic()

    def show(self, board):
        now, done, total = time.monotonic(), board.done, board.done + board.left
        enough = done - self._done >= total / 10 or done == total
        if done == self._done or not (
            enough or now - self._said >= SECONDS_BETWEEN_LINES
        ):
            return
        self._done, self._said = done, now
        spent = tqdm.format_interval(now - self._began)
        left = board.time_left(time.time())
        self.say(f"{done} of {total} trials after {spent}{left}")

    def say(self, sentence):
        print(sentence, file=self._stream, flush=True)

    def close(self):
        pass


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
