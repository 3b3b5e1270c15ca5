"""Tokens are hidden at the rates of BERT, and no special one ever."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamb_keras.data.text import masking
from lamb_keras.data.text.wordpiece import SPECIALS, Vocabulary

SIZE, MASK, LENGTH = 1000, 4, 64
VOCABULARY = Vocabulary((*SPECIALS, *map(str, range(5, SIZE))))


def sequences(count=4096, seed=0):
    """[CLS] a [SEP] b [SEP] [PAD]..., of many lengths."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(5, SIZE, (count, LENGTH))
    for row in tokens:
        used = rng.integers(5, LENGTH + 1)
        row[[0, rng.integers(2, used - 1), used - 1]] = 2, 3, 3
        row[used:] = 0
    return tokens.astype(np.int16)


TOKENS = sequences()


def mask(key=0, tokens=TOKENS, **settings):
    masked = jitted(tuple(settings.items()))(jax.random.key(key), jnp.asarray(tokens))
    return masking.Masked(*map(np.asarray, masked))


@functools.cache
def jitted(settings):
    known = dict(settings, vocabulary=VOCABULARY)
    return jax.jit(functools.partial(masking.mask, **known))


def chosen(masked):
    """(row, position) of all that is to be predicted."""
    rows, slots = np.nonzero(masked.weights)
    return rows, masked.positions[rows, slots]


def test_shapes_and_types_are_known_beforehand():
    masked = mask()
    assert masked.inputs.shape == TOKENS.shape and masked.inputs.dtype == np.int16
    for array in masked[1:]:
        assert array.shape == (len(TOKENS), 10)  # 0.15 · 64 = 9.6


def test_no_special_token_is_chosen_or_put_anywhere():
    for key in range(5):
        masked = mask(key)
        assert (TOKENS[chosen(masked)] >= 5).all()
        special = TOKENS < 5
        np.testing.assert_array_equal(masked.inputs[special], TOKENS[special])
        assert set(np.unique(masked.inputs[~special])) <= {MASK, *range(5, SIZE)}


def test_labels_are_the_tokens_that_stood_there():
    masked = mask()
    rows, slots = np.nonzero(masked.weights)
    at = masked.positions[rows, slots]
    np.testing.assert_array_equal(masked.labels[rows, slots], TOKENS[rows, at])
    assert (masked.labels[masked.weights == 0] == 0).all()
    assert (masked.positions[masked.weights == 0] == 0).all()


def test_no_place_is_chosen_twice():
    rows, at = chosen(mask())
    assert len(set(zip(rows.tolist(), at.tolist(), strict=True))) == len(rows)


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_each_sequence_has_its_rate_of_predictions(rate):
    counts = mask(rate=rate).weights.sum(axis=1)
    ordinary = (TOKENS >= 5).sum(axis=1)
    expected = np.clip(
        np.round(np.float32(rate) * ordinary.astype(np.float32)), 1, None
    )
    np.testing.assert_array_equal(counts, expected)


def test_a_sequence_of_padding_has_none():
    masked = mask(tokens=np.zeros((2, LENGTH), np.int32))
    assert masked.weights.sum() == 0 and (masked.inputs == 0).all()


def test_eight_tenths_are_hidden_one_changed_and_one_left():
    masked = [mask(key) for key in range(10)]
    now = np.concatenate([each.inputs[chosen(each)] for each in masked])
    before = np.concatenate([TOKENS[chosen(each)] for each in masked])
    n = len(now)
    assert n > 150_000
    hidden, left = now == MASK, now == before
    # Of changed tokens one in 995 becomes what it was.
    for share, expected in [
        (hidden.mean(), 0.8),
        (left.mean(), 0.1 + 0.1 / 995),
        ((~hidden & ~left).mean(), 0.1 - 0.1 / 995),
    ]:
        # 4.5 standard deviations: the keys are fixed, one in 100,000 would fail.
        assert abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n)
    others = np.bincount(now[~hidden & ~left], minlength=SIZE)[5:]
    each = others.sum() / 995
    # χ² of 995 kinds has mean 994 and deviation √(2 · 994) = 44.6.
    assert abs(((others - each) ** 2 / each).sum() - 994) < 4.5 * 44.6


def test_the_same_key_hides_the_same_and_another_something_else():
    np.testing.assert_array_equal(mask(1).inputs, mask(1).inputs)
    assert not np.array_equal(mask(1).inputs, mask(2).inputs)


def test_it_may_be_traced_by_jit_vmap_and_scan():
    keys = jax.random.split(jax.random.key(0), 3)
    tokens = jnp.asarray(TOKENS[:8])

    def inputs(key):
        return masking.mask(key, tokens, VOCABULARY).inputs

    one_by_one = np.stack([inputs(key) for key in keys])
    together = jax.jit(jax.vmap(inputs))(keys)
    scanned = jax.lax.scan(lambda _, key: (None, inputs(key)), None, keys)[1]
    np.testing.assert_array_equal(one_by_one, together)
    np.testing.assert_array_equal(one_by_one, scanned)
