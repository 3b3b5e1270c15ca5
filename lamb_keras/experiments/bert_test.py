import math

import numpy as np
import pytest

from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.experiments.types import ParameterError
from lamb_keras.experiments.validation_test import TABLE_1
from lamb_keras.results import paper

SCALED = {
    **TABLE_1,
    "solvers": ["lamb"],
    "learning_rates": [0.005],
    "learning_rate_multiplier": 1.0,
    "batch_size": 512,
    "base_batch_size": 32768,
    "warmup_fraction": 0.2,
    "rewarmup": True,
    "micro_batch_size": 4,
}
ROWS = paper.tables()[4].labeled_rows().values()


def changed(**parameters):
    return BertExperiment(**{**SCALED, **parameters})


def of_table_4(batch_size, **changes):
    """An experiment at the paper's scale, or another, and its trial."""
    full = {"steps_divisor": 1.0, "batch_divisor": 1, "micro_batch_size": 1, "looks": 2}
    experiment = changed(**full | {"batch_size": batch_size} | changes)
    (trial,) = experiment.trials()
    return experiment, trial


def steps_of(batch_size, steps_divisor=1.0, **changes):
    experiment, trial = of_table_4(batch_size, **changes)
    return experiment._steps(trial, steps_divisor)


def test_a_scale_shrinks_batches_and_steps_and_keeps_the_warmups_part():
    experiment = changed(batch_size=[512, 32768, "65536/32768"])
    stages = [experiment.stages(trial) for trial in experiment.trials()]
    sizes = [[stage.sequences_per_step for stage in each] for each in stages]
    assert sizes == [[4, 4], [256, 256], [512, 256]]
    steps = [[stage.steps for stage in each] for each in stages]
    assert steps == [[4608, 512], [72, 8], [36, 8]]
    assert [stage.micro_batches for stage in stages[2]] == [128, 64]
    assert [experiment.warmup_steps(t) for t in experiment.trials()] == [16, 16, 18]


def test_decay_times_the_rate_is_what_adamw_takes_off():
    experiment = changed(solvers=["adamw"], weight_decay=0.5)
    (trial,) = experiment.trials()
    np.testing.assert_allclose(
        experiment.weight_decays_by_step(trial),
        0.5 * experiment.learning_rates_by_step(trial),
    )
    experiment = changed(weight_decay=0.5)
    assert set(experiment.weight_decays_by_step(*experiment.trials())) == {0.5}


def test_a_scales_multiplier_is_of_the_rate_and_not_in_the_trials_name():
    plain, more = changed(), changed(learning_rate_multiplier={"lamb": 4.0})
    assert plain.trials() == more.trials()
    (trial,) = plain.trials()
    np.testing.assert_allclose(
        more.learning_rates_by_step(trial),
        4 * plain.learning_rates_by_step(trial),
        rtol=1e-6,
    )


def test_every_batch_of_table_1_takes_its_published_steps():
    rows = paper.tables()[1].labeled_rows().values()
    assert len(rows) == 9
    for row in rows:
        experiment, trial = of_table_4(row["batch_size"])
        assert experiment.published_steps(trial).total == row["steps"]


def test_the_stages_and_warmups_are_the_papers():
    assert steps_of(32768) == (14063, 1562, 3125, 0)
    # A fifth of the second stage warms up anew.
    assert steps_of("65536/32768") == (7037, 1562, 3125, 312)
    for row in ROWS:
        steps = steps_of(row["batch"])
        assert (steps.warmup, steps.second_warmup) == (3125, 0)
        assert steps.warmup / steps.total == pytest.approx(row["warmup_ratio"])


def test_without_a_base_the_warmup_is_a_fraction_at_every_batch():
    for batch, fraction, steps in ((16384, 0.05, 1562), (512, 0.01, 10_000)):
        of_base = {"base_batch_size": None, "warmup_fraction": fraction}
        assert steps_of(batch, **of_base).warmup == steps


