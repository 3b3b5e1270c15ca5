import numpy as np
import pytest

from lamb_keras.experiments import ParameterError
from lamb_keras.results import paper
from lamb_keras.training.conftest import changed

SEVEN = [512, 1024, 2048, 4096, 8192, 16384, 32768]
RULE = {"learning_rates": [0.005], "warmup_fraction": 0.2, "base_batch_size": 32768}
AS_PUBLISHED = {"batch_divisor": 1, "steps_divisor": 1, "micro_batch_size": 512}


def test_at_the_papers_scale_rates_and_warmups_are_table_4s():
    experiment = changed(batch_size=SEVEN, **RULE, **AS_PUBLISHED)
    rows = paper.tables()[4].labeled_rows()
    for trial in experiment.trials():
        row = rows[str(trial.batch_size)]
        rates = experiment.learning_rates_by_step(trial)
        steps = sum(stage.steps for stage in experiment.stages(trial))
        assert steps == 512 * 1_000_000 // trial.batch_size
        assert experiment.peak_learning_rate(trial) == pytest.approx(
            row["learning_rate"], rel=1e-12
        )
        assert rates.max() == pytest.approx(row["learning_rate"], rel=1e-6)
        assert experiment.warmup_steps(trial) == row["warmup_ratio"] * steps == 3125
        assert np.argmax(rates) == 3124


def test_the_mixed_batch_is_warmed_up_again():
    experiment = changed(batch_size=["65536/32768"], **RULE, **AS_PUBLISHED)
    (trial,) = experiment.trials()
    first, second = experiment.stages(trial)
    assert (first.steps, first.sequences_per_step) == (7037, 65536)
    assert (second.steps, second.sequences_per_step) == (1562, 32768)
    rates = experiment.learning_rates_by_step(trial)
    assert len(rates) == 8599
    assert rates[7036] < 1e-5 and rates[7037] < 1e-4
    assert rates[:7037].max() == pytest.approx(0.005 * 2**0.5, rel=1e-6)
    assert rates[7037:].max() == pytest.approx(0.005, rel=1e-6)


def test_a_scale_shrinks_batches_and_steps_and_keeps_the_warmups_part():
    experiment = changed(
        batch_size=[512, 32768, "65536/32768"],
        **RULE,
        batch_divisor=128,
        steps_divisor=195.3125,
        micro_batch_size=4,
    )
    stages = [experiment.stages(trial) for trial in experiment.trials()]
    assert [[s.sequences_per_step for s in each] for each in stages] == [
        [4, 4],
        [256, 256],
        [512, 256],
    ]
    assert [[s.steps for s in each] for each in stages] == [
        [4608, 512],
        [72, 8],
        [36, 8],
    ]
    assert [experiment.warmup_steps(t) for t in experiment.trials()][:2] == [16, 16]


def test_decay_times_the_rate_is_what_adamw_takes_off():
    experiment = changed(solvers=["adamw"], weight_decay=0.5)
    (trial,) = experiment.trials()
    np.testing.assert_allclose(
        experiment.weight_decays_by_step(trial),
        0.5 * experiment.learning_rates_by_step(trial),
    )
    (lamb,) = changed(weight_decay=0.5).trials()
    assert set(changed(weight_decay=0.5).weight_decays_by_step(lamb)) == {0.5}


def test_a_scales_multiplier_is_of_the_rate_and_not_in_the_trials_name():
    plain, more = changed(), changed(learning_rate_multiplier={"lamb": 4.0})
    assert plain.trials() == more.trials()
    (trial,) = plain.trials()
    np.testing.assert_allclose(
        more.learning_rates_by_step(trial),
        4 * plain.learning_rates_by_step(trial),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"micro_batch_size": 3}, "micro_batch_size"),
        ({"width": 15}, "width is 15 and heads 2"),
        ({"sequence_lengths": [64, 32]}, "sequence_lengths"),
        ({"learning_rate": 1}, "learning_rate"),
    ],
)
def test_what_no_training_can_do_is_refused(parameters, message):
    with pytest.raises((ParameterError, TypeError), match=message):
        changed(**parameters)
