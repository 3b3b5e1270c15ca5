"""Sequences to pre-train BERT on: two segments, and whether they belong together.

As Devlin et al. pack them: [CLS] A [SEP] B [SEP], A and B each one or more sentences,
B what follows on A in its document or, half the time, from another document.
"""

from dataclasses import dataclass

import numpy as np

from lamb_keras.data.images import DataError
from lamb_keras.data.text.tokenized import Tokenized
from lamb_keras.data.text.wordpiece import Vocabulary

# [CLS] and two [SEP].
_SPECIALS = 3


@dataclass(frozen=True, eq=False)
class PairData:
    """Packed sequences, one a row.

    Args:
        token_ids: (n, length), int16 where the vocabulary allows it, else int32.
        segment_ids: (n, length) int8; 1 in the second segment, 0 in padding too.
        padding_mask: (n, length) bool; False in padding.
        is_next: (n,) int8; 1 where the second segment follows on the first.
    """

    token_ids: np.ndarray
    segment_ids: np.ndarray
    padding_mask: np.ndarray
    is_next: np.ndarray

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, rows) -> "PairData":
        """Some of the rows, by slice or by their numbers."""
        return PairData(**{name: array[rows] for name, array in self.arrays().items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def pack(
    documents: Tokenized,
    vocabulary: Vocabulary,
    sequence_length: int,
    seed: int,
    *,
    examples: int | None = None,
    short: float = 0.1,
) -> PairData:
    """The documents as sentence pairs, the same for the same arguments.

    A pass goes through all documents in a random order. Sentences that gave way to
    another document's come again as the beginning of the next sequence. What is too
    long is cut off at either end of the longer segment.

    Args:
        documents: at least two.
        vocabulary: they were cut by.
        sequence_length: of a row, special tokens included.
        seed: of all choices.
        examples: how many rows; as many passes as it takes, each with other pairs.
            None: what one pass gives.
        short: how often a sequence is meant to be shorter than it could be.

    Raises:
        lamb_keras.data.DataError: where there are fewer than two documents, or a row
            has no room for two segments.
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
    texts = [
        [sentence.tolist() for sentence in documents.document(i)]
        for i in range(len(documents))
    ]
    room = sequence_length - _SPECIALS
    pairs = []
    while True:
        for number in rng.permutation(len(texts)).tolist():
            pairs += _pairs(texts, number, room, short, rng)
            if examples is not None and len(pairs) >= examples:
                break
        if examples is None or len(pairs) >= examples:
            break
    return _filled(pairs[:examples], vocabulary, sequence_length)


def _pairs(texts, number, room, short, rng):
    """(first, second, is_next) of one document, each segment a list of tokens."""
    sentences = texts[number]
    target = _target(room, short, rng)
    found, chunk, length, i = [], [], 0, 0
    while i < len(sentences):
        chunk.append(sentences[i])
        length += len(sentences[i])
        i += 1
        if length < target and i < len(sentences):
            continue
        cut = int(rng.integers(1, len(chunk))) if len(chunk) > 1 else 1
        first = [token for sentence in chunk[:cut] for token in sentence]
        is_next = len(chunk) > 1 and rng.random() < 0.5
        if is_next:
            second = [token for sentence in chunk[cut:] for token in sentence]
        else:
            second = _elsewhere(texts, number, target - len(first), rng)
            i -= len(chunk) - cut
        found.append((*_shortened(first, second, room, rng), is_next))
        chunk, length, target = [], 0, _target(room, short, rng)
    return found


def _target(room, short, rng):
    return int(rng.integers(2, room + 1)) if rng.random() < short else room


def _elsewhere(texts, number, enough, rng):
    """Sentences one after another from another document, one at least."""
    other = (number + int(rng.integers(1, len(texts)))) % len(texts)
    tokens = []
    for sentence in texts[other][int(rng.integers(len(texts[other]))) :]:
        tokens += sentence
        if len(tokens) >= enough:
            break
    return tokens


def _shortened(first, second, room, rng):
    """Tokens taken off the longer segment, from a random end each, until both fit."""
    too_many = len(first) + len(second) - room
    if too_many <= 0:
        return first, second
    segments = [first, second]
    lengths = [len(first), len(second)]
    fronts = [0, 0]
    for front in (rng.random(too_many) < 0.5).tolist():
        longer = int(lengths[1] >= lengths[0])
        lengths[longer] -= 1
        fronts[longer] += front
    return tuple(
        segment[front : front + length]
        for segment, front, length in zip(segments, fronts, lengths, strict=True)
    )


def _filled(pairs, vocabulary, sequence_length):
    shape = (len(pairs), sequence_length)
    dtype = np.int16 if vocabulary.size <= np.iinfo(np.int16).max + 1 else np.int32
    token_ids = np.full(shape, vocabulary.pad, dtype)
    segment_ids = np.zeros(shape, np.int8)
    padding_mask = np.zeros(shape, bool)
    for row, (first, second, _) in enumerate(pairs):
        tokens = [vocabulary.cls, *first, vocabulary.sep, *second, vocabulary.sep]
        token_ids[row, : len(tokens)] = tokens
        segment_ids[row, len(first) + 2 : len(tokens)] = 1
        padding_mask[row, : len(tokens)] = True
    is_next = np.array([is_next for *_, is_next in pairs], np.int8)
    return PairData(token_ids, segment_ids, padding_mask, is_next)
