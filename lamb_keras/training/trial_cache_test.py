"""A sweep that is ended and started again trains only what had not finished."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from lamb_keras import data
from lamb_keras.deadline import Deadline
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.training import Preempted, sweep, trial_cache
from lamb_keras.training.history import History
from lamb_keras.training.sweep_test import outcome
from lamb_keras.training.trials import Trials

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
LAMB = dataclasses.replace(EXPERIMENT, solvers=["lamb"])
TRIALS = len(EXPERIMENT.trials())
# A sweep that is killed by its own third trial.
KILLED = """
import os, signal
from lamb_keras import data
from lamb_keras.store import events
from lamb_keras.training import sweep, trial_cache_test as own
finished = []
def emit(event, **fields):
    finished.extend([event] * (event == "trial finished"))
    if len(finished) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
events.emit = emit
sweep(own.EXPERIMENT, data.split(data.load("digits"), 0.2), own.net)
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
    monkeypatch.setenv(trial_cache.FOLDER_VARIABLE, str(tmp_path / "trials"))
    return tmp_path / "trials"


@pytest.fixture
def filled(digits, undisturbed, folder):
    """The folder after a session in which all trials finished."""
    cache = trial_cache.TrialCache(EXPERIMENT, digits)
    for history in undisturbed.histories:
        cache.save(history, undisturbed.compile_seconds)
    return folder


@pytest.fixture
def trained(monkeypatch):
    """The trials that sweeps of this test have trained."""
    trained = []
    # pytest may import a module anew.
    TrialCache = Trials.__init__.__globals__["TrialCache"]
    save = TrialCache.save

    def note(self, history, *arguments):
        trained.append(history.trial)
        save(self, history, *arguments)

    monkeypatch.setattr(TrialCache, "save", note)
    return trained


def outcomes(result):
    return [outcome(history) for history in result.histories]


def test_a_sweep_that_is_killed_and_started_again_trains_only_the_rest(
    digits, undisturbed, folder, trained
):
    killed = subprocess.run([sys.executable, "-c", KILLED])
    assert killed.returncode == -9
    files = {path: path.read_bytes() for path in folder.glob("*.json")}
    assert 3 <= len(files) < TRIALS
    resumed = sweep(EXPERIMENT, digits, net)
    assert len(trained) == TRIALS - len(files)
    assert outcomes(resumed) == outcomes(undisturbed)
    assert resumed.late_compilations == 0
    seconds = [json.loads(content)["session"][1] for content in files.values()]
    assert resumed.seconds > max(seconds)
    assert all(path.read_bytes() == content for path, content in files.items())


def test_confirmations_that_are_known_are_not_trained_again(digits, folder, trained):
    experiment = dataclasses.replace(EXPERIMENT, confirmation_seeds=[7])
    first = sweep(experiment, digits, net)
    next(folder.glob("*.json")).unlink()
    trained.clear()
    again = sweep(experiment, digits, net)
    assert len(trained) == 1
    assert outcomes(again) == outcomes(first)


def test_a_sweep_of_which_all_is_known_trains_nothing(
    digits, undisturbed, filled, trained
):
    again = sweep(EXPERIMENT, digits, net)
    assert trained == []
    # As text, in which NaN is like NaN.
    assert repr(again.histories) == repr(undisturbed.histories)
    assert again.compile_seconds == undisturbed.compile_seconds


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"of": "', '"of": "0'),
        lambda text: text.replace('"layers"', '"layer"'),
        lambda text: text.replace('["momentum"', '["lamb"'),
    ],
)
def test_a_damaged_or_foreign_file_counts_as_none(digits, filled, damage):
    path = next(path for path in filled.iterdir() if "momentum" in path.read_text())
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    (filled / "notes.txt").write_text("mine")
    assert (
        len(trial_cache.TrialCache(EXPERIMENT, digits).find(EXPERIMENT.trials()))
        == TRIALS - 1
    )


def test_the_trials_of_another_experiment_are_not_taken(digits, filled):
    other = dataclasses.replace(EXPERIMENT, epochs=3)
    assert trial_cache.TrialCache(other, digits).find(other.trials()) == {}


def test_trials_under_vmap_go_on_in_a_program_as_wide(digits, folder, trained):
    first = sweep(LAMB, digits, net, width=2)
    next(folder.glob("*.json")).unlink()
    again = sweep(LAMB, digits, net, width=2)
    assert len(trained) == len(LAMB.trials()) + 1
    assert outcomes(again) == outcomes(first)


