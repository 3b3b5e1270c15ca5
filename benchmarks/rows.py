"""The nets whose training step is measured, and what a step of each computes."""

import math
from typing import NamedTuple

from lamb_keras.planning import nets

POSITIONS, MASKING_RATE = 512, 0.15


class Size(NamedTuple):
    """What is measured of a row: samples a step, and steps a round."""

    batch: int
    steps: int


class Row(NamedTuple):
    """A net and its sizes.

    Attributes:
        net: lenet, davidnet, resnet50 or bert.
        sizes: keywords of the net's function in `lamb_keras.models`.
        shape: of an image, or (tokens of a sequence,).
        accelerator, cpu: sizes on the one and the other.
        slow: whether a processor has no patience for it, unless it is named.
        half: whether an accelerator computes in bfloat16; a processor never does.
        packed: whether LAMB trains stacks of equal variables on a processor too.
    """

    net: str
    sizes: dict
    shape: tuple
    accelerator: Size
    cpu: Size
    slow: bool = False
    half: bool = True
    packed: bool = False

    @property
    def predictions(self) -> int:
        """Tokens of a sequence that are hidden."""
        return math.ceil(MASKING_RATE * self.shape[0])

    def flops(self) -> float:
        """FLOPs of a training step on one sample, by `lamb_keras.planning.nets`.

        Example:
            >>> f"{ROWS['bert-large'].flops():.3g} {ROWS['resnet50'].flops():.3g}"
            '2.41e+11 2.43e+10'
        """
        size, *channels = self.shape
        if self.net == "bert":
            names = "vocab_size", "layers", "width", "heads"
            sizes = {name: self.sizes[name] for name in names}
            sizes |= {"longest": POSITIONS, "length": size}
            sizes["predictions"] = self.predictions
        else:
            sizes = {"size": size, "channels": channels[1], **self.sizes}
        return getattr(nets, self.net)(**sizes, itemsize=4).flops


def _bert(layers, width, length, accelerator, cpu, **options):
    # Devlin et al., 2019, and the smaller ones of Turc et al., 2019: heads of 64.
    sizes = {"layers": layers, "width": width, "heads": width // 64, "dropout": 0.1}
    sizes = {"vocab_size": 30522, **sizes, **options.pop("sizes", {})}
    return Row("bert", sizes, (length,), Size(*accelerator), Size(*cpu), **options)


def _resnet50(size, accelerator, cpu, slow=False):
    sizes = {"classes": 1000, "width": 64, "blocks": (3, 4, 6, 3)}
    shape = size, size, 3
    return Row("resnet50", sizes, shape, Size(*accelerator), Size(*cpu), slow)


def _digits(net, **sizes):
    sizes = {"classes": 10, "width": 4, **sizes}
    return Row(net, sizes, (8, 8, 1), Size(64, 50), Size(64, 100))


# As the scale `evening` pre-trains it.
_EVENING = {"vocab_size": 2000, "heads": 2, "dropout": 0.0}
_LENET, _DAVIDNET = {"classes": 10}, {"classes": 10, "width": 64}
ROWS = {
    "lenet": Row(
        "lenet", _LENET, (28, 28, 1), Size(1024, 50), Size(1024, 2), half=False
    ),
    "davidnet-digits": _digits("davidnet"),
    "davidnet": Row("davidnet", _DAVIDNET, (32, 32, 3), Size(512, 20), Size(16, 1)),
    "resnet-digits": _digits("resnet50", blocks=(1, 1, 1, 1)),
    "resnet50-64": _resnet50(64, (256, 10), (8, 1), slow=True),
    "resnet50": _resnet50(224, (256, 10), (4, 1), slow=True),
    "bert-evening-4": _bert(2, 64, 32, (4, 50), (4, 100), sizes=_EVENING, packed=True),
    "bert-evening": _bert(2, 64, 32, (64, 50), (64, 10), sizes=_EVENING, packed=True),
    "bert-tiny": _bert(2, 128, 128, (64, 50), (4, 5), packed=True),
    "bert-small": _bert(4, 512, 128, (64, 20), (8, 1)),
    "bert-base": _bert(12, 768, 128, (64, 10), (4, 1), slow=True),
    "bert-large": _bert(24, 1024, 128, (64, 10), (2, 1), slow=True),
    "bert-large-512": _bert(24, 1024, 512, (16, 10), (1, 1), slow=True),
}
