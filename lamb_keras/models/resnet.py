"""ResNet-50, the network of the paper's ImageNet tables."""

import keras

from lamb_keras.models.initializers import Filled, drawing
from lamb_keras.models.layers import Form, fastest_form
from lamb_keras.models.shapes import require_halvings, require_whole

# Images smaller than this keep their resolution in the stem.
_LOW_RESOLUTION = 64


def resnet50(
    image_shape,
    classes=1000,
    width=64,
    blocks=(3, 4, 6, 3),
    seed=None,
    form: Form | None = None,
):
    """ResNet-50 of bottleneck blocks with batch normalization, giving logits.

    As He et al., 2015, Deep Residual Learning for Image Recognition, with what the
    large-batch papers changed: a block's stride is in its 3×3 convolution, and the
    gamma of its last normalization starts at zero, so that it starts as the identity
    (Goyal et al., 2017). Strided layers pad as Keras's "same" does. Images below 64
    pixels get a 3×3 stem of stride 1 and no pooling before the stages.

    Args:
        image_shape: (height, width, channels), a side large enough to be halved at
            every stage but the first, and twice more in the stem from 64 pixels on.
        classes: the number of logits.
        width: channels of the stem and of the first stage's bottlenecks, doubled at
            every further stage; a block gives four times as many.
        blocks: how many there are in each stage.
        seed: of the initial weights (convolutions He's normal by fan-out, the last
            layer normal of deviation 0.01).
        form: the layers it is made of, of the same values; None for the fastest here.

    Returns:
        A `keras.Model` from float images (n, height, width, channels) to logits
        (n, classes).

    Raises:
        ValueError: for a size that is not a whole number, or too small an image.

    Example:
        >>> net = resnet50((8, 8, 1), 10, width=4, blocks=(1, 1, 1), seed=0)
        >>> net.output_shape, net.get_layer("stage_1_block_1_conv_2").kernel.shape
        ((None, 10), (3, 3, 4, 4))
    """
    require_whole(width=width, classes=classes)
    if not blocks:
        raise ValueError(
            f"blocks is {blocks!r}; expected the number of blocks of every stage, "
            "such as (3, 4, 6, 3)."
        )
    require_whole(**{f"blocks[{i}]": count for i, count in enumerate(blocks)})
    low = min(image_shape[:2]) < _LOW_RESOLUTION
    require_halvings(image_shape, len(blocks) - 1 + (0 if low else 2))
    form = form or fastest_form()
    draw = drawing(seed)

    def block(x, filters, size, strides, *place, **options):
        start = draw("normal", 2.0, "fan_out")
        options |= {"filters": filters, "kernel_size": size, "strides": strides}
        return form.block(x, *place, kernel_initializer=start, **options)

    def bottleneck(x, width, strides, projects, name):
        y = block(x, width, 1, 1, name, "_1")
        y = block(y, width, 3, strides, name, "_2")
        y = block(y, 4 * width, 1, 1, name, "_3", gamma=0.0, relu=False)
        if projects:
            x = block(x, 4 * width, 1, strides, name, "_shortcut", relu=False)
        x = keras.layers.Add(name=f"{name}_add")([x, y])
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    images = keras.Input(image_shape, name="images")
    x = block(form.enter(images), width, *((3, 1) if low else (7, 2)), "stem")
    if not low:
        x = form.pooling(3, strides=2, padding="same", name="stem_pool")(x)
    for stage, count in enumerate(blocks, 1):
        for number in range(1, count + 1):
            strides = 2 if number == 1 and stage > 1 else 1
            name = f"stage_{stage}_block_{number}"
            x = bottleneck(x, width * 2 ** (stage - 1), strides, number == 1, name)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(form.leave(x))
    logits = keras.layers.Dense(
        classes,
        kernel_initializer=draw("normal", 0.01**2),
        bias_initializer=Filled(0.0),
        # A cross-entropy of logits in lower precision loses the small differences.
        dtype="float32",
        name="logits",
    )(x)
    return keras.Model(images, logits, name="resnet50")
