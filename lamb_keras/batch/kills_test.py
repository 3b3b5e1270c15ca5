"""Batches whose processes are killed at random moments, and started again until done.

A few kills in the suite; `pytest lamb_keras/batch/kills_test.py --kills 50` by hand.
"""

import json
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

from lamb_keras import events
from lamb_keras.batch import log
from lamb_keras.batch.tiny_project import make_project
from lamb_keras.results import runs

KILLS = 3
PARAMETERS = """
notebook = "{notebook}"
table = {table}
scale = "laptop"
dataset = "digits"
solvers = ["momentum", "lamb"]
learning_rates = [0.01, 0.02]
batch_size = 16
epochs = 1
seeds = [0, 1, 2, 3]
validation_fraction = 0.2
"""
TRAIN = """
import keras

from lamb_keras import data, training

def net(image_shape, classes, seed=None):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input(image_shape), keras.layers.Flatten(name="flat")]
    return keras.Sequential([*layers, keras.layers.Dense(classes, name="logits")])

images = data.split(data.load(dataset), validation_fraction)
sweep = training.sweep(training.Experiment.of(globals()), images, net)
assert sweep.late_compilations == 0
"""
GLUE = """
import hashlib
import json

from lamb_keras.results import scraps

scraps.glue("trials", sweep.trials)
curves = json.dumps(sweep.curves()).encode()
scraps.glue("curves", hashlib.sha256(curves).hexdigest())
scraps.glue("finished", True)
"""
TRIALS = 16
NOTEBOOKS = {"lenet_mnist": 7, "davidnet_cifar10": 6}
# The command line without the report, which has its own tests.
RUN = """
import sys
from lamb_keras import cli
from lamb_keras.results import report
report.render = lambda output, *_: output
sys.exit(cli.main(["run", "--jobs", "2", *sys.argv[1:]]))
"""
SECONDS_TO_VANISH = 15


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        cells = {
            name: [PARAMETERS.format(notebook=name, table=table), TRAIN, GLUE]
            for name, table in NOTEBOOKS.items()
        }
        project = make_project(tmp_path_factory.mktemp("p") / "p", patch, **cells)
        for path in (project.root / "params" / "tables").iterdir():
            path.write_text(path.read_text().replace("epochs: 2", "epochs: 200"))
        yield project


class Batch:
    """One folder of outputs, and the processes that fill it.

    Everything that it starts has its temporary folder in its environment.
    """

    def __init__(self, project, output, temporary):
        self.project, self.output, self.temporary = project, output, temporary
        self.environ = {
            **os.environ,
            "TMPDIR": str(temporary),
            "LAMB_KERAS_CACHE": str(project.root / "cache"),
        }
        self.folder = output / "laptop"
        self.runner = None

    def start(self):
        options = ["--project", str(self.project.root), "--output", str(self.output)]
        with open(self.output.with_suffix(".txt"), "a") as said:
            self.runner = subprocess.Popen(
                [sys.executable, "-c", RUN, *options],
                env=self.environ,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def processes(self):
        """By what they are: the runner, the server of forks, workers, kernels."""
        try:
            below = psutil.Process(self.runner.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            below = []
        found = {"runner": [self.runner.pid], "server": [], "worker": [], "kernel": []}
        depth = {self.runner.pid: 0}
        for process in below:
            try:
                depth[process.pid] = depth.get(process.ppid(), 3) + 1
            except psutil.NoSuchProcess:
                continue
            kinds = {1: "server", 2: "worker", 3: "kernel"}
            found[kinds.get(depth[process.pid], "kernel")].append(process.pid)
        return found

    def strays(self):
        """What is there of this batch's processes."""
        mark = f"{self.temporary}{os.sep}"
        return [p for p in psutil.process_iter() if _event_file(p).startswith(mark)]

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


def _event_file(process):
    try:
        return process.environ().get(events.VARIABLE, "")
    except (psutil.Error, OSError):
        return ""


def numbers(run):
    """What the run found, without what the moment decides."""
    trials = [dict(trial) for trial in run.scraps["trials"]]
    for trial in trials:
        del trial["seconds"], trial["compilations"]
    return json.dumps([trials, run.scraps["curves"]])


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
        assert batch.runner.wait() == 0
        seconds = time.monotonic() - began
        check(batch, {})
        found = {name: numbers(run) for name, run in batch.read().items()}
    assert len(found) == len(NOTEBOOKS)
    return found, seconds


@pytest.mark.slow
def test_killed_at_random_moments_a_batch_ends_as_if_nothing_had_been(
    project, undisturbed, request
):
    # Not known where Pytest was started for more than this folder.
    wanted = request.config.getoption("--kills", default=None) or KILLS
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
                for event in log.read(batch.folder)
                if event["event"] == "trial finished"
            ]
            assert len(told) == len(set(told)), "a trial finished twice"
            assert list(batch.temporary.iterdir()) == []
        left = {path.name for path in batch.folder.rglob("*") if path.is_file()}
        whole = {f"{name}.{end}" for name in NOTEBOOKS for end in ("ipynb", "json")}
        assert left == whole | {log.NAME}
    counts = {kind: killed.count(kind) for kind in sorted(set(killed))}
    print(f"{len(killed)} kills {counts}, {starts} starts, {number} batches")


def _until_done(batch, wanted, choose, seconds, killed):
    """Starts the batch until it is done; kills meanwhile; returns how many starts."""
    starts, kept, code = 0, {}, None
    while code != 0:
        assert starts < 100, batch.output.with_suffix(".txt").read_text()[-3000:]
        batch.start()
        starts += 1
        until = time.monotonic() + choose.uniform(0, seconds)
        while (code := batch.runner.poll()) is None:
            if len(killed) < wanted and time.monotonic() > until:
                _kill(batch, choose, killed)
                until = time.monotonic() + choose.uniform(0, seconds)
            time.sleep(0.02)
        kept = check(batch, kept)
    return starts


def _kill(batch, choose, killed):
    found = {kind: pids for kind, pids in batch.processes().items() if pids}
    # There is one server a batch, whose end is that of all workers.
    kinds = sorted(found) + [kind for kind in sorted(found) if kind != "server"] * 2
    kind = choose.choice(kinds)
    try:
        os.kill(choose.choice(found[kind]), signal.SIGKILL)
    except ProcessLookupError:
        return
    killed.append(kind)
    done = len(batch.kept())
    print(f"{len(killed)}: {kind}, {done} finished trials kept", flush=True)
