"""Two segments a row: they fit, and belong together exactly where it says so."""

import dataclasses
import itertools
import os

import numpy as np
import pytest

from lamb_keras.data import cache
from lamb_keras.data.text import corpus, pairs, wordpiece
from lamb_keras.data.text.wordpiece import SPECIALS, Vocabulary

# Token 5 + n is the nth of the whole corpus, so where each was is known.
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 13, 3000)
SENTENCES = np.concatenate([[0], np.cumsum(LENGTHS)])
_SENTENCES = [list(range(5 + i, 5 + j)) for i, j in itertools.pairwise(SENTENCES)]
DOCUMENTS = [_SENTENCES[i : i + 30] for i in range(0, 3000, 30)]
VOCABULARY = Vocabulary((*SPECIALS, *map(str, range(LENGTHS.sum()))))


def pack(length=64, seed=0, **settings):
    return pairs.pack(DOCUMENTS, VOCABULARY, length, seed, **settings)


def segments(data, row):
    """(first, second) of a row, after a look at what is around them."""
    used = data.padding_mask[row].sum()
    tokens, ids = data.token_ids[row], data.segment_ids[row]
    assert (tokens[used:] == VOCABULARY.specials.pad).all() and (ids[used:] == 0).all()
    assert data.padding_mask[row, :used].all()
    first, second = tokens[:used][ids[:used] == 0], tokens[:used][ids[:used] == 1]
    assert first[0] == VOCABULARY.specials.cls
    assert first[-1] == second[-1] == VOCABULARY.specials.sep
    assert (np.diff(ids[:used]) >= 0).all()
    return first[1:-1], second[:-1]


def document_of(token):
    sentence = np.searchsorted(SENTENCES, token - 5, side="right") - 1
    return sentence // 30


@pytest.mark.parametrize("length", [5, 16, 64, 128])
def test_segments_are_runs_of_tokens_that_fit(length):
    data = pack(length)
    assert data.token_ids.shape == (len(data), length)
    for row in range(len(data)):
        for segment in segments(data, row):
            assert len(segment) and (np.diff(segment) == 1).all()
            assert document_of(segment[0]) == document_of(segment[-1])


def test_the_second_segment_follows_on_the_first_where_it_says_so():
    data = pack()
    for row in range(len(data)):
        first, second = segments(data, row)
        same = document_of(first[0]) == document_of(second[0])
        assert same == data.is_next[row]
        if same:
            assert second[0] > first[-1]
            # Cut off at most at the first's end and the second's beginning.
            assert second[0] - first[-1] <= 1 + 12 + 12


def test_half_of_the_second_segments_are_from_elsewhere():
    data = pack(128, examples=4000)
    # A chunk of one sentence has nothing to follow; four deviations are 0.032.
    assert 0.44 < data.is_next.mean() < 0.53


def test_what_gave_way_comes_again(monkeypatch):
    monkeypatch.setattr(pairs, "_SHORT", 0)
    data = pack(128)
    firsts = np.concatenate([segments(data, row)[0] for row in range(len(data))])
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
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])
    assert not np.array_equal(first.token_ids[:50], other.token_ids[:50])


@pytest.mark.parametrize("examples", [1, 7, 5000])
def test_as_many_rows_as_asked_for(examples):
    data = pack(examples=examples)
    assert len(data) == examples
    rows = {row.tobytes() for row in data.token_ids}
    assert len(rows) > 0.9 * examples  # other passes make a few pairs again


BOOKS = os.path.join(os.environ.get("LAMB_KERAS_DATA") or "", "books")


@pytest.mark.skipif(not os.path.isdir(BOOKS), reason="the novels are not here")
def test_a_novel_is_cut_and_packed_once_and_found_the_next_time(monkeypatch):
    def packed():
        documents = corpus.read([os.path.join(BOOKS, "dracula.txt")])
        vocabulary = wordpiece.train(documents, 4000)
        tokens = wordpiece.tokenize(documents, vocabulary)
        return pairs.pack(tokens, vocabulary, 128, 0)

    first = packed()
    assert len(first) > 1500
    assert (first.token_ids == 1).mean() < 1e-4  # unknown
    monkeypatch.setattr(cache, "_write", pytest.fail)
    np.testing.assert_equal(dataclasses.asdict(packed()), dataclasses.asdict(first))
