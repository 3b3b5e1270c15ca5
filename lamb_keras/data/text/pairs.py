"""Sequences to pre-train BERT on: [CLS] A [SEP] B [SEP], as Devlin et al. pack them.

A and B are one or more sentences each, and B continues A or, half the time, comes from
another document.
"""

from array import array
from dataclasses import dataclass

import numpy as np

from lamb_keras.data.text.tokens import Tokens
from lamb_keras.data.text.wordpiece import Specials

_SPECIALS = 3  # [CLS] and two [SEP]
_AT_ONCE = 10_000  # sequences that are made at once, by arrays of many bytes a token
_SHORT = 0.1  # of the sequences are meant to be shorter, as some texts are later


@dataclass(frozen=True, eq=False)
class PairData:
    """Packed sequences, each made of the tokens when it is asked for.

    Example:
        >>> data = PairData(np.arange(5, 10), Specials(0, 1, 2, 3, 4), 8,
        ...                 np.array([[0, 2, 2, 3, 1]]))
        >>> data[:]["token_ids"].tolist()
        [[2, 5, 6, 3, 7, 3, 0, 0]]
    """

    ids: np.ndarray  # of the documents' tokens, as in `Tokens`
    specials: Specials
    length: int  # of a sequence, special tokens included
    # (n, 5) int64: where in `ids` the first segment begins and ends, and the second; 1
    # where the second one continues the first.
    spans: np.ndarray

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, rows) -> dict[str, np.ndarray]:
        """Some of the sequences, by slice or by their numbers.

        token_ids (n, length), of the type of `ids`; segment_ids (n, length) int8, 1 in
        the second segment alone; padding_mask (n, length) bool, False in padding;
        is_next (n,) int8, 1 where the second segment continues the first.
        """
        spans = self.spans[rows]
        some = [spans[at : at + _AT_ONCE] for at in range(0, len(spans), _AT_ONCE)]
        made = [self._made(each) for each in some] or [self._made(spans)]
        return {name: np.concatenate([part[name] for part in made]) for name in made[0]}

    def _made(self, spans):
        pad, _, cls, sep, _ = self.specials
        begin, end, other_begin, other_end, is_next = spans.T[:, :, None]
        place = np.arange(self.length)
        between = end - begin + 1  # where the first [SEP] is
        last = between + other_end - other_begin + 1
        in_second = (place > between) & (place <= last)
        index = np.where(in_second, other_begin - between, begin) + place - 1
        is_token = (place > 0) & (place < last) & (place != between)
        token_ids = np.where(is_token, self.ids[np.where(is_token, index, 0)], pad)
        token_ids[:, 0] = cls
        token_ids[(place == between) | (place == last)] = sep
        return {
            "token_ids": token_ids.astype(self.ids.dtype),
            "segment_ids": in_second.astype(np.int8),
            "padding_mask": place <= last,
            "is_next": is_next[:, 0].astype(np.int8),
        }


def pack(
    tokens: Tokens,  # of two documents or more
    specials: Specials,
    length: int,  # of a sequence, special tokens included
    seed: int,
    *,
    most: int | None = None,  # sequences
) -> PairData:
    """The documents as sentence pairs, the same for the same arguments.

    All documents are taken in random order. Sentences replaced by another document's
    come again at the beginning of the next sequence. Too long a pair is cut at a random
    end of its longer segment.
    """
    rng, packed = np.random.default_rng(seed), array("q")
    for number in rng.permutation(len(tokens.documents) - 1).tolist():
        for pair in _pairs(tokens, number, length - _SPECIALS, rng):
            packed.extend(pair)
        if most is not None and len(packed) >= 5 * most:
            break
    spans = np.frombuffer(packed, np.int64).reshape(-1, 5)[:most]
    return PairData(tokens.ids, specials, length, spans)


def _pairs(tokens, number, room, rng):
    """The spans of one document."""

    def draw_target():
        return int(rng.integers(2, room + 1)) if rng.random() < _SHORT else room

    first, last = tokens.documents[number : number + 2].tolist()
    # Where each sentence begins, and where the last one ends.
    begins = tokens.sentences[first : last + 1].tolist()
    target, start, i = draw_target(), 0, 0
    while i < len(begins) - 1:
        i += 1
        if begins[i] - begins[start] < target and i < len(begins) - 1:
            continue
        sentences = i - start
        cut = start + (int(rng.integers(1, sentences)) if sentences > 1 else 1)
        one, two = (begins[start], begins[cut]), (begins[cut], begins[i])
        is_next = sentences > 1 and rng.random() < 0.5
        if not is_next:
            two = _elsewhere(tokens, number, target - (one[1] - one[0]), rng)
            i = cut
        yield (*_truncated(one, two, room, rng), int(is_next))
        start, target = i, draw_target()


def _elsewhere(tokens, number, enough, rng):
    """The span of successive sentences of another document, at least one."""
    documents = len(tokens.documents) - 1
    other = (number + int(rng.integers(1, documents))) % documents
    first, last = tokens.documents[other : other + 2].tolist()
    begins = tokens.sentences[first + int(rng.integers(last - first)) : last + 1]
    end = 1
    while end < len(begins) - 1 and begins[end] - begins[0] < enough:
        end += 1
    return int(begins[0]), int(begins[end])


def _truncated(first, second, room, rng):
    """Both spans, less tokens at a random end of the longer one until they fit."""
    spans = [[*first], [*second]]
    lengths = [end - begin for begin, end in spans]
    for front in (rng.random(max(sum(lengths) - room, 0)) < 0.5).tolist():
        longer = int(lengths[1] >= lengths[0])
        lengths[longer] -= 1
        spans[longer][0] += front
    for span, length in zip(spans, lengths, strict=True):
        yield from (span[0], span[0] + length)
