"""Batch normalization with a gradient in fewer passes than differentiation gives."""

import functools

import jax
import jax.numpy as jnp
import keras


@keras.saving.register_keras_serializable(package="lamb_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the short gradient, values unchanged.

    What differentiation makes of Keras's moments passes over the images more often than
    the formula worked out by hand, and keeps a float32 copy of them where they are of
    lower precision. While not training, and with a mask, renormalization, or without
    scale or center, this is Keras's layer.

    Arguments, weights and moving statistics are those of Keras's layer.

    Example:
        >>> layer = BatchNormalization(epsilon=0.0)
        >>> layer(jnp.array([[1.0], [3.0]]), training=True).tolist()
        [[-1.0], [1.0]]
    """

    def call(self, inputs, training=None, mask=None):
        plain = self.scale and self.center and not self.renorm and mask is None
        if not (plain and training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = normalize(
            inputs,
            keras.ops.convert_to_tensor(self.gamma),
            keras.ops.convert_to_tensor(self.beta),
            self.epsilon,
            self.axis % len(inputs.shape),
        )
        for moving, now in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
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
