"""Executes planned runs, several at once, here or on the workers of a Dask cluster.

What is to be done and what came of it is for this process to say, which reads the plan
and files the results; in between, `attempt.execute` may be called anywhere: in a thread
of this process, or as a task on a Dask worker. If one of those dies, Dask gives its
runs to others, which go on from the trials that had finished: project and outputs lie
in a folder that all of them see under the same path.
"""

import contextlib
import logging
import os
import queue
import secrets
import shutil
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from sys import platform

from lamb_keras import experiments
from lamb_keras.batch import (
    BatchError,
    attempt,
    cache,
    kernel,
    notebook,
    outcome,
    processes,
    scheduling,
    status,
)
from lamb_keras.batch.attempt import environment
from lamb_keras.batch.outcome import Outcome
from lamb_keras.batch.plan import PlannedRun
from lamb_keras.deadline import Deadline
from lamb_keras.store import record, temporary

SECONDS_BETWEEN_POLLS = 0.1
SECONDS_TO_CONNECT = 10
# On macOS what Apple's libraries have started by then does not survive a fork.
FORKS = platform == "linux"


def execute(
    runs,
    project,
    log,
    jobs=None,
    dask=None,
    timeout=None,
    stream=None,
    ended=None,
    deadline=None,
    gpus_a_run=1,
):
    """Executes the runs and returns their records, in the order in which they ended.

    A run that fails leaves its notebook and its reason; the others go on. One whose
    kernel or worker died by no fault of its own has a second attempt, after the others.
    On Ctrl-C, and beyond the deadline, nothing of the runs in progress is left but
    their finished trials: neither files nor processes, nor a record.

    Args:
        runs: the `PlannedRun`s.
        project: the `Project`, whose root is the working folder of every run.
        log: the `status.Log` of the scale, held by this process.
        jobs: how many runs at once; by default what `scheduling.default_jobs` says.
        dask: the address of a Dask scheduler, whose workers are to execute the runs.
        timeout: seconds that a run may take, its attempts together; None for no limit.
        stream: where progress is shown, standard error by default.
        ended: called with the record of each run when it has ended.
        deadline: the `Deadline` of all trainings; None for no limit.
        gpus_a_run: how many each run has of this machine's.
    """
    pool = _Cluster(dask) if dask else _Machine(jobs, runs, project, gpus_a_run)
    deadline = deadline or Deadline()
    # What goes wrong is an exception, and told below in a sentence.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    trials = {run.name: experiments.count_trials(run.parameters) for run in runs}
    before = scheduling.seconds_before(runs, log.folder / "runs.jsonl")
    shown = status.Status(trials, log, before, stream)
    # Named in the log before it is there, so that whoever comes after a kill finds it.
    shown.begin(pool.folder)
    waiting, active = [_Pending(run, timeout, deadline) for run in runs], {}
    done, records, end = [], [], "was interrupted"
    try:
        with pool:
            while (waiting or active) and not deadline.is_over:
                while waiting and len(active) < pool.slots:
                    place = scheduling.next_run(
                        [each.run for each in waiting],
                        [each.run for each in active.values()],
                        done,
                        before,
                        deadline,
                    )
                    if place is None:
                        break
                    pending = waiting.pop(place)
                    pending.run.folder.mkdir(parents=True, exist_ok=True)
                    active[pool.submit(pending.job(project))] = pending
                if not active:
                    break  # what is left would not end in time
                over = [future for future in active if future.done()]
                # Read afterwards, so that what was said before the end is heard.
                for event in pool.events():
                    shown.note(**event)
                for future in over:
                    pending = active.pop(future)
                    result = pool.result(future)
                    pending.add(result)
                    if pending.may_be_retried:
                        how, reason = result.outcome
                        fields = {"run": pending.run.name, "how": how, "reason": reason}
                        shown.note("retried", **fields)
                        attempt.clear(result.notebook)
                        waiting.append(pending)
                        continue
                    if result.outcome.how == outcome.LEFT:
                        shown.note(outcome.LEFT, run=pending.run.name)
                        attempt.clear(result.notebook)
                        continue
                    filed = _file(pending, result, project)
                    records.append(filed)
                    done.append((pending.run, filed["seconds"]))
                    fields = {
                        name: filed[name] for name in ("run", "reason", "seconds")
                    }
                    shown.note(filed["ended"], **fields)
                    if ended:
                        ended(filed)
                shown.refresh()
                time.sleep(SECONDS_BETWEEN_POLLS)
            end = "ran out of time" if len(records) < len(runs) else "ended"
    finally:
        for pending in active.values():
            shown.note(outcome.INTERRUPTED, run=pending.run.name)
        if not (dask and active):
            # Dask's workers may still be ending what they do.
            _clear_unfinished(runs)
        shown.close(end)
    return records


