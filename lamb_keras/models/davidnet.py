"""DavidNet, the network of the paper's CIFAR-10 table."""

import keras

from lamb_keras.models.initializers import drawing
from lamb_keras.models.layers import Form, fastest_form
from lamb_keras.models.shapes import require_halvings, require_whole


def davidnet(image_shape, classes=10, width=64, seed=None, form: Form | None = None):
    """David Page's nine-layer residual net of the DAWNBench, giving logits.

    Every layer is a 3×3 convolution, normalization and ReLU: `width` channels, then
    three times twice as many and a halving of the image, the first and the third of
    these followed by a residual branch of two layers; at the end the maximum of what is
    left of the image, a linear map without bias, and an eighth of that.

    Args:
        image_shape: (height, width, channels), at least 8×8.
        classes: the number of logits.
        width: channels of the first layer.
        seed: of the initial weights (uniform up to 1/√fan-in, PyTorch's of that time).
        form: the layers it is made of, of the same values; None for the fastest here.

    Returns:
        A `keras.Model` from float images (n, height, width, channels) to logits
        (n, classes).

    Raises:
        ValueError: for a size that is not a whole number, or too small an image.

    Example:
        >>> net = davidnet((8, 8, 1), width=8, seed=0)
        >>> net.output_shape, net.get_layer("layer_3_residual_2_conv").kernel.shape
        ((None, 10), (3, 3, 64, 64))
    """
    require_whole(width=width, classes=classes)
    require_halvings(image_shape, 3)
    form = form or fastest_form()
    draw = drawing(seed)

    def start():
        # Of variance 1/(3 fan-in), which is that of the interval ±1/√fan-in.
        return {"kernel_initializer": draw("uniform", 1 / 3, "fan_in")}

    def layer(x, filters, name):
        return form.block(x, name, filters=filters, kernel_size=3, **start())

    images = keras.Input(image_shape, name="images")
    x = layer(form.enter(images), width, "prep")
    for number, residual in ((1, True), (2, False), (3, True)):
        name, filters = f"layer_{number}", width * 2**number
        x = form.pooling(2, name=f"{name}_pool")(layer(x, filters, name))
        if residual:
            y = layer(x, filters, f"{name}_residual_1")
            y = layer(y, filters, f"{name}_residual_2")
            x = keras.layers.Add(name=f"{name}_add")([x, y])
    x = keras.layers.GlobalMaxPooling2D(name="pool")(form.leave(x))
    # A cross-entropy of logits in lower precision loses the small differences.
    x = keras.layers.Dense(
        classes, use_bias=False, dtype="float32", name="linear", **start()
    )(x)
    logits = keras.layers.Rescaling(0.125, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="davidnet")
