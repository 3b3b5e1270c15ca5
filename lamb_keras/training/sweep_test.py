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
from lamb_keras.training import sweep
from lamb_keras.training.augmentation import augment
from lamb_keras.training.order import order
from lamb_keras.training.program import Program

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


def test_packed_trials_learn_as_plain_ones_and_are_told_alike(both_solvers, digits):
    packed = sweep(changed(packed_update=True), digits, models.lenet)
    assert packed.late_compilations == 0
    for one, plain in zip(packed.histories, both_solvers.histories, strict=True):
        if one.trial.solver == "adam":  # which has no such form
            assert outcome(one) == outcome(plain)
            continue
        assert one.layers == plain.layers
        np.testing.assert_allclose(one.train_loss, plain.train_loss, rtol=1e-5)
        np.testing.assert_allclose(
            one.trust_ratios, plain.trust_ratios, rtol=2e-4, atol=1e-7
        )


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
    def losses(**setting):
        (trial,) = both_solvers.of(learning_rate=1e-12, **setting)
        return next(h.train_loss for h in both_solvers.histories if h.trial == trial)

    unmoved = [losses(solver=name, seed=0) for name in EXPERIMENT.solvers]
    np.testing.assert_allclose(unmoved[0], unmoved[1], rtol=1e-6)
    assert losses(solver="lamb", seed=0) != losses(solver="lamb", seed=1)


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
    (history,) = sweep(experiment, digits, models.lenet).histories

    steps = history.steps
    model = models.lenet((8, 8, 1), 10, seed=3)
    model.compile(
        KERAS[name](WarmupPolynomialDecay(0.01, steps.warmup, steps.total)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rows = order(3, len(digits.train_labels), steps.total * steps.images_per_step)
    losses = []
    for batch in rows.reshape(steps.total, -1):
        model.reset_metrics()
        losses.append(
            model.train_on_batch(digits.train_images[batch], digits.train_labels[batch])
        )
    half = -(-steps.total // experiment.epochs)
    means = [np.mean(losses[:half]), np.mean(losses[half:])]
    np.testing.assert_allclose(history.train_loss, means, rtol=1e-5)
    predicted = np.argmax(model.predict(digits.test_images, verbose=0), -1)
    accuracy = np.mean(predicted == digits.test_labels)
    assert history.test_accuracy == pytest.approx(accuracy, abs=1e-6)


def test_weight_decay_is_told_of_the_solvers_that_have_one(both_solvers):
    told = {(trial["solver"], trial["weight_decay"]) for trial in both_solvers.trials}
    assert told == {("adam", None), ("lamb", 0.01)}


def test_an_evaluation_counts_every_image_once_whatever_the_chunk(digits, monkeypatch):
    from lamb_keras.training import program

    experiment = changed(solvers=["adam"], learning_rates=[0.01], seeds=[0])
    whole = sweep(experiment, digits, models.lenet).trials[0]
    monkeypatch.setattr(program.Chunks.__init__, "__defaults__", (77,))
    chunked = sweep(experiment, digits, models.lenet).trials[0]
    for metric in ("test_accuracy", "test_top5", "validation_accuracy"):
        assert chunked[metric] == whole[metric]


def test_trust_ratios_are_told_by_epoch_and_layer(both_solvers):
    rows = both_solvers.trust_ratios(
        both_solvers.of(solver="lamb", learning_rate=0.01)[0]
    )
    assert len(rows) == EXPERIMENT.epochs * 10  # five layers, kernel and bias
    assert {row["layer"] for row in rows} >= {
        "lenet/conv_1/kernel",
        "lenet/logits/bias",
    }
    for row in rows:
        expected = row["weight_norm"] / row["update_norm"]
        assert row["trust_ratio"] == pytest.approx(expected, rel=1e-5)
    assert both_solvers.trust_ratios(both_solvers.of(solver="adam")[0]) == []


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
    assert [line["done"] for line in lines] == [0, 1, 2]
    assert all(line["total"] == 2 for line in lines)


def test_an_error_in_one_trial_ends_the_sweep_and_leaves_no_thread(digits, monkeypatch):
    def running():
        # Without that of tqdm, which looks after bars for good.
        return [thread for thread in threading.enumerate() if not thread.daemon]

    before = running()

    def broken(program, trial):
        assert threading.current_thread() is not threading.main_thread()
        raise RuntimeError("no such trial")

    monkeypatch.setattr(Program, "feed", broken)
    with pytest.raises(RuntimeError, match="no such trial"):
        sweep(EXPERIMENT, digits, models.lenet)
    assert running() == before


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
    assert trial["test_accuracy"] <= trial["test_top5"] <= 1


# A net with everything that a step changes besides weights.


def net(image_shape, classes, seed=None):
    seeds = keras.random.SeedGenerator(seed)
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(
                4, 3, kernel_initializer=keras.initializers.HeNormal(seed=seeds)
            ),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3, seed=seed),
            keras.layers.Dense(
                classes, kernel_initializer=keras.initializers.HeNormal(seed=seeds)
            ),
        ]
    )


