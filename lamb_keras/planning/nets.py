"""What the paper's nets cost, by formula: parameters, FLOPs, and bytes of activations.

FLOPs are those of matrix products and convolutions, two for a multiplication with its
sum. A training step has three times those of the forward pass, but no gradient of the
images. Activations are what the backward pass reads of the forward one; compilers keep
more of some and compute others again.
"""

import itertools
import math
from typing import NamedTuple


class Net(NamedTuple):
    """A net as it is trained."""

    parameters: int
    flops: float  # of a training step, for each of its examples
    activations: float  # bytes, for each example
    itemsize: int  # bytes of what it computes with; weights have 4


def bert(
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    longest: int,
    length: int,
    predictions: int,
    itemsize: int,
) -> Net:
    """BERT with its heads, on sequences of a length with so many hidden tokens.

    Example:
        >>> net = bert(30522, 24, 1024, 16, 512, 128, 20, itemsize=2)
        >>> net.parameters, f"{net.flops:.2e}", f"{net.activations:.2e}"
        (336226108, '2.41e+11', '3.70e+08')
    """
    of_layer = 12 * width**2 + 13 * width
    of_heads = 2 * width**2 + 8 * width + vocab_size + 2
    parameters = layers * of_layer + (vocab_size + longest + 2) * width + of_heads
    attention = 2 * length**2 * width
    products = layers * (12 * length * width**2 + attention)
    products += predictions * (width**2 + width * vocab_size) + width**2 + 2 * width
    of_width, of_head = 32 * itemsize + 26, (5 * itemsize + 3) * length
    kept = layers * length * (of_width * width + of_head * heads)
    kept += (2 * itemsize + 16) * length * width + 4 * predictions * vocab_size
    return Net(parameters, 6 * products, kept, itemsize)


def lenet(shape: tuple, classes: int, itemsize: int) -> Net:
    """LeNet-5 on images of (height, width, channels).

    Example:
        >>> lenet((28, 28, 1), 10, itemsize=4).parameters
        61706
    """
    height, width, channels = shape
    layers = [_convolution(height, width, channels, 6, 5, 1)]
    edge = 4 if min(height, width) >= 28 else 0
    height, width = height // 2 - edge, width // 2 - edge
    layers.append(_convolution(height, width, 6, 16, 5, 1))
    sizes = (height // 2) * (width // 2) * 16, 120, 84, classes
    layers += [_dense(*pair) for pair in itertools.pairwise(sizes)]
    return _net(layers, itemsize)


def davidnet(shape: tuple, classes: int, width: int, itemsize: int) -> Net:
    """DavidNet, of `width` channels in its first layer.

    Example:
        >>> davidnet((32, 32, 3), 10, 64, itemsize=4).parameters
        6573120
    """
    height, across, channels = shape
    layers = [_convolution(height, across, channels, width)]
    for residual in (True, False, True):
        layers.append(_convolution(height, across, width, 2 * width))
        height, across, width = height // 2, across // 2, 2 * width
        layers += 2 * residual * [_convolution(height, across, width, width)]
    return _net([*layers, _dense(width, classes, bias=0)], itemsize)


def resnet50(shape: tuple, classes: int, width: int, blocks: list, itemsize: int):
    """ResNet-50, of `width` channels in its stem and so many blocks in each stage.

    Example:
        >>> net = resnet50((224, 224, 3), 1000, 64, [3, 4, 6, 3], itemsize=2)
        >>> net.parameters, f"{net.flops:.2e}"
        (25557032, '2.43e+10')
    """
    height, across, inputs = shape
    low = min(height, across) < 64
    if not low:
        height, across = _halved(height), _halved(across)
    layers = [_convolution(height, across, inputs, width, 3 if low else 7)]
    inputs = width
    if not low:
        height, across = _halved(height), _halved(across)
    for stage, count in enumerate(blocks):
        for block in range(count):
            layers.append(_convolution(height, across, inputs, width, 1))
            if stage and not block:
                height, across = _halved(height), _halved(across)
            layers.append(_convolution(height, across, width, width))
            layers.append(_convolution(height, across, width, 4 * width, 1))
            if not block:
                layers.append(_convolution(height, across, inputs, 4 * width, 1))
            inputs = 4 * width
        width *= 2
    return _net([*layers, _dense(inputs, classes)], itemsize)


def _halved(size):
    return math.ceil(size / 2)


def _convolution(height, width, inputs, outputs, kernel=3, per_channel=2):
    """(parameters, multiplications, numbers that come out), to images of that size.

    `per_channel` parameters are a bias, or gamma and beta of the normalization.
    """
    weights, pixels = kernel**2 * inputs * outputs, height * width
    return weights + per_channel * outputs, pixels * weights, pixels * outputs


def _dense(inputs, outputs, bias=1):
    return _convolution(1, 1, inputs, outputs, 1, bias)


def _net(layers, itemsize):
    parameters, products, outputs = map(sum, zip(*layers, strict=True))
    first = layers[0][1]
    # What came out of a layer, normalized, and activated with where it was positive.
    kept = (3 * itemsize + 1) * outputs
    return Net(parameters, 2 * (3 * products - first), kept, itemsize)
