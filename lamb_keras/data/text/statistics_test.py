"""The entropy is that of the tokens' frequencies, special ones left out."""

import numpy as np
import pytest

from lamb_keras.data import DataError
from lamb_keras.data.text.statistics import unigram_entropy
from lamb_keras.data.text.wordpiece import SPECIALS, Vocabulary

VOCABULARY = Vocabulary((*SPECIALS, *map(str, range(16))))


def test_of_tokens_alike_often_it_is_the_logarithm_of_their_number():
    tokens = np.tile(np.arange(5, 21), 3).reshape(6, 8)
    assert unigram_entropy(tokens, VOCABULARY) == pytest.approx(np.log(16))


def test_of_a_half_and_two_quarters_it_is_one_and_a_half_bits():
    tokens = np.array([5, 5, 6, 7], np.int16)
    assert unigram_entropy(tokens, VOCABULARY) == pytest.approx(1.5 * np.log(2))


def test_of_a_single_token_it_is_zero():
    assert unigram_entropy(np.array([5, 5]), VOCABULARY) == 0


def test_special_tokens_do_not_count():
    tokens = np.array([5, 6])
    with_specials = np.concatenate([tokens, np.tile(np.arange(5), 9)])
    expected = unigram_entropy(tokens, VOCABULARY)
    assert unigram_entropy(with_specials, VOCABULARY) == expected


def test_nothing_to_count_is_told():
    with pytest.raises(DataError, match="no tokens but special ones"):
        unigram_entropy(np.arange(5), VOCABULARY)
