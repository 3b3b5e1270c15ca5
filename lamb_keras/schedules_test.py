import keras
import numpy as np
import pytest

from lamb_keras.schedules import WarmupPolynomialDecay, warmup_polynomial_decay


def test_the_rate_rises_by_equal_steps_to_the_peak():
    steps = np.arange(5)
    np.testing.assert_allclose(
        warmup_polynomial_decay(steps, 5, 20), [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6
    )


def test_the_decay_starts_at_the_peak_and_ends_at_zero_after_the_last_step():
    rates = warmup_polynomial_decay(np.arange(5, 21), 5, 20)
    np.testing.assert_allclose(rates, 1 - np.arange(16) / 15, atol=1e-6)


def test_no_step_of_the_training_has_a_rate_of_zero():
    for warmup, total, power in ((0, 1, 1.0), (3, 4, 0.5), (58, 1740, 2.0)):
        rates = warmup_polynomial_decay(np.arange(total), warmup, total, power)
        assert np.all(np.asarray(rates) > 0) and np.max(rates) == 1


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_power_bends_the_decay(power):
    halfway = float(warmup_polynomial_decay(10, 0, 20, power))
    assert halfway == pytest.approx(0.5**power)


def test_the_rate_stays_zero_after_the_end():
    assert float(warmup_polynomial_decay(25, 5, 20, 0.5)) == 0


def test_keras_survives_a_round_trip_of_the_schedule():
    schedule = WarmupPolynomialDecay(0.1, warmup_steps=2, total_steps=6, power=0.5)
    copy = keras.optimizers.schedules.deserialize(
        keras.optimizers.schedules.serialize(schedule)
    )
    assert [float(copy(s)) for s in range(7)] == [float(schedule(s)) for s in range(7)]


@pytest.mark.parametrize("warmup, total", [(6, 6), (-1, 6), (7, 6)])
def test_a_warmup_that_leaves_no_decay_is_refused(warmup, total):
    with pytest.raises(ValueError, match="0 <= warmup_steps < total_steps"):
        WarmupPolynomialDecay(0.1, warmup, total)
