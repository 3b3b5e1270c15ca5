"""F1 and exact match, as the official SQuAD v1.1 evaluation computes them.

The evaluation of SQuAD 2.0 differs: there an empty prediction can be right.
"""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

from lamb_keras.data.images import DataError
from lamb_keras.data.squad.files import Question

_ARTICLES = re.compile(r"\b(a|an|the)\b")
# ASCII's alone: a typographic quote or dash stays, as in the official evaluation.
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """The text in lower case, without punctuation, then without articles.

    Example:
        >>> normalize_answer("The  Panthers' A-team, in a (small) U.S. town")
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
    return max(_f1(prediction, reference) for reference in references)


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1.0 if the prediction equals a reference once both are normalized, else 0.0."""
    predicted = normalize_answer(prediction)
    return float(any(predicted == normalize_answer(each) for each in references))


def evaluate(
    questions: Sequence[Question], predictions: Mapping[str, str]
) -> dict[str, float]:
    """The mean "f1" and "exact_match" over the questions, in percent.

    Predictions are texts by question's id. A question without one counts as 0; one for
    no question is ignored.
    """
    if not questions:
        raise DataError("there are no questions to evaluate; give at least one")
    answered = [
        (predictions[each.id], each.references)
        for each in questions
        if each.id in predictions
    ]
    return {
        name: 100 * sum(metric(*pair) for pair in answered) / len(questions)
        for name, metric in (("f1", f1), ("exact_match", exact_match))
    }


def _f1(prediction, reference):
    predicted = normalize_answer(prediction).split()
    expected = normalize_answer(reference).split()
    shared = (Counter(predicted) & Counter(expected)).total()
    return 2 * shared / (len(predicted) + len(expected)) if shared else 0.0
