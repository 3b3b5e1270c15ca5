"""Executes planned runs, each in a process of its own, several at once.

Processes and never threads: threads change each other's working folder (papermill#473)
and a crash would take the batch along. What a run's processes share is the name of
its event file in their environment; by that name all of them are found, the kernel in
its own session included, when the run ends in any way at all.
"""

import json
import os
import secrets
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from lamb_keras import experiments
from lamb_keras.batch import (
    BatchError,
    compiled,
    devices,
    ends,
    forkserver,
    key,
    notebook,
    trials,
    turn,
)
from lamb_keras.batch.launch import Launcher
from lamb_keras.batch.progress import Progress
from lamb_keras.batch.watchers import Watchers
from lamb_keras.cpu import share
from lamb_keras.store import events, record
from lamb_keras.store.environment import RUNS_VARIABLE

SECONDS_BETWEEN_LOOKS = 0.1
# A socket's path has at most 104 characters on macOS; ours adds 30 to the folder.
LONGEST_TEMPORARY_FOLDER = 70
TEMPORARY_PREFIX = "lamb-"
# In the folder of an attempt: its `ends.End`, if the worker saw it.
END = "end.json"


def execute(
    runs,
    project,
    jobs=None,
    progress=None,
    timeout=None,
    log=None,
    sharing=None,
    ended=None,
):
    """Executes the runs and returns their records, in the order in which they ended.

    A run that fails leaves its notebook and its reason; the others go on. One whose
    kernel or worker died by no fault of its own has a second attempt, after the others.
    On Ctrl-C nothing of the runs in progress is left but their finished trials, neither
    files nor processes.

    Args:
        runs: the `PlannedRun`s.
        project: the `Project`, whose root is the working folder of every run.
        jobs: how many runs at once; by default what `devices.jobs` says.
        progress: a `Progress`; by default one on standard error.
        timeout: seconds that a run may take, its attempts together; None for no limit.
        log: the `Log` of the scale, held by this process; None to keep none.
        sharing: how many runs share this machine's processors; by default `jobs`.
        ended: called with the record of each run when it has ended.
    """
    gpus = devices.gpus(os.environ)
    jobs = min(jobs or devices.jobs(gpus), len(runs))
    progress = progress or Progress(
        {run.name: experiments.trials(run.parameters) for run in runs}
    )
    watchers = Watchers(progress, log)
    waiting, active, done, records = [(run, []) for run in runs], [], [], []
    folder = _temporary_folder()
    # Named in the log before it is there, so that whoever comes after a kill finds it.
    watchers.begin(folder)
    folder.mkdir(mode=0o700)
    sharing = sharing or jobs
    launcher = Launcher(
        folder, project.root, lambda file: environment(file, sharing), _imports(runs)
    )
    threads = environment("", sharing)["LAMB_KERAS_THREADS"]
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                place = turn.next_of(
                    [run for run, _ in waiting],
                    [attempt.run for attempt in active],
                    done,
                )
                run, before = waiting.pop(place)
                attempt = Attempt(run, folder, project, before, threads, timeout)
                used = [each.device for each in active]
                attempt.device = devices.least_used(gpus, used)
                active.append(attempt)
                attempt.start(launcher)
                watchers.started(attempt)
            for attempt in list(active):
                # Asked before the events are read, so that the last ones are.
                end = attempt.end()
                for event in attempt.events():
                    watchers.heard(attempt, event)
                if not end:
                    continue
                active.remove(attempt)
                if end.may_be_retried and attempt.number < ends.MOST_ATTEMPTS:
                    watchers.retried(attempt, end)
                    waiting.append((attempt.run, attempt.told(end)))
                    attempt.abandon()
                    continue
                records.append(attempt.conclude(end))
                done.append((attempt.run, records[-1]["seconds"]))
                watchers.ended(records[-1])
                if ended:
                    ended(records[-1])
            watchers.look()
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        launcher.close()
        # Reached with runs in progress only when interrupted, or by a mistake here.
        for attempt in active:
            attempt.abandon()
            watchers.interrupted(attempt)
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)
        watchers.close(interrupted=bool(waiting or active))
    return records


