"""A corpus as numbers, tokenized once and kept in the cache."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lamb_keras.data import cache
from lamb_keras.data.images import DataError
from lamb_keras.data.text import corpus
from lamb_keras.data.text.wordpiece import Vocabulary


@dataclass(frozen=True, eq=False)
class Tokenized:
    """All tokens in a row, and where sentences and documents begin."""

    token_ids: np.ndarray  # int32, of all sentences one after another
    sentences: np.ndarray  # (sentences + 1,), where each begins, and the end
    documents: np.ndarray  # (documents + 1,), the first sentence of each, and the end

    def __len__(self) -> int:
        return len(self.documents) - 1

    def document(self, number: int) -> list[list[int]]:
        """The sentences of a document, each a list of tokens."""
        first, last = self.documents[number : number + 2]
        bounds = self.sentences[first : last + 1]
        tokens = self.token_ids[bounds[0] : bounds[-1]].tolist()
        bounds = (bounds - bounds[0]).tolist()
        return [tokens[i:j] for i, j in zip(bounds[:-1], bounds[1:], strict=True)]

    def unigram_entropy(self, vocabulary: Vocabulary) -> float:
        """-Σ p·ln p over the frequencies p of all tokens but special ones, in nats.

        No model that knows nothing but these frequencies has a lower masked-LM loss.
        """
        counts = np.bincount(self.token_ids, minlength=vocabulary.size)
        counts[list(vocabulary.specials)] = 0
        if not counts.any():
            raise DataError(
                "there are no tokens but special ones to count; expected a corpus's"
            )
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())


def tokenize(documents: Sequence[corpus.Document], vocabulary: Vocabulary) -> Tokenized:
    """The documents' word pieces, without sentences and documents that have none.

    Example:
        >>> from lamb_keras.data.text.wordpiece import SPECIALS
        >>> vocabulary = Vocabulary((*SPECIALS, "so", "far"))
        >>> document = corpus.Document("", ("So far", "", "So"))
        >>> tokenize([document], vocabulary).document(0)
        [[5, 6], [5]]
    """
    key = f"{corpus.fingerprint(documents)} {vocabulary.fingerprint}"
    arrays = cache.remembered(
        f"tokens-{hashlib.sha256(key.encode()).hexdigest()[:32]}",
        ["token_ids", "sentences", "documents"],
        lambda: _tokenized(documents, vocabulary),
    )
    return Tokenized(**arrays)


def _tokenized(documents, vocabulary):
    texts = [sentence for document in documents for sentence in document.sentences]
    encoded = vocabulary.encode_all(texts)
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    token_ids = np.fromiter((i for ids in encoded for i in ids), np.int32)
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
