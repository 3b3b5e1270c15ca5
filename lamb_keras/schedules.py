"""The paper's learning-rate schedules, as functions of the step and for Keras.

The functions of a step compute in float32, with NumPy on a number or a NumPy array,
which costs the host next to nothing, and with JAX on an array of JAX, traced or not.
"""

import math

import jax
import jax.numpy as jnp
import keras
import numpy as np

from lamb_keras.backend import require_jax
from lamb_keras.stages import (
    PretrainingSteps,
    batches,
    is_mixed,
    pretraining_steps,
    stage_steps,
)

require_jax()

__all__ = [
    "GoyalSchedule",
    "PretrainingSteps",
    "WarmupPolynomialDecay",
    "goyal",
    "linear_epoch_warmup",
    "pretraining_rates",
    "pretraining_steps",
    "square_root_scaling",
    "stage_steps",
    "two_stages_with_rewarmup",
    "warmup_polynomial_decay",
]

# Goyal et al.'s recipe for 90 epochs: up to epoch 5, a tenth at each of the others.
_GOYAL_EPOCHS = 90
_GOYAL_WARMUP = 5
_GOYAL_DROPS = (30, 60, 80)


def warmup_polynomial_decay(step, warmup_steps, total_steps, power=1.0):
    """The fraction of the peak learning rate at `step`: a line up, a polynomial down.

        (s + 1) / W              for s < W
        ((T - s) / (T - W))^p    after

    Both are 1 where they meet and neither is 0 before T, so every step of a training
    of T steps moves the weights. (The first author's MNIST script starts from a rate of
    0 and drops from 1 to 1 - W/T at the end of the warm-up; the paper's text does not
    ask for either.)

    Args:
        step: s, from 0; a number or an array, which may be traced.
        warmup_steps: W, 0 for none.
        total_steps: T.
        power: p; 0 for a constant rate after the warm-up.

    Example:
        >>> [float(warmup_polynomial_decay(s, 2, 6)) for s in range(6)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
        >>> [float(warmup_polynomial_decay(s, 2, 6, power=0)) for s in range(6)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    xp, step = _float32(step)
    left = xp.clip((total_steps - step) / (total_steps - warmup_steps), 0, 1)
    return xp.where(step < warmup_steps, _rise(step, warmup_steps), left**power)


def goyal(step, total_steps):
    """The fraction of the peak learning rate at `step` by the recipe of Goyal et al.

    A line up during the first 5/90 of the training, then 1, and a tenth of what it was
    from 30/90, 60/90 and 80/90 on: for 90 epochs, from epochs 30, 60 and 80. The line
    is that of `warmup_polynomial_decay`, of steps rounded to a whole number, so the
    first step moves the weights too, and however few there are, one has the peak rate.

    Args:
        step: from 0; a number or an array, which may be traced.
        total_steps: of the whole training.

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

    Each stage has a `warmup_polynomial_decay` of its own: the first one's rate has come
    down to nothing where the second stage begins, and there it is ramped up from zero
    again (re-warm-up), and then decayed.

    Args:
        step: from 0; a number or an array, which may be traced.
        warmup_steps: of the first stage's `first_steps`, with a rising rate.
        second_warmup_steps: of the second stage's `second_steps`, with a rising rate.
        second_peak: the second stage's peak over the first's.
        power: of both decays.

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


