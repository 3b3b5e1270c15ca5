"""Masked language modeling: which tokens are predicted, and what hides them."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras.data.text.wordpiece import Vocabulary


class Masked(NamedTuple):
    """Inputs and labels of a masked language model."""

    inputs: jax.Array  # (batch, length), the tokens with some of them hidden
    positions: jax.Array  # (batch, predictions) int32, of predicted tokens, else 0
    labels: jax.Array  # (batch, predictions) int32, the tokens there, else 0
    weights: jax.Array  # (batch, predictions) float32, 1 for a prediction, else 0


def predictions_of(length: int, rate: float = 0.15) -> int:
    """The most predictions in a sequence: ⌈rate · length⌉.

    Example:
        >>> predictions_of(128), predictions_of(512)
        (20, 77)
    """
    return math.ceil(rate * length)


def mask(
    key,
    token_ids,
    vocabulary: Vocabulary,
    rate: float = 0.15,  # of the tokens that are predicted
) -> Masked:
    """A batch, (batch, length) integers, with tokens hidden as Devlin et al. do.

    Of the n tokens of a sequence that are not special, round(rate · n) are chosen, at
    least one and at most `predictions_of` the length. 80 % of them become [MASK], 10 %
    any ordinary token, and 10 % stay.
    """
    batch, length = token_ids.shape
    predictions = predictions_of(length, rate)
    ordinary = np.setdiff1d(np.arange(vocabulary.size), vocabulary.specials)
    # Drawn at once: each call of the generator is a loop for XLA to compile.
    drawn = jax.random.uniform(key, (batch, length + 2 * predictions))
    scores, fate, other = jnp.split(drawn, [length, length + predictions], axis=1)

    may_be_chosen = ~jnp.isin(token_ids, jnp.array(vocabulary.specials))
    _, positions = jax.lax.top_k(jnp.where(may_be_chosen, scores, -1), predictions)
    available = may_be_chosen.sum(axis=1, keepdims=True)
    count = jnp.minimum(jnp.maximum(jnp.round(rate * available), 1), available)
    used = jnp.arange(predictions) < count

    originals = jnp.take_along_axis(token_ids, positions, axis=1)
    other = jnp.asarray(ordinary)[jnp.int32(other * len(ordinary))]
    hidden = jnp.where(
        fate < 0.8, vocabulary.specials.mask, jnp.where(fate < 0.9, other, originals)
    )
    hidden = jnp.where(used, hidden, originals).astype(token_ids.dtype)
    return Masked(
        token_ids.at[jnp.arange(batch)[:, None], positions].set(hidden),
        jnp.where(used, positions, 0).astype(jnp.int32),
        jnp.where(used, originals, 0).astype(jnp.int32),
        used.astype(jnp.float32),
    )
