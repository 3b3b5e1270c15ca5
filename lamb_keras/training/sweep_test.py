import dataclasses
import json
import threading

import jax
import keras
import numpy as np
import pytest

from lamb_keras import data, models
from lamb_keras.optimizers.solvers import solver
from lamb_keras.schedules import WarmupPolynomialDecay
from lamb_keras.training import Experiment, Trial, sweep

EXPERIMENT = Experiment(
    notebook="lenet_mnist",
    table=7,
    scale="laptop",
    dataset="digits",
    solvers=["adam", "lamb"],
    # At the first, nothing moves.
    learning_rates=[1e-12, 0.01],
    weight_decay=0.01,
    batch_size=1024,
    batch_divisor=4,
    epochs=2,
    warmup_epochs=1,
    decay_power=1.0,
    seeds=[0, 1],
    validation_fraction=0.2,
)


def changed(**parameters):
    return dataclasses.replace(EXPERIMENT, **parameters)


@pytest.fixture(scope="module")
def digits():
    return data.split(data.load("digits"), 0.2)


@pytest.fixture(scope="module")
def both_solvers(digits):
    return sweep(EXPERIMENT, digits, models.lenet)


def outcome(history):
    return (
        history.outcome,
        history.diverged_at_step,
        history.train_loss,
        history.validation_accuracy,
        history.test_accuracy,
        [record.tolist() for record in history.trust_ratios],
    )


def test_every_trial_is_there_in_the_experiments_order(both_solvers):
    assert [h.trial for h in both_solvers.histories] == EXPERIMENT.trials()
    assert all(len(h.train_loss) == EXPERIMENT.epochs for h in both_solvers.histories)


def test_no_trial_after_the_first_of_its_solver_compiles_anything(both_solvers):
    compiled = [trial["compilations"] for trial in both_solvers.trials]
    assert sum(count > 0 for count in compiled) == len(EXPERIMENT.solvers)
    assert both_solvers.late_compilations == 0


def test_the_count_of_late_compilations_sees_one(both_solvers):
    histories = [dataclasses.replace(h) for h in both_solvers.histories]
    histories[-1].compilations += 1
    late = dataclasses.replace(both_solvers, histories=histories)
    assert late.late_compilations == 1


def test_a_trial_in_a_sweep_equals_the_same_trial_alone_to_the_last_bit(
    digits, both_solvers
):
    alone = sweep(
        changed(solvers=["lamb"], learning_rates=[0.01], seeds=[1]),
        digits,
        models.lenet,
    )
    assert outcome(alone.histories[0]) == outcome(both_solvers.histories[-1])


def test_trials_under_vmap_agree_with_trials_one_by_one(digits, both_solvers):
    # Three at a time leaves a last group of one, filled up by copies.
    together = sweep(changed(solvers=["lamb"]), digits, models.lenet, width=3)
    one_by_one = [h for h in both_solvers.histories if h.trial.solver == "lamb"]
    for a, b in zip(together.histories, one_by_one, strict=True):
        assert a.trial == b.trial
        np.testing.assert_allclose(a.train_loss, b.train_loss, rtol=1e-4)
        assert a.test_accuracy == pytest.approx(b.test_accuracy, abs=2 / 360)
        np.testing.assert_allclose(a.trust_ratios, b.trust_ratios, rtol=1e-2)


@pytest.mark.parametrize("width", [1, 2])
def test_a_diverged_trial_says_at_which_step_and_leaves_its_neighbors_alone(
    digits, width
):
    experiment = changed(solvers=["momentum"], learning_rates=[0.1, 1e30], seeds=[0])
    result = sweep(experiment, digits, models.lenet, width=width)
    calm, wild = result.trials
    assert wild["outcome"] == "diverged"
    assert wild["test_accuracy"] is None and wild["validation_accuracy"] is None
    # One step of 1e30 · 1/4 (the first of a warm-up of four) ruins the second loss.
    assert wild["diverged_at_step"] == 2
    assert calm["outcome"] == "finished"
    alone = sweep(changed(solvers=["momentum"], learning_rates=[0.1], seeds=[0]),
                  digits, models.lenet)  # fmt: skip
    if width == 1:
        assert outcome(result.histories[0]) == outcome(alone.histories[0])
    else:
        assert calm["train_loss"] == pytest.approx(alone.trials[0]["train_loss"], 1e-4)


def test_a_diverged_trial_stops_costing_time(digits):
    experiment = changed(solvers=["momentum"], learning_rates=[1e30], seeds=[0])
    (history,) = sweep(experiment, digits, models.lenet).histories
    assert len(history.train_loss) == 1 < experiment.epochs


