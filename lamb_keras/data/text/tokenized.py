"""A corpus as numbers, cut once and kept on disk."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lamb_keras.data import cache
from lamb_keras.data.text import corpus
from lamb_keras.data.text.wordpiece import Vocabulary


@dataclass(frozen=True, eq=False)
class Tokenized:
    """All tokens in a row, and where sentences and documents begin.

    Args:
        token_ids: int32, of all sentences one after another.
        sentences: (sentences + 1,), where each begins in `token_ids`, and the end.
        documents: (documents + 1,), where each begins in `sentences`, and the end.
    """

    token_ids: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray

    def __len__(self) -> int:
        return len(self.documents) - 1

    def document(self, number: int) -> list[np.ndarray]:
        """The sentences of a document, each its tokens."""
        first, last = self.documents[number : number + 2]
        bounds = self.sentences[first : last + 1]
        return [
            self.token_ids[begin:end]
            for begin, end in zip(bounds[:-1], bounds[1:], strict=True)
        ]


def tokenize(documents: Sequence[corpus.Document], vocabulary: Vocabulary) -> Tokenized:
    """The documents cut into word pieces; what has none is left out.

    Kept in `lamb_keras.data.cache` under a key of the text and the vocabulary.

    Example:
        >>> from lamb_keras.data.text import wordpiece
        >>> vocabulary = Vocabulary((*wordpiece.SPECIALS, "so", "far"))
        >>> cut = tokenize([corpus.Document("", ("So far", "", "So"))], vocabulary)
        >>> cut.token_ids.tolist(), cut.sentences.tolist(), cut.documents.tolist()
        ([5, 6, 5], [0, 2, 3], [0, 2])
    """
    key = f"{corpus.fingerprint(documents)} {vocabulary.fingerprint}"
    kept = cache.remembered(
        f"tokens-{hashlib.sha256(key.encode()).hexdigest()[:32]}",
        ["token_ids", "sentences", "documents"],
        lambda: _cut(documents, vocabulary),
    )
    return Tokenized(**kept)


def _cut(documents, vocabulary):
    texts = [sentence for document in documents for sentence in document.sentences]
    cut = vocabulary.encode_all(texts)
    lengths = np.fromiter(map(len, cut), np.int64, len(cut))
    token_ids = np.fromiter((i for ids in cut for i in ids), np.int32, lengths.sum())
    counts, at = [], 0
    for document in documents:
        end = at + len(document.sentences)
        counts.append(np.count_nonzero(lengths[at:end]))
        at = end
    return {
        "token_ids": token_ids,
        "sentences": _starts(lengths[lengths > 0]),
        "documents": _starts(np.array([n for n in counts if n], np.int64)),
    }


def _starts(lengths):
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
