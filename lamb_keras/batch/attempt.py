"""One attempt at one run, on whatever machine: a process, watched until its end.

Processes and never threads: threads change each other's working folder (papermill#473)
and a crash would take the batch along. On Linux the process is a fork of a server that
has imported everything already; elsewhere, and on a Dask worker, it is a new one.
"""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from lamb_keras.batch import compilation_cache, outcome, scheduling
from lamb_keras.batch.outcome import Outcome
from lamb_keras.batch.processes import Family
from lamb_keras.batch.status import parse
from lamb_keras.cpu import share
from lamb_keras.store import events
from lamb_keras.store.environment import RUNS_VARIABLE

SECONDS_BETWEEN_POLLS = 0.1
# A socket's path has at most 104 characters on macOS; ours adds 30 to the folder.
LONGEST_TEMPORARY_FOLDER = 70
PREFIX = "lamb-"
# In the folder of an attempt: what is to be done, what was said, and how it ended.
JOB, LOG, EVENTS, OUTCOME = "job.json", "log.txt", "events.jsonl", "outcome.json"
TRIALS_VARIABLE = "LAMB_KERAS_TRIALS"
WORKER = (sys.executable, "-m", "lamb_keras.batch.worker")


class Result(NamedTuple):
    """What came of an attempt."""

    outcome: Outcome
    notebook: Path | None  # as far as executed; it need not be there, nor whole
    started: str  # in ISO 8601
    seconds: float


class GivenUpError(Exception):
    """The batch does not want this attempt any more.

    No KeyboardInterrupt: that would end a Dask worker, which is not ours alone.
    """


def execute(job, start, variables, emit, wanted, parent=None, device=None):
    """Executes a run once and returns the `Result`; its processes have then ended.

    Args:
        job: what is to be done, as `executor` writes it: JSON and no more.
        start: `Fork` or `start_plainly`, which make the process.
        variables: of the `environment`.
        emit: called with each event of `store.events`.
        wanted: whether the result still is; if not, this raises `GivenUpError`.
        parent: the folder for things of the moment.
        device: the GPU to run on, or None.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    output = Path(job["root"], job["published"])
    output = output.with_name(
        f".{output.stem}.{folder.name.removeprefix(PREFIX)}.ipynb"
    )
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    variables = _variables(job, variables, folder, device)
    relative = os.path.relpath(output, job["root"])
    job = {**job, "output": relative, "watcher": os.getpid()}
    (folder / JOB).write_text(json.dumps({**job, "environment": variables}), "utf-8")
    about = {"run": job["run"], "attempt": job["number"], "gpu": device}
    emit({"event": "started", "time": time.time(), **about})
    memory, family, position, watched = outcome.Memory(), None, 0, began
    try:
        process = start(folder, job["root"], variables)
        family = Family(process.pid)
        while True:
            # Asked before the events are read, so that the last ones are.
            code = process.exitcode
            heard, position = _events(folder / EVENTS, position)
            for each in heard:
                emit({**each, "run": job["run"]})
            if code is not None:
                ended = memory.explain(_outcome(code, folder))
                break
            if job["seconds"] and time.monotonic() - began > job["seconds"]:
                ended = Outcome(outcome.TIMED_OUT)
                break
            if not wanted():
                raise GivenUpError
            memory.check()
            if time.monotonic() > watched + 1:
                watched = time.monotonic()
                family.watch()
            time.sleep(SECONDS_BETWEEN_POLLS)
        family.end()
    except BaseException:
        if family:
            family.end()
        clear(output)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(ended, output, started, time.monotonic() - began)


def clear(notebook):
    """Removes a notebook in progress, and what is left of a save of it."""
    for path in notebook.parent.glob(f"*{notebook.name}*") if notebook else ():
        path.unlink(missing_ok=True)


def environment(event_file, jobs):
    """The environment of a run's processes, where so many runs share the processors.

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
        **compilation_cache.variables(os.environ),
        **os.environ,
        # A fact of this batch, with which its minutes are to be read, and no wish.
        RUNS_VARIABLE: str(jobs),
        events.VARIABLE: str(event_file),
    }
    if variables.get("LAMB_KERAS_DATA"):
        # Meant from here, not from the project's root, where the workers live.
        variables["LAMB_KERAS_DATA"] = os.path.abspath(variables["LAMB_KERAS_DATA"])
    return variables


def temporary_folder():
    """Where a batch may make its temporary folder: a short path, for sockets."""
    parent = tempfile.gettempdir()
    return parent if len(parent) <= LONGEST_TEMPORARY_FOLDER else "/tmp"


def start_plainly(folder, root, variables):
    """Starts a worker as a new process, for the attempt whose folder is `folder`."""
    with open(folder / LOG, "wb") as log:
        return _Process(
            [*WORKER, str(folder)],
            cwd=root,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


class _Process(subprocess.Popen):
    @property
    def exitcode(self):
        return self.poll()


class Fork:
    """A worker that is a fork of what the batch's fork server has imported."""

    # To start one process, multiprocessing polls all others, and to poll is to read
    # from a pipe: of two threads that do so at once, one learns of no exit code.
    _LOCK = threading.Lock()

    def __init__(self, folder, root, variables):
        context = multiprocessing.get_context("forkserver")
        self._process = context.Process(target=_work, args=(str(folder),))
        with self._LOCK:
            self._process.start()
        self.pid = self._process.pid

    @property
    def exitcode(self):
        with self._LOCK:
            code = self._process.exitcode
        # So multiprocessing says that the server died, and nobody knows of its child.
        return -9 if code == 255 else code


def _work(folder):
    from lamb_keras.batch import worker

    sys.exit(worker.main(folder))


def _variables(job, variables, folder, device):
    """The variables of one attempt."""
    variables = {**variables, events.VARIABLE: str(folder / EVENTS)}
    variables.pop(TRIALS_VARIABLE, None)
    if job["trials"]:
        variables[TRIALS_VARIABLE] = job["trials"]
    if device is not None:
        variables[scheduling.CHOSEN] = device
    if job["halved"]:
        # On a processor they are in threads, on an accelerator in one program.
        variables["LAMB_KERAS_WIDTH_DIVISOR"] = "2"
        if (threads := variables["LAMB_KERAS_THREADS"]).isdecimal():
            variables["LAMB_KERAS_THREADS"] = str(max(1, int(threads) // 2))
    return variables


def _events(path, position):
    """The whole events in a file from a position on, and the position behind them."""
    try:
        with open(path, "rb") as file:
            file.seek(position)
            lines, newline, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return [], position
    found = [each for each in map(parse, lines.splitlines()) if each]
    return found, position + len(lines) + len(newline)


def _outcome(code, folder):
    if code == 0:
        return Outcome(outcome.SUCCEEDED)
    if code < 0:
        return outcome.of_process("the worker process", code)
    try:
        return Outcome(*json.loads((folder / OUTCOME).read_bytes()))
    except (OSError, ValueError, TypeError):
        log = (folder / LOG).read_text(errors="replace").strip()
        last = log.splitlines()[-1] if log else "it said nothing"
        reason = f"the worker process ended with exit code {code}: {last}"
        return Outcome(outcome.FAILED, reason)
