"""One attempt at one run, on whatever machine, watched until its end.

Papermill executes the notebook in the thread that asks for it; the kernel is a process.
Whether the notebook truly finished is then read from the cells and scraps it left,
since Papermill marks a killed kernel's cells as completed.
"""

import json
import os
import shutil
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from lamb_keras.batch import compilation_cache, kernel, outcome, processes, scheduling
from lamb_keras.batch.outcome import Outcome
from lamb_keras.batch.status import host, parse
from lamb_keras.cpu import share
from lamb_keras.deadline import VARIABLE as DEADLINE
from lamb_keras.hosts import SECONDS_TO_MEET, UNEQUAL
from lamb_keras.hosts import VARIABLE as HOSTS
from lamb_keras.store import atomic, events, scraps
from lamb_keras.store.environment import RUNS_VARIABLE
from lamb_keras.store.quick import import_nbformat

SECONDS_BETWEEN_POLLS = 0.1
PREFIX = "lamb-"
TRIALS_VARIABLE = "LAMB_KERAS_TRIALS"
# In the folder of an attempt: what its notebook says.
EVENTS = "events.jsonl"
LONGEST_REASON = 300
# Of a kernel; of several, as long as hosts may take to meet, and more.
SECONDS_TO_START = 60, 2 * SECONDS_TO_MEET


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


def execute(
    job,
    variables,
    emit,
    wanted,
    parent=None,
    device=None,
    forked=False,
    over=lambda ended: ended,
):
    """Executes a run once and returns the `Result`; its processes have then ended.

    Args:
        job: what is to be done, as `executor` writes it: JSON and no more.
        variables: of the `environment`.
        emit: called with each event of `store.events`.
        wanted: whether the result still is; if not, this raises `GivenUpError`.
        parent: the folder for things of the moment.
        device: the GPU to run on, or None.
        forked: whether the kernel is a fork of this process's `kernel.fork_server`.
        over: where other hosts train the same, a function of the `Outcome` here, None
            as long as there is none, to whether the kernel, which they need, may end.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    published = Path(job["root"], job["published"])
    output = published.with_name(
        f".{published.stem}.{folder.name.removeprefix(PREFIX)}.ipynb"
    )
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    about = {"run": job["run"], "attempt": job["number"], "gpu": device}
    emit({"event": "started", "time": time.time(), **about})
    variables = _variables(job, variables, folder, device)
    job = {**job, "start": SECONDS_TO_START[HOSTS in variables]}
    watch = _Watch(job, folder, emit, wanted, over)
    try:
        with watch:
            manager = kernel.manager_class(
                folder, job["root"], variables, forked, watch.working
            )
            ended = _execute(job, output, folder, manager)
            while not (over(ended) or watch.given_up or watch.timed_out):
                time.sleep(SECONDS_BETWEEN_POLLS)
        if watch.given_up:
            raise GivenUpError
        if watch.followed and not ended.is_well:
            ended = Outcome(outcome.INTERRUPTED)
    except BaseException:
        clear(output)
        raise
    finally:
        # Whatever the notebook started, too.
        processes.end(folder, watch.pid)
        shutil.rmtree(folder, ignore_errors=True)
    if watch.timed_out:
        ended = Outcome(outcome.TIMED_OUT)
    return Result(ended, output, started, time.monotonic() - began)


def clear(notebook):
    """Removes a notebook in progress, and what is left of a save of it."""
    for path in notebook.parent.glob(f"*{notebook.name}*") if notebook else ():
        path.unlink(missing_ok=True)


def environment(jobs):
    """The environment of a run's kernel, where so many runs share the processors.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, clear=True):
        ...     variables = environment(jobs=os.cpu_count())
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
    }
    if variables.get("LAMB_KERAS_DATA"):
        # Meant from here, not from the project's root, where kernels work.
        variables["LAMB_KERAS_DATA"] = os.path.abspath(variables["LAMB_KERAS_DATA"])
    return variables


def unfinished(path):
    """The `Outcome` of an executed notebook that is no finished run's, or None."""
    cells = json.loads(path.read_bytes())["cells"]
    for number, cell in enumerate(cells, start=1):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return outcome.of_error(output["ename"], output["evalue"])
        blank = not "".join(cell["source"]).strip()
        if cell["cell_type"] == "code" and not blank and not cell["execution_count"]:
            return Outcome(outcome.FAILED, f"cell {number} was never executed")
    if scraps.read(path).get("finished") is not True:
        reason = 'the notebook ended without gluing the scrap "finished"'
        return Outcome(outcome.FAILED, reason)
    return None


