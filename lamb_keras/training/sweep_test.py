"""A sweep trains each trial as Keras would, whatever trains beside it."""

import dataclasses
import json
import threading

import jax
import keras
import numpy as np
import pytest

from lamb_keras import data, models
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.keras_schedules import WarmupPolynomialDecay
from lamb_keras.optimizers import Lamb, Lars
from lamb_keras.training import classification, sweep, trainer
from lamb_keras.training.augmentation import augment
from lamb_keras.training.trainer import order

EXPERIMENT = ImageExperiment(
    notebook="lenet_mnist",
    table=7,
    scale="laptop",
    dataset="digits",
    solvers=["adam", "lamb"],
    # At the first, nothing moves.
    learning_rates=[1e-12, 0.01],
    weight_decay=0.01,
    weight_decay_form="times_learning_rate",
    batch_size=1024,
    batch_divisor=4,
    epochs=2,
    warmup_epochs=1,
    seeds=[0, 1],
    validation_fraction=0.2,
)
ONE = {"learning_rates": [0.01], "seeds": [0]}


def changed(**parameters):
    return dataclasses.replace(EXPERIMENT, **parameters)


@pytest.fixture(scope="module")
def digits():
    return data.split(data.load("digits"), 0.2)


@pytest.fixture(scope="module")
def both_solvers(digits):
    return sweep(EXPERIMENT, digits, models.lenet)


def losses(history):
    return [row["train_loss"] for row in history.evaluations]


def outcome(history):
    """All that is known of a trial but what the moment decides, to the last bit."""
    # Keras numbers the layers of a process.
    moments = ("seconds", "training_seconds", "compilations", "late_compilations")
    moments += ("at_once",)
    plain = history.as_plain()
    return repr({n: v for n, v in plain.items() if n not in (*moments, "layers")})


def test_every_trial_is_there_in_order_and_each_solver_is_compiled_once(both_solvers):
    assert [h.trial for h in both_solvers.histories] == EXPERIMENT.trials()
    assert all(len(losses(h)) == EXPERIMENT.epochs for h in both_solvers.histories)
    compiled = [trial["compilations"] for trial in both_solvers.trials]
    assert sum(count > 0 for count in compiled) == len(EXPERIMENT.solvers)
    assert both_solvers.late_compilations == 0


def test_the_chosen_setting_of_each_solver_is_trained_with_seeds_of_its_own(
    digits, both_solvers
):
    confirmed = sweep(changed(confirmation_seeds=[7, 8]), digits, models.lenet)
    before = len(both_solvers.trials)
    assert [row["confirmation"] for row in confirmed.trials[:before]] == [False] * 8
    of_best = [
        (row["solver"], row["learning_rate"], row["seed"], row["confirmation"])
        for row in confirmed.trials[before:]
    ]
    assert of_best == [(n, 0.01, s, True) for n in ("adam", "lamb") for s in (7, 8)]
    assert confirmed.late_compilations == 0
    first, again = (
        list(map(outcome, each.histories)) for each in (both_solvers, confirmed)
    )
    assert again[:before] == first


def test_what_a_trial_compiles_for_itself_is_late(digits, monkeypatch):
    held_out = classification.ImageTrials.held_out

    def compiling(self, trial):
        jax.jit(lambda x: x + trial.seed)(1.5)
        return held_out(self, trial)

    monkeypatch.setattr(classification.ImageTrials, "held_out", compiling)
    experiment = changed(solvers=["adam"], learning_rates=[0.01])
    result = sweep(experiment, digits, models.lenet, threads=1)
    assert result.late_compilations == 2 * EXPERIMENT.epochs


def test_packed_trials_learn_as_plain_ones(both_solvers, digits):
    packed = sweep(changed(packed_update=True), digits, models.lenet)
    assert packed.late_compilations == 0
    for one, plain in zip(packed.histories, both_solvers.histories, strict=True):
        if one.trial.solver == "adam":  # which has no such form
            assert outcome(one) == outcome(plain)
            continue
        np.testing.assert_allclose(losses(one), losses(plain), rtol=1e-5)
        np.testing.assert_allclose(one.ratios, plain.ratios, rtol=2e-4, atol=1e-7)


def test_a_trial_in_a_sweep_equals_the_same_trial_alone_to_the_last_bit(
    digits, both_solvers
):
    one = changed(solvers=["lamb"], learning_rates=[0.01], seeds=[1])
    alone = sweep(one, digits, models.lenet)
    assert outcome(alone.histories[0]) == outcome(both_solvers.histories[-1])


