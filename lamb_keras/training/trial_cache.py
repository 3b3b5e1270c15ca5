"""Histories of finished trials, on disk until the run that they belong to succeeds.

A sweep that is ended, in whatever way, and started again trains only the others. The
folder is the one that LAMB_KERAS_TRIALS names: the batch names one for each run, by the
run's content key, and removes it when the run has succeeded. Trainings on streamed
data, which take hours, have one in any case: in the folder that LAMB_KERAS_CHECKPOINTS
names, else in `checkpoints` in `lamb_keras.data.cache`'s. It is removed after the last
trial. Of several processes the first one reads and writes, and tells the others.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import time
import uuid
from pathlib import Path

import jax

from lamb_keras import own
from lamb_keras.data import cache
from lamb_keras.experiments import ParameterError
from lamb_keras.store import atomic
from lamb_keras.training import processes
from lamb_keras.training.history import History

FOLDER_VARIABLE = "LAMB_KERAS_TRIALS"
CHECKPOINTS_VARIABLE = "LAMB_KERAS_CHECKPOINTS"


class TrialCache:
    """The finished trials of one experiment on certain data, a file each.

    They lie in `folder`; where it is None, nothing is kept.
    """

    def __init__(self, experiment, data, streamed: bool = False):
        self._started, self._session = time.perf_counter(), uuid.uuid4().hex
        # Only a long training goes on on another platform; any, on another kind of GPU.
        device = "" if streamed else jax.default_backend()
        parameters = dataclasses.asdict(experiment)
        code = [
            (own.files(place), own.versions(place)) for place in own.places(parameters)
        ]
        self._of = _digest(parameters, data.describe(), device, code)
        self._removes, folder = streamed, os.environ.get(FOLDER_VARIABLE)
        if streamed:
            root = os.environ.get(CHECKPOINTS_VARIABLE, f"{cache.folder()}/checkpoints")
            if "://" in root:
                raise ParameterError(
                    f"{CHECKPOINTS_VARIABLE} is {root}, expected a folder: mount the "
                    "bucket, and name the folder where it is."
                )
            table = f"{experiment.notebook}-table{experiment.table:02d}"
            folder = f"{root}/{table}-{self._of[:16]}"
        folder = processes.told(folder)
        self.folder = Path(folder).expanduser().absolute() if folder else None
        self._spent = {}

    @property
    def seconds(self) -> float:
        """Of this session, and of earlier ones up to their last finished trial."""
        now = time.perf_counter() - self._started
        return now + sum(seconds for seconds, _ in self._spent.values())

    @property
    def compile_seconds(self) -> float:
        """Those of compiling, of the earlier sessions alone."""
        return sum(seconds for _, seconds in self._spent.values())

    def find(self, trials: list) -> dict:
        """What was found of earlier sessions, by trial.

        A file that is damaged, or of another experiment or platform, counts as none.
        """
        histories, found = {}, []
        if self.folder and jax.process_index() == 0:
            found = [self._read(trial) for trial in trials]
        for trial, content in zip(trials, processes.told(found), strict=False):
            if content:
                history, session, *seconds = content
                histories[trial] = History.of_plain(history, trial)
                spent = self._spent.get(session, seconds)
                self._spent[session] = max(spent, seconds)
        return histories

    def save(self, history: History, compile_seconds: float):
        """Saves what came of a trial, and how long this session has been compiling."""
        if self.folder is None or jax.process_index() > 0:
            return
        seconds = time.perf_counter() - self._started
        content = {
            "of": self._of,
            "session": [self._session, seconds, compile_seconds],
            "history": history.as_plain(),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic.write(self._file(history.trial), json.dumps(content))
        except OSError:
            # A full disk is no reason to lose the trials that are still to come.
            pass

    def _read(self, trial):
        try:
            content = json.loads(self._file(trial).read_bytes())
            session, seconds, compile_seconds = content["session"]
            if content["of"] == self._of:
                History.of_plain(content["history"], trial)  # or it is damaged
                seconds = float(seconds), float(compile_seconds)
                return content["history"], str(session), *seconds
        except (OSError, ValueError, TypeError, LookupError):
            pass
        return None

    def checkpoints(self, trials: list) -> Path | None:
        """Where trials that train at once may save how they stand; None for nowhere."""
        return self._file(*trials).with_suffix(".checkpoints") if self.folder else None

    def forget_checkpoints(self, trials: list):
        """Removes what `checkpoints` holds, once the trials are saved."""
        if self.folder and jax.process_index() == 0:
            shutil.rmtree(self.checkpoints(trials), ignore_errors=True)

    def close(self):
        """Removes the folder of a sweep that has ended, unless its batch will."""
        if self._removes and jax.process_index() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, *trials):
        return self.folder / f"{_digest(self._of, *trials)[:32]}.json"


def _digest(*values):
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
