"""A streamed training is the plain loop over its step, on any number of devices."""

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

from lamb_keras import models
from lamb_keras.data import imagenet
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.models.layers import CHANNELS_LAST
from lamb_keras.training.checkpoints import Checkpoints
from lamb_keras.training.spread import SpreadStep
from lamb_keras.training.step import Step, initial_weights
from lamb_keras.training.streamed import Preempted, _identity, stream

EXPERIMENT = ImageExperiment(
    notebook="resnet50_imagenet",
    table=5,
    scale="paper",
    dataset="imagenet",
    solvers=["lamb", "momentum"],
    learning_rates={"lamb": [0.02], "momentum": [0.1]},
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
    validation_fraction=0.25,
)
LAMB, MOMENTUM = EXPERIMENT.trials()
SIZE, CLASSES = 12, 4
TRAINING_IMAGES = 54  # 11 steps of 16 in 3 epochs
read = functools.partial(imagenet.batches, validation_fraction=0.25, size=SIZE)


def write_pictures(root):
    """72 + 21 pictures whose hue tells the class, more or less."""
    random = np.random.RandomState(0)
    for part, count in (("train", 72), ("val", 21)):
        for i in range(count):
            place = root / "imagenet" / part / f"n{i % CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            noise = random.randint(0, 150, (20, 24, 3))
            noise[..., i % 3] += 30 * (i % CLASSES)
            Image.fromarray(noise.astype("uint8")).save(place / f"{i}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_pictures(root)
    return root


@pytest.fixture(autouse=True)
def found(monkeypatch, folder):
    monkeypatch.setenv("LAMB_KERAS_DATA", str(folder))


def model():
    """The narrow net, in the form that accelerators run."""
    return models.resnet50(
        (SIZE, SIZE, 3), CLASSES, width=8, blocks=(1,), seed=3, form=CHANNELS_LAST
    )


def train(trial=LAMB, batches=read, experiment=EXPERIMENT, **options):
    return stream(
        experiment,
        trial,
        model(),
        batches,
        training_images=TRAINING_IMAGES,
        normalize=imagenet.normalize,
        **options,
    )


def told(history):
    """All but how long it took."""
    ratios = [each.tolist() for each in history.trust_ratios]
    line = {k: v for k, v in history.summary().items() if k != "seconds"}
    return line, history.train_loss, history.validation_top5, ratios


@pytest.fixture(scope="module")
def uninterrupted(folder, tmp_path_factory):
    checkpoints = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMB_KERAS_DATA", str(folder))
        history = train(checkpoint_folder=checkpoints, steps_between_checkpoints=11)
    return history, checkpoints


def plain_step():
    own = dataclasses.replace(EXPERIMENT, augmentations=[])
    return Step(own, "lamb", model(), imagenet.normalize)


def spread_step(**options):
    return SpreadStep(plain_step(), **options)


def last_weights(checkpoints, steps=11):
    of = _identity(EXPERIMENT, LAMB)
    with (
        Checkpoints(checkpoints, 1, of) as kept,
        contextlib.closing(read_train()) as it,
    ):
        step, state, _ = kept.last(spread_step().state, it)
        assert step == steps
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def read_train(batch_size=16):
    return read("train", batch_size=batch_size, seed=3)


def test_a_streamed_training_is_the_loop_over_its_step(uninterrupted):
    history, checkpoints = uninterrupted
    step = plain_step()
    steps = EXPERIMENT.steps(LAMB, TRAINING_IMAGES)
    assert steps.total == history.steps.total == 11
    rates = EXPERIMENT.learning_rates_by_step(LAMB, steps)
    state, losses = step.start(initial_weights(step.model)), []
    update = jax.jit(step)
    with contextlib.closing(read_train()) as batches:
        for number in range(11):
            key = jax.random.fold_in(jax.random.key(3), number)
            images, labels = next(batches)
            state, loss = update(state, images, labels, key, rates[number], 0.1, 0.01)
            losses.append(float(loss))
    by_period = [np.mean(losses[:4]), np.mean(losses[4:8]), np.mean(losses[8:])]
    np.testing.assert_allclose(history.train_loss, by_period, rtol=1e-6)
    for one, other in zip(
        last_weights(checkpoints), jax.tree.leaves(state), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)

    for split, accuracy, count in (
        ("validation", history.validation_accuracy[-1], 18),
        ("test", history.test_accuracy, 21),
    ):
        judged = [
            step.judge(state.weights, state.others, *batch)
            for batch in read(split, batch_size=16, seed=3)
        ]
        assert accuracy == sum(int(each.correct) for each in judged) / count


def test_a_row_is_told_as_in_a_sweep(uninterrupted):
    line = uninterrupted[0].summary()
    assert line["outcome"] == "finished" and line["steps"] == 11
    assert line["solver"] == "lamb" and line["seconds"] > 0
    assert len(uninterrupted[0].trust_ratios) == 3


@pytest.mark.slow
@pytest.mark.parametrize("stopped_at", [6])  # in the middle of an epoch
def test_stopped_and_gone_on_with_is_as_never_stopped_to_the_last_bit(
    uninterrupted, tmp_path, stopped_at
):
    def until_terminated(split, **given):
        batches = read(split, **given)
        if split != "train":
            return batches
        return Terminating(batches, stopped_at)

    options = {"checkpoint_folder": tmp_path, "steps_between_checkpoints": 11}
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted) as caught:
        train(batches=until_terminated, **options)
    assert f"has kept its step {stopped_at} of 11" in str(caught.value)
    assert signal.getsignal(signal.SIGTERM) is before

    history = train(**options)
    whole, checkpoints = uninterrupted
    assert told(history) == told(whole)
    for one, other in zip(
        last_weights(tmp_path), last_weights(checkpoints), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_packed_training_goes_on_from_a_plain_checkpoint(uninterrupted, tmp_path):
    packed = dataclasses.replace(EXPERIMENT, packed_update=True)
    spread = SpreadStep(
        Step(packed, "lamb", model(), imagenet.normalize), split_weights=True
    )
    assert len(spread.state.weights) < len(spread.plain_state.weights)

    options = {"experiment": packed, "steps_between_checkpoints": 4}
    options["checkpoint_folder"] = tmp_path
    first = train(**options)
    np.testing.assert_allclose(first.train_loss, uninterrupted[0].train_loss, rtol=1e-4)
    # From step 8, the last that was kept, an array a variable, it is trained again.
    again = train(**options)
    assert told(again) == told(first)


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


def test_a_finished_training_is_not_trained_again(uninterrupted):
    history, checkpoints = uninterrupted

    def fail(split, **given):
        batches = read(split, **given)
        if split == "train":
            batches.__class__ = type("Untouched", (type(batches),), {"__next__": None})
        return batches

    again = train(
        batches=fail, checkpoint_folder=checkpoints, steps_between_checkpoints=11
    )
    assert told(again) == told(history)


@pytest.mark.parametrize(
    "trial, experiment, difference",
    [
        (MOMENTUM, EXPERIMENT, "solver is 'lamb', expected 'momentum'"),
        (
            LAMB,
            dataclasses.replace(EXPERIMENT, label_smoothing=0.2),
            "label_smoothing is 0.1, expected 0.2",
        ),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(
    uninterrupted, trial, experiment, difference
):
    _, folder = uninterrupted
    with pytest.raises(ValueError) as caught:
        train(trial, experiment=experiment, checkpoint_folder=folder)
    assert str(caught.value) == (
        f"{folder} holds a checkpoint of a training whose {difference}: give each "
        "training a folder of its own."
    )


def test_a_loss_beyond_use_ends_the_training_with_its_step():
    wild = dataclasses.replace(
        EXPERIMENT, solvers=["momentum"], learning_rates=[1e18], warmup_epochs=0
    )
    given = []

    def count(split, **options):
        given.append(split)
        return read(split, **options)

    history = train(wild.trials()[0], count, wild)
    assert history.outcome == "diverged" and history.diverged_at_step == 2
    assert given == ["train", "validation"]
    assert history.test_accuracy is None and len(history.train_loss) == 1


EIGHT = """
import dataclasses, json, sys
import jax, numpy as np
from lamb_keras.experiments import ParameterError
from lamb_keras.training import streamed_test as own

assert len(jax.devices()) == 8
one = jax.make_mesh(
    (1,), ("batch",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
runs, needs = [], []
for options in ({"mesh": one}, {}, {"split_weights": True}):
    spread = own.spread_step(**options)
    state, losses = spread.start(), []
    batches = own.read_train()
    for number in range(10):
        state, loss = spread.update(
            state, spread.put(next(batches)), np.uint32(3), np.int32(number),
            np.float32(0.02), np.float32(0.1), np.float32(0.01))
        losses.append(float(loss))
    judged, count = spread.judge(state, own.read("test", batch_size=16))
    assert count == 21
    runs.append((losses, [np.asarray(x) for x in jax.tree.leaves(state)], judged))

    stem = state.weights[0]
    assert stem.shape == (3, 3, 3, 8)
    parts = {shard.data.shape for shard in stem.addressable_shards}
    assert parts == {(3, 3, 3, 1 if options.get("split_weights") else 8)}
    moments = [v for v in state.optimizer if v.shape == stem.shape]
    assert len(moments) == 2 and all(v.sharding == stem.sharding for v in moments)
    if "mesh" not in options:
        needs.append(spread.needs(64, (own.SIZE, own.SIZE, 3)))

for losses, leaves, judged in runs[1:]:
    np.testing.assert_allclose(losses, runs[0][0], rtol=1e-5)
    for a, b in zip(leaves, runs[0][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert judged.correct == runs[0][2].correct
    np.testing.assert_allclose(judged.loss, runs[0][2].loss, rtol=1e-5)

whole, split = needs
assert (whole.devices, whole.images_per_device) == (8, 8)
size = sum(leaf.nbytes for leaf in runs[0][1])
assert whole.state_bytes == size and size / 8 <= split.state_bytes < size / 4
assert all(each.peak_bytes > each.state_bytes for each in needs)
kernels = [leaf.size for leaf in runs[0][1][: len(state.weights)] if leaf.ndim == 4]
# Once forwards and twice backwards, a product and a sum for each weight and pixel.
convolutions = 6 * sum(kernels) * own.SIZE**2 * 8
assert convolutions * 0.8 < whole.flops < convolutions * 2

odd = dataclasses.replace(own.EXPERIMENT, batch_size=12)
try:
    own.train(odd.trials()[0], experiment=odd)
    sys.exit("twelve images for eight devices")
except ParameterError as error:
    assert str(error) == (
        "batch_size 12 / batch_divisor 1 is 12 images a step, which 8 devices cannot "
        "share alike: choose a multiple of their number.")
history = own.train(split_weights=True)
print(json.dumps([history.train_loss, history.validation_accuracy]))
"""


@pytest.mark.slow
def test_on_eight_devices_it_is_as_on_one(folder, uninterrupted):
    result = subprocess.run(
        [sys.executable, "-c", EIGHT],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
            "LAMB_KERAS_DATA": str(folder),
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    history, _ = uninterrupted
    losses, accuracies = json.loads(result.stdout)
    np.testing.assert_allclose(losses, history.train_loss, rtol=1e-5)
    assert accuracies == history.validation_accuracy
