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
    """A trial between two of its steps."""

    state: State
    # The first step whose loss was beyond use; 0 while there is none. From then on the
    # trial stands still.
    diverged_at_step: Any


class Feed(NamedTuple):
    """What some steps of a trial are given.

    Arrays may be longer than the trial needs, so that trials of other lengths are
    given as long ones: see `filled`.
    """

    micro: Any  # a row a micro-step: what it computes on, or where that is found
    number: Any  # of each step, from 1
    learning_rate: Any  # a row a step
    weight_decay: Any
    steps: Any  # how many there are


def begin(state: State) -> Progress:
    """A trial before its first step.

    Args:
        state: its weights and what belongs to them, as NumPy arrays.
    """
    return Progress(state, np.int32(0))


def run(
    progress: Progress,
    feed: Feed,
    micro_batches,
    gradients: Callable,
    apply: Callable,
    accumulates: bool,
) -> tuple[Progress, Any]:
    """The trial after these steps, and the loss of each: NaN for those not taken.

    A step whose loss is beyond use is the trial's last.

    A loop around a loop, without branches: the state stays in its place, where a branch
    that may or may not move the weights has all of it copied at every micro-step.

    Args:
        progress: before them.
        feed: for the steps.
        micro_batches: how many make a step; may be traced.
        gradients: a function of (state, a row of `feed.micro`) to the loss, the new
            `others` of the state, and the gradients.
        apply: a function of (state, gradients, learning_rate, weight_decay) to the
            state after a step.
        accumulates: whether a step may have several micro-batches; else it is one.
    """

    def mean_gradients(state, step):
        def micro_step(n, so_far):
            loss, others, found = so_far
            row = _row(feed.micro, step * micro_batches + n)
            more, others, some = gradients(state._replace(others=others), row)
            return loss + more, others, jax.tree.map(jnp.add, found, some)

        if not accumulates:
            return gradients(state, _row(feed.micro, step))
        nothing = [jnp.zeros_like(w) for w in state.weights]
        start = jnp.float32(0), state.others, nothing
        loss, others, found = jax.lax.fori_loop(0, micro_batches, micro_step, start)
        return loss / micro_batches, others, [g / micro_batches for g in found]

    def goes_on(carry):
        step, progress, _ = carry
        return (step < feed.steps) & (progress.diverged_at_step == 0)

    def take_step(carry):
        step, progress, losses = carry
        loss, others, found = mean_gradients(progress.state, step)
        of_step = feed.number, feed.learning_rate, feed.weight_decay
        number, *rates = _row(of_step, step)
        state = apply(progress.state._replace(others=others), found, *rates)
        lost = ~(jnp.abs(loss) <= LOSS_BEYOND_USE)
        moved = Progress(state, jnp.where(lost, number, progress.diverged_at_step))
        return step + 1, moved, losses.at[step].set(loss)

    losses = jnp.full(feed.number.shape, jnp.nan, "float32")
    start = jnp.int32(0), progress, losses
    _, progress, losses = jax.lax.while_loop(goes_on, take_step, start)
    return progress, losses


def _row(arrays, index):
    return jax.tree.map(
        lambda array: jax.lax.dynamic_index_in_dim(array, index, keepdims=False), arrays
    )


def losses_taken(feed: Feed, losses: np.ndarray, diverged_at_step: int) -> np.ndarray:
    """Of the losses that `run` gave for a feed, those of the steps that were taken.

    Example:
        >>> feed = Feed(None, np.array([4, 5, 6, 0]), None, None, np.int32(3))
        >>> losses = np.array([0.5, 2e6, np.nan, np.nan])
        >>> losses_taken(feed, losses, diverged_at_step=5).tolist()
        [0.5, 2000000.0]
    """
    losses, numbers = losses[: feed.steps], feed.number[: feed.steps]
    return losses[numbers <= diverged_at_step] if diverged_at_step else losses


def filled(rows: np.ndarray, length: int) -> np.ndarray:
    """The rows with rows of zeros after them.

    Example:
        >>> filled(np.array([1, 2]), 3).tolist()
        [1, 2, 0]
    """
    longer = np.zeros((length, *rows.shape[1:]), rows.dtype)
    longer[: len(rows)] = rows
    return longer
