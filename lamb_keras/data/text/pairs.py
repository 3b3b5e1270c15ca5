"""Sequences to pre-train BERT on: [CLS] A [SEP] B [SEP], as Devlin et al. pack them.

A and B are one or more sentences each, and B continues A or, half the time, comes from
another document.
"""

from dataclasses import dataclass

import numpy as np

from lamb_keras.data.images import DataError
from lamb_keras.data.text.tokenized import Tokenized
from lamb_keras.data.text.wordpiece import Vocabulary

_SPECIALS = 3  # [CLS] and two [SEP]
_SHORT = 0.1  # of the sequences are meant to be shorter, as some texts are later


@dataclass(frozen=True, eq=False)
class PairData:
    """Packed sequences, one a row."""

    token_ids: np.ndarray  # (n, length), int16 where the vocabulary allows, else int32
    segment_ids: np.ndarray  # (n, length) int8; 1 in the second segment alone
    padding_mask: np.ndarray  # (n, length) bool; False in padding
    is_next: np.ndarray  # (n,) int8; 1 where the second segment continues the first

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, rows) -> "PairData":
        """Some of the rows, by slice or by their numbers."""
        return PairData(**{name: array[rows] for name, array in self.arrays().items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return dict(vars(self))


def pack(
    documents: Tokenized,
    vocabulary: Vocabulary,
    sequence_length: int,  # of a row, special tokens included
    seed: int,
    *,
    examples: int | None = None,  # rows, from as many passes as they take; or one pass
) -> PairData:
    """The documents as sentence pairs, the same for the same arguments.

    A pass takes all documents in random order. Sentences replaced by another
    document's come again at the beginning of the next sequence. Too long a pair is
    cut at a random end of its longer segment.
    """
    if len(documents) < 2:
        raise DataError(
            f"the corpus has {len(documents)} documents with text; expected at least "
            "two, since half of the second segments come from another one"
        )
    if sequence_length < _SPECIALS + 2:
        raise DataError(
            f"a sequence length of {sequence_length} has no room for two segments; "
            f"expected at least {_SPECIALS + 2}"
        )
    rng = np.random.default_rng(seed)
    texts = [documents.document(i) for i in range(len(documents))]
    room = sequence_length - _SPECIALS
    pairs, passes = [], 0
    while not passes if examples is None else len(pairs) < examples:
        passes += 1
        for number in rng.permutation(len(texts)).tolist():
            pairs += _pairs(texts, number, room, rng)
            if examples is not None and len(pairs) >= examples:
                break
    return _rows(pairs[:examples], vocabulary, sequence_length)


def _pairs(texts, number, room, rng):
    """(first, second, is_next) of one document, each segment a list of tokens."""
    sentences = texts[number]
    target = _target(room, rng)
    found, chunk, length, i = [], [], 0, 0
    while i < len(sentences):
        chunk.append(sentences[i])
        length += len(sentences[i])
        i += 1
        if length < target and i < len(sentences):
            continue
        cut = int(rng.integers(1, len(chunk))) if len(chunk) > 1 else 1
        first, rest = sum(chunk[:cut], []), sum(chunk[cut:], [])
        is_next = len(chunk) > 1 and rng.random() < 0.5
        if not is_next:
            rest = _elsewhere(texts, number, target - len(first), rng)
            i -= len(chunk) - cut
        found.append((*_truncated(first, rest, room, rng), is_next))
        chunk, length, target = [], 0, _target(room, rng)
    return found


def _target(room, rng):
    return int(rng.integers(2, room + 1)) if rng.random() < _SHORT else room


def _elsewhere(texts, number, enough, rng):
    """Successive sentences of another document, at least one."""
    other = texts[(number + int(rng.integers(1, len(texts)))) % len(texts)]
    tokens = []
    for sentence in other[int(rng.integers(len(other))) :]:
        tokens += sentence
        if len(tokens) >= enough:
            break
    return tokens


def _truncated(first, second, room, rng):
    """Both segments, less tokens at a random end of the longer one until they fit."""
    segments = [first, second]
    lengths, fronts = [len(first), len(second)], [0, 0]
    for front in (rng.random(max(sum(lengths) - room, 0)) < 0.5).tolist():
        longer = int(lengths[1] >= lengths[0])
        lengths[longer] -= 1
        fronts[longer] += front
    return tuple(
        segment[front : front + length]
        for segment, front, length in zip(segments, fronts, lengths, strict=True)
    )


def _rows(pairs, vocabulary, sequence_length):
    shape = len(pairs), sequence_length
    pad, _, cls, sep, _ = vocabulary.specials
    dtype = np.int16 if vocabulary.size <= np.iinfo(np.int16).max + 1 else np.int32
    token_ids = np.full(shape, pad, dtype)
    segment_ids = np.zeros(shape, np.int8)
    padding_mask = np.zeros(shape, bool)
    for row, (first, second, _) in enumerate(pairs):
        tokens = [cls, *first, sep, *second, sep]
        token_ids[row, : len(tokens)] = tokens
        segment_ids[row, len(first) + 2 : len(tokens)] = 1
        padding_mask[row, : len(tokens)] = True
    is_next = np.array([is_next for *_, is_next in pairs], np.int8)
    return PairData(token_ids, segment_ids, padding_mask, is_next)
