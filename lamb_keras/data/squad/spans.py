"""Answers out of logits: the best span of each question, cut from its context."""

import numbers
from collections.abc import Sequence

import numpy as np

from lamb_keras.data.images import DataError
from lamb_keras.data.squad.features import Features
from lamb_keras.data.squad.files import Question


def best_spans(
    start_logits,
    end_logits,
    features: Features,
    questions: Sequence[Question],
    max_answer_tokens: int = 30,
) -> dict[str, str]:
    """The text predicted for each question's id.

    Of all the windows of a question, it is the span of tokens s to e with the greatest
    start_logits[s] + end_logits[e] for which

        s ≤ e < s + max_answer_tokens,  both in the context,  most_context[s]

    and of equal ones the first. Every such span is looked at, not only those between
    the 20 best starts and ends. Not-a-number counts as -inf; a question without a span
    greater than that is answered by the empty text.

    Args:
        start_logits: shape (windows, sequence_length), of all windows.
        end_logits: as `start_logits`.
        features: of these questions.
        questions: that the features were made of.
        max_answer_tokens: the longest span.
    """
    if not isinstance(max_answer_tokens, numbers.Integral) or max_answer_tokens < 1:
        raise DataError(
            f"max_answer_tokens is {max_answer_tokens!r}; "
            "expected a whole number from 1 up"
        )
    in_context = features.offsets[..., 0] >= 0
    starts = _logits(start_logits, in_context & features.most_context, "start")
    ends = _logits(end_logits, in_context, "end")

    # The best end for each start, as far away as an answer may reach.
    length = starts.shape[1]
    end_logit = ends.copy()
    end_position = np.tile(np.arange(length), (len(ends), 1))
    for distance in range(1, min(max_answer_tokens, length)):
        further = ends[:, distance:]
        better = further > end_logit[:, :-distance]
        end_logit[:, :-distance][better] = further[better]
        end_position[:, :-distance][better] = np.nonzero(better)[1] + distance

    scores = starts + end_logit
    windows = np.arange(len(scores))
    start = scores.argmax(axis=1)
    end, score = end_position[windows, start], scores[windows, start]

    # The best window of each question: the first of its in this order.
    order = np.lexsort((windows, -score, features.question_index))
    _, first = np.unique(features.question_index[order], return_index=True)
    best = order[first]
    best = best[score[best] > -np.inf]
    found = texts(features, questions, best, start[best], end[best])
    predictions = {each.id: "" for each in questions}
    for window, text in zip(best, found, strict=True):
        predictions[questions[features.question_index[window]].id] = text
    return predictions


def texts(
    features: Features, questions: Sequence[Question], windows, starts, ends
) -> list[str]:
    """What the contexts hold from one token to another, as it is written there.

    Args:
        features: of these questions.
        questions: that the features were made of.
        windows: the number of each span's window.
        starts: the position in its window of each span's first token.
        ends: of its last token.
    """
    begin = features.offsets[windows, starts, 0].tolist()
    end = features.offsets[windows, ends, 1].tolist()
    contexts = [
        questions[index].context for index in features.question_index[windows].tolist()
    ]
    return [
        context[one:other]
        for context, one, other in zip(contexts, begin, end, strict=True)
    ]


def _logits(logits, allowed, name):
    """In float32 and below inf; -inf where no span may start or end, and for nan."""
    logits = np.asarray(logits)
    if logits.shape != allowed.shape:
        raise DataError(
            f"the {name} logits have the shape {logits.shape}, expected the features' "
            f"{allowed.shape}; give those of all windows and of these alone"
        )
    # Half the largest, so that two of them can be added.
    large = np.finfo(np.float32).max / 2
    logits = np.nan_to_num(logits.astype(np.float32), nan=-np.inf, posinf=large)
    return np.where(allowed, logits, np.float32(-np.inf))