def test_a_divisor_shortens_all_of_it_alike():
    lengths = [steps_of(512 * 2**k, 195.3125) for k in range(7)]
    assert [steps.total for steps in lengths] == [5120 // 2**k for k in range(7)]
    assert {steps.warmup for steps in lengths} == {16}
    assert lengths[-1][:2] == (72, 8)
    assert steps_of("65536/32768", 195.3125) == (36, 8, 16, 2)


def test_however_short_a_step_after_the_warmup_remains():
    steps = steps_of(16384, 31250, warmup_fraction=0.9, base_batch_size=None)
    assert (steps.total, steps.warmup) == (1, 0)
    assert steps_of("65536/32768", 1e6) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("total", "part"), [(100, 0.29), (30, 0.1), (10, 0.7), (15625, 0)]
)
def test_a_whole_part_of_the_steps_loses_none_to_rounding(total, part):
    steps = steps_of(512, sequences=512 * total, second_stage=part)
    assert steps.second == round(total * part)


def test_a_plain_pretraining_is_one_warmup_and_one_decay_over_both_stages():
    for row in ROWS:
        experiment, trial = of_table_4(row["batch"])
        steps = experiment.published_steps(trial)
        rates, peak = experiment.learning_rates_by_step(trial), row["learning_rate"]
        assert len(rates) == steps.total
        assert rates[0] == pytest.approx(peak / 3125)
        assert (int(rates.argmax()), rates.max()) == (3124, pytest.approx(peak))
        # The second stage begins where the first one stopped.
        left = steps.total - np.arange(steps.first - 1, steps.total)
        expected = peak * left / (steps.total - 3125)
        np.testing.assert_allclose(rates[steps.first - 1 :], expected, rtol=1e-5)


def test_the_mixed_batch_ramps_its_rate_up_from_zero_again():
    experiment, trial = of_table_4("65536/32768")
    rates = experiment.learning_rates_by_step(trial)
    peak = 0.005 * math.sqrt(2)
    knots = {
        0: peak / 3125,
        3124: peak,
        3125: peak,
        7036: peak / (7037 - 3125),
        7037: 0.005 / 312,
        7037 + 311: 0.005,
        7037 + 312: 0.005,
        8598: 0.005 / (1562 - 312),
    }
    assert len(rates) == 8599
    for step, rate in knots.items():
        assert rates[step] == pytest.approx(rate, rel=1e-5), step
    # Straight lines between the knots.
    bends = np.flatnonzero(np.abs(np.diff(rates.astype("float64"), 2)) > 1e-8)
    assert set(bends + 1) <= {3124, 3125, 7036, 7037, 7348, 7349}


def test_the_power_bends_the_decay_of_both_stages():
    shape = {"warmup_fraction": 0, "decay_power": 2, "mixed_steps": [10, 20]}
    experiment, trial = of_table_4("65536/32768", **shape)
    halfway = experiment.learning_rates_by_step(trial)[[5, 20]]
    expected = 0.25 * 0.005 * np.array([math.sqrt(2), 1])
    np.testing.assert_allclose(halfway, expected, rtol=1e-6)


def test_a_mixed_batch_may_go_on_without_a_second_warmup_and_no_other_batch_has_one():
    experiment = changed(batch_size=[512, "65536/32768"], rewarmup=[True, False])
    one, again, on = experiment.trials()
    assert [trial.rewarmup for trial in (one, again, on)] == [None, True, False]
    rates = [experiment.learning_rates_by_step(trial) for trial in (again, on)]
    begin = experiment.stages(again)[0].steps
    np.testing.assert_array_equal(rates[0][:begin], rates[1][:begin])
    assert rates[0][begin] < rates[0][begin + 1] and rates[1][begin] == max(
        rates[1][begin:]
    )


def test_a_table_that_is_none_of_the_papers_is_refused_before_training():
    with pytest.raises(ParameterError, match="table is 26, and BERT's trials make"):
        of_table_4(512, notebook="mine", table=26)