@pytest.mark.parametrize("value", [None, "file/trials"])
def test_without_a_folder_or_where_none_can_be_nothing_is_saved(
    digits, tmp_path, monkeypatch, value
):
    monkeypatch.delenv(trial_cache.FOLDER_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    if value:
        monkeypatch.setenv(trial_cache.FOLDER_VARIABLE, value)
    assert len(sweep(LAMB, digits, net).trials) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_float_comes_back_to_the_last_bit(digits, folder):
    trial = EXPERIMENT.trials()[0]
    odd = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1, 1 / 3]
    history = History(trial, ["a"], [{"train_loss": x} for x in odd], [[odd], []])
    trial_cache.TrialCache(EXPERIMENT, digits).save(history, 0.0)
    cache = trial_cache.TrialCache(EXPERIMENT, digits)
    [found] = cache.find(EXPERIMENT.trials()).values()
    assert found.trial == trial and repr(found) == repr(history)
    ours, theirs = (np.array(each.ratios[0]) for each in (found, history))
    assert ours.tobytes() == theirs.tobytes()


@pytest.fixture
def clock(monkeypatch):
    """A clock by which a trial takes 100 seconds, for sweeps until a deadline."""
    own, clock = Trials.__init__.__globals__, SimpleNamespace(now=0.0)
    trained = Trials.trained

    def train(self, group):
        clock.now += 100.0
        return trained(self, group)

    def begin(seconds):
        clock.end = clock.now + seconds
        deadline = Deadline(seconds, clock=lambda: clock.now)
        monkeypatch.setitem(own, "Deadline", SimpleNamespace(of=lambda _: deadline))

    monkeypatch.setattr(Trials, "trained", train)
    seconds = SimpleNamespace(perf_counter=lambda: clock.now)
    monkeypatch.setitem(own, "time", seconds)
    clock.begin = begin
    return clock


def test_a_sweep_in_ten_slices_is_that_of_one_piece_and_begins_nothing_in_vain(
    digits, folder, trained, clock, tmp_path, monkeypatch
):
    experiment = dataclasses.replace(LAMB, confirmation_seeds=[4, 5, 6, 7, 8, 9])
    monkeypatch.setenv(trial_cache.FOLDER_VARIABLE, str(tmp_path / "whole"))
    whole = sweep(experiment, digits, net, threads=1)
    monkeypatch.setenv(trial_cache.FOLDER_VARIABLE, str(folder))
    trained.clear()
    for number in range(1, 10):
        # Another one would fit no more.
        clock.begin(199)
        with pytest.raises(Preempted, match="trials are left"):
            sweep(experiment, digits, net, threads=1)
        assert clock.now <= clock.end and len(trained) == number
    clock.begin(199)
    sliced = sweep(experiment, digits, net, threads=1)
    assert len(trained) == len(whole.histories) == 10
    assert outcomes(sliced) == outcomes(whole)


def test_what_no_slice_could_hold_is_begun_all_the_same(digits, folder, trained, clock):
    clock.begin(199)
    with pytest.raises(Preempted):
        sweep(LAMB, digits, net, threads=1)
    clock.begin(110)  # of which a trial may hope for 77 seconds
    with pytest.raises(Preempted):
        sweep(LAMB, digits, net, threads=1)
    assert len(trained) == 2


def test_a_sweep_that_is_asked_to_end_between_trials_says_so(
    digits, folder, trained, monkeypatch
):
    Notice = Trials.__init__.__globals__["Notice"]
    monkeypatch.setattr(Notice, "reached", lambda *_: bool(trained))
    with pytest.raises(Preempted, match="asked to end between trials: start it again"):
        sweep(LAMB, digits, net, threads=1)
    assert len(trained) == 1


def test_a_trial_that_was_ended_goes_on_to_the_last_bit(digits, folder, monkeypatch):
    longer = dataclasses.replace(LAMB, learning_rates=[0.01], seeds=[0], epochs=4)
    whole = sweep(longer, digits, net, threads=1)
    shutil.rmtree(folder)
    own = sys.modules[Trials.trained.__globals__["Checkpoints"].__module__]
    save = own.Checkpoints.save
    monkeypatch.setattr(own, "SECONDS_BETWEEN", 0)
    monkeypatch.setattr(own, "TIMES_BETWEEN", 0)

    def save_and_end(self, step, *state):
        save(self, step, *state)
        if step >= whole.trials[0]["steps"] / 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(own.Checkpoints, "save", save_and_end)
    with pytest.raises(KeyboardInterrupt):
        sweep(longer, digits, net, threads=1)
    monkeypatch.setattr(own.Checkpoints, "save", save)
    assert outcomes(sweep(longer, digits, net, threads=1)) == outcomes(whole)
