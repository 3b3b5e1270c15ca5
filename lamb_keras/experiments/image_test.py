import dataclasses

import numpy as np
import pytest

from lamb_keras import experiments
from lamb_keras.experiments.image import ImageExperiment, Trial

IMAGENET = 1_281_167

RESNET = ImageExperiment(
    notebook="resnet50_imagenet",
    table=5,
    scale="paper",
    dataset="imagenet",
    solvers=["lamb"],
    learning_rates=[0.04],
    weight_decay=1.5,
    batch_size=[512, 16384, 32768],
    base_batch_size=32768,
    epochs=90,
    warmup_epochs=20,
    seeds=[0],
    validation_fraction=0.1,
)


def adamw(**changes):
    return dataclasses.replace(
        RESNET,
        table=13,
        solvers=["adamw"],
        learning_rates=[0.001],
        batch_size=16384,
        base_batch_size=None,
        warmup_epochs=0,
        decay_power=0,
        weight_decay=0.01,
        published_steps=7038,
        **changes,
    )


def test_no_two_trials_of_an_experiment_are_called_the_same():
    forms = ["per_step", "times_learning_rate"]
    of_forms = adamw(weight_decay_form=forms, l2_regularization=[0, 0.01])
    for trials in (RESNET.trials(), of_forms.trials()):
        assert len({str(trial) for trial in trials}) == len(trials) > 2


def test_a_shorter_training_keeps_decay_times_steps():
    paper, short = adamw(), adamw(epochs_divisor=9)
    kept = []
    for experiment in (paper, short):
        (trial,) = experiment.trials()
        steps = experiment.steps(trial, IMAGENET)
        kept.append(experiment.weight_decays_by_step(trial, steps).sum())
    np.testing.assert_allclose(kept, 0.01 * 7038, rtol=1e-5)


def test_without_the_papers_steps_a_decay_is_taken_as_given():
    experiment = dataclasses.replace(adamw(epochs_divisor=9), published_steps=None)
    (trial,) = experiment.trials()
    decays = experiment.weight_decays_by_step(trial, experiment.steps(trial, IMAGENET))
    assert set(decays) == {np.float32(0.01)}


def test_a_decay_that_would_take_off_all_weights_is_refused_in_a_sentence():
    experiment = dataclasses.replace(adamw(epochs_divisor=90), weight_decay=0.1)
    (trial,) = experiment.trials()
    with pytest.raises(experiments.ParameterError, match="less than 1: train longer"):
        experiment.weight_decays_by_step(trial, experiment.steps(trial, IMAGENET))


def test_kerass_form_of_decay_follows_the_learning_rate():
    experiment = dataclasses.replace(
        adamw(), weight_decay_form="times_learning_rate", decay_power=1
    )
    (trial,) = experiment.trials()
    steps = experiment.steps(trial, IMAGENET)
    np.testing.assert_allclose(
        experiment.weight_decays_by_step(trial, steps),
        0.01 * experiment.learning_rates_by_step(trial, steps),
        rtol=1e-6,
    )


def test_lambs_decay_is_taken_as_given_and_adam_has_none():
    (trial, *_) = RESNET.trials()
    steps = RESNET.steps(trial, IMAGENET)
    assert set(RESNET.weight_decays_by_step(trial, steps)) == {np.float32(1.5)}
    experiment = dataclasses.replace(adamw(), solvers=["adam"])
    (trial,) = experiment.trials()
    assert trial == Trial("adam", 16384, 0.001, None, None, 0.0, 0)
    assert set(experiment.weight_decays_by_step(trial, steps)) == {0}


def test_goyals_recipe_is_in_fractions_of_the_training():
    experiment = dataclasses.replace(adamw(epochs_divisor=9), solvers=["adam+"])
    (trial,) = experiment.trials()
    rates = experiment.learning_rates_by_step(trial, experiment.steps(trial, 160_000))
    at = [
        rates[int(fraction * len(rates))] / 0.001 for fraction in (0.2, 0.5, 0.8, 0.95)
    ]
    np.testing.assert_allclose(at, [1, 0.1, 0.01, 0.001], rtol=1e-5)


def test_a_batch_larger_than_the_training_set_is_refused():
    (trial, *_) = RESNET.trials()
    with pytest.raises(experiments.ParameterError, match="512 images a step, .* raise"):
        RESNET.steps(trial, images=500)


def test_a_part_of_the_training_images_smaller_than_a_step_is_refused():
    assert dataclasses.replace(RESNET, training_images=32768).training_images == 32768
    with pytest.raises(experiments.ParameterError) as caught:
        dataclasses.replace(RESNET, training_images=10_000, batch_divisor=2)
    assert str(caught.value) == (
        "training_images is 10000 and batch_size 32768 / batch_divisor 2 makes steps "
        "of 16384; choose more images or a larger batch_divisor"
    )


def test_a_warmup_as_long_as_the_training_leaves_a_step_of_decay():
    experiment = adamw()
    experiment = dataclasses.replace(experiment, epochs=2, warmup_epochs=1.9)
    (trial,) = experiment.trials()
    assert experiment.steps(trial, 16384).warmup == 1


def test_micro_batches_are_the_smallest_batch_of_which_all_are_multiples():
    assert RESNET.micro_batches() == (512, 64)
    with pytest.raises(experiments.ParameterError, match="512 and 1000 .* multiples"):
        dataclasses.replace(RESNET, batch_size=[512, 1000])
