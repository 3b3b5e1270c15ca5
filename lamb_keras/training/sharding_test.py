"""Eight devices train and evaluate as one does, and refuse what they cannot share."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lamb_keras import data, models, training
from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.training import bert
from lamb_keras.training.bert import BertTrials
from lamb_keras.training.conftest import changed
from lamb_keras.training.gradients import mean_gradients
from lamb_keras.training.history import History
from lamb_keras.training.masked_lm import Batch
from lamb_keras.training.sharding import Sharding
from lamb_keras.training.step import Constants
from lamb_keras.training.trainer import start, train

LENET = ImageExperiment(
    notebook="lenet_mnist",
    table=7,
    scale="laptop",
    dataset="digits",
    solvers=["lamb"],
    learning_rates=[0.01],
    batch_size=1024,
    batch_divisor=16,
    epochs=3,
    warmup_epochs=1,
    weight_decay=0.01,
    seeds=[0],
    validation_fraction=0.2,
)
BERT = {
    "batch_divisor": 32,  # 16 sequences a step, 54 steps
    "steps_divisor": 19_000,
    "second_stage": 0.0,
    "micro_batch_size": 1,  # of a device, so that eight add up two
    "looks": 2,
    "packed_update": True,
}


# A net that hides nothing: momentum's steps are as long as gradients are.
MOMENTUM = {
    "solvers": ["momentum"],
    "learning_rates": [0.05],
    "weight_decay": 0.0,
    "global_clipnorm": None,
    "packed_update": False,
    "layers": 2,
    "batch_divisor": 32,
    "steps_divisor": 100_000,  # 10 steps
    "micro_batch_size": 1,
    "looks": 2,
}


def measured():
    """What trainings of all kinds measure on the devices there are."""
    digits, texts = data.open("digits", 0.2), changed(**BERT).open()
    tiny = {"width": 4, "blocks": [1]}
    resnet = replace(LENET, notebook="resnet50_imagenet", table=9, **tiny)
    davidnet = replace(LENET, notebook="davidnet_cifar10", table=6, width=4)
    sweeps = [
        training.sweep(LENET, digits, models.lenet),
        training.sweep(resnet, digits, functools.partial(models.resnet50, **tiny)),
        training.sweep(davidnet, digits, functools.partial(models.davidnet, width=4)),
        bert.sweep(changed(**BERT), texts),
    ]
    return {
        "sweeps": [
            {
                "evaluations": history.evaluations,
                "ratios": history.ratios,
                "test_metrics": history.test_metrics,
                "f1": [tuned["f1"] for tuned in history.finetunings],
            }
            for sweep in sweeps
            for history in sweep.histories
        ],
        "weights": {str(c): pretrained(texts, global_clipnorm=c) for c in (None, 0.5)},
    }


def pretrained(texts, **parameters):
    """The weights of a pre-training by momentum, layer by layer, as lists."""
    trials = BertTrials(changed(**MOMENTUM | parameters), texts)
    step, group = trials.step("momentum"), trials.experiment.trials()
    first = start(step, [trials.initial(0)], sharding=trials.sharding)
    histories = [History(group[0], step.layers)]
    last = train(first, histories, trials.periods(group, 0), lambda _: [{}])
    return [np.asarray(weight).tolist() for weight in last.state.weights]


def shared():
    """What eight devices do that have equal parts of a batch, with dropout."""
    texts = changed().open()
    trials = BertTrials(changed(**MOMENTUM | {"dropout": 0.5}), texts)
    step, sharding = trials.step("momentum"), trials.sharding
    progress = start(step, [trials.initial(0)], sharding=sharding)
    rows = texts.sequences(32)[np.zeros(8, int)]
    rows["number"] = np.zeros(8, "int32")
    rows = {name: array[None] for name, array in rows.items()}
    rows = Batch(predictions=np.float32([40]), **rows)
    of_one = jax.tree.map(lambda array: array[0, :1], rows._replace(predictions=None))
    of_one = of_one._replace(predictions=np.float32(40))
    weights, generators, _ = jax.tree.map(np.asarray, progress.state)
    # Its part of the sum, as often as there are devices.
    constants = Constants(micro_batches=np.int32(8))
    loss = jax.jit(step.task.loss)
    own = [
        [
            jax.random.key_data(jax.random.fold_in(jax.random.wrap_key_data(g), k))
            for g in generators
        ]
        for k in range(8)
    ]
    weights = step.task.stack(weights)
    each, drawn_alone = zip(
        *(loss(weights, g, of_one, constants) for g in own), strict=True
    )
    find = jax.jit(mean_gradients(step, False, sharding))
    here = sharding.share(rows, axis=1)
    ours, drawn, found = find(progress.state, 0, here, Constants(), ())
    moved = [
        after - before for after, before in zip(drawn_alone[3], own[3], strict=True)
    ]
    pairs = zip(drawn, generators, moved, strict=True)
    equal = [np.array_equal(after, before + by) for after, before, by in pairs]
    embedding, gradient = progress.state.weights[0], found[0]
    return {
        "loss": float(ours),
        "of_masks": [float(loss) for loss in each],
        "drew_alike": all(equal) and len(equal) == 7,
        "places": [
            [str(each.sharding.spec), each.addressable_shards[0].data.shape]
            for each in (embedding, gradient)
        ],
    }


def summed(count):
    """Whether devices that sum arrays have their parts of the sums."""
    sharding = Sharding(jax.devices()[:count])
    shapes = (96, 64), (30, 64), (7, 128), (1024,), (63,)
    arrays = [np.arange(np.prod(s), dtype="float32").reshape(s) for s in shapes]
    places = sharding.split(arrays)

    def on_device(*arrays):
        index = jax.lax.axis_index(sharding.axes)
        pairs = zip(arrays, places, strict=True)
        return [sharding.sum((index + 1) * array, place) for array, place in pairs]

    none = sharding.whole.spec
    specs = [place.spec for place in places]
    options = {"mesh": sharding.mesh, "check_vma": False}
    sums = jax.shard_map(on_device, in_specs=none, out_specs=specs, **options)(*arrays)
    pairs = zip(sums, arrays, strict=True)
    return [np.array_equal(got, count * (count + 1) / 2 * a) for got, a in pairs]


# Eight devices have to be asked for before JAX starts, hence a process of its own.
EIGHT = """
import json
from lamb_keras.training import sharding_test as own
sums = [own.summed(count) for count in (2, 5, 6, 8)]
print(json.dumps([own.measured(), own.shared(), sums]))
"""


@pytest.fixture(scope="module")
def on_eight():
    flags = "--xla_force_host_platform_device_count=8"
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", EIGHT]
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def alone():
    assert len(jax.devices()) == 1
    return measured()


@pytest.mark.slow
def test_eight_devices_train_as_one_does(on_eight, alone):
    pairs = zip(on_eight[0]["sweeps"], alone["sweeps"], strict=True)
    for number, (ours, one) in enumerate(pairs):
        for row, other in zip(ours["evaluations"], one["evaluations"], strict=True):
            for name in ("step", "train_loss", "validation_loss"):
                assert row[name] == pytest.approx(other[name], rel=1e-5), number
            # An image may be as near to one class as to another.
            accuracy = row["validation_accuracy"], other["validation_accuracy"]
            assert abs(accuracy[0] - accuracy[1]) < 0.01
        assert ours["f1"] == pytest.approx(one["f1"], rel=1e-5)
        if number in (0, 3):
            assert ours["test_metrics"] == pytest.approx(one["test_metrics"], rel=1e-5)
            # Norms of a bias whose gradient is zero but for rounding are left out, and
            # nets with batch normalization, of which many gradients are nearly so.
            ratios = (np.array(each["ratios"])[:, 0] for each in (ours, one))
            np.testing.assert_allclose(*ratios, rtol=1e-5)
    assert number == 3


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["None", "0.5"])
def test_eight_devices_have_the_gradients_of_one_and_their_norm(on_eight, alone, clip):
    ours, one = (each["weights"][clip] for each in (on_eight[0], alone))
    for weight, other in zip(ours, one, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-6)
    # Gradients are longer than that, and shorter than a batch's eight times.
    unlike = zip(*alone["weights"].values(), strict=True)
    assert max(np.max(np.abs(np.subtract(*pair))) for pair in unlike) > 0.001


@pytest.mark.slow
def test_devices_have_their_parts_of_sums_however_many_they_are(on_eight):
    assert on_eight[2] == [[True] * 5] * 4


@pytest.mark.slow
def test_every_device_has_a_part_of_a_matrix_and_masks_of_its_own(on_eight):
    [weight, gradient] = on_eight[1]["places"]
    assert weight == gradient and np.prod(weight[1]) == 400 * 16 / 8
    each = on_eight[1]["of_masks"]
    assert on_eight[1]["loss"] == pytest.approx(np.mean(each), rel=1e-5)
    assert len(set(each)) == 8
    assert on_eight[1]["drew_alike"]


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [
        (
            LENET,
            "batch_size 1024 / batch_divisor 16 is 64 images a step, which 5 devices "
            "cannot share alike; the nearest that they can is 60 or 65",
        ),
        (
            changed(),
            "batch_size 512 / batch_divisor 64 is 8 sequences a step, which 5 devices "
            "cannot share alike; the nearest that they can is 5 or 10",
        ),
    ],
)
def test_a_batch_that_devices_cannot_share_is_refused(experiment, sentence):
    with pytest.raises(ParameterError) as caught:
        experiment.check_devices(5)
    assert str(caught.value) == sentence


def test_a_micro_batch_that_does_not_divide_a_devices_part_is_refused():
    experiment = changed(batch_size=[768], micro_batch_size=4)  # 12 a step
    experiment.check_devices(4)
    with pytest.raises(ParameterError, match="6 sequences for each of 2 devices.* 3"):
        experiment.check_devices(2)


@pytest.mark.parametrize(
    ("sizes", "shape", "parts"),
    [
        ([2] * 11, (30_522, 1024), (2, 1024)),  # a v3 slice, BERT-Large's embedding
        ([2] * 3, (1024, 4096), (1, 8)),
        ([2, 3], (768, 30_522), (1, 6)),
        ([2, 3], (1024, 4096), (1, 2)),
        ([5], (1024, 4096), (1, 1)),
        ([2] * 3, (63,), (1,)),
    ],
)
def test_sides_are_split_as_far_as_devices_divide_them(sizes, shape, parts):
    sharding = Sharding.__new__(Sharding)
    sharding.axes = tuple(f"axis_{n}" for n in range(len(sizes)))
    sharding.mesh = jax.sharding.AbstractMesh(tuple(sizes), sharding.axes)
    sharding.whole = NamedSharding(sharding.mesh, PartitionSpec())
    array = jax.ShapeDtypeStruct(shape, "float32")
    place = sharding.split(array)
    assert np.divide(shape, place.shard_shape(shape)).tolist() == list(parts)
