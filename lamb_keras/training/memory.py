"""How many trials fit an accelerator at once."""

import math
import os
from collections.abc import Callable

import jax

# Of the memory that the device gives to JAX: the rest is for its own temporaries.
_USABLE = 0.7


def fitting(trials: int, trial_bytes: int) -> int:
    """`width`, of this device's memory.

    Where LAMB_KERAS_WIDTH_DIVISOR is 2, half as many as are thought to fit.
    """
    divisor = int(os.environ.get("LAMB_KERAS_WIDTH_DIVISOR", 1))
    return width(trials, trial_bytes, usable_bytes(), divisor)


def width(
    trials: int, trial_bytes: int, usable_bytes: int | None, divisor: int = 1
) -> int:
    """How many trials to train in one `vmap`, so that their groups are equally large.

    Args:
        trials: how many there are.
        trial_bytes: what one needs.
        usable_bytes: what there is; None, for not known, gives one at a time.
        divisor: 2 for half as many as are thought to fit, since they did not.

    Example:
        >>> width(20, trial_bytes=10, usable_bytes=160)  # 16 fit: two groups of ten
        10
        >>> width(20, trial_bytes=10, usable_bytes=5)
        1
        >>> width(20, trial_bytes=10, usable_bytes=160, divisor=2)
        7
    """
    if usable_bytes is None:
        return 1
    most = max(1, min(trials, usable_bytes // trial_bytes) // divisor)
    return math.ceil(trials / math.ceil(trials / most))


def trial_bytes(state, weights, loss: Callable, *inputs) -> int:
    """What one trial needs on the device while it trains.

    Its state twice (the old and the new), its gradients, and what the backward pass
    keeps of the forward one, which is read off the traced loss.

    Args:
        state: a trial's state before its first step.
        weights: its weights as the model takes them.
        loss: a function of weights and inputs; it gives something else beside the loss.
        *inputs: those of a micro-batch. These and the weights may be arrays or
            `jax.ShapeDtypeStruct`.
    """

    def backward(weights, *inputs):
        return jax.vjp(lambda weights: loss(weights, *inputs), weights, has_aux=True)[1]

    kept = jax.eval_shape(backward, weights, *inputs)
    return 2 * bytes_of(state) + bytes_of(state.weights) + bytes_of(kept)


def bytes_of(tree) -> int:
    """The size of all arrays in a tree of arrays or of their shapes.

    Example:
        >>> bytes_of([jax.ShapeDtypeStruct((2, 3), "float32")])
        24
    """
    return sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)
    )


def usable_bytes() -> int | None:
    """Bytes of the first device's memory that trials may take; None if unknown."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    limit = statistics.get("bytes_limit")
    return int(_USABLE * limit) if limit else None
