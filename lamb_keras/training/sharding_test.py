"""Eight devices train and evaluate as one does, and refuse what they cannot share."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from lamb_keras import data, models, training
from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.training import bert
from lamb_keras.training.conftest import changed
from lamb_keras.training.sharding import Sharding

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


def measured():
    """What trainings of both kinds measure on the devices there are."""
    images = data.open("digits", 0.2)
    texts = changed(**BERT).open()
    sweeps = [
        training.sweep(LENET, images, models.lenet),
        bert.sweep(changed(**BERT), texts),
    ]
    return [
        {
            "evaluations": history.evaluations,
            "ratios": history.ratios,
            "test_metrics": history.test_metrics,
            "f1": [tuned["f1"] for tuned in history.finetunings],
        }
        for sweep in sweeps
        for history in sweep.histories
    ]


# Eight devices have to be asked for before JAX starts, hence a process of its own.
EIGHT = """
import json
from lamb_keras.training import sharding_test as own
print(json.dumps(own.measured()))
"""


@pytest.mark.slow
def test_eight_devices_train_as_one_does():
    assert len(jax.devices()) == 1
    flags = "--xla_force_host_platform_device_count=8"
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", EIGHT]
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for ours, alone in zip(json.loads(result.stdout), measured(), strict=True):
        for row, other in zip(ours["evaluations"], alone["evaluations"], strict=True):
            assert row == pytest.approx(other, rel=1e-5)
        assert ours["evaluations"][-1]["step"] > 50
        # Norms of a bias whose gradient is zero but for rounding are left out.
        ratios = (np.array(each["ratios"])[:, 0] for each in (ours, alone))
        np.testing.assert_allclose(*ratios, rtol=1e-5)
        assert ours["test_metrics"] == pytest.approx(alone["test_metrics"], rel=1e-5)
        assert ours["f1"] == pytest.approx(alone["f1"], rel=1e-5)


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


def test_a_batch_lies_in_equal_parts_on_the_devices_and_weights_on_each():
    sharding = Sharding()
    rows = sharding.own_rows(np.arange(8).reshape(2, 4), axis=1)
    assert rows.shape == (2, 4) and sharding.size == len(jax.devices())
    assert sharding.replicated([np.float32(1)])[0].sharding == sharding.whole
