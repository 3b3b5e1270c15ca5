import dataclasses
import json
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from lamb_keras import data
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.training import kept, sweep
from lamb_keras.training.history import History

EXPERIMENT = ImageExperiment(
    notebook="lenet_mnist",
    table=7,
    scale="laptop",
    dataset="digits",
    solvers=["momentum", "lamb"],
    # At the first, momentum diverges.
    learning_rates={"momentum": [1e30, 0.01], "lamb": [0.01, 0.02]},
    weight_decay=0.01,
    batch_size=1024,
    batch_divisor=4,
    epochs=2,
    warmup_epochs=1,
    seeds=[0, 1],
    validation_fraction=0.2,
)
TRIALS = len(EXPERIMENT.trials())
# A sweep that is killed by its own third trial, or comes to its end.
SWEEP = """
import os, signal, sys
from lamb_keras import data
from lamb_keras.store import events
from lamb_keras.training import kept_test, sweep
if sys.argv[1] == "killed":
    finished = []
    def emit(event, **fields):
        finished.extend([event] * (event == "trial finished"))
        if len(finished) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    events.emit = emit
sweep(kept_test.EXPERIMENT, data.split(data.load("digits"), 0.2), kept_test.net)
"""


def net(image_shape, classes, seed=None):
    """One layer, which compiles in a moment."""
    keras.utils.set_random_seed(seed)
    layers = [keras.Input(image_shape), keras.layers.Flatten(name="flat")]
    layers.append(keras.layers.Dense(classes, name="logits"))
    return keras.Sequential(layers, name="net")


@pytest.fixture(scope="module")
def digits():
    return data.split(data.load("digits"), 0.2)


@pytest.fixture(scope="module")
def undisturbed(digits):
    return sweep(EXPERIMENT, digits, net)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(kept.FOLDER_VARIABLE, str(tmp_path / "trials"))
    return tmp_path / "trials"


@pytest.fixture
def filled(digits, undisturbed, folder):
    """The folder after a sitting in which all trials finished."""
    sitting = kept.Kept(EXPERIMENT, digits)
    for history in undisturbed.histories:
        sitting.finish(history, undisturbed.compile_seconds)
    return folder


@pytest.fixture
def trained(monkeypatch):
    """The trials that sweeps of this test have trained."""
    trained = []
    # Pytest may import a module anew for its doctests: this is the sweep's own class.
    Kept = sweep.__globals__["Kept"]
    finish = Kept.finish

    def note(self, history, *arguments):
        trained.append(history.trial)
        finish(self, history, *arguments)

    monkeypatch.setattr(Kept, "finish", note)
    return trained


def numbers(result):
    """All that is known of the trials but what the moment decides, to the last bit."""
    told = [dataclasses.asdict(history) for history in result.histories]
    for history in told:
        del history["seconds"], history["compilations"]
        history["trust_ratios"] = [
            (ratios.dtype, ratios.shape, ratios.tobytes())
            for ratios in history["trust_ratios"]
        ]
    return repr(told)


def test_a_sweep_that_is_killed_and_started_again_trains_only_the_rest(
    digits, undisturbed, folder, trained
):
    killed = subprocess.run([sys.executable, "-c", SWEEP, "killed"])
    assert killed.returncode == -9
    files = {path: path.read_bytes() for path in folder.glob("*.json")}
    assert 3 <= len(files) < TRIALS
    resumed = sweep(EXPERIMENT, digits, net)
    assert len(trained) == TRIALS - len(files)
    assert numbers(resumed) == numbers(undisturbed)
    assert resumed.late_compilations == 0
    # The last sitting compiled too, of which the first knew nothing.
    assert resumed.seconds > max(json.loads(b)["sitting"][1] for b in files.values())
    assert all(path.read_bytes() == content for path, content in files.items())


def test_a_sweep_of_which_all_is_known_trains_and_compiles_nothing(
    digits, undisturbed, filled, trained
):
    again = sweep(EXPERIMENT, digits, net)
    assert trained == []
    # As text, in which NaN is like NaN.
    assert repr(again.histories) == repr(undisturbed.histories)
    assert again.late_compilations == 0
    assert again.compile_seconds == undisturbed.compile_seconds


def test_a_late_compilation_of_an_earlier_sitting_is_still_late(digits, filled):
    for path in filled.iterdir():
        told = json.loads(path.read_text())
        told["history"]["compilations"] = 1
        path.write_text(json.dumps(told))
    again = sweep(EXPERIMENT, digits, net)
    assert again.late_compilations == TRIALS - len(EXPERIMENT.solvers)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"of": "', '"of": "0'),
        lambda text: text.replace('"steps"', '"step"'),
        lambda text: text.replace('["momentum"', '["lamb"'),
    ],
)
def test_a_damaged_or_foreign_file_is_as_none(digits, filled, damage):
    path = next(path for path in filled.iterdir() if "momentum" in path.read_text())
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    assert len(kept.Kept(EXPERIMENT, digits).histories) == TRIALS - 1


def test_what_is_as_none_is_trained_again(digits, undisturbed, filled, trained):
    path = next(path for path in filled.iterdir() if "momentum" in path.read_text())
    path.write_text(path.read_text()[:-20])
    (filled / "notes.txt").write_text("mine")
    assert numbers(sweep(EXPERIMENT, digits, net)) == numbers(undisturbed)
    assert [trial.solver for trial in trained] == ["momentum"]


def test_the_trials_of_another_experiment_are_not_taken(digits, filled):
    other = dataclasses.replace(EXPERIMENT, epochs=3)
    assert kept.Kept(other, digits).histories == {}


def test_trials_under_vmap_go_on_in_a_program_as_wide(digits, folder, trained):
    one = dataclasses.replace(EXPERIMENT, solvers=["lamb"])
    first = sweep(one, digits, net, width=2)
    next(folder.glob("*.json")).unlink()
    again = sweep(one, digits, net, width=2)
    assert len(trained) == len(one.trials()) + 1
    assert numbers(again) == numbers(first)


def test_without_a_folder_nothing_is_kept(digits, tmp_path, monkeypatch, trained):
    monkeypatch.delenv(kept.FOLDER_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    one = dataclasses.replace(EXPERIMENT, solvers=["lamb"], seeds=[0])
    sweep(one, digits, net)
    sweep(one, digits, net)
    assert len(trained) == 4 and list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_no_trial(digits, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(kept.FOLDER_VARIABLE, str(tmp_path / "file" / "trials"))
    one = dataclasses.replace(EXPERIMENT, solvers=["lamb"], seeds=[0])
    assert len(sweep(one, digits, net).trials) == 2


def test_every_float_comes_back_to_the_last_bit(digits, folder):
    trial = EXPERIMENT.trials()[0]
    odd = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1, 1 / 3]
    told = History(trial, ["a"], EXPERIMENT.steps(trial, 1437), odd, odd, odd)
    told.trust_ratios = [np.array([odd], "float32"), np.zeros((3, 0), "float32")]
    kept.Kept(EXPERIMENT, digits).finish(told, 0.0)
    known = kept.Kept(EXPERIMENT, digits).histories
    assert os.listdir(folder) and list(known) == [trial]
    [found] = known.values()
    assert np.array(found.train_loss).tobytes() == np.array(odd).tobytes()
    for ours, theirs in zip(found.trust_ratios, told.trust_ratios, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes()
