import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamb_keras.models.layers import (
    BatchLastConv2D,
    BatchLastMaxPooling2D,
    BatchNormalization,
    normalize,
)

CONVOLUTIONS = [
    {"kernel_size": 1},
    {"kernel_size": 1, "strides": 2},
    {"kernel_size": 3},
    {"kernel_size": 3, "strides": 2},
    {"kernel_size": (5, 2), "strides": (1, 3), "padding": "valid"},
    {"kernel_size": 7, "strides": 2, "use_bias": True, "activation": "relu"},
]


def _swap(x):
    return np.transpose(x, (3, 1, 2, 0))


def _random(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("options", CONVOLUTIONS)
@pytest.mark.parametrize("size", [(9, 7), (2, 2), (1, 1)])
def test_the_batch_last_convolution_is_keras_convolution(options, size):
    options = {"padding": "same", "use_bias": False, **options}
    if options["padding"] == "valid" and min(size) < 7:
        pytest.skip("the kernel is larger than the image")
    x = _random(3, *size, 2)
    ours, plain = BatchLastConv2D(4, **options), keras.layers.Conv2D(4, **options)
    plain.build(x.shape)
    ours.build(_swap(x).shape)
    plain.set_weights([_random(*w.shape) for w in plain.get_weights()])

    @jax.jit
    def both(weights, images):
        def total(layer, weights, images):
            outputs = layer.stateless_call(weights, [], images)[0]
            return jnp.sum(jnp.sin(outputs)), outputs

        return [
            jax.grad(functools.partial(total, layer), (0, 1), has_aux=True)(weights, x)
            for layer, x in ((ours, images.transpose(3, 1, 2, 0)), (plain, images))
        ]

    (our_gradients, our_outputs), (gradients, outputs) = both(
        [v.value for v in plain.trainable_variables], x
    )
    expected_shape = ours.compute_output_shape(_swap(x).shape)
    assert our_outputs.shape == expected_shape
    np.testing.assert_allclose(_swap(our_outputs), outputs, rtol=1e-4, atol=1e-5)
    for a, b in zip(our_gradients[0], gradients[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        _swap(our_gradients[1]), gradients[1], rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"pool_size": 3, "strides": 2, "padding": "same"}, {"pool_size": (2, 3)}],
)
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_the_batch_last_pooling_is_keras_pooling(options, size):
    x = _random(3, *size, 2) - 5  # a border of zeros would win
    expected = jax.jit(keras.layers.MaxPooling2D(**options))(x)
    ours = BatchLastMaxPooling2D(**options)
    outputs = jax.jit(ours)(_swap(x))
    np.testing.assert_array_equal(_swap(outputs), expected)
    assert ours.compute_output_shape(_swap(x).shape) == outputs.shape


def _normalizations(axis, shape, dtype="float32"):
    layers = [
        kind(axis=axis, momentum=0.9, epsilon=1e-5, dtype=dtype)
        for kind in (BatchNormalization, keras.layers.BatchNormalization)
    ]
    rng = np.random.default_rng(1)
    channels = shape[axis]
    weights = [rng.uniform(0.5, 2, channels) for _ in range(4)]
    for layer in layers:
        layer.build(shape)
        layer.set_weights(weights)
    return layers


def _trained(layer, x, towards, weights=None):
    """(outputs, new statistics, gradients) of a training call."""
    values = [v.value for v in layer.trainable_variables]
    others = [v.value for v in layer.non_trainable_variables]

    def loss(weights, x):
        outputs, changed = layer.stateless_call(weights, others, x, training=True)
        return jnp.sum(outputs.astype("float32") * towards), (outputs, changed)

    gradients, (outputs, changed) = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(
        values if weights is None else weights, x
    )
    return outputs, changed, gradients


def _assert_close(ours, keras_own, tolerance=1e-6):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(keras_own), strict=True):
        assert a.dtype == b.dtype
        a, b = np.asarray(a, "float32"), np.asarray(b, "float32")
        scale = max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("axis", [-1, 0])
def test_the_normalization_is_keras_normalization(axis):
    x = _random(6, 5, 4, 3) * 2 + 1
    towards = np.random.default_rng(2).normal(size=x.shape).astype("float32")
    ours, plain = _normalizations(axis, x.shape)
    _assert_close(_trained(ours, x, towards), _trained(plain, x, towards))
    np.testing.assert_array_equal(jax.jit(ours)(x), jax.jit(plain)(x))


def test_the_normalization_is_keras_under_vmap():
    x = np.random.default_rng(3).normal(size=(2, 6, 4, 4, 3)).astype("float32")
    weights = [np.stack([w, 2 * w]) for w in np.ones((2, 3), "float32")]
    ours, plain = (
        jax.vmap(lambda w, x, layer=layer: _trained(layer, x, x[::-1] ** 2, w))(
            weights, x
        )
        for layer in _normalizations(-1, x.shape[1:])
    )
    _assert_close(ours, plain)


def test_lower_precision_is_normalized_by_statistics_in_float32():
    x = (_random(64, 4, 4, 3) + 3).astype(jnp.bfloat16)
    ours, plain = _normalizations(-1, x.shape, "mixed_bfloat16")
    towards = np.ones((64, 4, 4, 3), "float32")
    outputs, statistics, _ = _trained(ours, x, towards)
    assert outputs.dtype == jnp.bfloat16
    assert all(value.dtype == jnp.float32 for value in statistics)
    expected, keras_statistics, _ = _trained(plain, x, towards)
    _assert_close(statistics, keras_statistics)
    _assert_close(outputs, expected, 1e-2)


def test_the_gradient_flows_through_the_moments_too():
    def plain(x, gamma, beta):
        mean, variance = jnp.mean(x, 0), jnp.var(x, 0)
        out = (x - mean) * jax.lax.rsqrt(variance + 0.1) * gamma + beta
        return jnp.sum(jnp.sin(out)) + jnp.sum(mean**2) + jnp.sum(variance**3)

    def ours(x, gamma, beta):
        out, mean, variance = normalize(x, gamma, beta, 0.1, 1)
        return jnp.sum(jnp.sin(out)) + jnp.sum(mean**2) + jnp.sum(variance**3)

    inputs = _random(7, 3), jnp.arange(3.0), jnp.ones(3)
    for a, b in zip(
        jax.jit(jax.grad(ours, (0, 1, 2)))(*inputs),
        jax.jit(jax.grad(plain, (0, 1, 2)))(*inputs),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
