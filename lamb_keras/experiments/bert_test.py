import numpy as np

from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.experiments.validation_test import TABLE_1

LAMB = {
    "solvers": ["lamb"],
    "learning_rates": [0.005],
    "learning_rate_multiplier": 1.0,
    "batch_size": 512,
    "base_batch_size": 32768,
    "warmup_fraction": 0.2,
    "micro_batch_size": 4,
}


def changed(**parameters):
    return BertExperiment(**{**TABLE_1, **LAMB, **parameters})


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
