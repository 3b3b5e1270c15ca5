"""Keras layers computed in the form that XLA runs fast on a CPU, values unchanged."""

import jax
import jax.numpy as jnp
import keras
import numpy as np

from lamb_keras.backend import require_jax

require_jax()


@keras.saving.register_keras_serializable(package="lamb_keras")
class BandedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` for small images, as one matrix product on a CPU.

    A row of the output is linear in the rows of the input below the kernel, so the
    convolution is (rows of the input) × (a banded matrix made of the kernel). XLA's own
    convolution is slow on the CPU, and single-threaded inside `lax.scan`; the product
    wastes width / kernel width of its operations on zeros and is faster all the same
    for images up to about 32 wide. On an accelerator, with strides or dilation, and
    with channels first, this is Keras's convolution.

    Arguments and weights are those of `keras.layers.Conv2D`.

    Example:
        >>> x = np.ones((1, 4, 4, 1), "float32")
        >>> layer = BandedConv2D(1, 3, padding="same", kernel_initializer="ones")
        >>> np.asarray(layer(x))[0, :, :, 0].tolist()[0]
        [4.0, 6.0, 6.0, 4.0]
    """

    def convolution_op(self, inputs, kernel):
        plain = (
            self.strides == (1, 1)
            and self.dilation_rate == (1, 1)
            and self.groups == 1
            and self.data_format == "channels_last"
            and self.padding in ("same", "valid")
        )
        if not plain or jax.default_backend() != "cpu":
            return super().convolution_op(inputs, kernel)
        return banded_convolution(
            inputs, keras.ops.convert_to_tensor(kernel), self.padding
        )


def banded_convolution(images, kernel, padding):
    """A two-dimensional convolution of stride 1 as one matrix product.

    Args:
        images: shape (n, height, width, channels).
        kernel: shape (kernel height, kernel width, channels, filters).
        padding: "same" or "valid".

    Returns:
        Shape (n, height', width', filters), the sizes as of `keras.ops.conv`.

    Example:
        >>> out = banded_convolution(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4)),
        ...                          "valid")
        >>> out.shape, float(out[0, 0, 0, 0])
        ((1, 3, 3, 4), 18.0)
    """
    kernel_height, kernel_width, channels, filters = kernel.shape
    if padding == "same":
        above, left = (kernel_height - 1) // 2, (kernel_width - 1) // 2
        images = jnp.pad(
            images,
            (
                (0, 0),
                (above, kernel_height - 1 - above),
                (left, kernel_width - 1 - left),
                (0, 0),
            ),
        )
    n, padded_height, padded_width, _ = images.shape
    height = padded_height - kernel_height + 1
    width = padded_width - kernel_width + 1

    # shifts[d, x, y] is 1 where input column x meets kernel column d at output y.
    shifts = np.stack([np.eye(padded_width, width, -d) for d in range(kernel_width)])
    band = jnp.einsum("hdcf,dxy->hxcyf", kernel, shifts.astype(kernel.dtype))
    band = band.reshape(kernel_height * padded_width * channels, width * filters)
    rows = [
        images[:, h : h + height].reshape(n, height, padded_width * channels)
        for h in range(kernel_height)
    ]
    return (jnp.concatenate(rows, -1) @ band).reshape(n, height, width, filters)


@keras.saving.register_keras_serializable(package="lamb_keras")
class BlockMaxPooling2D(keras.layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D` of blocks that do not overlap, by a reshape.

    XLA's windowed reduction is slow on the CPU, above all backwards. Where the windows
    overlap or do not divide the image, this is Keras's pooling. The gradient of a tie
    is shared among the equal values instead of going to the first.

    Arguments are those of `keras.layers.MaxPooling2D`.

    Example:
        >>> x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
        >>> np.asarray(BlockMaxPooling2D()(x))[0, :, :, 0].tolist()
        [[5.0, 7.0], [13.0, 15.0]]
    """

    def call(self, inputs):
        down, across = self.pool_size
        _, height, width, channels = inputs.shape
        blocks = (
            tuple(self.strides) == (down, across)
            and self.data_format == "channels_last"
            and height % down == 0
            and width % across == 0
        )
        if not blocks:
            return super().call(inputs)
        return jnp.max(
            jnp.reshape(
                inputs,
                (-1, height // down, down, width // across, across, channels),
            ),
            axis=(2, 4),
        )
