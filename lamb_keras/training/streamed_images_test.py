"""Streamed images train as the plain loop does, on any devices, and survive a stop."""

import contextlib
import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from lamb_keras import data, models
from lamb_keras.batch.plan import Project, plan
from lamb_keras.data import imagenet
from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.models.layers import CHANNELS_LAST
from lamb_keras.optimizers import solvers
from lamb_keras.training import Preempted, streamed_images, sweep
from lamb_keras.training.classification import Classification
from lamb_keras.training.history import History
from lamb_keras.training.step import Constants, Step, initial_weights
from lamb_keras.training.streamed_images import StreamedImageTrials
from lamb_keras.training.sweep_test import losses, outcome
from lamb_keras.training.trial_cache import TrialCache

FRACTION, SIZE, CLASSES = 0.25, 16, 4
EXPERIMENT = ImageExperiment(
    notebook="resnet50_imagenet",
    table=5,
    scale="paper",
    dataset="imagenet",
    solvers=["lamb"],
    learning_rates=[0.02],
    batch_size=16,
    epochs=3,
    warmup_epochs=1,
    weight_decay=0.1,
    l2_regularization=0.01,
    label_smoothing=0.1,
    exclude_from_weight_decay=["gamma$", "beta$"],
    global_clipnorm=1.0,
    augmentations=["crop", "flip"],
    seeds=[3],
    validation_fraction=FRACTION,
)
STEPS = 14  # 3 epochs of 72 images, 16 a step
model = functools.partial(models.resnet50, width=8, blocks=(1,))


def changed(**parameters):
    return dataclasses.replace(EXPERIMENT, **parameters)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """72 + 21 pictures in ImageNet's folders, whose hue tells the class, or nearly."""
    root, random = tmp_path_factory.mktemp("data"), np.random.RandomState(0)
    for part, count in (("train", 72), ("val", 21)):
        for i in range(count):
            place = root / "imagenet" / part / f"n{i % CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            noise = random.randint(0, 150, (20, 24, 3))
            noise[..., i % 3] += 30 * (i % CLASSES)
            Image.fromarray(noise.astype("uint8")).save(place / f"{i}.JPEG")
    return root


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, folder, tmp_path):
    monkeypatch.setenv("LAMB_KERAS_DATA", str(folder))
    monkeypatch.setenv("LAMB_KERAS_CHECKPOINTS", str(tmp_path / "kept"))
    monkeypatch.setattr(imagenet, "SIZE", SIZE)


@pytest.fixture
def images():
    return data.open("imagenet", FRACTION)


