import math

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamb_keras.keras_schedules import GoyalSchedule, WarmupPolynomialDecay
from lamb_keras.results import paper
from lamb_keras.schedules import (
    goyal,
    linear_epoch_warmup,
    square_root_scaling,
    two_stages_with_rewarmup,
    warmup_polynomial_decay,
)

# Of 90 epochs of ImageNet's 1,281,167 images, in batches of 16,384.
IMAGENET_STEPS = 7038
# A few lengths at which thirds and eighteenths of the steps are no whole numbers too.
LENGTHS = (1, 2, 3, 9, 10, 89, 90, 97, IMAGENET_STEPS)


def test_the_rate_rises_by_equal_steps_to_the_peak_and_falls_to_zero_after_the_end():
    rates = warmup_polynomial_decay(np.arange(26), 5, 20)
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)
    np.testing.assert_allclose(rates[5:21], 1 - np.arange(16) / 15, atol=1e-6)
    np.testing.assert_array_equal(rates[20:], 0)


def test_no_step_of_the_training_has_a_rate_of_zero():
    for warmup, total, power in ((0, 1, 1.0), (3, 4, 0.5), (58, 1740, 2.0)):
        rates = warmup_polynomial_decay(np.arange(total), warmup, total, power)
        assert np.all(np.asarray(rates) > 0) and np.max(rates) == 1


@pytest.mark.parametrize("power", [0, 0.5, 1.0, 2.0])
def test_the_power_bends_the_decay_and_0_holds_the_rate(power):
    halfway = float(warmup_polynomial_decay(10, 0, 20, power))
    assert halfway == pytest.approx(0.5**power)


# Goyal's recipe


def test_goyals_rates_fall_tenfold_at_epochs_30_60_and_80():
    epochs = np.arange(IMAGENET_STEPS) / IMAGENET_STEPS * 90
    rates = goyal(np.arange(IMAGENET_STEPS), IMAGENET_STEPS)
    for start, end, rate in ((5, 30, 1), (30, 60, 0.1), (60, 80, 0.01), (80, 90, 1e-3)):
        during = rates[(epochs >= start) & (epochs < end)]
        np.testing.assert_allclose(during, rate, rtol=1e-6)


def test_goyals_warmup_is_a_line_of_five_epochs():
    steps = round(IMAGENET_STEPS * 5 / 90)
    rates = goyal(np.arange(IMAGENET_STEPS), IMAGENET_STEPS)
    expected = np.arange(1, steps + 1) / steps
    np.testing.assert_allclose(rates[:steps], expected, rtol=1e-6)
    assert steps == 391 and rates[steps] == 1


@pytest.mark.parametrize("total", LENGTHS)
def test_a_training_of_any_length_reaches_goyals_peak_and_has_no_rate_of_zero(total):
    rates = goyal(np.arange(total), total)
    assert np.all(rates > 0) and np.max(rates) == 1
    warmup = np.count_nonzero(np.maximum.accumulate(rates) < 1)
    assert warmup < max(round(total / 18), 1)
    for epoch, most in ((30, 0.1), (60, 0.01), (80, 0.001)):
        # The first step that starts at this epoch or later, and the one before.
        first = next(s for s in range(total + 1) if 90 * s >= epoch * total)
        np.testing.assert_array_less(rates[first:], 1.1 * most)
        assert first <= round(total / 18) or rates[first - 1] > 1.1 * most


# Scaling to other batches


@pytest.mark.parametrize("number, rate", [(4, 0.005), (5, 0.04)])
def test_square_root_scaling_gives_the_published_rates(number, rate):
    rows = paper.tables()[number].labeled_rows().values()
    ours = [square_root_scaling(rate, row["batch"], 32768) for row in rows]
    assert len(ours) == 7
    assert ours == pytest.approx([row["learning_rate"] for row in rows], rel=1e-12)


def test_table_5_warms_up_for_782_steps_at_every_batch_size():
    for row in paper.tables()[5].labeled_rows().values():
        epochs = linear_epoch_warmup(20, row["batch"], 32768)
        assert epochs == row["warmup_epochs"]
        total = math.ceil(90 * 1281167 / row["batch"])
        assert round(total * epochs / 90) == 782


# On the host, on the device, and for Keras

SCHEDULES = [
    pytest.param(lambda step: warmup_polynomial_decay(step, 5, 97, 2.0), id="poly"),
    pytest.param(lambda step: warmup_polynomial_decay(step, 0, 97, 0), id="constant"),
    pytest.param(lambda step: goyal(step, 97), id="goyal"),
    pytest.param(
        lambda step: two_stages_with_rewarmup(step, 5, 60, 7, 37, 0.7), id="mixed"
    ),
]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rates_of_numpy_are_those_of_jax(schedule):
    steps = np.arange(100)
    on_host = schedule(steps)
    assert isinstance(on_host, np.ndarray) and on_host.dtype == "float32"
    for rates in (schedule(jnp.arange(100)), jax.jit(jax.vmap(schedule))(steps)):
        assert isinstance(rates, jax.Array) and rates.dtype == "float32"
        np.testing.assert_allclose(rates, on_host, rtol=1e-6)
    assert [float(schedule(int(s))) for s in steps] == on_host.tolist()


WARMUP = WarmupPolynomialDecay(0.1, warmup_steps=2, total_steps=36, power=0.5)
GOYAL = GoyalSchedule(0.1, total_steps=36)


@pytest.mark.parametrize("schedule", [WARMUP, GOYAL])
def test_keras_gives_each_step_of_a_training_its_rate(schedule):
    steps = np.arange(36)
    fractions = goyal(steps, 36)
    if schedule is WARMUP:
        fractions = warmup_polynomial_decay(steps, 2, 36, 0.5)
    weight = keras.Variable([0.0])
    optimizer = keras.optimizers.SGD(schedule)
    optimizer.build([weight])
    step = jax.jit(lambda s, w: optimizer.stateless_apply(s, [-jnp.ones(1)], w))
    state, weights, path = [v.value for v in optimizer.variables], [weight.value], [0.0]
    for _ in steps:
        weights, state = step(state, weights)
        path.append(float(weights[0][0]))
    np.testing.assert_allclose(np.diff(path), 0.1 * fractions, atol=1e-6)


@pytest.mark.parametrize("schedule", [WARMUP, GOYAL])
def test_keras_survives_a_round_trip_of_the_schedule(schedule):
    copy = keras.optimizers.schedules.deserialize(
        keras.optimizers.schedules.serialize(schedule)
    )
    assert [float(copy(s)) for s in range(7)] == [float(schedule(s)) for s in range(7)]


@pytest.mark.parametrize("warmup, total", [(6, 6), (-1, 6), (7, 6)])
def test_a_warmup_that_leaves_no_decay_is_refused(warmup, total):
    with pytest.raises(ValueError, match="0 <= warmup_steps < total_steps"):
        WarmupPolynomialDecay(0.1, warmup, total)


def test_a_training_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="total_steps is 0; expected at least 1"):
        GoyalSchedule(0.1, 0)