class Attempt:
    """One attempt at one run: its process and what that leaves behind.

    Args:
        run: the `PlannedRun`.
        folder: the batch's, in which this has its own.
        project: the `Project`.
        before: what `told` said of earlier attempts.
        threads: how many trials an attempt trains at once, as text.
        timeout: seconds that all attempts may take together, or None.
    """

    def __init__(self, run, folder, project, before=(), threads="", timeout=None):
        self.run, self.project, self._before = run, project, list(before)
        self.number = len(self._before) + 1
        self.process = self.device = None
        self._timeout = timeout
        root = project.root
        self.folder = Path(tempfile.mkdtemp(dir=folder, prefix=""))
        self._events = self.folder / forkserver.EVENTS
        self._read = 0
        _make(run.folder)
        self.output = run.folder / f".{run.notebook.stem}.{self.folder.name}.ipynb"
        self._record = record.blank(run)
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._began = time.monotonic()
        self._memory = ends.Memory()
        self._job = {
            # Papermill notes both paths in the notebook: no place for a machine's own.
            "notebook": os.path.relpath(run.notebook, root),
            "output": os.path.relpath(self.output, root),
            "published": os.path.relpath(run.file("ipynb"), root),
            "parameters": run.parameters,
            "folder": str(self.folder),
            "end": str(self.folder / END),
            "trials": trials.folder(run) and str(trials.folder(run)),
            # After a lack of memory half as many trials at a time: on a processor they
            # are in threads, on an accelerator in one program.
            "threads": self._threads(threads),
            "divisor": 2 if self._lacked_memory() else 1,
        }

    def start(self, launcher):
        """Starts the worker, on the GPU that is named by `device`, if there is one."""
        job = json.dumps({**self._job, "device": self.device})
        (self.folder / forkserver.JOB).write_text(job, encoding="utf-8")
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

    def end(self):
        """How it ended, with all its processes; None while it goes on."""
        self._memory.look()
        if self.process.poll() is not None:
            end_processes(self.folder)
            return self._memory.explain(self._end())
        before = sum(each["seconds"] for each in self._before)
        if self._timeout and before + self._seconds() > self._timeout:
            self.process.kill()
            end_processes(self.folder)
            reason = f"it took longer than --timeout allows, {self._timeout:g} s"
            return ends.End(ends.TIMED_OUT, reason)
        return None

    def told(self, end):
        """What the record says of this attempt and those before it, one each."""
        told = {"started": self._started, "seconds": round(self._seconds(), 1)}
        return [*self._before, {**told, "ended": end.how, "reason": end.reason}]

    def conclude(self, end):
        """Files the ended attempt under its run and returns its record."""
        attempts, reason = self.told(end), end.reason
        kept = {
            **self._record,
            "ended": end.how,
            "attempts": attempts,
            "started": attempts[0]["started"],
            "seconds": round(sum(each["seconds"] for each in attempts), 1),
        }
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
            kept["ended"] = ends.FAILED
        finally:
            self._clear()
        return {**kept, "status": "failed", "reason": reason}

    def abandon(self):
        """Ends the worker, if not yet its kernel, and removes what it was writing."""
        if self.process:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
        self._clear()

    def _clear(self):
        """Removes the notebook in progress, and what is left of a save of it."""
        for path in self.run.folder.glob(f"{self.output.name}*"):
            path.unlink(missing_ok=True)

    def _seconds(self):
        return time.monotonic() - self._began

    def _threads(self, threads):
        """What this attempt has instead of `threads`, or None."""
        if not self._lacked_memory():
            return None
        return max(1, int(threads) // 2) if threads.isdecimal() else None

    def _lacked_memory(self):
        return bool(self._before) and self._before[-1]["ended"] == ends.OUT_OF_MEMORY

    def _end(self):
        code = self.process.returncode
        if code == 0:
            return ends.End(ends.SUCCEEDED)
        if code < 0:
            return ends.of_process("the worker process", code)
        try:
            return ends.End(*json.loads((self.folder / END).read_bytes()))
        except (OSError, ValueError, TypeError):
            log = (self.folder / forkserver.LOG).read_text(errors="replace").strip()
            last = log.splitlines()[-1] if log else "it said nothing"
            reason = f"the worker process ended with exit code {code}: {last}"
            return ends.End(ends.FAILED, reason)


def environment(event_file, jobs):
    """The environment of a run's processes.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, clear=True):
        ...     variables = environment("events.jsonl", jobs=os.cpu_count())
        >>> variables["LAMB_KERAS_THREADS"], variables["NPROC"]
        ('1', '1')
    """
    processors = str(share(jobs))
    variables = {
        "KERAS_BACKEND": "jax",
        # Runs at once and trials at once within a run share the same processors.
        "LAMB_KERAS_THREADS": processors,
        # How many threads XLA computes with. It takes one for each processor of the
        # machine, in each run: they then wait for each other half of the time.
        "NPROC": processors,
        **compiled.variables(os.environ),
        **os.environ,
        # A fact of this batch, with which its minutes are to be read, and no wish.
        RUNS_VARIABLE: str(jobs),
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


def clear_after_a_kill(log, runs):
    """Removes what a batch that was killed could not; nobody else is at work here.

    Args:
        log: the `Log` of the scale, held by this process.
        runs: the `PlannedRun`s beside whose outputs half-written files may lie.
    """
    left = log.left_behind()
    if left and Path(left).name.startswith(TEMPORARY_PREFIX):
        end_processes(left)
        shutil.rmtree(left, ignore_errors=True)
    clear_unfinished(runs)


def clear_unfinished(runs):
    """Removes what was being written for these runs; nobody may be at it any more."""
    for run in runs:
        # Notebooks and records that were being written.
        for path in run.folder.glob(f".{run.notebook.stem}.*"):
            if path.is_file():
                path.unlink(missing_ok=True)


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
    return Path(parent) / f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}"


def _make(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BatchError(f"{folder} cannot be made: {error.strerror}") from None