def clear_after_a_kill(log, runs):
    """Removes what a batch that was killed could not; nobody else is at work here.

    Args:
        log: the `Log` of the scale, held by this process.
        runs: the `PlannedRun`s beside whose outputs half-written files may lie.
    """
    events = status.last_batch(log.folder)
    if events and events[-1]["event"] != "ended" and events[0]["host"] == status.host():
        left = Path(events[0]["folder"])
        if left.name.startswith(attempt.PREFIX):
            # First whoever may be writing there.
            processes.end(left)
            shutil.rmtree(left, ignore_errors=True)
    _clear_unfinished(runs)


@dataclass
class _Pending:
    """A run that is not over, and what came of it so far, an attempt each."""

    run: PlannedRun
    timeout: float | None
    deadline: Deadline
    attempts: list = field(default_factory=list)

    def job(self, project):
        """What `attempt.execute` is to do, "seconds" the time left for it."""
        run, spent = self.run, sum(each["seconds"] for each in self.attempts)
        folder = run.trials_folder
        return {
            "run": run.name,
            "number": len(self.attempts) + 1,
            "root": str(project.root),
            # Papermill notes both paths in the notebook: no place for a machine's own.
            "notebook": os.path.relpath(run.notebook, project.root),
            "published": os.path.relpath(run.file("ipynb"), project.root),
            "parameters": run.parameters,
            "trials": folder and str(folder),
            "seconds": self.timeout and self.timeout - spent,
            "deadline": self.deadline.text,
        }

    def add(self, result):
        how, reason = result.outcome
        if how == outcome.TIMED_OUT:
            reason = f"it took longer than --timeout allows, {self.timeout:g} s"
        entry = {"started": result.started, "seconds": round(result.seconds, 1)}
        self.attempts.append({**entry, "ended": how, "reason": reason})
        self.may_be_retried = (
            result.outcome.may_be_retried and len(self.attempts) < outcome.MOST_ATTEMPTS
        )


def _file(pending, result, project):
    """Files what came of a run beside its outputs; returns the record."""
    run, last = pending.run, pending.attempts[-1]
    reason = last["reason"]
    filed = record.blank(run) | {
        "ended": last["ended"],
        "attempts": pending.attempts,
        "started": pending.attempts[0]["started"],
        "seconds": round(sum(each["seconds"] for each in pending.attempts), 1),
    }
    confirmed = cache.confirmed(run, project)
    if confirmed["key"] is None:
        # Nobody knows whether a trial ran the code of before or of after an edit.
        run.forget_trials()
    try:
        if reason is None:
            filed |= confirmed
            record.succeeded(run, result.notebook, filed)
            run.forget_trials()
            return {**filed, "status": "succeeded"}
        record.failed(run, result.notebook or run.file("none"), filed, reason)
    except OSError as error:
        reason = f"the outputs could not be written: {error}"
        filed["ended"] = outcome.FAILED
    finally:
        attempt.clear(result.notebook)
    return {**filed, "status": "failed", "reason": reason}


def _clear_unfinished(runs):
    """Removes notebooks and records that were being written for these runs."""
    for run in runs:
        for path in run.folder.glob(f".{run.notebook.stem}.*"):
            if path.is_file():
                path.unlink(missing_ok=True)


class _Pool:
    """Where attempts are made: jobs go in, events and results come out."""

    def __init__(self):
        self._events = queue.SimpleQueue()

    def events(self):
        """What happened since the last call."""
        while not self._events.empty():
            yield self._events.get_nowait()

    def result(self, future):
        """The `Result` of a job that is done, in whatever way."""
        return future.result()


