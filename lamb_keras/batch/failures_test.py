"""Batches that meet with what may go wrong, and in what state and words their runs end.

All runs of the first fixture are of one real batch, in which no file may grow above a
megabyte, so that one of them finds what a full disk looks like.
"""

import contextlib
import io
import json
import os
import resource
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from lamb_keras import cli
from lamb_keras.batch import status
from lamb_keras.results import report, runs
from testing.tiny_project import FINISH, PARAMETERS, is_running, make_project

MEGABYTE = 2**20
SECONDS = 25
NOTEBOOKS = {
    "good": [PARAMETERS, FINISH],
    # It answers to nothing, not even to SIGTERM.
    "hangs": [
        PARAMETERS,
        """
        import os, signal
        open('pid.txt', 'w').write(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
        """,
        FINISH,
    ],
    "hungry": [
        PARAMETERS,
        "import os\nthreads = int(os.environ['LAMB_KERAS_THREADS'])",
        "if threads > 2: bytearray(10**17)",
        "assert os.environ['LAMB_KERAS_WIDTH_DIVISOR'] == '2'",
        FINISH,
    ],
    "insatiable": [PARAMETERS, "bytearray(10**17)", FINISH],
    "chatty": [
        PARAMETERS,
        """
        for update in range(100_000):
            print(f'step {update}', end='\\r')
        for line in range(3_000):
            print(f'line {line}', flush=True)
        """,
        FINISH,
    ],
    "syntax": [PARAMETERS, "def (", FINISH],
    "full": [PARAMETERS, "print('x' * 2_000_000)", FINISH],
}


def run(root, *options):
    """Runs a batch to its end, its report aside; its exit code and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="f") as temporary,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(report, "render", lambda output, *_: output)
        patch.setattr(tempfile, "tempdir", temporary)
        patch.setenv("LAMB_KERAS_THREADS", "4")
        code = cli.main(["run", "--project", str(root), *options])
        assert list(Path(temporary).glob("lamb-*")) == []
    assert "Traceback" not in err.getvalue()
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


@contextlib.contextmanager
def no_file_above(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    root = tmp_path_factory.mktemp("p") / "project"
    with pytest.MonkeyPatch.context() as patch:
        project = make_project(root, patch, **NOTEBOOKS)
        with no_file_above(MEGABYTE):
            said = run(root, "--timeout", str(SECONDS))
        yield SimpleNamespace(
            root=root,
            outputs=project.outputs,
            said=said,
            runs={run.notebook: run for run in runs.read(project.outputs)},
            events=status.read(project.outputs),
        )


def ended(batch, name):
    """The record of a run, after checking that everybody tells the same of it."""
    run = batch.runs[name]
    record = json.loads(run.path.with_suffix(".json").read_bytes())
    told = [event for event in batch.events if event.get("run") == run.name]
    assert told[-1]["event"] == record["ended"]
    if record["status"] == "failed":
        assert f"{run.name} failed: {record['reason']}" in batch.said.out
        assert told[-1]["reason"] == record["reason"]
        banner = json.loads(run.path.read_bytes())["cells"][0]
        assert "This run did not finish" in "".join(banner["source"])
    else:
        assert f"{run.name} succeeded" in batch.said.out and run.succeeded
    return record


def test_what_can_finish_does_and_the_exit_code_tells_of_the_others(batch):
    assert batch.said.code == 1
    succeeded = {name for name, run in batch.runs.items() if run.succeeded}
    assert succeeded == {"good", "hungry", "chatty"}
    assert len(batch.runs) == len(NOTEBOOKS)


def test_nothing_half_written_is_left(batch):
    left = {path.name for path in batch.outputs.rglob("*.*")}
    allowed = {status.NAME}
    for name, run in batch.runs.items():
        ending = "" if run.succeeded else ".failed"
        allowed |= {f"{name}{ending}.ipynb", f"{name}{ending}.json"}
    assert left == allowed


def test_a_kernel_that_hangs_is_ended_after_its_time(batch):
    record = ended(batch, "hangs")
    assert record["ended"] == "timed out" and len(record["attempts"]) == 1
    assert record["reason"] == f"it took longer than --timeout allows, {SECONDS} s"
    assert not is_running((batch.root / "pid.txt").read_text())


def test_out_of_memory_is_tried_again_with_half_the_trials_at_a_time(batch):
    record = ended(batch, "hungry")
    assert [each["ended"] for each in record["attempts"]] == [
        "out of memory",
        "succeeded",
    ]
    assert record["attempts"][0]["reason"].startswith("MemoryError")


def test_out_of_memory_twice_is_a_failure(batch):
    record = ended(batch, "insatiable")
    assert record["ended"] == "out of memory" and len(record["attempts"]) == 2


def test_a_hundred_thousand_updates_are_no_failure(batch):
    ended(batch, "chatty")
    *_, said, _ = json.loads(batch.runs["chatty"].path.read_bytes())["cells"]
    [output] = said["outputs"]
    lines = "".join(output["text"]).splitlines()
    assert lines[-3000:] == [f"line {line}" for line in range(3000)]
    assert len(lines) <= 3001


def test_a_syntax_error_is_a_failure_at_once(batch):
    record = ended(batch, "syntax")
    assert record["reason"].startswith("SyntaxError: ")
    assert record["ended"] == "failed" and len(record["attempts"]) == 1


def test_a_notebook_that_could_not_be_saved_says_why(batch):
    record = ended(batch, "full")
    assert record["ended"] == "failed" and len(record["attempts"]) == 1
    reason = os.strerror(27)  # EFBIG
    assert record["reason"] == f"the outputs could not be written: {reason}"


def test_the_board_tells_all_of_them(batch):
    lines = "\n".join(status.status(batch.outputs))
    for run in batch.runs.values():
        assert run.name in lines
    assert "3 of 7 runs done" in lines


@pytest.fixture
def small_disk(tmp_path):
    """A disk of half a megabyte, and a function that makes it larger."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(disk)]
        return subprocess.run(command, capture_output=True).returncode

    if mount("-o", "size=512k"):
        pytest.skip("only who may mount can have a small disk")
    yield disk, lambda: mount("-o", "remount,size=32m")
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_loses_nothing_and_the_batch_goes_on_once_there_is_room(
    tiny, small_disk
):
    disk, enlarge = small_disk
    large = "import os\nprint(os.urandom(400_000).hex())"
    project = tiny(one=[PARAMETERS, FINISH], two=[PARAMETERS, large, FINISH])
    output = ["--output", str(disk / "outputs")]
    said = run(project.root, *output)
    assert said.code == 1
    assert "one succeeded" in said.out
    assert f"could not be written: {os.strerror(28)}" in said.out  # ENOSPC
    found = {each.notebook: each for each in runs.read(disk / "outputs" / "laptop")}
    before = found["one"].path.read_bytes()
    assert found["one"].succeeded and not (found.get("two") and found["two"].succeeded)
    assert enlarge() == 0
    said = run(project.root, *output)
    assert said.code == 0, said.err
    assert "one is already done" in said.out and "two succeeded" in said.out
    assert found["one"].path.read_bytes() == before
    left = {path.name for path in (disk / "outputs").rglob("*.*")}
    assert left == {"one.ipynb", "one.json", "two.ipynb", "two.json", status.NAME}


def test_a_folder_that_cannot_be_written_is_one_sentence_before_anything_starts(tiny):
    project = tiny(one=[PARAMETERS, FINISH])
    said = run(project.root, "--output", "/proc/outputs")
    assert said.code == 2 and said.out == ""
    [line] = said.err.splitlines()
    assert "the output folder /proc cannot be written to" in line
