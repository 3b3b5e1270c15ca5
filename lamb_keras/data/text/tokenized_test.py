"""A corpus is tokenized once, and nothing of it is lost."""

import numpy as np
import pytest

from lamb_keras.data import DataError
from lamb_keras.data.text import encyclopedia, tokenized, wordpiece
from lamb_keras.data.text.corpus import Document

DOCUMENTS = [each.document for each in encyclopedia.articles("train", 0, 20)]


@pytest.fixture
def vocabulary():
    return wordpiece.train(DOCUMENTS, 600)


def test_each_sentence_is_what_the_vocabulary_makes_of_it(vocabulary):
    cut = tokenized.tokenize(DOCUMENTS, vocabulary)
    assert len(cut) == 20
    for i, document in enumerate(DOCUMENTS):
        expected = [vocabulary.encode(each)[0] for each in document.sentences]
        assert cut.document(i) == expected


def test_what_has_no_tokens_is_left_out(vocabulary):
    documents = [
        Document("", ("", "in")),
        Document("", (" ", "")),
        Document("", ("the", "", "of the")),
    ]
    cut = tokenized.tokenize(documents, vocabulary)
    assert len(cut) == 2
    assert [len(each) for each in cut.document(0)] == [1]
    assert [len(each) for each in cut.document(1)] == [1, 2]


def test_another_text_or_vocabulary_is_tokenized_anew(vocabulary, monkeypatch):
    tokenized.tokenize(DOCUMENTS, vocabulary)
    other = wordpiece.train(DOCUMENTS, 700)
    monkeypatch.setattr(tokenized, "_tokenized", lambda *_: 1 / 0)
    for arguments in ((DOCUMENTS[1:], vocabulary), (DOCUMENTS, other)):
        with pytest.raises(ZeroDivisionError):
            tokenized.tokenize(*arguments)


@pytest.mark.parametrize(
    "token_ids, expected",
    [
        (np.tile(np.arange(5, 21), 3), np.log(16)),
        ([5, 5, 6, 7], 1.5 * np.log(2)),
        ([5, 5], 0),
        ([0, 1, 2, 3, 4, 5, 6, 1, 1], np.log(2)),  # special ones do not count
    ],
)
def test_the_entropy_is_that_of_the_tokens_frequencies(token_ids, expected):
    vocabulary = wordpiece.Vocabulary((*wordpiece.SPECIALS, *map(str, range(16))))
    made = tokenized.Tokenized(np.array(token_ids), np.array([0]), np.array([0]))
    assert made.unigram_entropy(vocabulary) == pytest.approx(expected)
    nothing = tokenized.Tokenized(np.arange(5), np.array([0]), np.array([0]))
    with pytest.raises(DataError, match="no tokens but special ones"):
        nothing.unigram_entropy(vocabulary)