@pytest.fixture(scope="module")
def uninterrupted(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMB_KERAS_DATA", str(folder))
        patch.setenv("LAMB_KERAS_CHECKPOINTS", str(tmp_path_factory.mktemp("whole")))
        patch.setattr(imagenet, "SIZE", SIZE)
        return sweep(EXPERIMENT, data.open("imagenet", FRACTION), model)


def test_a_streamed_training_is_the_loop_over_its_step(uninterrupted, images):
    (history,), (trial,) = uninterrupted.histories, EXPERIMENT.trials()
    net = model((SIZE, SIZE, 3), CLASSES, seed=3, form=CHANNELS_LAST)
    task = Classification(net, imagenet.normalize, label_smoothing=0.1)
    optimizer = solvers.solver(
        "lamb", exclude_from_weight_decay=["gamma$", "beta$"], global_clipnorm=1.0
    )
    step = Step(task, optimizer)
    steps = EXPERIMENT.steps(trial, images.training_set)
    rates = EXPERIMENT.learning_rates_by_step(trial, steps)

    @jax.jit
    def update(state, batch, rate):
        loss, others, gradients = step.gradients(state, batch, Constants(l2=0.01))
        state = state._replace(non_trainable=others)
        return step.apply(state, gradients, rate, 0.1), loss

    state, found = step.start(initial_weights(net)), []
    with contextlib.closing(images.batches("train", batch_size=16, seed=3)) as batches:
        for rate in rates:
            state, loss = update(state, (*next(batches), 0), rate)
            found.append(float(loss))
    means = [np.mean(found[:5]), np.mean(found[5:10]), np.mean(found[10:])]
    np.testing.assert_allclose(losses(history), means, rtol=1e-6)
    for split, accuracy in (
        ("validation", history.evaluations[-1]["validation_accuracy"]),
        ("test", history.test_metrics["accuracy"]),
    ):
        outputs = [
            task.outputs(state.weights, state.non_trainable, batch)
            for batch in images.batches(split, batch_size=16)
        ]
        assert accuracy == task.metrics(outputs)["accuracy"]


class Terminating:
    """A Grain iterator during whose n-th batch the machine is taken away."""

    def __new__(cls, batches, n):
        plain = type(batches)

        class Batches(plain):
            given = 0

            def __next__(self):
                self.given += 1
                if self.given == n:
                    os.kill(os.getpid(), signal.SIGTERM)
                return super().__next__()

        batches.__class__ = Batches
        return batches


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_stopped_and_started_again_a_sweep_is_as_if_never_stopped(
    images, tmp_path, monkeypatch, packed
):
    monkeypatch.setattr(streamed_images, "STEPS_BETWEEN_CHECKPOINTS", 4)
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv("LAMB_KERAS_EVENTS", str(events))
    experiment = changed(learning_rates=[0.02, 0.01], packed_update=packed)
    whole = sweep(experiment, images, model)
    assert not list((tmp_path / "kept").iterdir())
    assert whole.late_compilations == 0
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    found = [(each["event"], each["done"]) for each in lines]
    assert found == [
        ("trials planned", 0),
        *[("steps done", done) for done in (5, 10, 14)],
        ("trial finished", 1),
        *[("steps done", done) for done in (5, 10, 14)],
        ("trial finished", 2),
    ]
    begun = []

    def ended_in_the_second(split, **options):
        batches = images.batches(split, **options)
        if split != "train":
            return batches
        begun.append(options["start_step"])
        return Terminating(batches, 7) if len(begun) == 2 else batches

    before = signal.getsignal(signal.SIGTERM)
    # In the middle of an epoch.
    with pytest.raises(Preempted, match="has saved its step 7: start it again"):
        stopped = dataclasses.replace(images, batches=ended_in_the_second)
        sweep(experiment, stopped, model)
    assert signal.getsignal(signal.SIGTERM) is before

    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.name.startswith("resnet50_imagenet-table05-")
    again = sweep(experiment, stopped, model)
    assert begun == [0, 0, 7]
    for one, other in zip(again.histories, whole.histories, strict=True):
        assert outcome(one) == outcome(other)
    assert not kept.exists()


def test_a_loss_beyond_use_ends_the_training_with_its_step(images):
    given = []

    def count(split, **options):
        given.append(split)
        return images.batches(split, **options)

    wild = changed(solvers=["momentum"], learning_rates=[1e18], warmup_epochs=0)
    counted = dataclasses.replace(images, batches=count)
    (history,) = sweep(wild, counted, model).histories
    assert history.diverged_at_step == 2
    assert given == ["train", "validation"]
    assert history.test_metrics == {} and len(losses(history)) == 1


@pytest.fixture
def trained(monkeypatch):
    """The trials that are streamed, which is not really done."""
    trials = []

    def trained(self, group):
        trials.extend(group)
        rows = [{"train_loss": 0.1 + 0.2, "validation_accuracy": 0.5}]
        return [History(trial, ["a"], rows) for trial in group]

    monkeypatch.setattr(StreamedImageTrials, "trained", trained)
    return trials


@pytest.mark.parametrize(
    "table, batch_size, steps", [(11, 16384, 7038), (5, 32768, 3519)]
)
@pytest.mark.parametrize("fraction", [0.01, 0.1])
def test_the_papers_tables_have_the_papers_steps_whatever_is_held_out(
    table, batch_size, steps, fraction, monkeypatch, trained
):
    sizes = imagenet.Stored(1000, range(1_281_167), range(50_000), "")
    monkeypatch.setattr(imagenet, "find", lambda: sizes)
    settings = [f"validation_fraction={fraction}"]
    [run] = plan(Project.find(), "paper", "outputs", [str(table)], settings)
    experiment = ImageExperiment.of({**run.parameters, "dtype_policy": "float32"})
    images = data.open(experiment.dataset, experiment.validation_fraction)
    assert images.sizes["validation"] == round(fraction * 1_281_167)
    rows = sweep(experiment, images, model).steps
    assert {row["batch_size"]: row["steps"] for row in rows}[batch_size] == steps


def test_finished_trials_are_kept_until_all_are_and_only_for_their_like(
    images, tmp_path, trained, monkeypatch
):
    two = changed(learning_rates=[0.02, 0.01])
    first, second = two.trials()
    TrialCache(two, images, True).save(History(first, [], [{"train_loss": 0.5}]), 0.0)
    for other in (dataclasses.replace(images, fingerprint="other"), images):
        experiment = two if other is not images else changed(label_smoothing=0.2)
        assert TrialCache(experiment, other, True).find(experiment.trials()) == {}
    result = sweep(two, images, model)
    assert trained == [second] and result.trials[0]["train_loss"] == 0.5
    assert not list((tmp_path / "kept").iterdir())

    monkeypatch.delenv("LAMB_KERAS_CHECKPOINTS")
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / "cache"))
    TrialCache(two, images, True).save(History(first, []), 0.0)
    assert len(list((tmp_path / "cache" / "checkpoints").iterdir())) == 1


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"augmentations": ["crop"]},
            "augmentations is ['crop'], expected ['crop', 'flip'], with which imagenet "
            "is read.",
        ),
        (
            {"batch_size": 128},
            "batch_size 128 / batch_divisor 1 is 128 images a step, but imagenet has "
            "72 to train on: raise batch_divisor.",
        ),
        (
            {"solvers": ["adamw"], "weight_decay": 0.5, "published_steps": 140},
            "weight_decay 0.5 per step, times published_steps 140 over our 14 steps, "
            "is 5 of the weights, expected less than 1: train longer (a smaller "
            "epochs_divisor or a larger batch_divisor).",
        ),
    ],
)
def test_what_cannot_be_streamed_is_refused_before_anything_is_trained(
    changes, message, images, trained
):
    with pytest.raises(ParameterError) as caught:
        sweep(changed(**changes), images, model)
    assert str(caught.value) == message and not trained


# Eight devices have to be asked for before JAX starts, hence a process of its own.
EIGHT = """
import jax, json, pytest
from lamb_keras import data
from lamb_keras.data import imagenet
from lamb_keras.experiments import ParameterError
from lamb_keras.training import streamed_images_test as own, sweep

imagenet.SIZE = own.SIZE
images = data.open("imagenet", own.FRACTION)
with pytest.raises(ParameterError, match="12 images a step, which 8 .* is 8 or 16"):
    sweep(own.changed(batch_size=12), images, own.model)
(history,) = sweep(own.EXPERIMENT, images, own.model).histories
print(len(jax.devices()), json.dumps([history.evaluations, history.test_metrics]))
"""


@pytest.mark.slow
def test_on_eight_devices_it_is_as_on_one(folder, uninterrupted):
    flags = "--xla_force_host_platform_device_count=8"
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", EIGHT]
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    devices, found = result.stdout.split(maxsplit=1)
    assert devices == "8"
    evaluations, test_metrics = json.loads(found)
    (history,) = uninterrupted.histories
    for ours, alone in zip(
        [*evaluations, test_metrics],
        [*history.evaluations, history.test_metrics],
        strict=True,
    ):
        assert ours == pytest.approx(alone, rel=1e-5)
