import os
from dataclasses import replace

import pytest

from lamb_keras.batch import trials
from lamb_keras.batch.tiny_project import PARAMETERS


@pytest.fixture
def run(tiny):
    [run] = tiny(lenet_mnist=[PARAMETERS]).plan()
    return replace(run, key={"sha256": "a" * 64})


def keep(run):
    folder = trials.folder(run)
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text("{}")
    return folder


def test_runs_of_other_keys_have_other_folders(run):
    other = replace(run, key={"sha256": "b" * 64})
    assert trials.folder(run) != trials.folder(other)


def test_nothing_is_left_of_a_run_that_is_done_with(run):
    keep(run)
    trials.forget(run)
    assert list(run.folder.iterdir()) == []
    trials.forget(run)


def test_the_trials_of_another_key_stay_for_a_month(run):
    other = keep(replace(run, key={"sha256": "b" * 64}))
    trials.forget(run)
    assert (other / "trial.json").exists()
    os.utime(other, (0, 0))
    trials.forget(run)
    assert list(run.folder.iterdir()) == []
