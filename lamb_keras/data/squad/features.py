"""Questions as a model is fed them: windows of tokens, each token with its place.

    [CLS] question [SEP] window of the context [SEP] padding

A context that is too long for one window gets several, which overlap: each begins
`stride` tokens after the one before, until one reaches the context's end. Every token
knows which characters of the context it stands for, so an answer found in tokens can be
cut from the context itself.
"""

import functools
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from lamb_keras.data.images import DataError
from lamb_keras.data.squad.files import Question

SPECIAL_TOKENS = 3  # [CLS] and two [SEP] in each window


@dataclass(frozen=True, eq=False, kw_only=True)
class Features:
    """The windows of some questions, in the questions' order.

    Args:
        token_ids: int32, shape (windows, sequence_length).
        segment_ids: as `token_ids`: 1 for the context and the [SEP] after it, else 0.
        padding_mask: bool, as `token_ids`: True for all but padding.
        offsets: int32, shape (windows, sequence_length, 2): the characters of the
            context, from and to, that a token stands for; -1 outside the context.
        most_context: bool, as `token_ids`: whether of all the windows that hold this
            token of the context it is this one that has most context around it.
        start_positions: int32, shape (windows,): the position in the window of the
            first answer's first token; 0, the [CLS], where the window does not hold
            all of that answer.
        end_positions: of its last token, as `start_positions`.
        question_index: int32, shape (windows,): which question a window is of.
    """

    token_ids: np.ndarray = field(repr=False)
    segment_ids: np.ndarray = field(repr=False)
    padding_mask: np.ndarray = field(repr=False)
    offsets: np.ndarray = field(repr=False)
    most_context: np.ndarray = field(repr=False)
    start_positions: np.ndarray = field(repr=False)
    end_positions: np.ndarray = field(repr=False)
    question_index: np.ndarray = field(repr=False)

    def __len__(self):
        return len(self.token_ids)

    @property
    def lengths(self):
        """The number of tokens in each window, padding apart: int, shape (windows,)."""
        return self.padding_mask.sum(axis=1)

    def with_answers(self) -> "Features":
        """The windows to train on: those that hold an answer.

        The others would be trained to point at [CLS], which no question of SQuAD v1.1
        has as its answer. All windows are judged.
        """
        return self.take(self.start_positions > 0)

    def take(self, windows) -> "Features":
        """These windows alone: a mask, a slice or an array of their numbers."""
        return Features(
            **{each.name: getattr(self, each.name)[windows] for each in fields(self)}
        )


