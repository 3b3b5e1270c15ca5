"""A real Dask cluster of two worker processes, one of which is killed at its work."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import distributed
import pytest

from lamb_keras import cli
from lamb_keras.batch import BatchError, cluster, status
from lamb_keras.results import runs
from testing.small_batch import (
    IMITATED,
    RUN,
    TRIALS,
    make_small_batch,
    numbers,
)
from testing.tiny_project import FINISH, PARAMETERS, is_running

TABLES = range(9, 15)


@pytest.fixture(scope="module")
def temporary():
    # Short, for sockets; and all processes of a run are found by it.
    with tempfile.TemporaryDirectory(prefix="d") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory, temporary):
    with pytest.MonkeyPatch.context() as patch:
        made = make_small_batch(
            tmp_path_factory.mktemp("p") / "p", patch, TABLES, IMITATED
        )
        # Before the cluster starts, whose workers have them from here.
        patch.setenv("TMPDIR", str(temporary))
        patch.setenv("LAMB_KERAS_CACHE", str(made.root / "cache"))
        yield made


@pytest.fixture(scope="module")
def dask(project):
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=str(project.root),
    ) as started:
        yield started


def begin(project, output, *options):
    command = [sys.executable, "-c", RUN, "--project", str(project.root)]
    return subprocess.Popen(
        [*command, "--output", str(output), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def undisturbed(project):
    """What the runs find on this machine alone."""
    process = begin(project, output := project.root / "local")
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    return {run.name: numbers(run) for run in runs.read(output / "laptop")}


def wait_until(condition, process, seconds=400):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)


def kept(folder):
    return list(folder.glob("laptop/table*/.*.trials/*/[!.]*.json"))


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_only_its_unfinished_trials(
    project, dask, undisturbed, temporary
):
    output = project.root / "distributed"
    process = begin(project, output, "--dask", dask.scheduler_address)
    wait_until(lambda: len(kept(output)) >= 3, process)
    [killed, _] = pids_of(dask)
    before = {path: path.stat().st_ino for path in kept(output)}
    os.kill(killed, 9)
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    found = runs.read(output / "laptop")
    assert {run.name: numbers(run) for run in found} == undisturbed
    told = status.read(output / "laptop")
    finished = [
        (event["run"], event["label"])
        for event in told
        if event["event"] == "trial finished"
    ]
    assert len(finished) == len(set(finished)), "a trial was trained twice"
    for name in undisturbed:
        of_run = [event for event in told if event.get("run") == name]
        # From the last start on, only what was not finished before.
        [*_, start_of_last] = [
            i for i, event in enumerate(of_run) if event["event"] == "trials planned"
        ]
        trained = [e for e in of_run[start_of_last:] if e["event"] == "trial finished"]
        assert len(trained) == TRIALS - of_run[start_of_last]["done"]
    ends = [event["run"] for event in told if event["event"] == "succeeded"]
    assert sorted(ends) == sorted(undisturbed), "an end was told twice, or never"
    # One run was given to another worker, and went on from what was there.
    starts = [event["run"] for event in told if event["event"] == "started"]
    assert len(starts) > len(set(starts)) == len(TABLES)
    assert len(before) >= 3
    assert all(event["host"] for event in told if event["event"] == "working")
    left = {path.name for path in (output / "laptop").rglob("*") if path.is_file()}
    assert left == {"resnet50_imagenet.ipynb", "resnet50_imagenet.json", status.NAME}
    workers = [event["pid"] for event in told if event["event"] == "working"]
    wait_until_gone(temporary, *workers)


def wait_until_gone(temporary, *pids):
    """Until nothing of a run is left: neither its processes nor its folder."""
    until = time.monotonic() + 20
    while any(map(is_running, pids)) or list(temporary.glob("lamb-*")):
        assert time.monotonic() < until, pids
        time.sleep(0.1)


def pids_of(dask):
    with distributed.Client(dask.scheduler_address) as client:
        return set(client.run(os.getpid).values())


BUSY = """
import os, time
open("pid.txt", "w").write(str(os.getpid()))
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 9])
def test_a_batch_that_ends_takes_along_what_its_workers_do(
    tiny, dask, temporary, number
):
    busy = tiny(lenet_mnist=[PARAMETERS, BUSY, FINISH])
    address, before = dask.scheduler_address, pids_of(dask)
    process = begin(busy, busy.root / "outputs", "--dask", address)
    pid = busy.root / "pid.txt"
    wait_until(lambda: pid.exists() and pid.read_text(), process)
    process.send_signal(number)
    process.communicate(timeout=60)
    wait_until_gone(temporary, pid.read_text())
    # The workers live on, for the other batches of the cluster.
    assert pids_of(dask) == before
    events = [event["event"] for event in status.read(busy.outputs)]
    assert ("ended" in events) == (number == 2)


def refused(capsys, *options):
    assert cli.main(["run", *options]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"lamb-keras: [^\n]+\n", said)
    return said


def test_a_scheduler_that_does_not_answer_is_one_sentence(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(cluster, "SECONDS_TO_CONNECT", 1)
    options = ["--tables", "7", "--output", str(tmp_path), "--dask"]
    said = refused(capsys, *options, "tcp://127.0.0.1:1")
    assert "no Dask scheduler answers at tcp://127.0.0.1:1 (" in said


def test_without_dask_the_extra_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    options = ["--tables", "7", "--output", str(tmp_path), "--dask"]
    assert "install lamb-keras[dask]" in refused(capsys, *options, "tcp://a:1")


def test_how_many_runs_at_once_is_for_the_cluster_to_say(capsys, tmp_path):
    options = ["--tables", "7", "--output", str(tmp_path), "--jobs", "2", "--dask"]
    assert "--jobs with --dask" in refused(capsys, *options, "tcp://a:1")


def test_a_worker_that_does_not_see_the_outputs_says_so(tiny, tmp_path):
    job = {"root": str(tmp_path), "notebook": "a.ipynb", "published": "b/a.ipynb"}
    with pytest.raises(BatchError, match="does not see .*a.ipynb; project"):
        cluster.execute_on_dask(job, "topic")
