"""Executes planned runs on the workers of an existing Dask cluster.

A task is a run, and what a worker does with it is what `executor` does on one machine:
processes of its own, a second attempt, the record beside the notebook. The events come
back through the scheduler. If a worker dies, Dask gives its runs to others, which go on
from the trials that had finished: outputs and project lie in a folder that all of them
see under the same path.
"""

import contextlib
import io
import logging
import queue
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from lamb_keras import experiments
from lamb_keras.batch import BatchError, ends, executor, log
from lamb_keras.batch.plan import Project
from lamb_keras.batch.progress import Progress
from lamb_keras.batch.watchers import Watchers
from lamb_keras.store import record

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_CONNECT = 10
# Of an executor's own batch of one run, not of this one.
OF_A_BATCH = ("began", "planned", "ended", "heartbeat")
# How the run ended is noted here, once its record has come.
OF_A_RECORD = (
    ends.SUCCEEDED,
    ends.FAILED,
    ends.KILLED,
    ends.OUT_OF_MEMORY,
    ends.TIMED_OUT,
)


def execute(runs, project, address, progress=None, timeout=None, log=None):
    """Executes the runs and returns their records, in the order in which they ended.

    On Ctrl-C the workers end what they do for this batch and keep finished trials.

    Args:
        runs: the `PlannedRun`s.
        project: the `Project`.
        address: of the cluster's scheduler, "tcp://host:8786".
        progress: a `Progress`; by default one on standard error.
        timeout: seconds that a run may take on one worker; None for no limit.
        log: the `Log` of the scale, held by this process; None to keep none.

    Raises:
        BatchError: if Dask is not installed, or nobody answers at the address.
    """
    client = _connected(address)
    progress = progress or Progress(
        {run.name: experiments.trials(run.parameters) for run in runs}
    )
    watchers = Watchers(progress, log)
    watchers.begin("")
    topic, told, records = f"lamb-keras-{uuid.uuid4().hex}", queue.SimpleQueue(), []
    futures = {}
    try:
        client.subscribe_topic(topic, told.put)
        for run in runs:
            arguments = (run, str(project.root), timeout, topic)
            futures[client.submit(_execute, *arguments, pure=False)] = run
        while futures:
            ended = [future for future in futures if future.done()]
            # Looked at afterwards, so that what was told before the end is heard.
            _hear(told, watchers)
            for future in ended:
                records.append(_record(future, futures.pop(future)))
                watchers.ended(records[-1])
            watchers.look()
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        interrupted = bool(futures)
        with contextlib.suppress(Exception):
            # Their tasks look for that, and end what they have started.
            client.cancel(list(futures), force=True)
        client.close(timeout=SECONDS_TO_CONNECT)
        if not interrupted:
            # Of workers that died; others may still be ending what they do.
            executor.clear_unfinished(runs)
        watchers.close(interrupted)
    return records


def _connected(address):
    try:
        from distributed import Client
    except ImportError:
        raise BatchError(
            "--dask needs the package distributed; install lamb-keras[dask]"
        ) from None
    # What goes on is told by our own log, and what goes wrong by an exception.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BatchError(
            f"no Dask scheduler answers at {address} ({reason}); expected an address "
            "such as tcp://host:8786"
        ) from None


def _hear(told, watchers):
    while True:
        try:
            _, event = told.get_nowait()
        except queue.Empty:
            return
        watchers.told(event)


def _record(future, run):
    """The record of a run whose task has ended."""
    if future.status == "finished":
        return future.result()
    error = future.exception() if future.status == "error" else None
    if type(error).__name__ == "KilledWorker":
        how, reason = ends.KILLED, "each Dask worker that ran it died"
    elif isinstance(error, BatchError):
        how, reason = ends.FAILED, str(error)
    elif error is None:
        how, reason = ends.INTERRUPTED, "the Dask cluster went away or gave it up"
    else:
        how, reason = ends.FAILED, f"its Dask task ended with {error!r}"
    kept = record.blank(run) | {
        "ended": how,
        "attempts": [],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": 0.0,
    }
    with contextlib.suppress(OSError):
        record.failed(run, run.file("nothing"), kept, reason)
    return kept | {"status": "failed", "reason": reason}


def _execute(run, root, timeout, topic):
    """What a worker does: a batch of one run, told of through the scheduler."""
    from distributed import get_worker

    for path in (run.folder.parent / log.NAME, run.notebook):
        if not path.exists():
            raise BatchError(
                f"{log.host()} does not see {path}; project and outputs must be in a "
                "folder that all machines of the cluster share"
            )
    worker = get_worker()
    relay = _Relay(worker, worker.get_current_task(), topic)
    silent = Progress({run.name: 1}, io.StringIO())
    project = Project.find(Path(root))
    try:
        [kept] = executor.execute(
            [run], project, 1, silent, timeout, relay, sharing=_threads_here(worker)
        )
    except _GivenUpError:
        return None
    return kept


def _threads_here(worker):
    """How many tasks share this machine: those of all workers on it, not of one."""
    from distributed import get_client

    workers = get_client().scheduler_info(n_workers=-1)["workers"]
    host = workers[worker.address]["host"]
    return sum(each["nthreads"] for each in workers.values() if each["host"] == host)


class _GivenUpError(Exception):
    """The batch does not want this run any more.

    No KeyboardInterrupt: that would end the worker, which is not ours alone.
    """


class _Relay:
    """Stands for a `log.Log` on a worker: what is noted is told to the batch."""

    def __init__(self, worker, task, topic):
        self._worker, self._task, self._topic = worker, task, topic

    def begin(self, folder):
        pass

    def append(self, event, **fields):
        if event not in OF_A_BATCH + OF_A_RECORD:
            message = {"event": event, "time": round(time.time(), 3), **fields}
            self._worker.log_event(self._topic, message)

    def beat(self):
        """Called a few times a second; ends the run if the batch wants it no more."""
        task = self._worker.state.tasks.get(self._task)
        if task is None or task.state in ("cancelled", "forgotten", "released"):
            raise _GivenUpError
