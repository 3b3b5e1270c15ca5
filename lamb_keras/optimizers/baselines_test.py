"""Keras's own Adam, AdamW, momentum and Adagrad, the paper's baselines, are optax's.

Where they are not it is said: the ε of Adam, and the one inside Adagrad's root.
"""

import keras
import numpy as np
import optax
import pytest

from lamb_keras.optimizers.references_test import (
    SMALL,
    distance,
    follow,
    problem,
    train,
    train_optax,
)

LR = 0.01
FLOAT32 = 1e-5


@pytest.mark.parametrize(
    "kerass, optaxs",
    [
        pytest.param(
            lambda: keras.optimizers.Adam(LR, epsilon=0.0),
            optax.adam(LR, eps=0.0),
            id="adam",
        ),
        pytest.param(
            lambda: keras.optimizers.AdamW(LR, epsilon=0.0, weight_decay=0.1),
            optax.adamw(LR, eps=0.0, weight_decay=0.1),
            id="adamw",
        ),
        pytest.param(
            lambda: keras.optimizers.SGD(LR, momentum=0.9),
            optax.sgd(LR, momentum=0.9),
            id="momentum",
        ),
        pytest.param(
            lambda: keras.optimizers.SGD(LR, momentum=0.9, nesterov=True),
            optax.sgd(LR, momentum=0.9, nesterov=True),
            id="nesterov",
        ),
        pytest.param(
            lambda: keras.optimizers.Adagrad(LR, epsilon=1e-7),
            optax.adagrad(LR, initial_accumulator_value=0.1, eps=1e-7),
            id="adagrad",
        ),
    ],
)
def test_a_baseline_of_keras_is_optaxs(kerass, optaxs):
    weights, gradients = problem()
    expected = train_optax(optaxs, weights, gradients)
    assert distance(train(kerass(), weights, gradients), expected) < FLOAT32


def adam(w, gradients, lr, eps, inside_correction):
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        root = np.sqrt(1 - 0.999**t)
        divisor = (np.sqrt(v) + eps) / root if inside_correction else np.sqrt(v) / root
        divisor = divisor if inside_correction else divisor + eps
        w = w - lr * m / (1 - 0.9**t) / divisor
    return w


def test_the_epsilon_of_keras_adam_is_added_before_bias_correction():
    # The paper's (and optax's) is added after; with small gradients this tells.
    weights, gradients = problem(gradient_scale=SMALL)
    of = {"weights": weights, "gradients": gradients, "lr": LR, "eps": 1e-7}
    kerass = train(keras.optimizers.Adam(LR, epsilon=1e-7), weights, gradients)
    before = follow(adam, inside_correction=True, **of)
    after = follow(adam, inside_correction=False, **of)
    optaxs = train_optax(optax.adam(LR, eps=1e-7), weights, gradients)
    assert distance(kerass, before) < FLOAT32 < 1e-2 < distance(kerass, after)
    assert distance(optaxs, after) < FLOAT32


def test_keras_adagrad_starts_its_sum_of_squares_at_a_tenth():
    weights, gradients = problem(steps=1)
    ours = train(keras.optimizers.Adagrad(LR, epsilon=0.0), weights, gradients)
    for path, g in gradients[0].items():
        expected = weights[path] - LR * g / np.sqrt(0.1 + g**2)
        assert ours[path] == pytest.approx(expected, rel=1e-5)
