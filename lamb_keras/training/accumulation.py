"""Steps made of micro-steps: gradients are added up, then the weights move once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras.training.step import State

# A mean cross-entropy beyond this has lost its way for good: it is that of a net
# which gives the right class a probability of e to the minus a million.
LOSS_BEYOND_USE = 1e6


class Progress(NamedTuple):
    """A trial under way."""

    state: State
    # The sum of the gradients of a step's micro-batches so far; empty where a step is
    # one micro-batch.
    gradients: list
    loss: Any  # the sum of their losses
    # The first step whose loss was beyond use; 0 while there is none. From then on the
    # trial stands still.
    diverged_at_step: Any


class Feed(NamedTuple):
    """What each micro-step is given, a row a micro-step."""

    batch: Any  # what it computes on, or the rows of where that is
    number: Any  # of the micro-step, from 0
    step: Any  # that it is a part of, from 1; 0 for one that does nothing
    ends_step: Any  # whether the weights move after it
    learning_rate: Any
    weight_decay: Any


def begin(state: State, accumulates: bool) -> Progress:
    """A trial before its first step.

    Args:
        state: its weights and what belongs to them, as NumPy arrays.
        accumulates: whether a step may have several micro-batches.
    """
    nothing = [np.zeros_like(w) for w in state.weights] if accumulates else []
    return Progress(state, nothing, np.float32(0), np.int32(0))


def run(
    progress: Progress, feed: Feed, micro_batches, gradients: Callable, apply: Callable
) -> tuple[Progress, Any]:
    """The trial after these micro-steps, and a loss for each: NaN where no step ended.

    A step whose loss is beyond use is the trial's last.

    Args:
        progress: before them.
        feed: for the micro-steps.
        micro_batches: how many make a step; may be traced.
        gradients: a function of (state, feed of one micro-step) to the loss, the new
            `others` of the state, and the gradients.
        apply: a function of (state, gradients, learning_rate, weight_decay) to the
            state after a step.
    """

    def end_step(progress, state, accumulated, gradients, loss, given):
        lost = ~(jnp.abs(loss) <= LOSS_BEYOND_USE)
        moved = apply(state, gradients, given.learning_rate, given.weight_decay)
        # A lost trial keeps its last weights: whatever it is worth, it costs nothing.
        return Progress(
            moved,
            accumulated,
            jnp.float32(0),
            jnp.where(lost, given.step, progress.diverged_at_step),
        ), loss

    def micro_step(progress, given):
        loss, others, found = gradients(progress.state, given)
        state = progress.state._replace(others=others)
        if not progress.gradients:
            return end_step(progress, state, [], found, loss, given)
        found = [a + b for a, b in zip(progress.gradients, found, strict=True)]
        loss = progress.loss + loss

        def end():
            nothing = [jnp.zeros_like(g) for g in found]
            mean = [g / micro_batches for g in found]
            return end_step(progress, state, nothing, mean, loss / micro_batches, given)

        def go_on():
            return Progress(state, found, loss, progress.diverged_at_step), jnp.float32(
                jnp.nan
            )

        return jax.lax.cond(given.ends_step, end, go_on)

    def going_or_not(progress, given):
        going = (given.step > 0) & (progress.diverged_at_step == 0)
        return jax.lax.cond(
            going,
            lambda: micro_step(progress, given),
            lambda: (progress, jnp.float32(jnp.nan)),
        )

    return jax.lax.scan(going_or_not, progress, feed)


def filled(rows: np.ndarray, length: int) -> np.ndarray:
    """The rows with rows of zeros after them.

    Example:
        >>> filled(np.array([1, 2]), 3).tolist()
        [1, 2, 0]
    """
    longer = np.zeros((length, *rows.shape[1:]), rows.dtype)
    longer[: len(rows)] = rows
    return longer
