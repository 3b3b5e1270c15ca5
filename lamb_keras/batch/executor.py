"""Executes planned runs, each in a process of its own, several at once.

Processes and never threads: threads change each other's working folder (papermill#473)
and a crash would take the batch along. What a run's processes share is the name of
its event file in their environment; by that name all of them are found, the kernel in
its own session included, when the run ends in any way at all.
"""

import json
import os
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from lamb_keras import events, parameters
from lamb_keras.batch import (
    BatchError,
    compiled,
    forkserver,
    key,
    notebook,
    record,
    trials,
)
from lamb_keras.batch.launch import Launcher
from lamb_keras.batch.progress import Progress
from lamb_keras.processors import processors

SECONDS_BETWEEN_LOOKS = 0.1
# A socket's path has at most 104 characters on macOS; ours adds 30 to the folder.
LONGEST_TEMPORARY_FOLDER = 70


def execute(runs, project, jobs=None, progress=None):
    """Executes the runs and returns their records, in the order in which they ended.

    A run that fails leaves its notebook and its reason; the others go on. On Ctrl-C
    nothing of the runs in progress is left, neither files nor processes.

    Args:
        runs: the `PlannedRun`s.
        project: the `Project`, whose root is the working folder of every run.
        jobs: how many runs at once; by default one for each processor.
        progress: a `Progress`; by default one on standard error.
    """
    jobs = min(jobs or processors(), len(runs))
    progress = progress or Progress(
        {run.name: parameters.trials(run.parameters) for run in runs}
    )
    waiting, active, records = list(runs), [], []
    folder = _temporary_folder()
    launcher = Launcher(
        folder, project.root, lambda file: environment(file, jobs), _imports(runs)
    )
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                run = waiting.pop(0)
                active.append(Attempt(run, folder, project, launcher))
            for attempt in list(active):
                # Asked before the events are read, so that the last ones are.
                ended = attempt.process.poll() is not None
                for event in attempt.events():
                    progress.update(attempt.run.name, event)
                if ended:
                    active.remove(attempt)
                    records.append(attempt.conclude())
                    progress.end(attempt.run.name)
                    if records[-1]["status"] == "failed":
                        reason = records[-1]["reason"]
                        progress.say(f"{attempt.run.name} failed: {reason}")
            progress.show()
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        launcher.close()
        # Reached with runs in progress only when interrupted, or by a mistake here.
        for attempt in active:
            attempt.abandon()
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)
        progress.close()
    return records


