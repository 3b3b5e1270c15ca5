import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.training.step import Step, cross_entropy, initial_weights

EXPERIMENT = ImageExperiment(
    notebook="lenet_mnist",
    table=7,
    scale="laptop",
    dataset="digits",
    solvers=["momentum"],
    learning_rates=[0.1],
    batch_size=4,
    epochs=1,
    seeds=[0],
    validation_fraction=0.2,
)


class Says:
    """A "model" whose logits are its images."""

    trainable_variables = ()
    non_trainable_variables = ()

    def stateless_call(self, weights, others, images, training):
        return images, others


def judge(logits, labels):
    step = Step.__new__(Step)
    step.model, step._normalize, step.packs = Says(), lambda images: images, False
    return step.judge([], [], jnp.asarray(logits, "float32"), jnp.asarray(labels))


def test_the_label_counts_where_it_is_first_or_among_the_first_five():
    logits = np.tile(np.arange(10.0), (10, 1))  # the last class is the likeliest
    judged = judge(logits, np.arange(10))
    assert (int(judged.correct), int(judged.correct_top5)) == (1, 5)


def test_of_equal_logits_the_first_class_wins():
    judged = judge(np.zeros((10, 10)), np.arange(10))
    assert (int(judged.correct), int(judged.correct_top5)) == (1, 5)


def test_padding_counts_for_nothing():
    logits = np.eye(3)[[0, 1, 2, 0]]
    judged = judge(logits, [0, 1, -1, -1])
    assert int(judged.correct) == 2
    assert float(judged.loss) == pytest.approx(float(judge(logits[:2], [0, 1]).loss))


def test_what_is_no_number_is_not_right():
    judged = judge(np.full((2, 3), np.nan), [0, 1])
    assert (int(judged.correct), int(judged.correct_top5)) == (0, 0)
    assert np.isnan(judged.loss)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_kerass(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(8, 5)), rng.integers(0, 5, 8)
    expected = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing
    )(keras.utils.to_categorical(labels, 5), logits)
    ours = jnp.mean(cross_entropy(jnp.asarray(logits), labels, smoothing))
    assert float(ours) == pytest.approx(float(expected), rel=1e-6)


def test_l2_pulls_all_weights_but_those_of_normalization_layers():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, bias_initializer="ones"),
            keras.layers.BatchNormalization(beta_initializer="ones"),
            keras.layers.Dense(2, bias_initializer="ones"),
        ]
    )
    step = Step(EXPERIMENT, "momentum", model, lambda images: images)
    state = step.start(initial_weights(model))
    inputs = np.ones((4, 3), "float32"), np.zeros(4, "int32"), jax.random.key(0)
    _, _, without = step.gradients(state, *inputs, 0.0)
    _, _, with_l2 = step.gradients(state, *inputs, 0.5)
    for variable, weight, a, b in zip(
        model.trainable_variables, state.weights, without, with_l2, strict=True
    ):
        pull = 0.0 if variable.name in ("gamma", "beta") else 0.5
        np.testing.assert_allclose(b - a, pull * weight, atol=1e-6)


def test_pixels_are_normalized_before_the_model_sees_them():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    plain = Step(EXPERIMENT, "momentum", model, lambda images: images)
    scaled = Step(EXPERIMENT, "momentum", model, lambda images: images / 2)
    state = plain.start(initial_weights(model))
    images, labels = np.ones((4, 3), "float32"), np.zeros(4, "int32")
    key = jax.random.key(0)
    direct, _, _ = plain.gradients(state, images, labels, key, 0.0)
    halved, _, _ = scaled.gradients(state, 2 * images, labels, key, 0.0)
    assert float(direct) == float(halved)
    model = state.weights, state.others
    assert float(plain.judge(*model, images, labels).loss) == float(
        scaled.judge(*model, 2 * images, labels).loss
    )
