"""Two segments a row: they fit, and belong together exactly where it says so."""

from types import SimpleNamespace

import numpy as np
import pytest

from lamb_keras.data.text import pairs
from lamb_keras.data.text.tokens import Tokens
from lamb_keras.data.text.wordpiece import Specials

# Token 5 + n is the nth of the whole corpus, so where each was is known.
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 13, 3000)
SENTENCES = np.concatenate([[0], np.cumsum(LENGTHS)])
TOKENS = Tokens.of(np.arange(5, 5 + LENGTHS.sum()), LENGTHS, [30] * 100)
SPECIALS = Specials(0, 1, 2, 3, 4)


def pack(length=64, seed=0, **settings):
    """All sequences, each array by its name."""
    packed = pairs.pack(TOKENS, SPECIALS, length, seed, **settings)
    return SimpleNamespace(**packed[:], count=len(packed))


def segments(data, row):
    """(first, second) of a row, after a look at what is around them."""
    used = data.padding_mask[row].sum()
    tokens, ids = data.token_ids[row], data.segment_ids[row]
    assert (tokens[used:] == SPECIALS.pad).all() and (ids[used:] == 0).all()
    assert data.padding_mask[row, :used].all()
    first, second = tokens[:used][ids[:used] == 0], tokens[:used][ids[:used] == 1]
    assert first[0] == SPECIALS.cls
    assert first[-1] == second[-1] == SPECIALS.sep
    assert (np.diff(ids[:used]) >= 0).all()
    return first[1:-1], second[:-1]


def document_of(token):
    sentence = np.searchsorted(SENTENCES, token - 5, side="right") - 1
    return sentence // 30


@pytest.mark.parametrize("length", [5, 16, 64, 128])
def test_segments_are_runs_of_tokens_that_fit(length):
    data = pack(length)
    assert data.token_ids.shape == (data.count, length)
    for row in range(data.count):
        for segment in segments(data, row):
            assert len(segment) and (np.diff(segment) == 1).all()
            assert document_of(segment[0]) == document_of(segment[-1])


def test_the_second_segment_follows_on_the_first_where_it_says_so():
    data = pack()
    for row in range(data.count):
        first, second = segments(data, row)
        same = document_of(first[0]) == document_of(second[0])
        assert same == data.is_next[row]
        if same:
            assert second[0] > first[-1]
            # Cut off at most at the first's end and the second's beginning.
            assert second[0] - first[-1] <= 1 + 12 + 12


def test_half_of_the_second_segments_are_from_elsewhere():
    is_next = np.concatenate([pack(128, seed).is_next for seed in range(20)])
    # A chunk of one sentence has nothing to follow; four deviations are 0.032.
    assert len(is_next) > 3500 and 0.44 < is_next.mean() < 0.53


def test_what_gave_way_comes_again(monkeypatch):
    monkeypatch.setattr(pairs, "_SHORT", 0)
    data = pack(128)
    firsts = np.concatenate([segments(data, row)[0] for row in range(data.count)])
    seconds = [segments(data, i)[1] for i in np.flatnonzero(data.is_next)]
    packed = np.unique(np.concatenate([firsts, *seconds]))
    # All but what is cut off: at most a sentence and its neighbor of some rows.
    assert len(packed) > 0.9 * LENGTHS.sum()


def test_rows_are_full_but_for_the_ends_of_documents_and_the_short_ones(monkeypatch):
    full = {}
    for short in (0, 0.5):
        monkeypatch.setattr(pairs, "_SHORT", short)
        full[short] = pack(64).padding_mask.all(axis=1).mean()
    assert full[0] > 0.75 and full[0.5] < 0.7 * full[0]


def test_the_same_seed_packs_the_same_and_another_one_something_else():
    first, again, other = pack(seed=1), pack(seed=1), pack(seed=2)
    np.testing.assert_equal(vars(first), vars(again))
    assert not np.array_equal(first.token_ids[:50], other.token_ids[:50])


@pytest.mark.parametrize("most", [1, 7])
def test_as_many_as_asked_for_are_the_first_ones(most):
    some = pack(most=most)
    assert some.count == most
    np.testing.assert_array_equal(some.token_ids, pack().token_ids[:most])


def test_any_sequences_are_made_as_all_are():
    packed, whole = pairs.pack(TOKENS, SPECIALS, 64, 0), pack()
    rows = np.array([5, 0, 17, 5])
    for name, array in packed[rows].items():
        np.testing.assert_array_equal(array, getattr(whole, name)[rows])
