import json
import math

import pytest

from benchmarks import batch
from lamb_keras import experiments
from lamb_keras.batch import plan
from testing.tiny_project import FINISH, PARAMETERS, make_project

GRID = """
solvers = ["adam", "lamb"]
learning_rates = [0.1, 0.00001]
batch_size = 16
"""
LOOK = """
with open("trained.txt", "a") as file:
    file.write(f"{solvers} {learning_rates} {seeds}\\n")
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    cells = [PARAMETERS + GRID, LOOK, FINISH]
    project = make_project(tmp_path / "project", monkeypatch, lenet_mnist=cells)
    summary = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    project.project.notebook("summary").write_text(json.dumps(summary))
    return project


@pytest.mark.parametrize("scale", ["laptop", "evening", "gpu", "paper"])
def test_a_trial_of_any_table_can_be_had_alone(tmp_path, scale):
    for run in plan.plan(plan.Project.find(), scale, tmp_path):
        singles = batch.single_trials(run.parameters)
        tuned = len(run.parameters.get("finetuning_seeds", [0]))
        chosen = {**run.parameters, "confirmation_seeds": []}
        assert tuned * len(singles) == experiments.count_trials(chosen)
        for only, setting in zip(
            singles[:: len(run.parameters["seeds"])],
            experiments.settings(run.parameters),
            strict=True,
        ):
            assert experiments.settings(only) == [setting]
            assert experiments.count_trials(only) == tuned
            assert experiments.validate(only, known=run.parameters) == only


@pytest.mark.slow
def test_both_ways_train_the_trials_and_the_ratio_is_that_of_their_seconds(
    project, capsys
):
    root = project.root
    options = ["--project", str(root), "--sample", "2", "--json"]
    assert batch.main([*options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == 4 and found["environment"]["cpu_count"] > 0
    assert list(found["plain_seconds"]) == [
        "table07/lenet_mnist adam 1e-05 seed 0",
        "table07/lenet_mnist lamb 1e-05 seed 0",
    ]
    mean = sum(found["plain_seconds"].values()) / 2
    assert math.isclose(found["ratio"], 4 * mean / found["batch_seconds"])
    trained = (root / "trained.txt").read_text().splitlines()
    assert trained == [
        "['adam'] [1e-05] [0]",
        "['adam', 'lamb'] [0.1, 1e-05] [0]",
        "['lamb'] [1e-05] [0]",
    ]
    assert not (root / "outputs").exists()


def test_what_fails_is_one_sentence(project, capsys, monkeypatch):
    project.project.notebook("lenet_mnist").unlink()
    assert batch.main(["--project", str(project.root)]) == 2
    assert "lenet_mnist.ipynb is missing" in capsys.readouterr().err


def test_a_sample_of_none_is_refused(capsys):
    assert batch.main(["--sample", "0"]) == 2
    assert "--sample is 0, expected at least 1" in capsys.readouterr().err


def test_the_words_tell_what_the_numbers_are(capsys, monkeypatch, project):
    found = {
        "trials": 600,
        "plain_seconds": {"a": 10.0, "b": 20.0},
        "batch_seconds": 300.0,
        "ratio": 30.0,
    }
    monkeypatch.setattr(batch, "measure", lambda *_: found)
    batch.report(project.project, "laptop", None, 2)
    assert capsys.readouterr().out.splitlines() == [
        "plain papermill, one trial a notebook: 15.0 s a trial (10.0 to 20.0, n = 2); "
        "600 trials would take 150 min",
        "lamb-keras run: 600 trials in 5.0 min, 0.50 s a trial, the report included",
        "30.0 times the throughput",
    ]
