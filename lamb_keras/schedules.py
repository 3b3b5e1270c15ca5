"""The paper's learning-rate schedules, as functions of the step, and numbers of steps.

The functions of a step compute in float32, with NumPy on a number or a NumPy array, and
with JAX on an array of JAX, traced or not. `lamb_keras.keras_schedules` has them for
Keras; here is nothing that imports it, for to plan a training takes neither.

BERT's pre-training takes 512,000,000 sequences: 1,000,000 steps of 512, or 15,625 of
32,768. The first nine tenths of the steps, the first stage, have short sequences, the
others long ones. Only the mixed batch, "65536/32768", has a batch for each stage; its
steps are published and are not quite those that the rule gives.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Goyal et al.'s recipe for 90 epochs: up to epoch 5, a tenth at each of the others.
_GOYAL_EPOCHS = 90
_GOYAL_WARMUP = 5
_GOYAL_DROPS = (30, 60, 80)


def warmup_polynomial_decay(step, warmup_steps, total_steps, power=1.0):
    """The fraction of the peak learning rate at `step`: a line up, a polynomial down.

        (s + 1) / W              for s < W
        ((T - s) / (T - W))^p    after

    Both are 1 where they meet and neither is 0 before T: every step moves the weights.
    (The first author's MNIST script starts from a rate of 0 and drops from 1 to 1 - W/T
    after the warm-up; the paper's text does not ask for either.)

    Args:
        step: s, from 0; a number or an array, which may be traced.
        warmup_steps: W, 0 for none.
        total_steps: T.
        power: p; 0 for a constant rate after the warm-up.

    Example:
        >>> [float(warmup_polynomial_decay(s, 2, 6)) for s in range(6)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    xp, step = _float32(step)
    left = xp.clip((total_steps - step) / (total_steps - warmup_steps), 0, 1)
    return xp.where(step < warmup_steps, _rise(step, warmup_steps), left**power)


def goyal(step, total_steps):
    """The fraction of the peak learning rate at `step` by the recipe of Goyal et al.

    A line up during the first 5/90 of the training, then 1, and a tenth of what it was
    from 30/90, 60/90 and 80/90 on. The warm-up is rounded to whole steps, so the first
    step moves the weights, and however few there are, one has the peak rate.

    Example:
        >>> [round(float(goyal(s, 90)), 3) for s in (0, 4, 5, 29, 30, 60, 80, 89)]
        [0.2, 1.0, 1.0, 1.0, 0.1, 0.01, 0.001, 0.001]

    Reference:
        Goyal et al., 2017, Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour,
        https://arxiv.org/abs/1706.02677
    """
    xp, step = _float32(step)
    warmup = round(total_steps * _GOYAL_WARMUP / _GOYAL_EPOCHS)
    fraction = xp.where(step < warmup, _rise(step, warmup), 1)
    for drops, epoch in enumerate(_GOYAL_DROPS, 1):
        # In whole numbers: a third of the steps is one of them or the next.
        first = -(-total_steps * epoch // _GOYAL_EPOCHS)
        fraction = xp.where(step >= first, 0.1**drops, fraction)
    return fraction


def two_stages_with_rewarmup(
    step,
    warmup_steps,
    first_steps,
    second_warmup_steps,
    second_steps,
    second_peak=1.0,
    power=1.0,
):
    """The schedule of a mixed batch, as a fraction of the first stage's peak.

    Each stage has a `warmup_polynomial_decay` of its own: where the second begins, the
    first one's rate has come down to nothing and is ramped up again (re-warm-up), to
    `second_peak` of the first peak.

    Example:
        >>> [round(float(two_stages_with_rewarmup(s, 1, 3, 2, 4, 0.5)), 3)
        ...  for s in range(7)]
        [1.0, 1.0, 0.5, 0.25, 0.5, 0.5, 0.25]
    """
    xp, step = _float32(step)
    first = warmup_polynomial_decay(step, warmup_steps, first_steps, power)
    second = warmup_polynomial_decay(
        step - first_steps, second_warmup_steps, second_steps, power
    )
    return xp.where(step < first_steps, first, second_peak * second)


def square_root_scaling(learning_rate, batch_size, base_batch_size):
    """The learning rate at a batch size, from that at another: × √(batch / base).

    Tables 4 and 5 were made so, from 0.005 and 0.04 at 32,768.

    Example:
        >>> square_root_scaling(0.005, 512, base_batch_size=32768)
        0.000625
    """
    return learning_rate * math.sqrt(batch_size / base_batch_size)


def linear_epoch_warmup(warmup, batch_size, base_batch_size):
    """The length of the warm-up at a batch size, from that at another: × batch / base.

    In epochs or as a fraction of the training, so that it is always as many steps: in
    Table 4, 1/5 of 15,625 steps of 32,768, in Table 5, 20 epochs of them.

    Example:
        >>> epochs = linear_epoch_warmup(20, 512, base_batch_size=32768)
        >>> epochs, round(epochs * 1281167 / 512)  # in steps, as 20 · 1281167 / 32768
        (0.3125, 782)
    """
    return warmup * batch_size / base_batch_size


class PretrainingSteps(NamedTuple):
    """The steps of both stages of a pre-training, and those with a rising rate.

    Only a mixed batch has a second warm-up, where its second stage begins.
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
    """Whether a batch is a mixed one, of another size in the second stage."""
    return isinstance(batch_size, str)


def stage_batches(batch_size: int | str) -> tuple[int, int]:
    """The batch of the first stage and that of the second.

    Example:
        >>> stage_batches(512), stage_batches("65536/32768")
        ((512, 512), (65536, 32768))
    """
    if not is_mixed(batch_size):
        return batch_size, batch_size
    first, second = map(int, batch_size.split("/"))
    return first, second


def stage_steps(total: int, second_stage: float = 0.1) -> tuple[int, int]:
    """The steps of each stage, from those of both and the part of the second.

    Example:
        >>> stage_steps(15625), stage_steps(1_000_000)
        ((14063, 1562), (900000, 100000))
    """
    # A part that should be whole, such as 0.29 of 100, loses none to a float's last
    # digit; any other is cut down.
    second = math.floor(round(total * second_stage, 9))
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

    A plain batch takes `sequences` / batch steps, the second stage a part of them, and
    `warmup_fraction` of them raise the learning rate. With a `base_batch_size` it is
    the base's fraction, and the warm-up lasts as many steps at every batch as there.

    A mixed batch takes `mixed_steps`. Its first stage warms up as a plain training of
    that batch would; its second warms up anew, over the fraction of its own steps.
    `steps_divisor` makes all of these steps fewer.

    Example:
        >>> pretraining_steps(512, 1 / 5, base_batch_size=32768).warmup
        3125
        >>> pretraining_steps("65536/32768", 1 / 5, base_batch_size=32768)
        PretrainingSteps(first=7037, second=1562, warmup=3125, second_warmup=312)
    """
    of_first, of_second = (
        warmup_fraction * batch / (base_batch_size or batch)
        for batch in stage_batches(batch_size)
    )
    total = sequences / stage_batches(batch_size)[0] / steps_divisor
    # However short a training or a stage, a step after its warm-up remains.
    if not is_mixed(batch_size):
        first, second = stage_steps(max(round(total), 1), second_stage)
        warmup = min(round(of_first * total), first + second - 1)
        return PretrainingSteps(first, second, warmup)
    first, second = (max(round(steps / steps_divisor), 1) for steps in mixed_steps)
    return PretrainingSteps(
        first,
        second,
        min(round(of_first * total), first - 1),
        min(round(of_second * second), second - 1),
    )


def pretraining_rates(
    batch_size, learning_rate, steps, base_batch_size=None, power=1.0
):
    """The learning rate of each step of BERT's pre-training, shape (total,), float32.

    A plain batch has one warm-up and one decay over both stages; a mixed one has them
    in each stage (`two_stages_with_rewarmup`). The paper gives neither rates nor
    warm-ups of its mixed batch: each stage has those of Table 4's rule at its batch.

    Args:
        batch_size: a number, or the two of a mixed batch, such as "65536/32768".
        learning_rate: the peak at `base_batch_size`, or at every batch if that is None.
        steps: the `PretrainingSteps`.
        power: of the decay.

    Example:
        >>> steps = pretraining_steps(32768, 1 / 5)
        >>> rates = pretraining_rates(32768, 0.005, steps, base_batch_size=32768)
        >>> len(rates), float(rates.max()), int(rates.argmax()) + 1
        (15625, 0.004999999888241291, 3125)
    """
    first, second = (
        square_root_scaling(learning_rate, batch, base_batch_size or batch)
        for batch in stage_batches(batch_size)
    )
    step = np.arange(steps.total)
    if is_mixed(batch_size):
        lengths = (steps.warmup, steps.first, steps.second_warmup, steps.second)
        fraction = two_stages_with_rewarmup(step, *lengths, second / first, power)
    else:
        fraction = warmup_polynomial_decay(step, steps.warmup, steps.total, power)
    return np.asarray(first * fraction, "float32")


def _rise(step, steps):
    return (step + 1) / max(steps, 1)


def _float32(step):
    """(NumPy or jax.numpy, whichever `step` is an array of, and `step` in float32)."""
    xp = step.__array_namespace__() if hasattr(step, "__array_namespace__") else np
    return xp, xp.asarray(step, "float32")