FIFTY_STEPS = {
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
    return sweep(changed(**FIFTY_STEPS), digits, net)


def test_batch_statistics_dropout_and_augmentation_are_those_of_a_trial_alone(
    digits, stochastic
):
    alone = sweep(
        changed(**FIFTY_STEPS | {"learning_rates": [0.003], "seeds": [2]}), digits, net
    )
    assert outcome(alone.histories[0]) == outcome(stochastic.histories[-1])


def test_batch_statistics_dropout_and_augmentation_agree_under_vmap(digits, stochastic):
    together = sweep(changed(**FIFTY_STEPS), digits, net, width=4)
    for a, b in zip(together.histories, stochastic.histories, strict=True):
        assert a.steps.total == 50
        np.testing.assert_allclose(a.train_loss, b.train_loss, rtol=1e-5)
        assert a.test_accuracy == pytest.approx(b.test_accuracy, abs=1 / 360)


def test_batch_statistics_dropout_and_augmentation_agree_with_plain_fit(
    digits, stochastic
):
    history = stochastic.histories[-1]
    seed, steps = history.trial.seed, history.steps
    rows = order(seed, len(digits.train_labels), steps.total * steps.images_per_step)
    batches = [
        (
            np.asarray(
                augment(
                    digits.train_images[batch],
                    jax.random.fold_in(jax.random.key(seed), number),
                    ("crop", "flip", "cutout"),
                )
            ),
            keras.utils.to_categorical(digits.train_labels[batch], 10),
        )
        for number, batch in enumerate(rows.reshape(steps.total, -1))
    ]
    model = net((8, 8, 1), 10, seed)
    for layer in model.layers:
        for variable in layer.trainable_variables:
            if variable.name in ("kernel", "bias"):
                variable.regularizer = keras.regularizers.L2(0.01 / 2)
    schedule = WarmupPolynomialDecay(0.003, steps.warmup, steps.total)
    # Reported without its L2 term, as in the sweep.
    smoothed = {"from_logits": True, "label_smoothing": 0.1}
    model.compile(
        keras.optimizers.Adam(schedule, epsilon=1e-8),
        keras.losses.CategoricalCrossentropy(**smoothed),
        metrics=[keras.metrics.CategoricalCrossentropy(**smoothed)],
    )
    half = -(-steps.total // 2)
    means = []
    for part in (batches[:half], batches[half:]):
        images, labels = map(np.concatenate, zip(*part, strict=True))
        fitted = model.fit(
            images, labels, steps.images_per_step, shuffle=False, verbose=0
        )
        means += fitted.history["categorical_crossentropy"]
    np.testing.assert_allclose(history.train_loss, means, rtol=1e-5)
    predicted = np.argmax(model.predict(digits.test_images, verbose=0), -1)
    accuracy = np.mean(predicted == digits.test_labels)
    assert history.test_accuracy == pytest.approx(accuracy, abs=1e-6)


# Batches of several sizes are sums of micro-batches


def test_a_large_batch_is_one_step_of_its_micro_batches(digits):
    sizes = {"solvers": ["lamb"], "learning_rates": [0.01], "seeds": [0]}
    both = sweep(changed(**sizes, batch_size=[512, 2048]), digits, models.lenet)
    alone = sweep(changed(**sizes, batch_size=2048), digits, models.lenet)
    assert [h.steps.images_per_step for h in both.histories] == [128, 512]
    assert both.histories[1].steps == alone.histories[0].steps
    assert both.late_compilations == 0
    # Micro-batches of 128 leave the epochs at other steps, so compare the whole.
    losses = [
        np.average(h.train_loss, weights=weights)
        for h, weights in (
            (both.histories[1], _steps_by_epoch(both.histories[1], 4)),
            (alone.histories[0], _steps_by_epoch(alone.histories[0], 1)),
        )
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert both.histories[1].test_accuracy == alone.histories[0].test_accuracy


def _steps_by_epoch(history, micro_batches):
    whole = history.steps.total * micro_batches
    first = -(-whole // EXPERIMENT.epochs) // micro_batches
    return [first, history.steps.total - first]


def test_solvers_with_and_without_the_recipe_share_a_program(digits):
    both = changed(solvers=["adam", "adam+"], learning_rates=[0.01], seeds=[0])
    result = sweep(both, digits, models.lenet)
    assert result.late_compilations == 0
    plain, plus = result.histories
    assert plain.train_loss != plus.train_loss


def test_weight_decay_and_l2_are_inputs_of_one_program(digits):
    experiment = changed(
        solvers=["adamw"],
        learning_rates=[0.01],
        weight_decay=[0.0, 0.1],
        weight_decay_form=["per_step", "times_learning_rate"],
        l2_regularization=[0.0, 0.01],
        seeds=[0],
    )
    result = sweep(experiment, digits, models.lenet)
    assert len(result.trials) == 8 and result.late_compilations == 0
    losses = {tuple(h.train_loss) for h in result.histories}
    # Without decay, its form makes no difference.
    assert len(losses) == 6


@pytest.mark.parametrize("width", [1, 2])
def test_a_loss_beyond_use_ends_a_trial_though_it_is_a_number(
    digits, width, monkeypatch
):
    from lamb_keras.training import accumulation

    monkeypatch.setattr(accumulation, "LOSS_BEYOND_USE", 2.0)
    experiment = changed(
        solvers=["momentum"], learning_rates=[1e-9, 0.05], seeds=[0], warmup_epochs=0
    )
    stuck, moving = sweep(experiment, digits, models.lenet, width=width).trials
    # ln 10 = 2.3 for a net that knows nothing.
    assert stuck["outcome"] == moving["outcome"] == "diverged"
    assert stuck["diverged_at_step"] == moving["diverged_at_step"] == 1
    monkeypatch.setattr(accumulation, "LOSS_BEYOND_USE", 4.0)
    assert sweep(experiment, digits, models.lenet).trials[0]["outcome"] == "finished"


def test_a_batch_larger_than_the_training_set_is_refused_before_anything_trains(digits):
    with pytest.raises(ValueError, match="is 2048 images a step, but digits has 1437"):
        sweep(changed(batch_size=4096, batch_divisor=2), digits, models.lenet)


def test_the_precision_that_the_experiment_names_is_the_models(digits):
    policies = []

    def model(image_shape, classes, seed=None):
        policies.append(keras.config.dtype_policy().name)
        return models.lenet(image_shape, classes, seed)

    half = changed(
        solvers=["adam"],
        learning_rates=[0.01],
        seeds=[0],
        dtype_policy="mixed_bfloat16",
    )
    result = sweep(half, digits, model)
    assert set(policies) == {"mixed_bfloat16"}
    assert keras.config.dtype_policy().name == "float32"
    assert result.trials[0]["outcome"] == "finished"
