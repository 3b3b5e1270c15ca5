"""LeNet, the network of the paper's MNIST table."""

import keras

from lamb_keras.models.initializers import Filled, drawing
from lamb_keras.models.layers import BandedConv2D, BlockMaxPooling2D


def lenet(
    image_shape,
    classes=10,
    seed=None,
    convolution=BandedConv2D,
    pooling=BlockMaxPooling2D,
):
    """LeNet-5 with ReLU and max-pooling, giving logits.

    Convolution 5×5 to 6 channels (padded), pool, convolution 5×5 to 16 channels, pool,
    dense 120, 84 and `classes`. The paper says "LeNet" and no more; the sizes are those
    of LeCun et al., 1998, Gradient-Based Learning Applied to Document Recognition. On
    images of less than 28×28 the second convolution is padded too, since the first pool
    leaves too little of them otherwise.

    Args:
        image_shape: (height, width, channels), height and width divisible by 4.
        classes: the number of logits.
        seed: of the initial weights (Glorot's uniform, biases zero).
        convolution, pooling: the classes of the layers; those of Keras give the same
            values, slower on a processor.

    Returns:
        A `keras.Model` from float images (n, height, width, channels) in [0, 1] to
        logits (n, classes): 61,706 parameters at (28, 28, 1), 21,386 at (8, 8, 1).

    Raises:
        ValueError: for a height or width that cannot be halved twice.

    Example:
        >>> lenet((28, 28, 1)).count_params(), lenet((8, 8, 1)).count_params()
        (61706, 21386)
    """
    height, width, _ = image_shape
    if height % 4 or width % 4:
        raise ValueError(
            f"image_shape is {tuple(image_shape)}; "
            "expected a height and width divisible by 4, to be halved twice."
        )
    draw = drawing(seed)

    def layer(kind, *sizes, **options):
        start = draw("uniform", 1.0, "fan_avg")
        zero = Filled(0.0)
        return kind(*sizes, **options, kernel_initializer=start, bias_initializer=zero)

    def conv(filters, padding, name):
        options = {"padding": padding, "activation": "relu", "name": name}
        return layer(convolution, filters, 5, **options)

    def dense(units, activation, name):
        return layer(keras.layers.Dense, units, activation=activation, name=name)

    return keras.Sequential(
        [
            keras.Input(image_shape),
            conv(6, "same", "conv_1"),
            pooling(name="pool_1"),
            conv(16, "valid" if min(height, width) >= 28 else "same", "conv_2"),
            pooling(name="pool_2"),
            keras.layers.Flatten(name="flatten"),
            dense(120, "relu", "dense_1"),
            dense(84, "relu", "dense_2"),
            dense(classes, None, "logits"),
        ],
        name="lenet",
    )
