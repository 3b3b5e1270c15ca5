import jax
import keras
import numpy as np
import pytest

from lamb_keras.models import davidnet
from lamb_keras.models.layers import BATCH_LAST, CHANNELS_LAST


def test_at_the_papers_size_it_is_davidnet():
    model = davidnet((32, 32, 3), seed=0)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == 6_573_120
    sizes = [
        model.get_layer(name).output.shape
        for name in ("prep_relu", "layer_1_add", "layer_2_pool", "layer_3_add")
    ]
    assert sizes == [
        (64, 32, 32, None),
        (128, 16, 16, None),
        (256, 8, 8, None),
        (512, 4, 4, None),
    ]


@pytest.mark.parametrize("size", [8, 32, 64])
def test_what_is_left_of_any_image_is_pooled(size):
    model = davidnet((size, size, 1), width=2, seed=0)
    assert model.get_layer("batch_first").output.shape == (None, *2 * (size // 8,), 16)
    images = jax.ShapeDtypeStruct((3, size, size, 1), "float32")
    assert jax.eval_shape(model, images).shape == (3, 10)


def test_every_weight_starts_below_one_over_the_root_of_its_inputs():
    model = davidnet((8, 8, 1), width=8, seed=0)
    kernels = [np.asarray(v) for v in model.trainable_variables if v.name == "kernel"]
    assert len(kernels) == 9
    for kernel in kernels:
        bound = np.prod(kernel.shape[:-1]) ** -0.5
        assert 0.9 * bound < np.abs(kernel).max() <= bound


def test_the_logits_are_an_eighth_of_a_linear_map_without_bias():
    model = davidnet((8, 8, 1), width=2, seed=0)
    both = keras.Model(model.input, [model.get_layer("pool").output, model.output])
    x = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
    features, logits = map(np.asarray, jax.jit(both)(x))
    expected = features @ np.asarray(model.get_layer("linear").kernel)
    np.testing.assert_allclose(logits, expected / 8, rtol=1e-4, atol=1e-6)
    assert not model.get_layer("linear").use_bias


def test_both_forms_are_the_same_net():
    x = np.random.default_rng(0).random((4, 8, 8, 3), "float32")
    a, b = (
        davidnet((8, 8, 3), width=4, seed=1, form=form)
        for form in (BATCH_LAST, CHANNELS_LAST)
    )

    def logits(model, training):
        weights, others = (
            [v.value for v in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        )
        return jax.jit(
            lambda *inputs: model.stateless_call(*inputs, training=training)
        )(weights, others, x)[0]

    for training in (True, False):
        np.testing.assert_allclose(
            logits(a, training), logits(b, training), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_shape": (4, 8, 1)}, r"\(4, 8, 1\); expected .* least 8"),
        ({"width": 0}, "width is 0; expected a whole number"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        davidnet(**{"image_shape": (8, 8, 1), **options})
