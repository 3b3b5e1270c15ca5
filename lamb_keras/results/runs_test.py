"""Only what truly finished is read as a result; what failed says why."""

import json
from pathlib import Path

import nbformat.v4
import pytest

from lamb_keras.results import runs
from lamb_keras.results.conftest import PROJECT


@pytest.fixture
def folder(outputs):
    return outputs / "laptop"


@pytest.fixture
def record(folder):
    return folder / "table07" / "lenet_mnist.json"


@pytest.fixture
def notebook(record):
    return record.with_suffix(".ipynb")


def only(folder):
    (run,) = runs.read(folder)
    return run


def test_a_finished_run_comes_with_its_record_and_its_scraps(folder):
    run = only(folder)
    assert run.succeeded and run.reason is None and run.later_failure is None
    assert (run.name, run.table, run.scale) == ("table07/lenet_mnist", 7, "laptop")
    assert run.parameters["epochs"] == 3
    assert len(run.trials) == 5
    assert run.dataset["name"] == "digits"
    assert list(run.pictures()) == ["curves"]


def test_a_folder_that_is_not_there_has_no_runs(tmp_path):
    assert runs.read(tmp_path / "gpu") == []


def test_a_run_without_the_last_scrap_is_failed_whatever_its_record_says(
    folder, notebook
):
    content = json.loads(notebook.read_text())
    content["cells"][-1]["outputs"] = []
    notebook.write_text(json.dumps(content))
    run = only(folder)
    assert run.status == "failed" and "did not come to its end" in run.reason
    assert run.scraps == {} and run.pictures() == {}


def test_a_run_with_an_error_in_a_cell_is_failed_whatever_its_record_says(
    folder, notebook
):
    content = json.loads(notebook.read_text())
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="lost")
    content["cells"][1]["outputs"].append(error)
    notebook.write_text(json.dumps(content))
    assert only(folder).status == "failed"
    assert "ValueError: lost" in only(folder).reason


@pytest.mark.parametrize("text", [None, '{"cells": [{"outp', "[1, 2]"])
def test_a_damaged_notebook_is_no_result(folder, notebook, text):
    notebook.unlink()
    if text:
        notebook.write_text(text)
    run = only(folder)
    assert run.status == "failed" and "run it again" in run.reason


@pytest.mark.parametrize("text", ["", '{"table": 7', "[]"])
def test_a_damaged_record_is_no_result(folder, record, text):
    record.write_text(text)
    run = only(folder)
    assert run.reason == f"its record {record.name} cannot be read; run it again."
    assert run.status == "failed" and run.table == 7 and run.name.endswith("mnist")


def test_without_a_record_or_with_one_still_being_written_there_is_no_run(
    folder, record
):
    record.rename(record.with_name(".lenet_mnist.json"))
    assert runs.read(folder) == []


def test_a_later_failed_attempt_is_noted_on_the_run_that_stands(folder, fail):
    fail(started="2026-11-23T18:00:00+00:00")
    run = only(folder)
    assert run.succeeded and len(run.trials) == 5
    assert run.later_failure.reason == "the kernel died."
    assert run.later_failure.path.name == "lenet_mnist.failed.ipynb"
    # One before the success is history.
    fail(started="2026-11-23T17:00:00+00:00")
    assert only(folder).later_failure is None


def test_a_failure_alone_is_a_failed_run_never_read_for_results(
    folder, fail, record, notebook
):
    fail()
    notebook.replace(notebook.with_name("lenet_mnist.failed.ipynb"))
    record.unlink()
    run = only(folder)
    assert (run.status, run.reason) == ("failed", "the kernel died.")
    assert run.scraps == {}


def test_runs_come_in_the_order_of_the_tables(folder, record, notebook):
    for name in ("table11", "table06"):
        (folder / name).mkdir()
        other = json.loads(record.read_text()) | {"table": int(name[-2:])}
        (folder / name / record.name).write_text(json.dumps(other))
        (folder / name / notebook.name).write_bytes(notebook.read_bytes())
    assert [run.table for run in runs.read(folder)] == [6, 7, 11]


def test_relative_outputs_are_the_projects_around_or_else_this_ones(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert runs.folder("outputs", "laptop") == PROJECT / "outputs" / "laptop"
    (tmp_path / "params").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert runs.folder("outputs", "laptop") == tmp_path / "outputs" / "laptop"


@pytest.mark.parametrize(
    ("notebook", "name", "stands_in_for", "original"),
    [
        ("lenet_mnist", "digits", "MNIST", "MNIST"),
        ("resnet50_imagenet", "digits", "MNIST", "ImageNet"),
        ("resnet50_imagenet", "cifar10", None, "ImageNet"),
        ("davidnet_cifar10", "cifar10", None, None),
        ("davidnet_cifar10", "cifar10", "CIFAR-10", "CIFAR-10"),  # a part of it
        ("something_else", "digits", "MNIST", "MNIST"),
        ("lenet_mnist", None, None, None),
    ],
)
def test_what_data_stand_in_for_depends_on_the_experiment(
    notebook, name, stands_in_for, original
):
    known = ("a", Path("a.ipynb"), "succeeded", notebook, 9, "laptop")
    dataset = {"name": name, "stands_in_for": stands_in_for} if name else {}
    run = runs.Run(*known, scraps={"dataset": dataset})
    assert run.stands_in_for == original
