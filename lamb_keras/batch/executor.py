"""Executes planned runs, several at once, here or on the workers of a Dask cluster.

What is to be done and what came of it is for this process to say, which reads the plan
and files the results; in between, `attempt.execute` may be called anywhere: in a thread
of this process, or as a task on a Dask worker. If one of those dies, Dask gives its
runs to others, which go on from the trials that had finished: project and outputs lie
in a folder that all of them see under the same path.
"""

import logging
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from lamb_keras import experiments
from lamb_keras.batch import (
    attempt,
    cache,
    outcome,
    processes,
    scheduling,
    status,
)
from lamb_keras.batch.attempt import SECONDS_BETWEEN_POLLS
from lamb_keras.batch.cluster import Cluster
from lamb_keras.batch.machine import Machine
from lamb_keras.batch.plan import PlannedRun
from lamb_keras.deadline import Deadline
from lamb_keras.store import record


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
    grace=0,
    pool=None,
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
        grace: seconds in which runs on this machine may save how they stand, where
            SIGTERM ends the batch.
        pool: where attempts are made; by default this machine, or Dask's cluster.
    """
    if pool is None:
        machine = jobs, runs, project, gpus_a_run, grace
        pool = Cluster(dask) if dask else Machine(*machine)
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

    def file(pending, result):
        filed = _file(pending, result, project)
        records.append(filed)
        done.append((pending.run, filed["seconds"]))
        fields = {name: filed[name] for name in ("run", "reason", "seconds")}
        shown.note(filed["ended"], **fields)
        if ended:
            ended(filed)

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
                    file(pending, result)
                shown.refresh()
                time.sleep(SECONDS_BETWEEN_POLLS)
            end = "ran out of time" if len(records) < len(runs) else "ended"
    finally:
        for future, pending in active.items():
            # In its grace a run may come to its end, and then keeps nothing else.
            if not dask and future.done() and future.exception() is None:
                result = future.result()
                if result.outcome.how == outcome.SUCCEEDED:
                    pending.add(result)
                    file(pending, result)
                    continue
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
