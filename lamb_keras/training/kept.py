"""What came of finished trials, kept until the run that they belong to has succeeded.

A sweep that is ended, in whatever way, and started again trains only the others. They
are kept in the folder that LAMB_KERAS_TRIALS names, a file a trial; the batch names one
for each run, by the run's content key, and removes it when the run has succeeded.
Without the variable nothing is kept.
"""

import dataclasses
import hashlib
import json
import os
import time
import uuid
from pathlib import Path

import jax

from lamb_keras.store import atomic
from lamb_keras.training.history import History

FOLDER_VARIABLE = "LAMB_KERAS_TRIALS"


class Kept:
    """The kept trials of one experiment on certain data, on one kind of device.

    Args:
        experiment: what is run: it has `trials()`.
        data: what it is run on: it has `describe()`.
        history: the class of what is kept: it has `as_plain` and `of_plain`.

    Attributes:
        histories: what was found of earlier sittings, by trial. A file that is damaged,
            or of another experiment, is as none.
        sittings: in which of them each was trained, by trial.
        seconds, compile_seconds: of the earlier sittings, each as far as its last
            finished trial.
    """

    def __init__(self, experiment, data, history=History):
        self._history = history
        self._started = time.perf_counter()
        self._sitting = uuid.uuid4().hex
        folder = os.environ.get(FOLDER_VARIABLE)
        self._folder = Path(folder).expanduser() if folder else None
        device = jax.devices()[0].device_kind
        of = [dataclasses.asdict(experiment), data.describe(), device]
        self._of = _digest(of)
        self.histories, self.sittings, spent = {}, {}, {}
        for trial in experiment.trials() if folder else []:
            told = self._read(trial)
            if told:
                self.histories[trial] = told["history"]
                name, *seconds = told["sitting"]
                self.sittings[trial] = name
                spent[name] = max(spent.get(name, seconds), seconds)
        self.seconds = sum(seconds for seconds, _ in spent.values())
        self.compile_seconds = sum(seconds for _, seconds in spent.values())

    def finish(self, history, compile_seconds: float):
        """Keeps what came of a trial, if there is a folder for it.

        Args:
            history: of the trial.
            compile_seconds: that this sitting has been compiling so far.
        """
        if self._folder is None:
            return
        seconds = time.perf_counter() - self._started
        told = {
            "of": self._of,
            "sitting": [self._sitting, seconds, compile_seconds],
            "history": history.as_plain(),
        }
        text = json.dumps(told)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            atomic.write(self._file(history.trial), text)
        except OSError:
            # A full disk is no reason to lose the trials that are still to come.
            pass

    def unfinished(self, trial) -> Path | None:
        """Where a trial under way may keep what it needs to go on; None for nowhere."""
        return self._file(trial).with_suffix(".npz") if self._folder else None

    def _read(self, trial):
        try:
            told = json.loads(self._file(trial).read_bytes())
            told["history"] = self._history.of_plain(told["history"])
            name, seconds, compile_seconds = told["sitting"]
            told["sitting"] = [str(name), float(seconds), float(compile_seconds)]
            whole = told["of"] == self._of and told["history"].trial == trial
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return None
        return told if whole else None

    def _file(self, trial):
        return self._folder / f"{_digest([self._of, trial])[:32]}.json"


def _digest(value):
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
