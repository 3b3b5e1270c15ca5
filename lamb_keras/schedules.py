"""The paper's learning-rate schedules, as functions of the step and for Keras."""

import jax.numpy as jnp
import keras

from lamb_keras.backend import require_jax

require_jax()


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
        power: p.

    Example:
        >>> [float(warmup_polynomial_decay(s, 2, 6)) for s in range(6)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    step = jnp.asarray(step, "float32")
    up = (step + 1) / max(warmup_steps, 1)
    left = jnp.clip((total_steps - step) / (total_steps - warmup_steps), 0, 1)
    return jnp.where(step < warmup_steps, up, left**power)


@keras.saving.register_keras_serializable(package="lamb_keras")
class WarmupPolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """`warmup_polynomial_decay` times a peak learning rate, for any Keras optimizer.

    Args:
        learning_rate: the peak.
        warmup_steps: steps of linear warm-up, fewer than `total_steps`.
        total_steps: steps of the whole training; the rate is 0 from there on.
        power: of the decay; 1 is a straight line.

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
            step, self.warmup_steps, self.total_steps, self.power
        )

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "power": self.power,
        }
