"""Attempts at runs on the workers of a Dask cluster."""

import contextlib
import logging
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

from lamb_keras.batch import BatchError, attempt, outcome, scheduling, status
from lamb_keras.batch.attempt import environment
from lamb_keras.batch.machine import Pool
from lamb_keras.batch.outcome import Outcome
from lamb_keras.store import temporary

SECONDS_TO_CONNECT = 10


class Cluster(Pool):
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
        future = self._client.submit(execute_on_dask, job, self._topic, pure=False)
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


def execute_on_dask(job, topic):
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
