import jax
import keras
import numpy as np
import pytest

from lamb_keras.models import lenet
from lamb_keras.models.layers import BandedConv2D, BlockMaxPooling2D


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [(5, 5), (3, 5), (4, 2)])
def test_the_banded_convolution_is_keras_convolution(padding, kernel):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 9, 7, 2)).astype("float32")
    ours, keras_own = BandedConv2D(4, kernel, padding=padding), keras.layers.Conv2D(
        4, kernel, padding=padding
    )  # fmt: skip
    ours.build(x.shape)
    keras_own.build(x.shape)
    keras_own.set_weights([rng.normal(size=w.shape) for w in keras_own.get_weights()])
    ours.set_weights(keras_own.get_weights())
    np.testing.assert_allclose(
        jax.jit(ours)(x), jax.jit(keras_own)(x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("options", [{}, {"pool_size": (2, 3)}])
def test_the_block_pooling_is_keras_pooling(options):
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    ours, plain = BlockMaxPooling2D(**options), keras.layers.MaxPooling2D(**options)
    np.testing.assert_array_equal(jax.jit(ours)(x), jax.jit(plain)(x))


def test_lenet_has_the_parameters_of_lenet_5():
    # 5·5·1·6+6 + 5·5·6·16+16 + 400·120+120 + 120·84+84 + 84·10+10
    assert lenet((28, 28, 1)).count_params() == 61_706
    # ... of which the first dense layer sees 2·2·16 at 8×8.
    assert lenet((8, 8, 1)).count_params() == 61_706 - (400 - 64) * 120


def test_an_image_that_cannot_be_halved_twice_is_refused():
    with pytest.raises(ValueError, match=r"\(30, 30, 1\); expected .* divisible by 4"):
        lenet((30, 30, 1))


def test_keras_own_layers_give_the_same_net():
    x = np.random.default_rng(0).random((4, 28, 28, 1), "float32")
    plain = lenet(
        (28, 28, 1),
        seed=0,
        convolution=keras.layers.Conv2D,
        pooling=keras.layers.MaxPooling2D,
    )
    ours = lenet((28, 28, 1), seed=0)
    np.testing.assert_allclose(
        jax.jit(ours)(x), jax.jit(plain)(x), rtol=1e-4, atol=1e-5
    )
