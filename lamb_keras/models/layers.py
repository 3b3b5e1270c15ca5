"""Keras layers computed in the form that XLA runs fast on a CPU, values unchanged.

The deep nets run batch-last there: images are (channels, height, width, n), so that a
convolution is a matrix product with long contiguous rows, a channel is one row to
normalize, and a shift of the image moves whole runs of memory. `fastest_form` says
which layers make up a net on this machine.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np

from lamb_keras.backend import require_jax
from lamb_keras.models.initializers import Filled

require_jax()


# LeNet's


@keras.saving.register_keras_serializable(package="lamb_keras")
class BandedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` for small images, as one matrix product on a CPU.

    A row of the output is linear in the rows of the input below the kernel, so the
    convolution is (rows of the input) × (a banded matrix made of the kernel). XLA's own
    convolution is slow on the CPU, and single-threaded inside `lax.scan`; the product
    wastes width / kernel width of its operations on zeros and is faster all the same
    for images up to about 32 wide. On an accelerator this is Keras's convolution.

    Arguments and weights are those of `keras.layers.Conv2D` with channels last, without
    strides, dilation and groups.

    Example:
        >>> x = np.ones((1, 4, 4, 1), "float32")
        >>> layer = BandedConv2D(1, 3, padding="same", kernel_initializer="ones")
        >>> np.asarray(layer(x))[0, :, :, 0].tolist()[0]
        [4.0, 6.0, 6.0, 4.0]
    """

    def convolution_op(self, inputs, kernel):
        if jax.default_backend() != "cpu":
            return super().convolution_op(inputs, kernel)
        kernel = keras.ops.convert_to_tensor(kernel)
        kernel_height, kernel_width, channels, filters = kernel.shape
        if self.padding == "same":
            above, left = (kernel_height - 1) // 2, (kernel_width - 1) // 2
            below, right = kernel_height - 1 - above, kernel_width - 1 - left
            inputs = jnp.pad(inputs, ((0, 0), (above, below), (left, right), (0, 0)))
        n, padded_height, padded_width, _ = inputs.shape
        height = padded_height - kernel_height + 1
        width = padded_width - kernel_width + 1

        # shifts[d, x, y] is 1 where input column x meets kernel column d at output y.
        shifts = np.stack(
            [np.eye(padded_width, width, -d) for d in range(kernel_width)]
        )
        band = jnp.einsum("hdcf,dxy->hxcyf", kernel, shifts.astype(kernel.dtype))
        band = band.reshape(kernel_height * padded_width * channels, width * filters)
        rows = [
            inputs[:, h : h + height].reshape(n, height, padded_width * channels)
            for h in range(kernel_height)
        ]
        return (jnp.concatenate(rows, -1) @ band).reshape(n, height, width, filters)


