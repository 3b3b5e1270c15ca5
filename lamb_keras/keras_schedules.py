"""The paper's learning-rate schedules for any Keras optimizer."""

import keras

from lamb_keras import schedules
from lamb_keras.backend import require_jax

require_jax()


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A peak learning rate times a function of the step and of lengths."""

    def __init__(self, **config):
        super().__init__()
        self.config = config

    def __call__(self, step):
        peak, *lengths = self.config.values()
        # Keras gives the variable that counts.
        return peak * self.function(keras.ops.convert_to_tensor(step), *lengths)

    def get_config(self):
        return dict(self.config)


@keras.saving.register_keras_serializable(package="lamb_keras")
class WarmupPolynomialDecay(_Schedule):
    """A peak learning rate times `lamb_keras.schedules.warmup_polynomial_decay`.

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

    function = staticmethod(schedules.warmup_polynomial_decay)

    def __init__(self, learning_rate, warmup_steps, total_steps, power=1.0):
        super().__init__(
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            total_steps=total_steps,
            power=power,
        )
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                f"warmup_steps is {warmup_steps} and total_steps is {total_steps}; "
                "expected 0 <= warmup_steps < total_steps."
            )


@keras.saving.register_keras_serializable(package="lamb_keras")
class GoyalSchedule(_Schedule):
    """A peak learning rate times `lamb_keras.schedules.goyal`.

    Args:
        learning_rate: the peak.
        total_steps: steps of the whole training.

    Raises:
        ValueError: unless total_steps >= 1.
    """

    function = staticmethod(schedules.goyal)

    def __init__(self, learning_rate, total_steps):
        super().__init__(learning_rate=learning_rate, total_steps=total_steps)
        if total_steps < 1:
            raise ValueError(f"total_steps is {total_steps}; expected at least 1.")