class _Machine(_Pool):
    """Threads of this process, each of which watches the process of an attempt."""

    def __init__(self, jobs, runs, project, gpus_a_run):
        super().__init__()
        self._root = project.root
        self._leases = scheduling.leases(os.environ, gpus_a_run)
        self.slots = min(jobs or scheduling.default_jobs(self._leases), len(runs))
        name = f"{attempt.PREFIX}{secrets.token_hex(4)}"
        self.folder = Path(temporary.folder(), name)
        self._variables = environment(self.slots)
        self._threads = ThreadPoolExecutor(self.slots)
        self._devices, self._stopped = {}, threading.Event()
        notebooks = dict.fromkeys(run.notebook for run in runs)
        self._imports = [line for path in notebooks for line in notebook.imports(path)]
        self._server = contextlib.ExitStack()

    def __enter__(self):
        self.folder.mkdir(mode=0o700)
        if FORKS:
            imports = dict.fromkeys(self._imports)
            self._server.enter_context(
                kernel.fork_server(self.folder, self._root, self._variables, imports)
            )
        return self

    def __exit__(self, *exception):
        self._stopped.set()
        if exception[0] and FORKS:
            kernel.end_fork_server()  # or a thread might wait for all its imports
        self._threads.shutdown()
        self._server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def submit(self, job):
        used = [self._devices[each] for each in self._devices if not each.done()]
        device = min(self._leases, key=used.count, default=None)
        future = self._threads.submit(
            attempt.execute,
            job,
            self._variables,
            emit=self._events.put,
            wanted=lambda: not self._stopped.is_set(),
            parent=self.folder,
            device=device,
            forked=FORKS,
        )
        self._devices[future] = device
        return future


class _Cluster(_Pool):
    """The workers of a Dask cluster, which say how many runs there are at once."""

    folder = ""

    def __init__(self, address):
        super().__init__()
        self.slots = float("inf")
        self._client, self._futures = _connected(address), []
        self._topic = f"lamb-keras-{uuid.uuid4().hex}"

    def __enter__(self):
        put = self._events.put
        self._client.subscribe_topic(self._topic, lambda sent: put(sent[1]))
        return self

    def __exit__(self, *exception):
        with contextlib.suppress(Exception):
            # Their tasks look for that, and end what they have started.
            self._client.cancel(self._futures, force=True)
        self._client.close(timeout=SECONDS_TO_CONNECT)

    def submit(self, job):
        future = self._client.submit(_execute_on_dask, job, self._topic, pure=False)
        self._futures.append(future)
        return future

    def result(self, future):
        if future.status == "finished":
            return future.result()
        how, error = outcome.FAILED, "the Dask cluster went away or gave it up"
        if future.status == "error":
            error = future.exception()
            if type(error).__name__ == "KilledWorker":
                how, error = outcome.KILLED, "each Dask worker that ran it died"
            elif not isinstance(error, BatchError):
                error = f"its Dask task ended with {error!r}"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return attempt.Result(Outcome(how, str(error)), None, now, 0.0)


def _connected(address):
    try:
        from distributed import Client
    except ImportError:
        raise BatchError(
            "--dask needs the package distributed; install lamb-keras[dask]"
        ) from None
    # What goes on is in our own log, and what goes wrong is an exception.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BatchError(
            f"no Dask scheduler answers at {address} ({reason}); expected an address "
            "such as tcp://host:8786"
        ) from None


def _execute_on_dask(job, topic):
    """What a Dask worker does: an attempt, whose events go through the scheduler."""
    from distributed import get_client, get_worker

    root = Path(job["root"])
    for path in (root / job["notebook"], (root / job["published"]).parent):
        if not path.exists():
            raise BatchError(
                f"{status.host()} does not see {path}; project and outputs must be in "
                "a folder that all machines of the cluster share"
            )
    worker = get_worker()
    task = worker.get_current_task()
    # How many tasks share this machine: those of all workers on it, not of one.
    workers = get_client().scheduler_info(n_workers=-1)["workers"]
    host = workers[worker.address]["host"]
    sharing = sum(w["nthreads"] for w in workers.values() if w["host"] == host)

    def wanted():
        state = worker.state.tasks.get(task)
        return state and state.state not in ("cancelled", "forgotten", "released")

    try:
        return attempt.execute(
            job,
            environment(sharing),
            emit=lambda event: worker.log_event(topic, event),
            wanted=wanted,
            parent=temporary.folder(),
            device=next(iter(scheduling.leases(os.environ)), None),
        )
    except attempt.GivenUpError:
        return None
