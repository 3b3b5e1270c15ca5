"""How far a batch is, for people: a bar over its trials on a terminal, lines elsewhere.

Runs report through `lamb_keras.store.events`; until a run has said how many trials it
plans, the forecast from its parameters counts.
"""

import os
import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10


def tells_enough(trained: int, total: int) -> bool:
    """Whether so many trials tell how long all take: a tenth of them does.

    The longest come first: by a few pre-trainings a hundred sweeps would take days.

    Example:
        >>> tells_enough(9, 100), tells_enough(10, 100)
        (False, True)
    """
    return trained > 0 and 10 * trained >= total


class Progress:
    """A batch's trials, done and still to do.

    Args:
        forecast: the number of trials of each run, by the run's name.
        stream: where to show it, standard error by default.

    Example:
        >>> progress = Progress({"table07/lenet_mnist": 4}, sys.stdout)
        >>> progress.update("table07/lenet_mnist", {"event": "trial finished"})
        >>> progress.done, progress.total
        (1, 4)
    """

    def __init__(self, forecast, stream=None):
        self.planned = dict(forecast)
        self.finished = dict.fromkeys(forecast, 0)
        self.label = ""
        stream = stream or sys.stderr
        self._show = (_Bar if stream.isatty() else _Lines)(stream, self.total)

    @property
    def done(self):
        return sum(self.finished.values())

    @property
    def total(self):
        return sum(self.planned.values())

    def update(self, run, event):
        """Takes note of one event of a run."""
        if event["event"] == "trials planned":
            before = self.done
            self.planned[run] = event["total"]
            # Kept from before: they say nothing of how long the others will take.
            self.finished[run] = max(self.finished[run], event.get("done", 0))
            self._show.known(self.done - before)
            if not before:
                self._show.begin()
        elif event["event"] == "trial finished":
            # Trials that finish together may be heard of in any order.
            done = event.get("done", self.finished[run] + 1)
            self.finished[run] = max(self.finished[run], done)
            self.planned[run] = max(self.planned[run], self.finished[run])
            self.label = event.get("label", "")

    def end(self, run):
        """A run is over: what it has not trained by now it never will."""
        self.planned[run] = self.finished[run]

    def show(self):
        """Brings what is seen up to date; called a few times a second."""
        self._show.show(self.done, self.total, self.label)

    def say(self, sentence):
        """Shows a sentence without disturbing the bar."""
        self._show.say(sentence)

    def close(self):
        self._show.close()


class _Bar:
    def __init__(self, stream, total):
        self._stream = stream
        size = {"ncols": _width(stream), "nrows": 20}
        self._bar = tqdm(total=total, unit="trial", file=stream, **size)
        self._drawn = time.monotonic()

    def show(self, done, total, label):
        bar = self._bar
        if (done, total) == (bar.n, bar.total) and time.monotonic() < self._drawn + 1:
            return
        self._drawn = time.monotonic()
        bar.total, bar.ncols = total, _width(self._stream)
        bar.set_postfix_str(label, refresh=False)
        bar.update(done - bar.n)
        bar.refresh()

    def known(self, count):
        self._bar.n += count
        self._bar.initial += count
        self._bar.last_print_n += count

    def begin(self):
        # What kernels take to start says nothing of what trials will take.
        self._bar.last_print_t = time.time()

    def say(self, sentence):
        tqdm.write(sentence, file=self._stream)

    def close(self):
        self._bar.close()


def _width(terminal):
    # A container's terminal may say 0 by 0, where tqdm alone would draw nothing.
    try:
        return os.get_terminal_size(terminal.fileno()).columns or 80
    except OSError:
        return 80


class _Lines:
    """A line for every tenth of the trials, or every ten seconds if there is news."""

    def __init__(self, stream, total):
        self._stream = stream
        self._began = self._training = self._said = time.monotonic()
        self._done = self._known = 0

    def show(self, done, total, label):
        now = time.monotonic()
        enough = done - self._done >= total / 10 or done == total
        late = now - self._said >= SECONDS_BETWEEN_LINES
        if done == self._done or not (enough or late):
            return
        self._done, self._said = done, now
        words = (
            f"{done} of {total} trials after {tqdm.format_interval(now - self._began)}"
        )
        trained = done - self._known
        if tells_enough(trained, total - self._known):
            left = (now - self._training) / trained * (total - done)
            words += f", about {tqdm.format_interval(left)} left"
        self.say(words)

    def known(self, count):
        self._done += count
        self._known += count

    def begin(self):
        self._training = time.monotonic()

    def say(self, sentence):
        print(sentence, file=self._stream, flush=True)

    def close(self):
        pass
