"""F1 and exact match, as the official SQuAD v1.1 evaluation computes them.

Both compare what is left of an answer after `normalize_answer`, and both take the best
of a question's references. The evaluation of SQuAD 2.0 differs: there an empty
prediction can be right.
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
    """Lower case, without punctuation, then without articles, single spaces.

    Example:
        >>> normalize_answer("The  Panthers' A-team, in a (small) U.S. town")
        'panthers ateam in small us town'
    """
    text = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def f1(prediction: str, references: Sequence[str]) -> float:
    """The best F1 of the prediction's words over the references, 0 to 1.

        F1 = 2 · precision · recall / (precision + recall)
           = 2 · shared / (words predicted + words in the reference)

    Words are counted as often as both sides have them. Without a shared word it is 0,
    also where both are empty.

    Example:
        >>> f1("the Denver Broncos", ["Broncos", "Carolina Panthers"])  # 2 · 1 / (2+1)
        0.6666666666666666
    """
    return max(_f1(prediction, reference) for reference in references)


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1.0 if the prediction is one of the references once normalized, else 0.0.

    Example:
        >>> exact_match("the Broncos!", ["Denver Broncos", "Broncos"])
        1.0
    """
    predicted = normalize_answer(prediction)
    return float(any(predicted == normalize_answer(each) for each in references))


def evaluate(
    questions: Sequence[Question], predictions: Mapping[str, str]
) -> dict[str, float]:
    """The mean F1 and exact match over the questions, in percent.

    A question without a prediction counts as 0; a prediction for no question does not
    count.

    Args:
        questions: with their references.
        predictions: the text predicted for each question's id.

    Example:
        >>> answer = [("Denver Broncos", 0)]
        >>> context = "Denver Broncos won."
        >>> questions = [
        ...     Question(id, "50", context, "Who?", answer) for id in ("1", "2")]
        >>> evaluate(questions, {"1": "the Denver Broncos", "2": "Denver"})
        {'f1': 83.33333333333333, 'exact_match': 50.0}
    """
    if not questions:
        raise DataError("there are no questions to judge; give at least one")
    judged = [
        (predictions[each.id], each.references)
        for each in questions
        if each.id in predictions
    ]
    return {
        name: 100 * sum(metric(*pair) for pair in judged) / len(questions)
        for name, metric in (("f1", f1), ("exact_match", exact_match))
    }


def _f1(prediction, reference):
    predicted = normalize_answer(prediction).split()
    expected = normalize_answer(reference).split()
    shared = (Counter(predicted) & Counter(expected)).total()
    if not shared:
        return 0.0
    return 2 * shared / (len(predicted) + len(expected))
