"""Sequences to pre-train BERT on: [CLS] A [SEP] B [SEP], as Devlin et al. pack them.

A and B are one or more sentences each, and B continues A or, half the time, comes from
another document.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    documents: Sequence[list[list[int]]],  # two or more, by `wordpiece.tokenize`
    vocabulary: Vocabulary,
    length: int,  # of a row, special tokens included
    seed: int,
    *,
    examples: int | None = None,  # rows, from as many passes as they take; or one pass
) -> PairData:
    """The documents as sentence pairs, the same for the same arguments.

    A pass takes all documents in random order. Sentences replaced by another
    document's come again at the beginning of the next sequence. Too long a pair is
    cut at a random end of its longer segment.
    """
    rng = np.random.default_rng(seed)
    packed, passes = [], 0
    while not passes if examples is None else len(packed) < examples:
        passes += 1
        for number in rng.permutation(len(documents)).tolist():
            packed += _pairs(documents, number, length - _SPECIALS, rng)
            if examples is not None and len(packed) >= examples:
                break
    packed = packed[:examples]
    shape = len(packed), length
    pad, _, cls, sep, _ = vocabulary.specials
    dtype = np.int16 if vocabulary.size <= np.iinfo(np.int16).max + 1 else np.int32
    token_ids = np.full(shape, pad, dtype)
    segment_ids = np.zeros(shape, np.int8)
    padding_mask = np.zeros(shape, bool)
    for row, (first, second, _) in enumerate(packed):
        tokens = [cls, *first, sep, *second, sep]
        token_ids[row, : len(tokens)] = tokens
        segment_ids[row, len(first) + 2 : len(tokens)] = 1
        padding_mask[row, : len(tokens)] = True
    is_next = np.array([is_next for *_, is_next in packed], np.int8)
    return PairData(token_ids, segment_ids, padding_mask, is_next)


def _pairs(documents, number, room, rng):
    """(first, second, is_next) of one document, each segment a list of tokens."""

    def draw_target():
        return int(rng.integers(2, room + 1)) if rng.random() < _SHORT else room

    sentences = documents[number]
    target = draw_target()
    found, chunk, length, i = [], [], 0, 0
    while i < len(sentences):
        chunk.append(sentences[i])
        length += len(sentences[i])
        i += 1
        if length < target and i < len(sentences):
            continue
        cut = int(rng.integers(1, len(chunk))) if len(chunk) > 1 else 1
        first, second = sum(chunk[:cut], []), sum(chunk[cut:], [])
        is_next = len(chunk) > 1 and rng.random() < 0.5
        if not is_next:
            second = _elsewhere(documents, number, target - len(first), rng)
            i -= len(chunk) - cut
        found.append((*_truncated(first, second, room, rng), is_next))
        chunk, length, target = [], 0, draw_target()
    return found


def _elsewhere(documents, number, enough, rng):
    """Successive sentences of another document, at least one."""
    other = documents[(number + int(rng.integers(1, len(documents)))) % len(documents)]
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