def pretraining_rates(
    batch_size, learning_rate, steps, base_batch_size=None, power=1.0
):
    """The learning rate of each step of BERT's pre-training, shape (total,), float32.

    A plain batch has one warm-up and one decay over both stages; a mixed one has them
    in each stage (`two_stages_with_rewarmup`). The paper gives neither the rates nor
    the warm-ups of its mixed batch: here each stage has those of Table 4's rule at its
    own batch, which is the rule's root and number of steps carried on to 65,536.

    Args:
        batch_size: a number, or the two of a mixed batch, such as "65536/32768".
        learning_rate: the peak.
        steps: the `PretrainingSteps`.
        base_batch_size: the batch for which the rate is given, to be scaled by the
            square root; None for every batch.
        power: of the decay.

    Example:
        >>> steps = pretraining_steps(32768, 1 / 5)
        >>> rates = pretraining_rates(32768, 0.005, steps, base_batch_size=32768)
        >>> len(rates), float(rates.max()), int(rates.argmax()) + 1
        (15625, 0.004999999888241291, 3125)
    """
    first, second = (
        square_root_scaling(learning_rate, batch, base_batch_size or batch)
        for batch in batches(batch_size)
    )
    step = np.arange(steps.total)
    if is_mixed(batch_size):
        fraction = two_stages_with_rewarmup(
            step,
            steps.warmup,
            steps.first,
            steps.second_warmup,
            steps.second,
            second / first,
            power,
        )
    else:
        fraction = warmup_polynomial_decay(step, steps.warmup, steps.total, power)
    return np.asarray(first * fraction, "float32")


def square_root_scaling(learning_rate, batch_size, base_batch_size):
    """The learning rate at a batch size, from that at another: × √(batch / base).

    Tables 4 and 5 were made so, from 0.005 and 0.04 at 32,768.

    Example:
        >>> square_root_scaling(0.005, 512, base_batch_size=32768)
        0.000625
        >>> square_root_scaling(0.04, 8192, base_batch_size=32768)
        0.02
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


@keras.saving.register_keras_serializable(package="lamb_keras")
class WarmupPolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """`warmup_polynomial_decay` times a peak learning rate, for any Keras optimizer.

    Args:
        learning_rate: the peak.
        warmup_steps: steps of linear warm-up, fewer than `total_steps`.
        total_steps: steps of the whole training; the rate is 0 from there on, unless
            `power` is 0.
        power: of the decay; 1 is a straight line, 0 a constant rate.

    Raises:
        ValueError: unless 0 <= warmup_steps < total_steps.

    Example:
        >>> schedule = WarmupPolynomialDecay(0.1, warmup_steps=2, total_steps=6)
        >>> round(float(schedule(3)), 3)
        0.075
    """

    def __init__(self, learning_rate, warmup_steps, total_steps, power=1.0):
        super().__init__()
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                f"warmup_steps is {warmup_steps} and total_steps is {total_steps}; "
                "expected 0 <= warmup_steps < total_steps."
            )
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.power = power

    def __call__(self, step):
        return self.learning_rate * warmup_polynomial_decay(
            _jax_array(step), self.warmup_steps, self.total_steps, self.power
        )

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "power": self.power,
        }


@keras.saving.register_keras_serializable(package="lamb_keras")
class GoyalSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """`goyal` times a peak learning rate, for any Keras optimizer.

    Args:
        learning_rate: the peak.
        total_steps: steps of the whole training.

    Raises:
        ValueError: unless total_steps >= 1.

    Example:
        >>> schedule = GoyalSchedule(0.1, total_steps=90)
        >>> round(float(schedule(0)), 3), round(float(schedule(30)), 3)
        (0.02, 0.01)
    """

    def __init__(self, learning_rate, total_steps):
        super().__init__()
        if total_steps < 1:
            raise ValueError(f"total_steps is {total_steps}; expected at least 1.")
        self.learning_rate = learning_rate
        self.total_steps = total_steps

    def __call__(self, step):
        return self.learning_rate * goyal(_jax_array(step), self.total_steps)

    def get_config(self):
        return {"learning_rate": self.learning_rate, "total_steps": self.total_steps}


def _rise(step, steps):
    return (step + 1) / max(steps, 1)


def _float32(step):
    """(NumPy or jax.numpy, whichever `step` asks for, and `step` in float32)."""
    xp = jnp if isinstance(step, jax.Array) else np
    return xp, xp.asarray(step, "float32")


def _jax_array(step):
    # Keras gives the variable that counts.
    return keras.ops.convert_to_tensor(step)
