"""Batches whose processes are killed at random moments, and started again until done.

Many kills of a batch whose trials need no Keras, so that its many starts are cheap; a
few of one that really trains, with a solver and data that are brought. Others by hand:
`pytest lamb_keras/batch/kills_test.py --kills 500 --kill-seed 7`.
"""

import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from lamb_keras.batch import status
from lamb_keras.batch.attempt import PREFIX
from lamb_keras.results import runs
from testing.small_batch import (
    IMITATED,
    NOTEBOOK,
    REAL,
    RUN,
    TRIALS,
    make_small_batch,
    numbers,
)

# By what the notebooks do.
KILLS = {"imitated": 8, "real": 1}
CODE = {"imitated": IMITATED, "real": REAL}
TABLES = {"imitated": range(9, 15), "real": range(9, 11)}
SECONDS_TO_VANISH = 15
# Then it is left alone: where kills come faster than starts, it would never be done.
MOST_KILLS_OF_A_BATCH = 50


@pytest.fixture(scope="module", params=KILLS)
def project(tmp_path_factory, request):
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("p") / "p"
        made = make_small_batch(root, patch, TABLES[request.param], CODE[request.param])
        made.kills, made.tables = KILLS[request.param], TABLES[request.param]
        return made


class Batch:
    """One folder of outputs, and the processes that fill it."""

    def __init__(self, project, output, temporary):
        self.project, self.output, self.temporary = project, output, temporary
        self.environ = {
            **os.environ,
            "TMPDIR": str(temporary),
            "LAMB_KERAS_CACHE": str(project.root / "cache"),
        }
        self.folder = output / "laptop"
        self.runner, self.seen = None, set()

    def start(self):
        options = ["--project", str(self.project.root), "--output", str(self.output)]
        options += ["--jobs", "2"]
        with open(self.output.with_suffix(".txt"), "a") as said:
            self.runner = subprocess.Popen(
                [sys.executable, "-c", RUN, *options],
                env=self.environ,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def said(self):
        return self.output.with_suffix(".txt").read_text()[-3000:]

    def processes(self):
        """By what they are: the runner, its fork server, kernels."""
        found = {"runner": [self.runner.pid], "server": [], "kernel": []}
        try:
            below = psutil.Process(self.runner.pid).children(recursive=True)
            kinds = {self.runner.pid: "runner"}
            for process in below:
                parent = kinds.get(process.ppid(), "kernel")
                kind = "server" if parent == "runner" else "kernel"
                # Its other child is multiprocessing's tracker, which ends by itself.
                if kind == "server" and "resource_tracker" in str(process.cmdline()):
                    continue
                kinds[process.pid] = kind
                found[kind].append(process.pid)
        except psutil.NoSuchProcess:
            pass
        self.seen.update(pid for pids in found.values() for pid in pids)
        return found

    def strays(self):
        """What is there of this batch's processes, seen by us or told by its log."""
        told = [e["pid"] for e in status.read(self.folder) if e["event"] == "working"]
        leaders = self.seen | set(told)
        return [p for p in psutil.process_iter() if _session(p) in leaders]

    def read(self):
        return {run.name: run for run in runs.read(self.folder)}

    def kept(self):
        """The kept trials, each with what tells whether it was written anew."""
        found = {}
        for path in self.folder.glob("table*/.*.trials/*/[!.]*.json"):
            try:
                found[path] = (path.stat().st_ino, path.read_bytes())
            except FileNotFoundError:
                continue
        return found


def _session(process):
    try:
        zombie = process.status() == psutil.STATUS_ZOMBIE
        return None if zombie else os.getsid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None


def check(batch, kept_before):
    """What must hold whenever no runner lives; returns the kept trials."""
    until = time.monotonic() + SECONDS_TO_VANISH
    while strays := batch.strays():
        assert time.monotonic() < until, f"orphans: {strays}"
        time.sleep(0.1)
    for path in batch.folder.rglob("*"):
        if path.suffix in (".json", ".ipynb") and not path.name.startswith("."):
            json.loads(path.read_bytes())
    for run in batch.read().values():
        if run.succeeded:
            assert len(run.scraps["trials"]) == TRIALS
    kept = batch.kept()
    for path, was in kept_before.items():
        if path in kept:
            assert kept[path] == was, "a finished trial was trained again"
        else:
            name = f"{path.parents[2].name}/{path.parents[1].name.split('.')[1]}"
            assert batch.read()[name].succeeded, "finished trials were lost"
    return kept


@pytest.fixture(scope="module")
def undisturbed(project):
    with tempfile.TemporaryDirectory(prefix="k") as temporary:
        batch = Batch(project, project.root / "undisturbed", Path(temporary))
        began = time.monotonic()
        batch.start()
        assert batch.runner.wait() == 0, batch.said()
        seconds = time.monotonic() - began
        check(batch, {})
        found = {name: numbers(run) for name, run in batch.read().items()}
    assert len(found) == len(set(found.values())) == len(project.tables)
    return found, seconds


@pytest.mark.slow
def test_killed_at_random_moments_a_batch_ends_as_if_nothing_had_been(
    project, undisturbed, request
):
    # Not known where Pytest was started for more than this folder.
    wanted = request.config.getoption("--kills", default=None) or project.kills
    seed = request.config.getoption("--kill-seed", default=None) or 0
    choose, killed = random.Random(seed), []
    expected, seconds = undisturbed
    number = starts = 0
    while len(killed) < wanted:
        number += 1
        with tempfile.TemporaryDirectory(prefix="k") as temporary:
            output = project.root / f"killed{number}"
            batch = Batch(project, output, Path(temporary))
            starts += _until_done(batch, wanted, choose, seconds, killed)
            assert {n: numbers(r) for n, r in batch.read().items()} == expected
            told = [
                (event["run"], event["label"])
                for event in status.read(batch.folder)
                if event["event"] == "trial finished"
            ]
            assert len(told) == len(set(told)), "a trial finished twice"
            # Libraries may leave a file that they had just made when they were killed.
            assert not list(batch.temporary.glob(f"{PREFIX}*"))
        left = {path.name for path in batch.folder.rglob("*") if path.is_file()}
        assert left == {f"{NOTEBOOK}.ipynb", f"{NOTEBOOK}.json", status.NAME}
    counts = {kind: killed.count(kind) for kind in sorted(set(killed))}
    print(f"{len(killed)} kills {counts}, {starts} starts, {number} batches")


def _until_done(batch, wanted, choose, seconds, killed):
    """Starts the batch until it is done; kills meanwhile; returns how many starts."""
    # Half of what a run takes, so that a batch sees several kills.
    seconds = seconds / len(batch.project.tables) / 2
    starts, kept, code = 0, {}, None
    wanted = min(wanted, len(killed) + MOST_KILLS_OF_A_BATCH)
    while code != 0:
        assert starts < 100, batch.said()
        batch.start()
        starts += 1
        # Mostly the start goes by in peace, or there would be nothing but starts.
        until = 0 if choose.random() < 0.2 else math.inf
        while (code := batch.runner.poll()) is None:
            now = time.monotonic()
            if not until or (until == math.inf and batch.processes()["kernel"]):
                until = now + choose.uniform(0, seconds)
            if len(killed) < wanted and now > until:
                _kill(batch, choose, killed)
                until = now + choose.uniform(0, seconds)
            time.sleep(0.02)
        kept = check(batch, kept)
    return starts


def _kill(batch, choose, killed):
    found = {kind: pids for kind, pids in batch.processes().items() if pids}
    # The end of the runner, or of the server, is that of all others.
    kinds = [*sorted(found), *["kernel"] * (8 if "kernel" in found else 0)]
    kind = choose.choice(kinds)
    try:
        os.kill(choose.choice(found[kind]), signal.SIGKILL)
    except ProcessLookupError:
        return
    killed.append(kind)
    done = len(batch.kept())
    print(f"{len(killed)}: {kind}, {done} finished trials kept", flush=True)
