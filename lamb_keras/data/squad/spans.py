"""Answers out of logits: the best span of each question, cut from its context."""

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
    """The text predicted for each question's id, from logits of all its windows.

    It is the span of tokens s to e with the greatest start_logits[s] + end_logits[e]
    for which

        s ≤ e < s + max_answer_tokens,  both in the context,  most_context[s]

    and of equal ones the first. The search is exhaustive, not limited to the 20 best
    starts and ends. NaN counts as -inf; a question without a span above that is
    answered by the empty text. Logits have the shape (windows, sequence_length).
    """
    in_context = features.offsets[..., 0] >= 0
    starts = _logits(start_logits, in_context & features.most_context, "start")
    ends = _logits(end_logits, in_context, "end")

    # The best end for each start, as far away as an answer may reach.
    length = starts.shape[1]
    best = ends.copy()
    best_position = np.tile(np.arange(length), (len(ends), 1))
    for distance in range(1, min(max_answer_tokens, length)):
        further = ends[:, distance:]
        better = further > best[:, :-distance]
        np.copyto(best[:, :-distance], further, where=better)
        position = np.arange(distance, length)
        np.copyto(best_position[:, :-distance], position, where=better)

    scores = starts + best
    windows = np.arange(len(scores))
    start = scores.argmax(axis=1)
    end, score = best_position[windows, start], scores[windows, start]

    # The best window of each question: the first of its in this order.
    order = np.lexsort((windows, -score, features.question_index))
    numbers, first = np.unique(features.question_index[order], return_index=True)
    predictions = {each.id: "" for each in questions}
    for number, window in zip(numbers, order[first], strict=True):
        if score[window] > -np.inf:
            question, offsets = questions[number], features.offsets[window]
            begin, stop = offsets[start[window], 0], offsets[end[window], 1]
            predictions[question.id] = question.context[begin:stop]
    return predictions


def _logits(logits, allowed, name):
    """In float32 and finite, or -inf: where no span may start or end, and for NaN."""
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
