import jax
import numpy as np
import pytest

from lamb_keras import models
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.training import memory
from lamb_keras.training.step import Step, initial_weights

EXPERIMENT = ImageExperiment(
    notebook="lenet_mnist",
    table=7,
    scale="laptop",
    dataset="digits",
    solvers=["adam"],
    learning_rates=[0.001],
    weight_decay=0.0,
    batch_size=64,
    epochs=1,
    seeds=[0],
    validation_fraction=0.2,
)


def needed(batch):
    model = models.lenet((28, 28, 1), 10, 0)
    step = Step(EXPERIMENT, "adam", model, lambda images: images)
    state = step.start(initial_weights(model))
    return memory.trial_bytes(
        state,
        state.weights,
        lambda weights, *images: step.loss(weights, state.others, *images),
        jax.ShapeDtypeStruct((batch, 28, 28, 1), "float32"),
        jax.ShapeDtypeStruct((batch,), "int32"),
    )


def test_what_a_trial_needs_grows_with_its_batch_by_what_the_backward_pass_keeps():
    small, large, larger = needed(64), needed(128), needed(192)
    assert larger - large == pytest.approx(large - small, rel=1e-3)
    # At least the images themselves and the first layer's output.
    assert (large - small) / 64 > 4 * (28 * 28 + 28 * 28 * 6)


def test_what_a_trial_needs_holds_weights_moments_and_gradients():
    weights = 4 * 61_706
    # Old and new of weights and two moments, and the gradients.
    assert needed(1) > 7 * weights


def test_the_estimate_is_near_what_the_compiler_says():
    model = models.lenet((28, 28, 1), 10, 0)
    step = Step(EXPERIMENT, "adam", model, lambda images: images)
    state = step.start(initial_weights(model))
    compiled = (
        jax.jit(step)
        .lower(
            state,
            jax.ShapeDtypeStruct((512, 28, 28, 1), "float32"),
            jax.ShapeDtypeStruct((512,), "int32"),
            jax.random.key(0),
            *[np.float32(0)] * 3,
        )
        .compile()
    )
    used = compiled.memory_analysis().temp_size_in_bytes
    assert 0.5 < needed(512) / used < 2


@pytest.mark.parametrize(
    ("trials", "usable", "expected"),
    [(20, 1000, 20), (20, 199, 10), (20, 66, 5), (20, 9, 1), (1, 1000, 1)],
)
def test_groups_are_equally_large_and_fit(trials, usable, expected):
    assert memory.width(trials, trial_bytes=10, usable_bytes=usable) == expected


def test_one_at_a_time_where_the_memory_is_unknown():
    assert memory.width(20, trial_bytes=10, usable_bytes=None) == 1


def test_half_as_many_are_no_less_than_one():
    assert memory.width(8, 10, 80, divisor=2) == 4
    assert memory.width(8, 10, 10, divisor=2) == 1
