"""Answers out of logits, and their F1 and exact match.

These are as the official SQuAD v1.1 evaluation computes them. That of SQuAD 2.0
differs: there an empty prediction can be right.
"""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from lamb_keras.data.squad.features import Features
from lamb_keras.data.squad.files import Question

_ARTICLES = re.compile(r"\b(a|an|the)\b")
# ASCII's alone: a typographic quote or dash stays, as in the official evaluation.
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def best_spans(
    start_logits,  # (windows, sequence_length), as are end_logits
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
    answered by the empty text.
    """
    in_context = features.offsets[..., 0] >= 0
    starts = _scores(start_logits, in_context & features.most_context)
    ends = _scores(end_logits, in_context)

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


def _scores(logits, allowed):
    """In float32 and finite, or -inf: where no span may start or end, and for NaN."""
    large = np.finfo(np.float32).max / 2  # so that two of them can be added
    logits = np.asarray(logits).astype(np.float32)
    logits = np.nan_to_num(logits, nan=-np.inf, posinf=large)
    return np.where(allowed, logits, np.float32(-np.inf))


def normalize(text: str) -> str:
    """The text in lower case, without punctuation, then without articles.

    Example:
        >>> normalize("The  Panthers' A-team, in a (small) U.S. town")
        'panthers ateam in small us town'
    """
    text = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def f1(prediction: str, references: Sequence[str]) -> float:
    """The best F1 over the references, 0 to 1, of normalized words.

        F1 = 2 · precision · recall / (precision + recall)
           = 2 · shared / (words predicted + words in the reference)

    A repeated word is shared as often as both sides have it. Without a shared word F1
    is 0, even where both sides are empty.

    Example:
        >>> f1("the Denver Broncos", ["Broncos", "Carolina Panthers"])  # 2 · 1 / (2+1)
        0.6666666666666666
    """
    best, predicted = 0.0, Counter(normalize(prediction).split())
    for reference in references:
        expected = Counter(normalize(reference).split())
        if shared := (predicted & expected).total():
            best = max(best, 2 * shared / (predicted.total() + expected.total()))
    return best


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1.0 if the prediction equals a reference once both are normalized, else 0.0."""
    return float(normalize(prediction) in map(normalize, references))


def evaluate(
    questions: Sequence[Question],
    predictions: Mapping[str, str],  # by question's id
) -> dict[str, float]:
    """The mean "f1" and "exact_match" over the questions, in percent.

    A question without a prediction counts as 0.
    """
    answered = [
        (predictions[each.id], each.references)
        for each in questions
        if each.id in predictions
    ]
    return {
        metric.__name__: 100 * sum(metric(*pair) for pair in answered) / len(questions)
        for metric in (f1, exact_match)
    }
