import json

import pytest

from lamb_keras.store import atomic, record
from testing.tiny_project import PARAMETERS, make_project

WHOLE = json.dumps({"cells": []})


@pytest.fixture
def run(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", monkeypatch, lenet_mnist=[PARAMETERS])
    [run] = project.plan()
    run.folder.mkdir(parents=True)
    return run


@pytest.fixture
def executed(run):
    def executed(text=WHOLE):
        path = run.folder / ".executed.ipynb"
        path.write_text(text)
        return path

    return executed


def files(run):
    return sorted(path.name for path in run.folder.iterdir())


def read(run, ending):
    return json.loads(run.file(ending).read_text())


def test_a_success_is_a_notebook_and_its_record(run, executed):
    record.succeeded(run, executed(), {"seconds": 1.5})
    assert files(run) == ["lenet_mnist.ipynb", "lenet_mnist.json"]
    assert read(run, "json") == {
        "seconds": 1.5,
        "status": "succeeded",
        "reason": None,
    }


def test_a_failure_leaves_an_earlier_success_as_it_was(run, executed):
    record.succeeded(run, executed(), {"seconds": 1})
    before = run.file("ipynb").read_bytes(), run.file("json").read_bytes()
    record.failed(run, executed(), {"seconds": 2}, "ValueError: no")
    assert (run.file("ipynb").read_bytes(), run.file("json").read_bytes()) == before
    assert read(run, "failed.json") == {
        "seconds": 2,
        "status": "failed",
        "reason": "ValueError: no",
    }


def test_a_success_removes_the_failure_before_it(run, executed):
    record.failed(run, executed(), {}, "ValueError: no")
    assert files(run) == ["lenet_mnist.failed.ipynb", "lenet_mnist.failed.json"]
    run.file("failed.html").write_text("its page in the report")
    record.succeeded(run, executed(), {})
    assert files(run) == ["lenet_mnist.ipynb", "lenet_mnist.json"]


@pytest.mark.parametrize("text", ["", '{"cells": [', "[]", "7"])
def test_half_a_notebook_is_not_kept(run, executed, text):
    record.failed(run, executed(), {}, "ValueError: an earlier one")
    record.failed(run, executed(text), {}, "the worker process was killed")
    assert not run.file("failed.ipynb").exists()
    assert read(run, "failed.json")["reason"] == "the worker process was killed"


def test_a_notebook_whose_record_could_not_be_written_has_none(
    run, executed, monkeypatch
):
    record.succeeded(run, executed(), {})

    def full(path, text):
        raise OSError("no space left")

    monkeypatch.setattr(atomic, "write", full)
    with pytest.raises(OSError):
        record.succeeded(run, executed(), {})
    assert not run.file("json").exists(), "the old record is about another notebook"


def test_the_state_of_a_run_is_that_of_its_last_attempt(run, executed):
    assert record.state(run.folder, "lenet_mnist") is None
    record.succeeded(run, executed(), {})
    assert record.state(run.folder, "lenet_mnist") == "succeeded"
    record.failed(run, executed(), {}, "ValueError: no")
    assert record.state(run.folder, "lenet_mnist") == "failed"
    run.file("failed.json").write_text("{")
    assert record.state(run.folder, "lenet_mnist") == "succeeded"
