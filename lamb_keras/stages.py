"""The two stages of BERT's pre-training: their batches and their lengths in steps.

The paper trains on 512,000,000 sequences: 1,000,000 steps of 512, or 15,625 of 32,768.
The first nine tenths of the steps have short sequences and the last tenth long ones.
Only the mixed batch, 65536/32768, has a batch for each stage; its steps are published
and are not quite those that the rule gives.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

BETWEEN = "/"
# A part of the steps that should be whole, such as 0.29 of 100, must not lose one to
# the last digit of a float.
_DIGITS = 9


class PretrainingSteps(NamedTuple):
    """The lengths of a pre-training, in steps.

    Attributes:
        first: of the first stage, on short sequences.
        second: of the second stage, on long ones.
        warmup: at the start, with a rising learning rate.
        second_warmup: at the start of a mixed batch's second stage; 0 otherwise, where
            both stages share one warm-up and one decay.
    """

    first: int
    second: int
    warmup: int
    second_warmup: int = 0

    @property
    def total(self) -> int:
        """Of both stages."""
        return self.first + self.second


def is_mixed(batch_size: int | str) -> bool:
    """Whether a batch is a mixed one, of another size in the second stage.

    Example:
        >>> is_mixed(512), is_mixed("65536/32768")
        (False, True)
    """
    return isinstance(batch_size, str)


def batches(batch_size: int | str) -> tuple[int, int]:
    """The batch of the first stage and that of the second.

    Example:
        >>> batches(512), batches("65536/32768")
        ((512, 512), (65536, 32768))
    """
    if not is_mixed(batch_size):
        return batch_size, batch_size
    first, second = map(int, batch_size.split(BETWEEN))
    return first, second


def stage_steps(total: int, second_stage: float = 0.1) -> tuple[int, int]:
    """The steps of each stage, from those of both: the second has its part, cut down.

    Args:
        total: steps of the whole pre-training.
        second_stage: the part of them that the second stage is.

    Example:
        >>> stage_steps(15625), stage_steps(1_000_000)
        ((14063, 1562), (900000, 100000))
    """
    second = math.floor(round(total * second_stage, _DIGITS))
    return total - second, second


def pretraining_steps(
    batch_size: int | str,
    warmup_fraction: float,
    base_batch_size: int | None = None,
    *,
    sequences: int = 512_000_000,
    second_stage: float = 0.1,
    mixed_steps: Sequence[int] = (7037, 1562),
    steps_divisor: float = 1.0,
) -> PretrainingSteps:
    """The lengths of a pre-training at a batch size, in steps.

    A plain batch takes `sequences` / batch steps, of which `warmup_fraction` raise the
    learning rate. With a `base_batch_size`, the fraction is that of the base, and the
    warm-up lasts as many steps at every batch as there.

    A mixed batch takes `mixed_steps`. Its first stage warms up as a plain training of
    that batch would; its second warms up anew, over the fraction of its own steps.

    Args:
        batch_size: a number, or the two of a mixed batch, such as "65536/32768".
        warmup_fraction: the part of the steps with a rising learning rate.
        base_batch_size: the batch for which that is given; None for every batch.
        sequences: what is trained on, counted as often as it is seen.
        second_stage: the part of the steps of a plain batch that the second stage is.
        mixed_steps: of the two stages of a mixed batch.
        steps_divisor: how many times fewer all of these steps are to be.

    Example:
        >>> pretraining_steps(32768, 1 / 5)
        PretrainingSteps(first=14063, second=1562, warmup=3125, second_warmup=0)
        >>> pretraining_steps(512, 1 / 5, base_batch_size=32768).warmup
        3125
        >>> pretraining_steps("65536/32768", 1 / 5, base_batch_size=32768)
        PretrainingSteps(first=7037, second=1562, warmup=3125, second_warmup=312)
    """
    of_first, of_second = (
        warmup_fraction * batch / (base_batch_size or batch)
        for batch in batches(batch_size)
    )
    total = sequences / batches(batch_size)[0] / steps_divisor
    if not is_mixed(batch_size):
        first, second = stage_steps(max(round(total), 1), second_stage)
        # However short the training, a step after the warm-up remains.
        warmup = min(round(of_first * total), first + second - 1)
        return PretrainingSteps(first, second, warmup)
    first, second = (max(round(steps / steps_divisor), 1) for steps in mixed_steps)
    return PretrainingSteps(
        first,
        second,
        min(round(of_first * total), first - 1),
        min(round(of_second * second), second - 1),
    )
