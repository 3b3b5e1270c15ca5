"""Where a batch stands, drawn from its log: what `lamb-keras status` prints.

Only the log is read, so a board can be drawn at any moment, beside the batch or after
its end, whatever that was.
"""

import time
from dataclasses import dataclass, field

from tqdm import tqdm

from lamb_keras.batch import ends, log
from lamb_keras.batch.progress import tells_enough

LONGEST_REASON = 100
# Of a batch on another machine, whose lock may not be seen from here: three heartbeats.
SECONDS_OF_SILENCE = 3 * log.SECONDS_BETWEEN_HEARTBEATS


@dataclass
class Run:
    """What the log says of one run."""

    total: int
    state: str = "waiting"
    done: int = 0
    # Of earlier sittings: they say nothing of how long a trial takes.
    known: int = 0
    attempt: int = 0
    reason: str = ""
    # When its trials began, and when the last one finished.
    training: float | None = None
    last: float | None = None
    seconds: float | None = None
    labels: list = field(default_factory=list)

    @property
    def seconds_a_trial(self):
        """How long each took, several at once counted together; None if none did."""
        if self.training is None or self.done <= self.known:
            return None
        return (self.last - self.training) / (self.done - self.known)


class Board:
    """A batch as its events tell it.

    Args:
        events: of one batch, as `log.last_batch` returns them.

    Example:
        >>> events = [
        ...     {"event": "began", "time": 0.0, "host": "a", "pid": 1},
        ...     {"event": "planned", "time": 0.0, "run": "table07/lenet_mnist",
        ...      "trials": 100},
        ...     {"event": "started", "time": 1.0, "run": "table07/lenet_mnist",
        ...      "attempt": 1},
        ...     {"event": "trials planned", "time": 5.0, "run": "table07/lenet_mnist",
        ...      "total": 100, "done": 20},
        ...     {"event": "trial finished", "time": 15.0, "run": "table07/lenet_mnist",
        ...      "done": 40, "total": 100}]
        >>> print("\\n".join(Board(events).lines(alive=True, now=15.0)))
        table07/lenet_mnist  running  40 of 100 trials, 2.0 a second
        a batch is running: 0 of 1 run done, 40 of 100 trials, about 00:30 left
    """

    def __init__(self, events):
        self.runs = {}
        self.began = self.last = events[0]["time"]
        self.ended = None
        for event in events:
            self.last = event["time"]
            self._take(event)

    def lines(self, alive, now=None):
        """The board, a line a run and one of the whole.

        Args:
            alive: whether the batch still goes on.
            now: the time; by default that of the clock.
        """
        width = max(map(len, self.runs), default=0)
        return [
            *[
                f"{name:{width}}  {_line(run, alive)}"
                for name, run in self.runs.items()
            ],
            self._whole(alive, time.time() if now is None else now),
        ]

    def _whole(self, alive, now):
        runs = self.runs.values()
        ready = sum(run.state == ends.SUCCEEDED for run in runs)
        trials = f"{_sum(runs, 'done')} of {_sum(runs, 'total')} trials"
        plural = "s" * (len(runs) != 1)
        counts = f"{ready} of {len(runs)} run{plural} done, {trials}"
        if alive:
            left = self._seconds_left(now)
            told = "" if left is None else f", about {tqdm.format_interval(left)} left"
            return f"a batch is running: {counts}{told}"
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(self.last))
        if self.ended is None:
            return (
                f"no batch is running; the last one was killed by {when} UTC: {counts}"
            )
        return f"no batch is running; the last one {self.ended} at {when} UTC: {counts}"

    def _seconds_left(self, now):
        """By what its trials took so far, all together; None while these are few."""
        runs = self.runs.values()
        began = [run.training for run in runs if run.training is not None]
        known = _sum(runs, "known")
        trained = _sum(runs, "done") - known
        if not began or not tells_enough(trained, _sum(runs, "total") - known):
            return None
        left = sum(run.total - run.done for run in runs if run.state in _GOING_ON)
        last = max(run.last for run in runs if run.last is not None)
        needed = (last - min(began)) / trained * left
        return max(0.0, needed - (now - last))

    def _take(self, event):
        name, what = event.get("run"), event["event"]
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
            run.done, run.last = max(run.done, event["done"]), event["time"]
        elif what == "retried":
            run.state, run.reason = "waiting", event["reason"]
        elif what in _ENDS:
            run.state, run.reason = what, event.get("reason") or ""
            run.seconds = event.get("seconds")


_GOING_ON = ("waiting", "running")
_ENDS = (
    ends.SUCCEEDED,
    ends.FAILED,
    ends.KILLED,
    ends.OUT_OF_MEMORY,
    ends.TIMED_OUT,
    ends.INTERRUPTED,
)


def status(folder, now=None):
    """What is to be said of the batches in `folder`, that of a scale's outputs."""
    events = log.last_batch(log.read(folder))
    if not events:
        return ["no batch is running, nor has one been here"]
    board = Board(events)
    now = time.time() if now is None else now
    # Elsewhere the lock may not be seen: a heartbeat tells.
    here = events[0]["host"] == log.host()
    fresh = now - board.last < SECONDS_OF_SILENCE
    alive = board.ended is None and (log.is_held(folder) or (fresh and not here))
    return board.lines(alive, now)


def _line(run, alive):
    trials = f"{run.done} of {run.total} trials"
    if run.state == "running" and not alive:
        return f"ended with the batch after {trials}"
    if run.state == "running":
        return f"running  {trials}{_rate(run)}{_again(run)}"
    if run.state == "waiting":
        return f"waiting  {trials}{_again(run)}"
    if run.state == ends.SUCCEEDED:
        return f"done     {trials} in {tqdm.format_interval(run.seconds)}"
    reason = run.reason.strip().splitlines()[-1] if run.reason.strip() else ""
    if len(reason) > LONGEST_REASON:
        reason = reason[: LONGEST_REASON - 1] + "…"
    return f"{run.state} after {trials}{': ' * bool(reason)}{reason}"


def _rate(run):
    seconds = run.seconds_a_trial
    if seconds is None:
        return ""
    if seconds <= 1:
        return f", {1 / max(seconds, 1e-3):.1f} a second"
    return (
        f", {60 / seconds:.1f} a minute"
        if seconds <= 60
        else (f", {seconds / 60:.1f} minutes each")
    )


def _again(run):
    if run.attempt < 2 and not run.reason:
        return ""
    return f"; tried again, since {run.reason}" if run.reason else "; tried again"


def _sum(runs, name):
    return sum(getattr(run, name) for run in runs)