def features(
    questions: Sequence[Question],
    vocabulary,
    sequence_length: int,
    stride: int,
    max_question_length: int,
) -> Features:
    """The windows of the questions, each context tokenized once.

    An answer of up to w - stride + 1 tokens is held whole by some window, where a
    window has room for w = sequence_length - 3 - (tokens of the question); one of up to
    (w - stride) / 2 also by the window that has most context around its start.

    Args:
        questions: with their contexts and answers.
        vocabulary: has the ids `pad`, `cls` and `sep`, and `encode(text)`, which gives
            the ids of its tokens and the characters, from and to, of each.
        sequence_length: tokens in a window.
        stride: tokens from the beginning of one window to that of the next.
        max_question_length: tokens of a question that are kept, the first ones.

    Raises:
        DataError: where the windows could be shorter than the stride, so that tokens
            between them would be lost.

    Example:
        >>> class Characters:
        ...     pad, cls, sep = 0, 1, 2
        ...     def encode(self, text):
        ...         return list(map(ord, text)), [(i, i + 1) for i in range(len(text))]
        >>> question = Question("1", "letters", "abcdefg", "?", [("ef", 4)])
        >>> made = features([question], Characters(), 8, 2, max_question_length=1)
        >>> for ids, start in zip(made.token_ids, made.start_positions):
        ...     print("".join("_[]"[id] if id < 3 else chr(id) for id in ids), start)
        [?]abcd] 0
        [?]cdef] 5
        [?]efg]_ 3
        >>> made.offsets[2, :, 0].tolist()
        [-1, -1, -1, 4, 5, 6, -1, -1]
    """
    _check(sequence_length, stride, max_question_length)
    encode = functools.cache(lambda context: _encode(vocabulary, context))
    windows = []  # (question's number, its ids, width, number of window, first token)
    for index, each in enumerate(questions):
        question_ids, _ = _encode(vocabulary, each.question)
        question_ids = question_ids[:max_question_length]
        width = sequence_length - SPECIAL_TOKENS - len(question_ids)
        starts = window_starts(len(encode(each.context)[0]), width, stride)
        windows += [
            (index, question_ids, width, number, start)
            for number, start in enumerate(starts)
        ]

    shape = len(windows), sequence_length
    token_ids = np.full(shape, vocabulary.pad, np.int32)
    offsets = np.full((*shape, 2), -1, np.int32)
    most_context = np.zeros(shape, bool)
    answers = np.zeros((2, len(windows)), np.int32)
    context_begins = np.zeros((len(windows), 1), np.int32)
    lengths = np.zeros((len(windows), 1), np.int32)
    for row, (index, question_ids, width, number, start) in enumerate(windows):
        ids, spans = encode(questions[index].context)
        inside = slice(start, start + width)
        begin = 2 + len(question_ids)
        end = begin + len(ids[inside])
        token_ids[row, 0] = vocabulary.cls
        token_ids[row, 1 : begin - 1] = question_ids
        token_ids[row, [begin - 1, end]] = vocabulary.sep
        token_ids[row, begin:end] = ids[inside]
        offsets[row, begin:end] = spans[inside]
        owner = _window_with_most_context(len(ids), width, stride)
        most_context[row, begin:end] = owner[inside] == number
        first, last = _answer(questions[index], spans)
        if start <= first <= last < start + width:
            answers[:, row] = first - start + begin, last - start + begin
        context_begins[row], lengths[row] = begin, end + 1

    positions = np.arange(sequence_length)
    padding_mask = positions < lengths
    return Features(
        token_ids=token_ids,
        segment_ids=(padding_mask & (positions >= context_begins)).astype(np.int32),
        padding_mask=padding_mask,
        offsets=offsets,
        most_context=most_context,
        start_positions=answers[0],
        end_positions=answers[1],
        question_index=np.array([each[0] for each in windows], np.int32),
    )


def window_starts(tokens: int, width: int, stride: int) -> range:
    """Where the windows on a context begin: every `stride`, until one reaches its end.

    Example:
        >>> list(window_starts(tokens=7, width=4, stride=2))
        [0, 2, 4]
        >>> list(window_starts(tokens=8, width=4, stride=2))
        [0, 2, 4]
        >>> list(window_starts(tokens=0, width=4, stride=2))
        [0]
    """
    return range(0, max(tokens - width, 0) + stride, stride)


@functools.lru_cache(1024)
def _window_with_most_context(tokens, width, stride):
    """The number, for each token, of the window that has most context around it.

    The context around it is as much as there is on its poorer side; of windows with
    equally much, the first counts.
    """
    position = np.arange(tokens)
    starts = np.array(window_starts(tokens, width, stride))[:, np.newaxis]
    left, right = position - starts, np.minimum(starts + width, tokens) - 1 - position
    # Negative where the window does not hold the token at all.
    return np.minimum(left, right).argmax(axis=0)


def _encode(vocabulary, text):
    """(ids, spans): int32 of shape (tokens,) and (tokens, 2)."""
    ids, spans = vocabulary.encode(text)
    return np.array(ids, np.int32), np.array(spans, np.int32).reshape(-1, 2)


def _answer(question, spans):
    """The first and the last token that share a character with the first answer.

    The last is before the first where no token does: the vocabulary may have dropped
    all of its characters.
    """
    text, start = question.answers[0]
    start, text = start + len(text) - len(text.lstrip()), text.strip()
    first = np.searchsorted(spans[:, 1], start, side="right")
    last = np.searchsorted(spans[:, 0], start + len(text), side="left") - 1
    return first, last


def _check(sequence_length, stride, max_question_length):
    for name, value in (
        ("sequence_length", sequence_length),
        ("stride", stride),
        ("max_question_length", max_question_length),
    ):
        if not isinstance(value, numbers.Integral) or value < 1:
            raise DataError(f"{name} is {value!r}; expected a whole number from 1 up")
    width = sequence_length - SPECIAL_TOKENS - max_question_length
    if width < stride:
        raise DataError(
            f"a window of {sequence_length} tokens has {max(width, 0)} left for the "
            f"context beside a question of {max_question_length} and "
            f"{SPECIAL_TOKENS} special tokens, expected at least the stride of "
            f"{stride}; raise sequence_length or lower stride or max_question_length"
        )
