"""How many trials fit an accelerator at once."""

import math
import os

import jax

from lamb_keras.training.step import Constants, Step

# Of the memory that the device gives to JAX: the rest is for its own temporaries.
_USABLE = 0.7


def width(trials: int, trial_bytes: int) -> int:
    """How many trials to train in one `vmap`, so that their groups are equally large.

    One where the device's memory is not known. Where LAMB_KERAS_WIDTH_DIVISOR is 2,
    half as many as are thought to fit.

    Example:
        >>> from unittest import mock
        >>> with mock.patch(f"{__name__}.usable_bytes", lambda: 160):
        ...     width(20, trial_bytes=10)  # 16 fit: two groups of ten
        10
    """
    usable, divisor = usable_bytes(), int(os.environ.get("LAMB_KERAS_WIDTH_DIVISOR", 1))
    if usable is None:
        return 1
    most = max(1, min(trials, usable // trial_bytes) // divisor)
    return math.ceil(trials / math.ceil(trials / most))


def trial_bytes(step: Step, initial: tuple[list, list], batch) -> int:
    """What one trial needs on the device while it trains.

    Its state twice (the old and the new), its gradients, and what the backward pass
    keeps of the forward one, which is read off the traced loss of a micro-batch, given
    as `jax.ShapeDtypeStruct`.
    """
    state = step.start(initial)

    def backward(weights, batch):
        def loss(weights):
            weights = step.task.stack(weights)
            return step.task.loss(weights, state.non_trainable, batch, Constants())

        return jax.vjp(loss, weights, has_aux=True)[1]

    weights = jax.eval_shape(step.model_weights, state.weights)
    kept = jax.eval_shape(backward, weights, batch)
    arrays = jax.tree.leaves([state, state, state.weights, kept])
    return sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays)


def usable_bytes() -> int | None:
    """Bytes of the first device's memory that trials may take; None if unknown."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return int(_USABLE * limit) if limit else None
