"""What the paper's nets cost, by formula: parameters, FLOPs, bytes of activations.

FLOPs are those of matrix products and convolutions, two for a multiplication and its
sum. A training step has three times those of the forward pass, but no gradient of the
images, which are square. Activations are what the backward pass reads of the forward.
"""

import itertools
from typing import NamedTuple


class Net(NamedTuple):
    """A net as it is trained; FLOPs and activations are of one example of a step."""

    parameters: int
    flops: float
    activations: float
    itemsize: int  # bytes of what it computes with; weights have 4
    by_parts: bool = False  # whether gradients are sent once a step


def bert(vocab_size, layers, width, heads, longest, length, predictions, itemsize):
    """BERT with its heads, on sequences of a length with so many hidden tokens.

    Of attention the compiled step keeps probabilities, before and after dropout, and
    which were dropped.

    Example:
        >>> bert(30522, 24, 1024, 16, 512, 128, 20, itemsize=2)[:2]
        (336226108, 240642748416)
    """
    parameters = layers * (12 * width**2 + 13 * width) + 2 * width**2 + vocab_size + 2
    parameters += (vocab_size + longest + 10) * width
    products = layers * (12 * length * width**2 + 2 * length**2 * width)
    products += predictions * (width + vocab_size) * width + (width + 2) * width
    of_token = (layers * (32 * itemsize + 26) + 2 * itemsize + 16) * width
    kept = length * of_token + 4 * predictions * vocab_size
    kept += layers * heads * length**2 * (2 * itemsize + 1)
    return Net(parameters, 6 * products, kept, itemsize, by_parts=True)


def lenet(size, channels, classes, itemsize):
    """LeNet-5 on images of `size` pixels a side.

    Example:
        >>> lenet(28, 1, 10, itemsize=4).parameters
        61706
    """
    second = size // 2 - (4 if size >= 28 else 0)
    sizes = (second // 2) ** 2 * 16, 120, 84, classes
    dense = [_layer(1, *pair, 1, 1) for pair in itertools.pairwise(sizes)]
    first = _layer(size, channels, 6, 5, 1), _layer(second, 6, 16, 5, 1)
    return _net([*first, *dense], itemsize)


def davidnet(size, channels, classes, width, itemsize):
    """DavidNet, of `width` channels in its first layer.

    Example:
        >>> davidnet(32, 3, 10, 64, itemsize=2).parameters
        6573120
    """
    layers = [_layer(size, channels, width)]
    for residual in (2, 0, 2):
        layers.append(_layer(size, width, 2 * width))
        size, width = size // 2, 2 * width
        layers += residual * [_layer(size, width, width)]
    return _net([*layers, _layer(1, width, classes, 1, 0)], itemsize)


def resnet50(size, channels, classes, width, blocks, itemsize):
    """ResNet-50, of `width` channels in its stem and so many blocks in each stage.

    Example:
        >>> resnet50(224, 3, 1000, 64, [3, 4, 6, 3], itemsize=2)[:2]
        (25557032, 24299077632)
    """
    kernel = 3
    if size >= 64:
        size, kernel = -(-size // 2), 7
    layers, inputs = [_layer(size, channels, width, kernel)], width
    size = -(-size // 2) if kernel == 7 else size
    for stage, block in ((s, b) for s, n in enumerate(blocks) for b in range(n)):
        middle = width * 2**stage
        layers.append(_layer(size, inputs, middle, 1))
        if stage and not block:
            size = -(-size // 2)
        layers += [_layer(size, middle, middle), _layer(size, middle, 4 * middle, 1)]
        if not block:
            layers.append(_layer(size, inputs, 4 * middle, 1))
        inputs = 4 * middle
    return _net([*layers, _layer(1, inputs, classes, 1, 1)], itemsize)


def _layer(size, inputs, outputs, kernel=3, per_channel=2):
    """(parameters, multiplications, numbers that come out) of a convolution.

    `per_channel` parameters are a bias, or gamma and beta of the normalization.
    """
    weights, pixels = kernel**2 * inputs * outputs, size**2
    return weights + per_channel * outputs, pixels * weights, pixels * outputs


def _net(layers, itemsize):
    parameters, products, outputs = map(sum, zip(*layers, strict=True))
    # What comes out, normalized, activated, and where it was positive.
    kept = (3 * itemsize + 1) * outputs
    return Net(parameters, 2 * (3 * products - layers[0][1]), kept, itemsize)
