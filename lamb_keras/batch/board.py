"""What the events of a batch tell: how far its runs are, and how long they take."""

import time
from dataclasses import dataclass

from tqdm import tqdm

from lamb_keras.batch import outcome

LONGEST_REASON = 100
MOST_BY_TIME = 0.95  # of a run, that time alone may make seem done


@dataclass
class Run:
    """What the events say of one run."""

    name: str
    total: int
    expected: float | None = None  # its seconds, if it is known what it took before
    state: str = "waiting"
    phase: str = ""
    done: int = 0
    known: int = 0  # done in earlier batches: they say nothing of how long one takes
    again: bool = False
    reason: str = ""
    began: float = 0.0
    seconds: float = 0.0

    def __str__(self):
        trials = f"{self.done} of {self.total} trials"
        why = f", since {self.reason}" if self.reason else ""
        again = f"; tried again{why}" if self.again else ""
        match self.state:
            case "running":
                phase = f", {self.phase}" if self.phase else ""
                return f"running  {trials}{phase}{again}"
            case "waiting":
                return f"waiting  {trials}{again}"
            case outcome.SUCCEEDED:
                return f"done     {trials} in {tqdm.format_interval(self.seconds)}"
        last = self.reason.strip().rpartition("\n")[2]
        reason = outcome.one_line(last, LONGEST_REASON)
        return f"{self.state} after {trials}{': ' * bool(reason)}{reason}"

    @property
    def is_over(self):
        return self.state not in ("waiting", "running")

    @property
    def is_done(self):
        return self.state == outcome.SUCCEEDED

    @property
    def to_train(self):
        """How many trials this batch has to train, one at least."""
        return max(1, self.total - self.known)

    @property
    def trained(self):
        """How many of them are there."""
        return self.done - self.known

    def spent(self, now):
        """Its seconds so far."""
        return self.seconds if self.is_over else now - self.began


class Board:
    """A batch as its events tell it.

    Example:
        >>> board = Board()
        >>> for event in [
        ...     {"event": "began", "time": 0.0, "host": "a", "pid": 1},
        ...     {"event": "planned", "time": 0.0, "run": "table07/lenet_mnist",
        ...      "trials": 100, "seconds": 25.0},
        ...     {"event": "started", "time": 1.0, "run": "table07/lenet_mnist",
        ...      "attempt": 1},
        ...     {"event": "trials planned", "time": 5.0, "run": "table07/lenet_mnist",
        ...      "total": 100, "done": 20},
        ...     {"event": "trial finished", "time": 15.0, "run": "table07/lenet_mnist",
        ...      "done": 40, "total": 100}]:
        ...     board.take(event)
        >>> print("\\n".join(board.lines(alive=True, now=15.0)))
        table07/lenet_mnist  running  40 of 100 trials
        a batch is running: 0 of 1 run done, 40 of 100 trials, about 00:45 left
    """

    def __init__(self):
        self.runs, self.label = {}, ""
        self.began = self.last = 0.0
        self.ended = None

    def take(self, event):
        """Takes note of an event; of a run that nobody planned there is nothing."""
        name, what, now = event.get("run"), event["event"], event["time"]
        self.last = now
        if what == "began":
            self.began = now
        elif what == "planned":
            self.runs[name] = Run(name, event["trials"], event.get("seconds"))
        elif what == "ended":
            self.ended = event["how"]
        run = self.runs.get(name)
        if run is None:
            return
        if what == "started":
            run.state, run.phase, run.began = "running", "starting", now
        elif what == "working":
            run.phase = "loading"
        elif what == "trials planned":
            run.total, run.phase = event["total"], "compiling"
            run.known += max(0, event.get("done", 0) - run.done)
            run.done = max(run.done, event.get("done", 0))
        elif what == "trial finished":
            # Trials that finish together may be heard of in any order.
            run.done, run.phase = max(run.done, event.get("done", run.done + 1)), ""
            run.total = max(run.total, run.done)
            self.label = event.get("label", "")
        elif what == "retried":
            run.state, run.again, run.reason = "waiting", True, event["reason"]
        elif what in outcome.ALL:
            run.state, run.reason = what, event.get("reason") or ""
            run.seconds = event.get("seconds", 0.0)

    @property
    def done(self):
        return sum(run.done for run in self.runs.values())

    @property
    def left(self):
        """The trials still to come, if another day: those of a run that failed not."""
        return sum(
            run.total - run.done
            for run in self.runs.values()
            if run.state == outcome.LEFT or not run.is_over
        )

    def time_left(self, now):
        """How long the batch still takes, in words to be put behind others.

        What has been done by now, in seconds of its runs, says how fast it goes; it
        goes no faster than its longest run. Nothing is said before a tenth is done, or
        where nobody knows what a run takes.
        """
        done = left = longest = 0.0
        for run in self.runs.values():
            if run.is_over:
                done += run.spent(now)
                continue
            seconds = self._seconds(run, now)
            if seconds is None:
                return ""
            part = run.trained / run.to_train
            if run.state == "running":
                # Trials may finish together, after a long time.
                part = max(part, min((now - run.began) / seconds, MOST_BY_TIME))
            done, left = done + part * seconds, left + (1 - part) * seconds
            longest = max(longest, (1 - part) * seconds)
        if not any(run.trained for run in self.runs.values()) or not left < 9 * done:
            return ""
        needed = max((now - self.began) / done * left, longest)
        return f", about {tqdm.format_interval(needed)} left"

    def _slowness(self, notebook, now):
        """How many times as long as before runs of a notebook take.

        By those done, if any, and by those of the notebook, if any.
        """
        known = [run for run in self.runs.values() if run.expected and run.trained]
        known = [run for run in known if run.is_done] or known
        known = [run for run in known if run.name.endswith(notebook)] or known
        before = sum(run.expected * run.trained / run.total for run in known)
        return sum(run.spent(now) for run in known) / before if known else 1.0

    def _seconds(self, run, now):
        """What a run takes in this batch, or None.

        By what it took before, or else what a trial of its notebook takes now.
        """
        notebook = run.name.rpartition("/")[2]
        if run.expected is not None:
            slowness = self._slowness(notebook, now)
            return run.expected * slowness * run.to_train / run.total
        alike = [
            other
            for name, other in self.runs.items()
            if name.endswith(notebook) and other.trained
        ]
        trained = sum(other.trained for other in alike)
        spent = sum(other.spent(now) for other in alike)
        return spent / trained * run.to_train if trained else None

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
        ready = sum(run.is_done for run in runs)
        counts = (
            f"{ready} of {len(runs)} run{'s' * (len(runs) != 1)} done, "
            f"{self.done} of {sum(run.total for run in runs)} trials"
        )
        if alive:
            return [*lines, f"a batch is running: {counts}{self.time_left(now)}"]
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.last))
        how = f"{self.ended} at" if self.ended else "was killed by"
        return [*lines, f"no batch is running; the last one {how} {when}: {counts}"]