class Attempt:
    """One attempt at one run: its process and what that leaves behind."""

    def __init__(self, run, folder, project, launcher):
        self.run, self.project = run, project
        root = project.root
        self.folder = Path(tempfile.mkdtemp(dir=folder, prefix=""))
        self._events = self.folder / forkserver.EVENTS
        self._read = 0
        _make(run.folder)
        self.output = run.folder / f".{run.notebook.stem}.{self.folder.name}.ipynb"
        self._record = {
            "run": run.name,
            "notebook": run.notebook.stem,
            "table": run.table,
            "scale": run.scale,
            "status": None,
            "reason": None,
            "parameters": run.parameters,
            "overrides": run.overrides,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": None,
            "commit": _commit(),
            "key": run.key,
        }
        self._began = time.monotonic()
        job = {
            # Papermill notes both paths in the notebook: no place for a machine's own.
            "notebook": os.path.relpath(run.notebook, root),
            "output": os.path.relpath(self.output, root),
            "published": os.path.relpath(run.file("ipynb"), root),
            "parameters": run.parameters,
            "folder": str(self.folder),
            "reason": str(self.folder / "reason.txt"),
            "trials": trials.folder(run) and str(trials.folder(run)),
        }
        job_file = self.folder / forkserver.JOB
        job_file.write_text(json.dumps(job), encoding="utf-8")
        self.process = launcher.start(self.folder)

    def events(self):
        """The events since the last call."""
        try:
            with open(self._events, "rb") as file:
                file.seek(self._read)
                lines, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        self._read += len(lines) + len(newline)
        return list(filter(None, map(_event, lines.splitlines())))

    def conclude(self):
        """Files the ended attempt under its run and returns its record."""
        end_processes(self.folder)
        seconds = round(time.monotonic() - self._began, 1)
        kept = {**self._record, "seconds": seconds}
        reason = self._reason()
        confirmed = key.confirmed(self.run, self.project)
        if confirmed["key"] is None:
            # Nobody knows whether a trial ran the code of before or of after an edit.
            trials.forget(self.run)
        try:
            if reason is None:
                kept |= confirmed
                record.succeeded(self.run, self.output, kept)
                trials.forget(self.run)
                return {**kept, "status": "succeeded"}
            record.failed(self.run, self.output, kept, reason)
        except OSError as error:
            reason = f"the outputs could not be written: {error}"
        finally:
            self.output.unlink(missing_ok=True)
        return {**kept, "status": "failed", "reason": reason}

    def abandon(self):
        """Ends the worker, if not yet its kernel, and removes what it was writing."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.output.unlink(missing_ok=True)

    def _reason(self):
        code = self.process.returncode
        if code == 0:
            return None
        if code < 0:
            return f"the worker process was killed by signal {-code}"
        try:
            return (self.folder / "reason.txt").read_text(encoding="utf-8")
        except FileNotFoundError:
            log = (self.folder / forkserver.LOG).read_text(errors="replace").strip()
            last = log.splitlines()[-1] if log else "it said nothing"
            return f"the worker process ended with exit code {code}: {last}"


def environment(event_file, jobs):
    """The environment of a run's processes.

    Example:
        >>> environment("events.jsonl", jobs=processors())["LAMB_KERAS_THREADS"]
        '1'
    """
    variables = {
        "KERAS_BACKEND": "jax",
        # Runs at once and trials at once within a run share the same processors.
        "LAMB_KERAS_THREADS": str(max(1, processors() // jobs)),
        **compiled.variables(os.environ),
        **os.environ,
        events.VARIABLE: str(event_file),
    }
    if variables.get("LAMB_KERAS_DATA"):
        # Meant from here, not from the project's root, where the workers live.
        variables["LAMB_KERAS_DATA"] = os.path.abspath(variables["LAMB_KERAS_DATA"])
    return variables


def end_processes(folder):
    """Kills every process whose event file is in `folder`, wherever it has gone.

    A kernel lives in a session of its own, and when its worker is killed it belongs
    to nobody; its environment still tells whose it was.
    """
    import psutil

    # What is killed may have started another in the meantime, so look again; but not
    # for ever, for one that hangs in a system call goes only when that returns.
    for _ in range(5):
        found = [
            process
            for process in psutil.process_iter()
            if _event_file(process).startswith(f"{folder}{os.sep}")
        ]
        for process in found:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if not found:
            return
        psutil.wait_procs(found, timeout=1)


def _imports(runs):
    """What the notebooks of the runs import, each statement once."""
    notebooks = dict.fromkeys(run.notebook for run in runs)
    statements = [line for path in notebooks for line in notebook.imports(path)]
    return list(dict.fromkeys(statements))


def _event_file(process):
    import psutil

    try:
        return process.environ().get(events.VARIABLE, "")
    except (psutil.Error, OSError):
        return ""


def _event(line):
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    # Half a line, from a full disk: progress is not worth a batch.
    return event if isinstance(event, dict) and "event" in event else None


def _temporary_folder():
    parent = tempfile.gettempdir()
    if len(parent) > LONGEST_TEMPORARY_FOLDER:
        parent = "/tmp"
    return Path(tempfile.mkdtemp(prefix="lamb-", dir=parent))


def _make(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BatchError(f"{folder} cannot be made: {error.strerror}") from None


def _commit():
    from lamb_keras.results import environment

    return environment.commit()
