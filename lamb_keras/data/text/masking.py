"""Masked language modeling: which tokens are to be predicted, and what hides them."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Masked(NamedTuple):
    """What a masked language model is given, and what it is to say.

    Args:
        inputs: (batch, length), the tokens with some of them hidden.
        positions: (batch, predictions) int32, where tokens are to be predicted; 0 in
            places that are not used.
        labels: (batch, predictions) int32, which tokens stood there.
        weights: (batch, predictions) float32, 1 in places that are used, else 0.
    """

    inputs: jax.Array
    positions: jax.Array
    labels: jax.Array
    weights: jax.Array


def predictions_of(length: int, rate: float = 0.15) -> int:
    """How many predictions there is room for in a sequence: ⌈rate · length⌉.

    Example:
        >>> predictions_of(128), predictions_of(512)
        (20, 77)
    """
    return math.ceil(rate * length)


def mask(
    key,
    token_ids,
    *,
    specials,
    vocab_size: int,
    mask_id: int,
    rate: float = 0.15,
    predictions: int | None = None,
) -> Masked:
    """Hides tokens of a whole batch, as Devlin et al. do, on the device.

    Of the n tokens of a sequence that are not special, round(rate · n) are chosen, at
    least one and at most `predictions`. In 80 % of the places stands [MASK], in 10 %
    any ordinary token, and 10 % are left as they are. Shapes don't depend on values:
    it may be traced by `jit`, `vmap` and `scan`.

    Args:
        key: a JAX key; the same one gives the same choice.
        token_ids: (batch, length) integers.
        specials: ids of the tokens that are never chosen, padding among them, nor
            stand in for another; a tuple, known at the time of tracing.
        vocab_size: how many tokens there are.
        mask_id: the id of [MASK].
        rate: which part of the tokens is to be predicted.
        predictions: for how many there is room; by default `predictions_of` the length.

    Example:
        >>> tokens = jnp.array([[2, 7, 8, 9, 3, 0, 0]])
        >>> masked = mask(jax.random.key(0), tokens, specials=(0, 1, 2, 3, 4),
        ...               vocab_size=10, mask_id=4)
        >>> masked.inputs.shape, masked.labels.shape, masked.weights.tolist()
        ((1, 7), (1, 2), [[1.0, 0.0]])
    """
    if predictions is None:
        predictions = predictions_of(token_ids.shape[1], rate)
    predictions = min(predictions, token_ids.shape[1])
    ordinary = np.setdiff1d(np.arange(vocab_size), specials)
    # Drawn at once: each call of the generator is a loop for XLA to compile.
    batch, length = token_ids.shape
    drawn = jax.random.uniform(key, (batch, length + 2 * predictions))
    scores, fate, other = jnp.split(drawn, [length, length + predictions], axis=1)

    may_be_chosen = ~jnp.isin(token_ids, jnp.array(specials))
    _, positions = jax.lax.top_k(jnp.where(may_be_chosen, scores, -1), predictions)
    available = may_be_chosen.sum(axis=1, keepdims=True)
    count = jnp.maximum(jnp.round(rate * available), 1)
    count = jnp.minimum(count, available)
    used = jnp.arange(predictions) < count

    originals = jnp.take_along_axis(token_ids, positions, axis=1)
    shape = positions.shape
    other = jnp.asarray(ordinary)[jnp.int32(other * len(ordinary))]
    hidden = jnp.where(fate < 0.8, mask_id, jnp.where(fate < 0.9, other, originals))
    hidden = jnp.where(used, hidden, originals).astype(token_ids.dtype)
    rows = jnp.arange(shape[0])[:, None]
    return Masked(
        token_ids.at[rows, positions].set(hidden),
        jnp.where(used, positions, 0).astype(jnp.int32),
        jnp.where(used, originals, 0).astype(jnp.int32),
        used.astype(jnp.float32),
    )
