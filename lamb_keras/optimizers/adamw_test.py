import keras
import numpy as np
import pytest

from lamb_keras.optimizers import AdamW
from lamb_keras.optimizers.references_test import (
    distance,
    follow,
    make_variables,
    precision,
    problem,
    train,
)

FORMS = ("per_step", "times_learning_rate")
LR = 0.02


def reference(w, gradients, form, wd=0.05, b1=0.9, b2=0.999, eps=1e-8):
    """AdamW of one tensor, in the order that TensorFlow 1 has: decay, then Adam."""
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        lr = LR / t  # A rate that changes tells the two forms' decays apart.
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        w = w - (wd if form == "per_step" else lr * wd) * w
        w = w - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
    return w


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return LR / (keras.ops.cast(step, keras.config.floatx()) + 1)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_its_formula(form, dtype, tolerance):
    weights, gradients = problem(steps=20)
    with precision(dtype):
        optimizer = AdamW(
            Falling(), weight_decay=0.05, weight_decay_form=form, epsilon=1e-8
        )
        ours = train(optimizer, weights, gradients)
    assert distance(ours, follow(reference, weights, gradients, form=form)) < tolerance


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"gradient_accumulation_steps": 3},
        {"global_clipnorm": 0.5},
        {"use_ema": True, "ema_overwrite_frequency": 4},
        {"amsgrad": True},
    ],
    ids=lambda more: ",".join(more) or "plain",
)
def test_the_form_times_learning_rate_is_keras(more):
    weights, gradients = problem(steps=7)
    kerass = keras.optimizers.AdamW(LR, weight_decay=0.05, **more)
    ours = AdamW(LR, weight_decay=0.05, weight_decay_form="times_learning_rate", **more)
    expected = train(kerass, weights, gradients)
    assert distance(train(ours, weights, gradients), expected) == 0


def test_per_step_the_weights_lose_their_part_whatever_the_learning_rate():
    for learning_rate in (0.0, 1e-4, 1.0):
        weight = keras.Variable([3.0, -4.0])
        optimizer = AdamW(learning_rate, weight_decay=0.25)
        for _ in range(3):
            optimizer.apply([keras.ops.zeros(2)], [weight])
        np.testing.assert_allclose(weight, 0.75**3 * np.array([3.0, -4.0]), rtol=1e-6)


def test_accumulated_steps_decay_once():
    weight = keras.Variable([4.0])
    optimizer = AdamW(0.0, weight_decay=0.5, gradient_accumulation_steps=2)
    after = []
    for _ in range(4):
        optimizer.apply([keras.ops.ones(1)], [weight])
        after.append(float(weight[0]))
    assert after == [4.0, 2.0, 2.0, 1.0]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_excluded_does_not_decay(form):
    kernel = keras.Variable([1.0], name="kernel")
    bias = keras.Variable([1.0], name="bias")
    optimizer = AdamW(0.5, weight_decay=0.5, weight_decay_form=form)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([keras.ops.zeros(1)] * 2, [kernel, bias])
    assert float(bias[0]) == 1 > float(kernel[0])

    weights, gradients = problem(steps=5)
    excluding, without, whole = (
        AdamW(LR, weight_decay=decay, weight_decay_form=form, **excluded)
        for decay, excluded in (
            (0.5, {"exclude_from_weight_decay": ["^dense/"]}),
            (0.0, {}),
            (0.5, {}),
        )
    )
    copy = AdamW.from_config(excluding.get_config())
    ours, expected, decayed = (
        train(each, weights, gradients) for each in (excluding, without, whole)
    )
    assert distance(train(copy, weights, gradients), ours) == 0
    for path in weights:
        other = expected if path.startswith("dense/") else decayed
        np.testing.assert_array_equal(ours[path], other[path])


def test_a_pattern_that_matches_nothing_warns_with_the_paths_there_are():
    weights, _ = problem()
    optimizer = AdamW(weight_decay=0.5, exclude_from_weight_decay=["bias", "biass"])
    with pytest.warns(UserWarning, match="'biass', which matches no .*conv/kernel"):
        optimizer.build(make_variables(weights))


@pytest.mark.parametrize("form", FORMS)
def test_keras_survives_a_round_trip(form):
    optimizer = AdamW(
        0.1, weight_decay=0.3, weight_decay_form=form, epsilon=1e-8, clipnorm=1.0
    )
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy.get_config() == optimizer.get_config()
    assert copy.weight_decay_form == form


def test_a_model_trains_with_it():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(AdamW(0.1, weight_decay=0.001), loss="mse")
    losses = model.fit(x, x @ [[1.0], [2.0], [3.0]], epochs=20, verbose=0)
    assert losses.history["loss"][-1] < 0.1 * losses.history["loss"][0]


def test_a_wrong_form_is_refused():
    message = "is 'keras'; expected one of 'per_step', 'times_learning_rate'"
    with pytest.raises(ValueError, match=message):
        AdamW(0.1, weight_decay=0.1, weight_decay_form="keras")
