"""The loss and the metrics of image classification, and the memory that it takes."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamb_keras import models
from lamb_keras.optimizers import solvers
from lamb_keras.training import memory
from lamb_keras.training.classification import Classification
from lamb_keras.training.step import (
    Constants,
    State,
    Step,
    cross_entropy,
    initial_weights,
)
from lamb_keras.training.trainer import order


class Says:
    """A "model" whose logits are its images."""

    trainable_variables = ()

    def stateless_call(self, weights, non_trainable, images, training):
        return images, non_trainable


def unchanged(images):
    return images


def sums(logits, labels):
    batch = jnp.asarray(logits, "float32"), jnp.asarray(labels)
    return Classification(Says(), unchanged).outputs([], [], batch)


def step(model, normalize=unchanged, solver="momentum"):
    return Step(Classification(model, normalize), solvers.solver(solver))


def test_the_label_counts_where_it_is_first_or_among_the_first_five():
    found = sums(np.tile(np.arange(10.0), (10, 1)), np.arange(10))
    assert (int(found["accuracy"]), int(found["top5"]), int(found["count"])) == (
        1, 5, 10,
    )  # fmt: skip
    # Of equal logits the first class wins.
    found = sums(np.zeros((10, 10)), np.arange(10))
    assert (int(found["accuracy"]), int(found["top5"])) == (1, 5)


def test_padding_counts_for_nothing():
    logits = np.eye(3)[[0, 1, 2, 0]]
    found, alone = sums(logits, [0, 1, -1, -1]), sums(logits[:2], [0, 1])
    assert int(found["accuracy"]) == int(found["count"]) == 2
    assert float(found["loss"]) == pytest.approx(float(alone["loss"]))


def test_what_is_no_number_is_not_right():
    found = sums(np.full((2, 3), np.nan), [0, 1])
    assert (int(found["accuracy"]), int(found["top5"])) == (0, 0)
    assert np.isnan(found["loss"])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_kerass(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(8, 5)), rng.integers(0, 5, 8)
    expected = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing
    )(keras.utils.to_categorical(labels, 5), logits)
    ours = jnp.mean(cross_entropy(jnp.asarray(logits), labels, smoothing))
    assert float(ours) == pytest.approx(float(expected), rel=1e-6)


def test_l2_pulls_all_weights_but_those_of_normalization_layers():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, bias_initializer="ones"),
            keras.layers.BatchNormalization(beta_initializer="ones"),
            keras.layers.Dense(2, bias_initializer="ones"),
        ]
    )
    trained = step(model)
    state = trained.start(initial_weights(model))
    batch = np.ones((4, 3), "float32"), np.zeros(4, "int32"), 0
    _, _, without = trained.gradients(state, batch, Constants(l2=0.0))
    _, _, with_l2 = trained.gradients(state, batch, Constants(l2=0.5))
    for variable, weight, a, b in zip(
        model.trainable_variables, state.weights, without, with_l2, strict=True
    ):
        pull = 0.0 if variable.name in ("gamma", "beta") else 0.5
        np.testing.assert_allclose(b - a, pull * weight, atol=1e-6)


def test_pixels_are_normalized_before_the_model_sees_them():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    plain = Classification(model, unchanged)
    halved = Classification(model, lambda images: images / 2)
    weights = initial_weights(model)
    images, labels = np.ones((4, 3), "float32"), np.zeros(4, "int32")
    direct, _ = plain.loss(*weights, (images, labels, 0), Constants())
    assert direct == halved.loss(*weights, (2 * images, labels, 0), Constants())[0]
    evaluated = plain.outputs(*weights, (images, labels))["loss"]
    assert evaluated == halved.outputs(*weights, (2 * images, labels))["loss"]


# The order of the images


def test_every_epoch_shows_every_image_once_in_an_order_of_its_own():
    stream = order(seed=0, images=7, count=21).reshape(3, 7)
    assert all(sorted(epoch) == list(range(7)) for epoch in stream.tolist())
    assert len({tuple(epoch) for epoch in stream.tolist()}) == 3
    assert not np.array_equal(order(0, 50, 50), order(1, 50, 50))


def test_the_order_is_the_same_on_every_machine_and_for_every_length():
    assert order(0, 6, 8).tolist() == [5, 2, 1, 3, 0, 4, 1, 3]
    assert order(0, 6, 40)[:8].tolist() == order(0, 6, 8).tolist()


# Memory


def described(batch):
    return (
        jax.ShapeDtypeStruct((batch, 28, 28, 1), "float32"),
        jax.ShapeDtypeStruct((batch,), "int32"),
        jax.ShapeDtypeStruct((), "int32"),
    )


@pytest.fixture(scope="module")
def lenet():
    return models.lenet((28, 28, 1), 10, 0)


def test_what_a_trial_needs_grows_with_its_batch(lenet):
    needed = [
        memory.trial_bytes(
            step(lenet, solver="adam"), initial_weights(lenet), described(n)
        )
        for n in (1, 64, 128)
    ]
    # Old and new of weights and two moments, and the gradients.
    assert needed[0] > 7 * 4 * 61_706
    # At least the images themselves and the first layer's output.
    assert (needed[2] - needed[1]) / 64 > 4 * (28 * 28 + 28 * 28 * 6)


def test_the_estimate_is_near_what_the_compiler_says(lenet):
    trained, initial = step(lenet, solver="adam"), initial_weights(lenet)

    def update(state: State, batch):
        _, non_trainable, gradients = trained.gradients(state, batch, Constants())
        state = state._replace(non_trainable=non_trainable)
        return trained.apply(state, gradients, 0.1, 0.0)

    state = trained.start(initial)
    compiled = jax.jit(update).lower(state, described(512)).compile()
    used = compiled.memory_analysis().temp_size_in_bytes
    assert 0.5 < memory.trial_bytes(trained, initial, described(512)) / used < 2


@pytest.mark.parametrize(
    ("trials", "usable", "divisor", "expected"),
    [
        (20, 1000, 1, 20),
        (20, 199, 1, 10),  # groups are equally large
        (20, 66, 1, 5),
        (20, 9, 1, 1),
        (20, None, 1, 1),
        (8, 80, 2, 4),
        (8, 10, 2, 1),
    ],
)
def test_as_many_trials_run_at_once_as_fit(
    monkeypatch, trials, usable, divisor, expected
):
    monkeypatch.setattr(memory, "usable_bytes", lambda: usable)
    monkeypatch.setenv("LAMB_KERAS_WIDTH_DIVISOR", str(divisor))
    assert memory.width(trials, trial_bytes=10) == expected