def test_trials_under_vmap_agree_with_trials_one_by_one(digits, both_solvers):
    # Three at a time leaves a last group of one, filled up by copies.
    at_once = sweep(changed(solvers=["lamb"]), digits, models.lenet, width=3)
    one_by_one = [h for h in both_solvers.histories if h.trial.solver == "lamb"]
    for a, b in zip(at_once.histories, one_by_one, strict=True):
        assert a.trial == b.trial
        np.testing.assert_allclose(losses(a), losses(b), rtol=1e-4)
        found, expected = a.test_metrics["accuracy"], b.test_metrics["accuracy"]
        assert found == pytest.approx(expected, abs=2 / 360)
        np.testing.assert_allclose(a.ratios, b.ratios, rtol=1e-2)


@pytest.mark.parametrize("width", [1, 2])
def test_a_diverged_trial_stops_at_a_step_and_leaves_its_neighbors_alone(digits, width):
    experiment = changed(solvers=["momentum"], learning_rates=[0.1, 1e30], seeds=[0])
    result = sweep(experiment, digits, models.lenet, width=width)
    calm, wild = result.trials
    assert wild["outcome"] == "diverged" and wild["test_accuracy"] is None
    assert wild["validation_accuracy"] is None
    # One step of 1e30 · 1/4 (the first of a warm-up of four) ruins the second loss.
    assert wild["diverged_at_step"] == 2
    assert len(losses(result.histories[1])) == 1
    alone = sweep(
        changed(solvers=["momentum"], learning_rates=[0.1], seeds=[0]),
        digits,
        models.lenet,
    )
    if width == 1:
        assert outcome(result.histories[0]) == outcome(alone.histories[0])
    assert calm["train_loss"] == pytest.approx(alone.trials[0]["train_loss"], 1e-4)


@pytest.mark.parametrize("width", [1, 2])
def test_a_loss_beyond_the_threshold_ends_a_trial_though_it_is_a_number(
    digits, width, monkeypatch
):
    monkeypatch.setattr(trainer, "DIVERGENCE_THRESHOLD", 2.0)
    experiment = changed(
        solvers=["momentum"], learning_rates=[1e-9, 0.05], seeds=[0], warmup_epochs=0
    )
    stuck, moving = sweep(experiment, digits, models.lenet, width=width).trials
    # ln 10 = 2.3 for a net that knows nothing.
    assert stuck["diverged_at_step"] == moving["diverged_at_step"] == 1
    # The mean of the steps that were taken.
    assert stuck["train_loss"] == pytest.approx(2.3, abs=0.3)
    monkeypatch.setattr(trainer, "DIVERGENCE_THRESHOLD", 4.0)
    assert sweep(experiment, digits, models.lenet).trials[0]["outcome"] == "finished"


def test_seeds_differ_and_solvers_of_one_seed_start_alike(both_solvers):
    def unmoved(**setting):
        (trial,) = both_solvers.of(learning_rate=1e-12, **setting)
        (found,) = (h for h in both_solvers.histories if h.trial == trial)
        return losses(found)

    adam, lamb = (unmoved(solver=name, seed=0) for name in EXPERIMENT.solvers)
    np.testing.assert_allclose(adam, lamb, rtol=1e-6)
    assert lamb != unmoved(solver="lamb", seed=1)


# Keras's own, as a user of Keras would set them up.
KERAS = {
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "adagrad": lambda rate: keras.optimizers.Adagrad(rate, 0.1),
    "adam": lambda rate: keras.optimizers.Adam(rate, epsilon=1e-8),
    "adamw": lambda rate: keras.optimizers.AdamW(rate, 0.01, epsilon=1e-8),
    "lars": lambda rate: Lars(rate, weight_decay=0.01, variant="momentum"),
    "lamb": lambda rate: Lamb(rate, weight_decay=0.01),
}


