"""Who hears of what happens in a batch: the people before it, and its log."""

# What a run's own processes say that is of interest to others.
HEARD = ("working", "trials planned", "trial finished")


class Watchers:
    """Tells a progress bar and a log of the same events.

    Args:
        progress: a `Progress`, which knows the runs.
        log: a `Log`, or None.
    """

    def __init__(self, progress, log):
        self._progress, self._log = progress, log

    def begin(self, folder):
        """The batch begins, its temporary folder is `folder`."""
        if self._log:
            self._log.begin(folder)
            for run, trials in self._progress.planned.items():
                self._log.append("planned", run=run, trials=trials)

    def started(self, attempt):
        told = {"attempt": attempt.number, "gpu": attempt.device}
        self._note("started", run=attempt.run.name, **told)

    def heard(self, attempt, event):
        """A process of an attempt said something."""
        self._progress.update(attempt.run.name, event)
        if event["event"] in HEARD:
            self._note(**{**event, "run": attempt.run.name})

    def retried(self, attempt, end):
        self._say_retried(attempt.run.name, end.reason)
        self._note("retried", run=attempt.run.name, how=end.how, reason=end.reason)

    def told(self, event):
        """A run that is watched on another machine: one event that was noted there."""
        if event["event"] == "retried":
            self._say_retried(event["run"], event["reason"])
        self._progress.update(event["run"], event)
        self._note(**event)

    def ended(self, record):
        """A run is over, of which this is the record."""
        name, reason = record["run"], record["reason"]
        self._progress.end(name)
        if record["status"] == "failed":
            self._progress.say(f"{name} failed: {reason}")
        seconds = record["seconds"]
        self._note(record["ended"], run=name, reason=reason, seconds=seconds)

    def interrupted(self, attempt):
        """The batch is over before this attempt."""
        self._note("interrupted", run=attempt.run.name)

    def look(self):
        """Nothing need have happened; called a few times a second."""
        self._progress.show()
        if self._log:
            self._log.beat()

    def close(self, interrupted):
        """The batch is over, before its end if it was interrupted."""
        self._note("ended", how="was interrupted" if interrupted else "ended")
        self._progress.close()

    def _say_retried(self, run, reason):
        self._progress.say(f"{run}: {reason}; it is tried again")

    def _note(self, event, **fields):
        if self._log:
            self._log.append(event, **fields)