class _Watch:
    """A thread that hears what a run says, and ends it when its time is over.

    Attributes:
        pid: of the kernel, None before there is one.
        timed_out, given_up, followed: whether it was ended, and why: the last, because
            it is over on another host.
    """

    def __init__(self, job, folder, emit, wanted, over):
        self.pid, self._run, self._folder = None, job["run"], folder
        self.timed_out = self.given_up = self.followed = False
        self._emit, self._wanted, self._over_elsewhere = emit, wanted, over
        self._until = time.monotonic() + (job["seconds"] or float("inf"))
        self._position, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._over.set()
        self._thread.join()
        self._hear()

    def working(self, pid):
        """The kernel has this process id."""
        self.pid = pid
        event = {"event": "working", "time": time.time(), "host": host(), "pid": pid}
        self._emit({**event, "run": self._run})

    def _watch(self):
        while not self._over.wait(SECONDS_BETWEEN_POLLS):
            self._hear()
            self.timed_out = self.timed_out or time.monotonic() > self._until
            self.given_up = self.given_up or not self._wanted()
            if self._over_elsewhere(None):
                # A kernel that has died, with which the others ended, says why itself.
                died = self.pid is not None and not processes.lives(self.pid)
                self.followed = self.followed or not died
            if self.timed_out or self.given_up or self.followed:
                processes.end(self._folder, self.pid)

    def _hear(self):
        try:
            with open(self._folder / EVENTS, "rb") as file:
                file.seek(self._position)
                # What follows the last end of a line is still being written.
                lines, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self._position += len(lines) + len(newline)
        for event in filter(None, map(parse, lines.splitlines())):
            self._emit({**event, "run": self._run})


def _execute(job, output, folder, manager):
    """Executes a job's notebook; returns the `Outcome`."""
    import_nbformat()
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from lamb_keras.batch.papermill import KernelDied, sockets

    try:
        papermill.execute_notebook(
            _literally(Path(job["root"], job["notebook"])),
            _literally(output),
            job["parameters"],
            engine_name="lamb-keras",
            kernel_name="python3",
            language="python",
            progress_bar=False,
            config=sockets(folder),
            kernel_manager_class=manager,
            start_timeout=job["start"],
        )
        ended = None
    except PapermillExecutionError as error:
        ended = outcome.of_error(error.ename, error.evalue)
    except KernelDied as error:
        ended = error.outcome
        log = folder / kernel.LOG
        if error.code is None and log.exists():
            # It never came so far as to speak for itself.
            *_, last = ["", *log.read_text(errors="replace").strip().splitlines()]
            ended = ended._replace(reason=f"{ended.reason}: {last}".rstrip(": "))
            if last.endswith(UNEQUAL):
                ended = Outcome(outcome.FAILED, last)
    except OSError as error:
        # Of Papermill: those of the notebook are a `PapermillExecutionError`.
        ended = _unwritten(error)
    except Exception as error:
        ended = outcome.of_error(type(error).__name__, str(error))
    try:
        ended = ended or unfinished(output) or Outcome(outcome.SUCCEEDED)
        _publish(output, job)
    except OSError as error:
        if ended.how == outcome.SUCCEEDED:
            ended = _unwritten(error)
    reason = ended.reason and outcome.one_line(ended.reason, LONGEST_REASON)
    return ended._replace(reason=reason)


def _unwritten(error):
    reason = f"the outputs could not be written: {error.strerror or error}"
    return Outcome(outcome.FAILED, reason)


def _publish(path, job):
    """Makes the notebook name itself by the paths that people find it under."""
    try:
        notebook = json.loads(path.read_bytes())
        noted = notebook["metadata"]["papermill"]
    except (FileNotFoundError, ValueError, LookupError):
        return
    noted |= {"input_path": job["notebook"], "output_path": job["published"]}
    text = json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False)
    atomic.write(path, text + "\n")


def _literally(path):
    # Papermill formats paths; a brace in the name of a folder is no field.
    return str(path).replace("{", "{{").replace("}", "}}")


def _variables(job, variables, folder, device):
    """The variables of one attempt."""
    variables = {**variables, events.VARIABLE: str(folder / EVENTS)}
    variables.pop(TRIALS_VARIABLE, None)
    variables[DEADLINE] = job["deadline"]
    if job["trials"]:
        variables[TRIALS_VARIABLE] = job["trials"]
    if device is not None:
        variables[scheduling.CHOSEN] = device
    if job["number"] > 1:
        # It may have been too large: on a processor trials at once are in threads, on
        # an accelerator in one program.
        variables["LAMB_KERAS_WIDTH_DIVISOR"] = "2"
        if (threads := variables["LAMB_KERAS_THREADS"]).isdecimal():
            variables["LAMB_KERAS_THREADS"] = str(max(1, int(threads) // 2))
    return variables