def test_seeds_differ_and_solvers_of_one_seed_start_alike(both_solvers):
    losses = {h.trial: h.train_loss for h in both_solvers.histories}
    unmoved = [losses[Trial(name, 1e-12, 0)] for name in EXPERIMENT.solvers]
    np.testing.assert_allclose(unmoved[0], unmoved[1], rtol=1e-6)
    assert losses[Trial("lamb", 1e-12, 0)] != losses[Trial("lamb", 1e-12, 1)]


@pytest.mark.parametrize(
    "name", ["momentum", "adagrad", "adam", "adamw", "lars", "lamb"]
)
def test_a_trial_is_what_keras_trains_on_the_same_batches(digits, name):
    experiment = changed(solvers=[name], learning_rates=[0.01], seeds=[3])
    (history,) = sweep(experiment, digits, models.lenet).histories

    steps = experiment.steps(len(digits.train_labels))
    model = models.lenet((8, 8, 1), 10, seed=3)
    optimizer = solver(name, experiment.weight_decay)
    optimizer.learning_rate = WarmupPolynomialDecay(
        0.01, steps.warmup, steps.total, experiment.decay_power
    )
    model.compile(
        optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    means = []
    for epoch in range(experiment.epochs):
        key = jax.random.fold_in(jax.random.key(3), epoch)
        order = np.asarray(jax.random.permutation(key, len(digits.train_labels)))
        order = order[: steps.per_epoch * experiment.images_per_step]
        losses = []
        for batch in order.reshape(steps.per_epoch, -1):
            model.reset_metrics()
            losses.append(
                model.train_on_batch(
                    digits.train_images[batch], digits.train_labels[batch]
                )
            )
        means.append(np.mean(losses))
    np.testing.assert_allclose(history.train_loss, means, rtol=1e-5)
    predicted = np.argmax(model.predict(digits.test_images, verbose=0), -1)
    accuracy = np.mean(predicted == digits.test_labels)
    assert history.test_accuracy == pytest.approx(accuracy, abs=1e-6)


def test_weight_decay_is_told_of_the_solvers_that_have_one(both_solvers):
    told = {(trial["solver"], trial["weight_decay"]) for trial in both_solvers.trials}
    assert told == {("adam", None), ("lamb", 0.01)}


def test_an_evaluation_counts_every_image_once_whatever_the_chunk(digits, monkeypatch):
    from lamb_keras.training import program as module

    experiment = changed(solvers=["adam"], learning_rates=[0.01], seeds=[0])
    whole = sweep(experiment, digits, models.lenet).trials[0]
    monkeypatch.setattr(module, "_CHUNK", 77)
    chunked = sweep(experiment, digits, models.lenet).trials[0]
    assert chunked["test_accuracy"] == whole["test_accuracy"]
    assert chunked["validation_accuracy"] == whole["validation_accuracy"]


def test_trust_ratios_are_told_by_epoch_and_layer(both_solvers):
    rows = both_solvers.trust_ratios(Trial("lamb", 0.01, 0))
    assert len(rows) == EXPERIMENT.epochs * 10  # five layers, kernel and bias
    assert {row["layer"] for row in rows} >= {
        "lenet/conv_1/kernel",
        "lenet/logits/bias",
    }
    for row in rows:
        expected = row["weight_norm"] / row["update_norm"]
        assert row["trust_ratio"] == pytest.approx(expected, rel=1e-5)
    assert both_solvers.trust_ratios(Trial("adam", 0.01, 0)) == []


def test_progress_is_told_trial_by_trial(digits, tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv("LAMB_KERAS_EVENTS", str(path))
    sweep(changed(solvers=["adam"], learning_rates=[0.01]), digits, models.lenet)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == [
        "trials planned",
        "trial finished",
        "trial finished",
    ]
    assert [line.get("done") for line in lines] == [None, 1, 2]
    assert all(line["total"] == 2 for line in lines)


def test_an_error_in_one_trial_ends_the_sweep_and_leaves_no_thread(digits):
    before = threading.active_count()

    def broken(image_shape, classes, seed):
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("no such model")
        return models.lenet(image_shape, classes, seed)

    with pytest.raises(RuntimeError, match="no such model"):
        sweep(EXPERIMENT, digits, broken)
    assert threading.active_count() == before


def test_a_batch_larger_than_the_training_set_is_refused():
    with pytest.raises(ValueError, match="A step takes 1024 images .* raise batch_div"):
        changed(batch_divisor=1).steps(training_images=1000)


def test_a_warmup_as_long_as_the_training_leaves_a_step_of_decay():
    assert changed(epochs=2, warmup_epochs=1.9).steps(300).warmup == 1


def test_lamb_learns_the_digits(digits):
    experiment = changed(
        solvers=["lamb"],
        learning_rates=[0.01],
        seeds=[0],
        epochs=30,
        batch_divisor=16,
    )
    (trial,) = sweep(experiment, digits, models.lenet).trials
    assert trial["test_accuracy"] > 0.95
