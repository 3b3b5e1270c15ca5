"""Questions as a model reads them: windows of tokens, each token with its place.

    [CLS] question [SEP] window of the context [SEP] padding

A context that is too long for one window gets several, which overlap: each begins
`stride` tokens after the one before, until one reaches the context's end.
"""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lamb_keras.data.squad.files import Question
from lamb_keras.data.text.wordpiece import SPECIALS, Vocabulary


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Features:
    """The windows of some questions, in the questions' order."""

    # int32, and bool for the masks, of shape (windows, sequence_length)
    token_ids: np.ndarray
    segment_ids: np.ndarray  # 1 for the context and the [SEP] after it
    padding_mask: np.ndarray  # False in padding
    # Whether of all windows with this token of the context, this one has most context
    # around it.
    most_context: np.ndarray
    # (windows, sequence_length, 2): the characters of the context, from and to, that a
    # token stands for; -1 outside the context
    offsets: np.ndarray
    # (windows,): the first and the last token of the first answer; 0, the [CLS], unless
    # all of the answer is in the window
    start_positions: np.ndarray
    end_positions: np.ndarray
    question_index: np.ndarray  # (windows,): which question a window is of

    def __len__(self):
        return len(self.token_ids)

    def with_answers(self) -> "Features":
        """The windows to train on: those that hold an answer.

        The others would be trained to point at [CLS], which no question of SQuAD v1.1
        has as its answer. All windows are evaluated.
        """
        held = self.start_positions > 0
        return Features(**{name: array[held] for name, array in vars(self).items()})


def features(
    questions: Sequence[Question],
    vocabulary: Vocabulary,
    sequence_length: int,  # tokens in a window
    stride: int,  # tokens from the beginning of one window to that of the next
    max_question_length: int,  # tokens; what a question has more is cut off
) -> Features:
    """The windows of the questions, by `tokenizers`' truncation of the contexts.

    A window has room for w = sequence_length - 3 - (tokens of the question) tokens of
    the context, which must be the stride or more. An answer of up to w - stride + 1
    tokens is whole in some window; one of up to (w - stride) / 2 also in the one with
    most context around its start.

    An answer that begins or ends within a token is told with all of that token. With
    8,000 tokens of each language's own, the best possible F1 on XQuAD is 99.98 or more
    in English and six others, 99.87 in Hindi, 99.57 in Arabic and 98.61 in Thai, which
    write short words and their neighbors as one; with a token a letter it is 100.

    Example:
        >>> vocabulary = Vocabulary((*SPECIALS, *"abcdefg?"))
        >>> question = Question("1", "letters", "a b c d e f g", "?", [("e f", 8)])
        >>> made = features([question], vocabulary, 8, 2, max_question_length=1)
        >>> for ids, start in zip(made.token_ids, made.start_positions):
        ...     print(*[vocabulary.tokens[i] for i in ids], int(start))
        [CLS] ? [SEP] a b c d [SEP] 0
        [CLS] ? [SEP] c d e f [SEP] 5
        [CLS] ? [SEP] e f g [SEP] [PAD] 3
        >>> made.offsets[2, :, 0].tolist()
        [-1, -1, -1, 8, 10, 12, -1, -1]
    """
    from tokenizers import processors

    encode = functools.cache(vocabulary.tokenizer().encode)
    ids = vocabulary.specials
    packer = vocabulary.tokenizer()
    packer.post_processor = processors.BertProcessing(
        (SPECIALS.sep, ids.sep), (SPECIALS.cls, ids.cls)
    )
    packer.enable_padding(length=sequence_length, pad_id=ids.pad)
    parts = []
    for index, each in enumerate(questions):
        question, context = encode(each.question), encode(each.context)
        if len(question) > max_question_length:
            end, _ = question.offsets[max_question_length]
            question = encode(each.question[:end])
        begin = 2 + len(question)  # of the context in each window
        width = sequence_length - 1 - begin
        # Its stride is the overlap of two windows.
        packer.enable_truncation(
            sequence_length, stride=width - stride, strategy="only_second"
        )
        first = packer.post_process(question, context)
        windows = [first, *first.overflowing]
        padding_mask = np.array([w.attention_mask for w in windows], bool)
        part = {
            "token_ids": np.array([window.ids for window in windows], np.int32),
            # Not `type_ids`: of all windows but the first, they are wrong here.
            "segment_ids": np.int32(
                padding_mask & (np.arange(sequence_length) >= begin)
            ),
            "padding_mask": padding_mask,
            "question_index": np.full(len(windows), index, np.int32),
        }
        starts = stride * np.arange(len(windows), dtype=np.int32)
        spans = _spans(each.context, context.offsets)
        parts.append(part | _places(each, spans, starts, width, begin, sequence_length))
    return Features(
        **{name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
    )


def _places(question, spans, starts, width, begin, sequence_length):
    """Where the windows' tokens are in the context, and where its answer is in them.

    The windows start at these tokens of the context, of which `spans` has the
    characters, and have `width` of them from the position `begin` on.
    """
    token = np.arange(len(spans))
    left = token - starts[:, np.newaxis]
    right = np.minimum(starts[:, np.newaxis] + width, len(token)) - 1 - token
    inside = np.minimum(left, right)  # how far; negative outside the window
    window, number = np.nonzero(inside >= 0)
    offsets = np.full((len(starts), sequence_length, 2), -1, np.int32)
    offsets[window, begin + left[window, number]] = spans[number]
    # Of windows with equally much, the first counts.
    most_context = np.zeros((len(starts), sequence_length), bool)
    window = inside.argmax(axis=0)
    most_context[window, begin + left[window, token]] = True

    # The tokens that share a character with the first answer. Where the tokenizer has
    # dropped all of these, the last comes before the first.
    text, start = question.answers[0]
    start += len(text) - len(text.lstrip())
    first = np.searchsorted(spans[:, 1], start, side="right")
    last = np.searchsorted(spans[:, 0], start + len(text.strip()), side="left") - 1
    held = (starts <= first) & (first <= last) & (last < starts + width)
    return {
        "most_context": most_context,
        "offsets": offsets,
        "start_positions": np.where(held, begin + first - starts, 0).astype(np.int32),
        "end_positions": np.where(held, begin + last - starts, 0).astype(np.int32),
    }


def _spans(text, offsets):
    """The characters of each token, int32, with the combining marks after its last.

    An uncased tokenizer drops those, and leaves them to no token.
    """
    spans = np.array(offsets, np.int32).reshape(-1, 2)
    if not text.isascii():
        following = np.append(spans[1:, 0], len(text))
        for token in np.flatnonzero(spans[:, 1] < following):
            end = spans[token, 1]
            while end < following[token] and unicodedata.category(text[end])[0] == "M":
                end += 1
            spans[token, 1] = end
    return spans