@pytest.mark.parametrize("name", KERAS)
def test_a_trial_is_what_keras_trains_on_the_same_batches(digits, name):
    experiment = changed(solvers=[name], learning_rates=[0.01], seeds=[3])
    result = sweep(experiment, digits, models.lenet)
    (history,), (steps,) = result.histories, result.steps
    total, size = steps["steps"], steps["images_per_step"]
    model = models.lenet((8, 8, 1), 10, seed=3)
    model.compile(
        KERAS[name](WarmupPolynomialDecay(0.01, steps["warmup_steps"], total)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    theirs = []
    for batch in order(3, len(digits.train_labels), total * size).reshape(total, -1):
        model.reset_metrics()
        theirs.append(
            model.train_on_batch(digits.train_images[batch], digits.train_labels[batch])
        )
    half = -(-total // experiment.epochs)
    means = [np.mean(theirs[:half]), np.mean(theirs[half:])]
    np.testing.assert_allclose(losses(history), means, rtol=1e-5)
    predicted = np.argmax(model.predict(digits.test_images, verbose=0), -1)
    accuracy = np.mean(predicted == digits.test_labels)
    assert history.test_metrics["accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_an_evaluation_counts_every_image_once_whatever_the_chunk(
    digits, both_solvers, monkeypatch
):
    monkeypatch.setattr(classification, "_CHUNK", 77)
    chunked = sweep(changed(solvers=["lamb"], **ONE), digits, models.lenet).trials[0]
    (whole,) = (
        trial
        for trial in both_solvers.trials
        if (trial["solver"], trial["learning_rate"], trial["seed"]) == ("lamb", 0.01, 0)
    )
    for metric in ("test_accuracy", "test_top5", "validation_accuracy"):
        assert chunked[metric] == whole[metric]
    # The evaluation does not touch what is trained.
    assert chunked["train_loss"] == whole["train_loss"]


def test_trust_ratios_and_curves_have_a_row_an_epoch(both_solvers):
    (trial, _) = both_solvers.of(solver="lamb", learning_rate=0.01)
    rows = both_solvers.trust_ratios(trial)
    assert len(rows) == EXPERIMENT.epochs * 10  # five layers, kernel and bias
    layers = {row["layer"] for row in rows}
    assert layers >= {"lenet/conv_1/kernel", "lenet/logits/bias"}
    for row in rows:
        expected = row["weight_norm"] / row["update_norm"]
        assert row["trust_ratio"] == pytest.approx(expected, rel=1e-5)
    assert both_solvers.trust_ratios(both_solvers.of(solver="adam")[0]) == []
    curves = both_solvers.curves({"lamb": {"learning_rate": 0.01}})
    assert [(row["seed"], row["epoch"]) for row in curves] == [
        (0, 1), (0, 2), (1, 1), (1, 2),
    ]  # fmt: skip
    assert len(both_solvers.curves()) == 8 * EXPERIMENT.epochs


def test_progress_is_told_trial_by_trial(digits, tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv("LAMB_KERAS_EVENTS", str(path))
    sweep(changed(solvers=["adam"], learning_rates=[0.01]), digits, models.lenet)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = [(line["event"], line["done"], line["total"]) for line in lines]
    finished = [("trial finished", done, 2) for done in (1, 2)]
    assert found == [("trials planned", 0, 2), *finished]


def test_an_error_in_one_trial_ends_the_sweep_and_leaves_no_thread(digits, monkeypatch):
    def running():
        # Without that of tqdm, which looks after bars for good.
        return [thread for thread in threading.enumerate() if not thread.daemon]

    def broken(self, trials, done):
        assert threading.current_thread() is not threading.main_thread()
        raise RuntimeError("no such trial")

    before = running()
    monkeypatch.setattr(classification.ImageTrials, "periods", broken)
    with pytest.raises(RuntimeError, match="no such trial"):
        sweep(EXPERIMENT, digits, models.lenet, threads=2)
    assert running() == before


def test_lamb_learns_the_digits(digits):
    experiment = changed(solvers=["lamb"], **ONE, epochs=30, batch_divisor=16)
    (trial,) = sweep(experiment, digits, models.lenet).trials
    assert 0.95 < trial["test_accuracy"] <= trial["test_top5"] <= 1
    assert trial["weight_decay"] == 0.01


# A net with everything that a step changes besides weights.


def net(image_shape, classes, seed=None):
    seeds = keras.random.SeedGenerator(seed)
    start = {"kernel_initializer": keras.initializers.HeNormal(seed=seeds)}
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(4, 3, **start),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3, seed=seed),
            keras.layers.Dense(classes, **start),
        ]
    )


STOCHASTIC = {
    "solvers": ["adam"],
    "learning_rates": [0.001, 0.003],
    "seeds": [1, 2],
    "batch_divisor": 32,  # 32 images
    "epochs_divisor": 1.8,  # 50 steps
    "label_smoothing": 0.1,
    "l2_regularization": 0.01,
    "augmentations": ["crop", "flip", "cutout"],
}


@pytest.fixture(scope="module")
def stochastic(digits):
    return sweep(changed(**STOCHASTIC), digits, net)


def test_what_is_random_is_the_same_for_a_trial_alone_and_under_vmap(
    digits, stochastic
):
    one = changed(**STOCHASTIC | {"learning_rates": [0.003], "seeds": [2]})
    alone = sweep(one, digits, net)
    assert outcome(alone.histories[0]) == outcome(stochastic.histories[-1])
    at_once = sweep(changed(**STOCHASTIC), digits, net, width=4)
    for a, b in zip(at_once.histories, stochastic.histories, strict=True):
        np.testing.assert_allclose(losses(a), losses(b), rtol=1e-5)


def test_batch_statistics_dropout_and_augmentation_agree_with_plain_fit(
    digits, stochastic
):
    history, (steps,) = stochastic.histories[-1], stochastic.steps
    seed, total, size = 2, steps["steps"], steps["images_per_step"]
    rows = order(seed, len(digits.train_labels), total * size).reshape(total, -1)
    batches = [
        (
            augment(
                digits.train_images[batch],
                jax.random.fold_in(jax.random.key(seed), number),
                ("crop", "flip", "cutout"),
            ),
            keras.utils.to_categorical(digits.train_labels[batch], 10),
        )
        for number, batch in enumerate(rows)
    ]
    model = net((8, 8, 1), 10, seed)
    for layer in model.layers:
        for variable in layer.trainable_variables:
            if variable.name in ("kernel", "bias"):
                variable.regularizer = keras.regularizers.L2(0.01 / 2)
    schedule = WarmupPolynomialDecay(0.003, steps["warmup_steps"], total)
    # Reported without its L2 term, as in the sweep.
    smoothed = {"from_logits": True, "label_smoothing": 0.1}
    model.compile(
        keras.optimizers.Adam(schedule, epsilon=1e-8),
        keras.losses.CategoricalCrossentropy(**smoothed),
        metrics=[keras.metrics.CategoricalCrossentropy(**smoothed)],
    )
    half, means = -(-total // 2), []
    for part in (batches[:half], batches[half:]):
        images, labels = map(np.concatenate, zip(*part, strict=True))
        fitted = model.fit(images, labels, size, shuffle=False, verbose=0)
        means += fitted.history["categorical_crossentropy"]
    np.testing.assert_allclose(losses(history), means, rtol=1e-5)
    predicted = np.argmax(model.predict(digits.test_images, verbose=0), -1)
    accuracy = np.mean(predicted == digits.test_labels)
    assert history.test_metrics["accuracy"] == pytest.approx(accuracy, abs=1e-6)


# What is an input of one program


def test_a_large_batch_is_one_step_of_its_micro_batches(digits):
    lamb = {"solvers": ["lamb"], **ONE}
    both = sweep(changed(**lamb, batch_size=[512, 2048]), digits, models.lenet)
    alone = sweep(changed(**lamb, batch_size=2048), digits, models.lenet)
    assert [row["images_per_step"] for row in both.steps] == [128, 512]
    assert both.steps[1] == alone.steps[0]
    assert both.late_compilations == 0
    ours, theirs = both.histories[1], alone.histories[0]
    np.testing.assert_allclose(losses(ours), losses(theirs), rtol=1e-5)
    assert ours.test_metrics["accuracy"] == theirs.test_metrics["accuracy"]


def test_recipes_weight_decay_and_l2_are_inputs_of_one_program(digits):
    experiment = changed(
        solvers=["adamw", "adamw+"],
        **ONE,
        weight_decay=[0.0, 0.1],
        weight_decay_form=["per_step", "times_learning_rate"],
        l2_regularization=[0.0, 0.01],
    )
    result = sweep(experiment, digits, models.lenet)
    assert len(result.trials) == 16 and result.late_compilations == 0
    # Without decay, its form makes no difference.
    assert len({tuple(losses(h)) for h in result.histories}) == 12


def test_a_batch_larger_than_the_training_set_is_refused_before_anything_trains(digits):
    with pytest.raises(ValueError, match="is 2048 images a step, but digits has 1437"):
        sweep(changed(batch_size=4096, batch_divisor=2), digits, models.lenet)


def test_the_precision_that_the_experiment_names_is_the_models(digits):
    policies = []

    def model(image_shape, classes, seed=None):
        policies.append(keras.config.dtype_policy().name)
        return models.lenet(image_shape, classes, seed)

    half = changed(solvers=["adam"], **ONE, dtype_policy="mixed_bfloat16")
    result = sweep(half, digits, model)
    assert set(policies) == {"mixed_bfloat16"}
    assert keras.config.dtype_policy().name == "float32"
    assert result.trials[0]["outcome"] == "finished"
