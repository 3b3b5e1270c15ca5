"""The paper's learning-rate schedules and its rules of scaling to other batches.

The functions of a step compute in float32, with NumPy on a number or a NumPy array, and
with JAX on an array of JAX, traced or not. `lamb_keras.keras_schedules` has them for
Keras, which nothing here imports: to plan a training takes neither.
"""

import math

import numpy as np

# Goyal et al.'s recipe for 90 epochs: up to epoch 5, a tenth at each of the others.
_GOYAL_EPOCHS = 90
_GOYAL_WARMUP = 5
_GOYAL_DROPS = (30, 60, 80)


def warmup_polynomial_decay(step, warmup_steps, total_steps, power=1.0):
    """The fraction of the peak learning rate at `step`: a line up, a polynomial down::

        (s + 1) / W              for s < W
        ((T - s) / (T - W))^p    after

    Both are 1 where they meet and neither is 0 before T: every step moves the weights.
    The first author's MNIST script starts from 0 and drops from 1 to 1 - W/T after the
    warm-up; the paper's text asks for neither.

    Args:
        step: s, from 0; a number or an array, which may be traced.
        warmup_steps: W, the steps of the warm-up; 0 for none.
        total_steps: T, the steps of the whole training.
        power: p, 0 for a constant rate after the warm-up.

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
    from 30/90, 60/90 and 80/90 on. The warm-up is rounded to whole steps: however few
    there are, the first moves the weights and one has the peak rate.

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


def square_root_scaling(learning_rate, batch_size, base_batch_size=None):
    """The learning rate at a batch size, from that at a base: × √(batch / base).

    Tables 4 and 5 were made so, from 0.005 and 0.04 at 32,768. Without a base, one rate
    is for all batches.

    Example:
        >>> square_root_scaling(0.005, 512, base_batch_size=32768)
        0.000625
    """
    return learning_rate * math.sqrt(batch_size / (base_batch_size or batch_size))


def linear_epoch_warmup(warmup, batch_size, base_batch_size=None):
    """The warm-up at a batch size, from that at a base: × batch / base.

    In epochs or as a fraction of the training, so that it is always as many steps: in
    Table 4, 1/5 of 15,625 steps of 32,768, in Table 5, 20 epochs of them.

    Example:
        >>> epochs = linear_epoch_warmup(20, 512, base_batch_size=32768)
        >>> epochs, round(epochs * 1281167 / 512)  # in steps, as 20 · 1281167 / 32768
        (0.3125, 782)
    """
    return warmup * batch_size / base_batch_size if base_batch_size else warmup


def _rise(step, steps):
    return (step + 1) / max(steps, 1)


def _float32(step):
    """(NumPy or jax.numpy, whichever `step` is an array of, and `step` in float32)."""
    xp = step.__array_namespace__() if hasattr(step, "__array_namespace__") else np
    return xp, xp.asarray(step, "float32")
