"""Initial weights drawn by NumPy: a function of the seed alone, on every machine.

Keras draws them with JAX, which compiles one small program for every shape: most of the
time that a net takes to build.
"""

import itertools
import random
from collections.abc import Callable
from typing import Literal

import jax
import keras
import numpy as np


@keras.saving.register_keras_serializable(package="lamb_keras")
class Drawn(keras.initializers.Initializer):
    """Independent numbers of mean zero, the same ones at every call.

    Args:
        distribution: normal (not truncated) or uniform.
        variance: of the numbers; with `per`, of the sum of so many.
        per: divides the variance by the inputs that reach an output (fan_in), by the
            outputs that an input reaches (fan_out), or by the mean of both (fan_avg).
        seed: a whole number of at least 0, or several.

    Example:
        >>> weights = Drawn("uniform", 1 / 3, "fan_in", seed=0)((3, 3, 4, 8))
        >>> weights.shape, bool(abs(np.asarray(weights)).max() < 1 / 6)
        ((3, 3, 4, 8), True)
    """

    def __init__(
        self,
        distribution: Literal["normal", "uniform"],
        variance: float,
        per: Literal["fan_in", "fan_out", "fan_avg"] | None = None,
        seed: int | tuple[int, ...] = 0,
    ):
        self.distribution = distribution
        self.variance = variance
        self.per = per
        self.seed = seed

    def __call__(self, shape, dtype=None):
        divisor = 1
        if self.per is not None:
            *window, fan_in, fan_out = shape
            fans = {
                "fan_in": fan_in,
                "fan_out": fan_out,
                "fan_avg": (fan_in + fan_out) / 2,
            }
            divisor = np.prod(window) * fans[self.per]
        deviation = (self.variance / divisor) ** 0.5
        # The one generator whose numbers NumPy promises never to change.
        numbers = np.random.RandomState(np.random.MT19937(self.seed))
        if self.distribution == "normal":
            return _tensor(deviation * numbers.standard_normal(shape), dtype)
        return _tensor(deviation * 3**0.5 * numbers.uniform(-1, 1, shape), dtype)

    def get_config(self):
        names = ("distribution", "variance", "per", "seed")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="lamb_keras")
class Filled(keras.initializers.Constant):
    """One number everywhere.

    Example:
        >>> Filled(1.0)((2,)).tolist()
        [1.0, 1.0]
    """

    def __call__(self, shape, dtype=None):
        return _tensor(np.full(shape, self.value), dtype)


def _tensor(array, dtype):
    # Neither JAX's conversion nor its `asarray` goes without compiling.
    return jax.device_put(array.astype(keras.backend.standardize_dtype(dtype)))


def drawing(seed: int | None) -> Callable[..., Drawn]:
    """A net's initializers: each further one it gives draws other numbers.

    Args:
        seed: of the net; None for another one every time (which
            `keras.utils.set_random_seed` decides, too).

    Returns:
        A function of the arguments of `Drawn` but for the seed.

    Example:
        >>> draw = drawing(0)
        >>> draw("normal", 1.0).seed, draw("normal", 1.0).seed
        ((0, 0), (0, 1))
    """
    if seed is None:
        seed = random.getrandbits(32)
    numbers = itertools.count()
    return lambda *arguments: Drawn(*arguments, seed=(seed, next(numbers)))