@keras.saving.register_keras_serializable(package="lamb_keras")
class BlockMaxPooling2D(keras.layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D` of blocks that part the image, by a reshape.

    XLA's windowed reduction is slow on the CPU, above all backwards. The gradient of a
    tie is shared among the equal values instead of going to the first.

    Example:
        >>> x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
        >>> np.asarray(BlockMaxPooling2D()(x))[0, :, :, 0].tolist()
        [[5.0, 7.0], [13.0, 15.0]]
    """

    def call(self, inputs):
        down, across = self.pool_size
        _, height, width, channels = inputs.shape
        shape = (-1, height // down, down, width // across, across, channels)
        return jnp.max(jnp.reshape(inputs, shape), axis=(2, 4))


# Of images with the batch last: (channels, height, width, n)


@keras.saving.register_keras_serializable(package="lamb_keras")
class SwapBatchAndChannels(keras.layers.Layer):
    """From (n, height, width, channels) to (channels, height, width, n), or back.

    Example:
        >>> SwapBatchAndChannels()(np.ones((5, 2, 3, 1))).shape
        (1, 2, 3, 5)
    """

    def call(self, inputs):
        return jnp.transpose(inputs, (3, 1, 2, 0))

    def compute_output_shape(self, input_shape):
        return _swapped(input_shape)


@keras.saving.register_keras_serializable(package="lamb_keras")
class BatchLastConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` of images (channels, height, width, n), one matrix product.

    The image, shifted once for every position in the kernel, is stacked along the
    channels, and multiplied by the kernel as a matrix. XLA's own convolution is slow on
    the CPU, and single-threaded inside `lax.scan`.

    Arguments and weights are those of `keras.layers.Conv2D` with channels last, without
    dilation and groups.

    Example:
        >>> x = np.ones((1, 4, 4, 1), "float32")
        >>> layer = BatchLastConv2D(1, 3, padding="same", kernel_initializer="ones")
        >>> np.asarray(layer(x))[0, 0, :, 0].tolist()
        [4.0, 6.0, 6.0, 4.0]
    """

    def build(self, input_shape):
        super().build(_swapped(input_shape))
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={0: input_shape[0]})

    def call(self, inputs):
        kernel = keras.ops.convert_to_tensor(self.kernel)
        shifts = _shifts(inputs, kernel.shape[:2], self.strides, self.padding, 0)
        # A 3×3 kernel sees nothing but padding around a 1×1 image.
        used = [place for place, shift in shifts.items() if shift is not None]
        stack = jnp.concatenate([shifts[place] for place in used], 0)
        if len(used) < len(shifts):
            kernel = jnp.stack([kernel[place] for place in used])
        rows, *size = stack.shape
        outputs = jax.lax.dot_general(
            kernel.reshape(rows, -1), stack.reshape(rows, -1), (((0,), (0,)), ((), ()))
        ).reshape(-1, *size)
        if self.use_bias:
            outputs += jnp.reshape(
                keras.ops.convert_to_tensor(self.bias), (-1, 1, 1, 1)
            )
        return outputs if self.activation is None else self.activation(outputs)

    def compute_output_shape(self, input_shape):
        return _swapped(super().compute_output_shape(_swapped(input_shape)))


@keras.saving.register_keras_serializable(package="lamb_keras")
class BatchLastMaxPooling2D(keras.layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D` of images (channels, height, width, n).

    The gradient of a tie is shared among the equal values instead of going to the
    first.

    Example:
        >>> x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
        >>> np.asarray(BatchLastMaxPooling2D()(x))[0, :, :, 0].tolist()
        [[5.0, 7.0], [13.0, 15.0]]
    """

    def call(self, inputs):
        shifts = _shifts(inputs, self.pool_size, self.strides, self.padding, -np.inf)
        return functools.reduce(
            jnp.maximum, [shift for shift in shifts.values() if shift is not None]
        )

    def compute_output_shape(self, input_shape):
        return _swapped(super().compute_output_shape(_swapped(input_shape)))


def _swapped(shape):
    batch, height, width, channels = shape
    return (channels, height, width, batch)


def _shifts(images, window, strides, padding, fill):
    """{(row, column) in the window: the images as it sees them, None if only fill}."""
    ranges, edges = [], []  # of the two axes: where in the padded images, padding
    for size, length, stride in zip(images.shape[1:3], window, strides, strict=True):
        same = padding == "same"
        outputs = -(-size // stride) if same else (size - length) // stride + 1
        span = (outputs - 1) * stride + 1
        missing = max(0, span - 1 + length - size)
        before = missing // 2
        edges.append((before, missing - before))
        places = [slice(start, start + span, stride) for start in range(length)]
        ranges.append(
            [
                (p, any(before <= i < before + size for i in range(p.stop)[p]))
                for p in places
            ]
        )
    if any(map(sum, edges)):
        images = jnp.pad(images, ((0, 0), *edges, (0, 0)), constant_values=fill)
    return {
        (row, column): images[:, down, across] if seen_down and seen_across else None
        for row, (down, seen_down) in enumerate(ranges[0])
        for column, (across, seen_across) in enumerate(ranges[1])
    }


# Batch normalization, with a gradient in fewer passes than differentiation gives


@keras.saving.register_keras_serializable(package="lamb_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the short gradient, values unchanged.

    What differentiation makes of Keras's moments passes over the images more often than
    the formula worked out by hand, and keeps a float32 copy of them where they are of
    lower precision. While not training this is Keras's layer.

    Arguments, weights and moving statistics are those of Keras's layer, with scale and
    center, without renormalization and masks.

    Example:
        >>> layer = BatchNormalization(epsilon=0.0)
        >>> layer(jnp.array([[1.0], [3.0]]), training=True).tolist()
        [[-1.0], [1.0]]
    """

    def call(self, inputs, training=None):
        if not (training and self.trainable):
            return super().call(inputs, training=training)
        outputs, mean, variance = normalize(
            inputs,
            keras.ops.convert_to_tensor(self.gamma),
            keras.ops.convert_to_tensor(self.beta),
            self.epsilon,
            self.axis % len(inputs.shape),
        )
        moments = (self.moving_mean, mean), (self.moving_variance, variance)
        for moving, now in moments:
            moving.assign(moving * self.momentum + now * (1.0 - self.momentum))
        return keras.ops.cast(outputs, self.compute_dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalize(images, gamma, beta, epsilon, axis):
    """Images brought to mean beta and deviation gamma, each channel by its own moments.

    Args:
        images: any shape, with the channels at `axis`.
        gamma, beta: a number for every channel.
        epsilon: added to the variance.

    Returns:
        (the new images in their own type, mean, variance of the channels before), the
        moments in float32 at least.
    """
    return _forward(images, gamma, beta, epsilon, axis)[0]


def _forward(images, gamma, beta, epsilon, axis):
    across, spread, x = _by_channel(images, axis)
    mean = jnp.mean(x, across)
    variance = jnp.mean(jnp.square(x - spread(mean)), across)
    inverse = jax.lax.rsqrt(variance + epsilon)
    factor = inverse * gamma
    outputs = x * spread(factor) + spread(beta - mean * factor)
    return (
        (outputs.astype(images.dtype), mean, variance),
        (images, mean, inverse, gamma),
    )


def _backward(epsilon, axis, residuals, gradients):
    images, mean, inverse, gamma = residuals
    of_outputs, of_mean, of_variance = gradients
    across, spread, x = _by_channel(images, axis)
    dy = of_outputs.astype(x.dtype)
    count = images.size // images.shape[axis]
    of_beta = jnp.sum(dy, across)
    of_gamma = jnp.sum(dy * (x - spread(mean)), across) * inverse
    # The gradient is a dy + b x + c, the three being numbers of a channel.
    a = gamma * inverse
    b = (2 * of_variance - a * inverse * of_gamma) / count
    c = (of_mean - a * of_beta) / count - b * mean
    of_images = spread(a) * dy + spread(b) * x + spread(c)
    return of_images.astype(images.dtype), of_gamma, of_beta


normalize.defvjp(_forward, _backward)


def _by_channel(images, axis):
    """(the axes but the channels', vector of channels -> their shape, images wide)."""
    across = tuple(i for i in range(images.ndim) if i != axis)
    wide = images.astype(jnp.promote_types(images.dtype, "float32"))
    return across, lambda vector: jnp.expand_dims(vector, across), wide


# What a net is made of


class Form(NamedTuple):
    """The layers a net is made of, and where its images keep the channels."""

    convolution: type
    pooling: type
    axis: int

    def enter(self, images):
        """From (n, height, width, channels) to this form."""
        return images if self.axis else SwapBatchAndChannels(name="batch_last")(images)

    def leave(self, images):
        """From this form to (n, height, width, channels)."""
        return images if self.axis else SwapBatchAndChannels(name="batch_first")(images)

    def block(self, x, name, part="", gamma=1.0, relu=True, **convolution):
        """A padded convolution without bias, normalization, and ReLU if wanted."""
        x = self.convolution(
            padding="same", use_bias=False, name=f"{name}_conv{part}", **convolution
        )(x)
        x = self.normalization(f"{name}_norm{part}", gamma)(x)
        return keras.layers.ReLU(name=f"{name}_relu{part}")(x) if relu else x

    def normalization(self, name, gamma=1.0):
        """The nets' batch normalization, starting with this gamma."""
        return BatchNormalization(
            axis=self.axis,
            momentum=0.9,
            epsilon=1e-5,
            gamma_initializer=Filled(gamma),
            beta_initializer=Filled(0.0),
            moving_mean_initializer=Filled(0.0),
            moving_variance_initializer=Filled(1.0),
            name=name,
        )


BATCH_LAST = Form(BatchLastConv2D, BatchLastMaxPooling2D, 0)
CHANNELS_LAST = Form(keras.layers.Conv2D, keras.layers.MaxPooling2D, -1)


def fastest_form() -> Form:
    """The layers that a net is best made of here: batch-last on a CPU, else Keras's."""
    return BATCH_LAST if jax.default_backend() == "cpu" else CHANNELS_LAST
