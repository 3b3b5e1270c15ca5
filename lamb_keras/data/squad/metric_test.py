"""The metrics are the official evaluation's, case by case worked by hand."""

import pytest

from lamb_keras.data.squad import Question
from lamb_keras.data.squad.answers import evaluate, exact_match, f1

# prediction, references, F1, exact match. F1 = 2 · shared / (predicted + expected),
# counted in words after normalization.
CASES = {
    "another case": ("dENVER broncos", ["Denver Broncos"], 1, 1),
    "an article more": ("the Denver Broncos", ["Denver Broncos"], 1, 1),
    "articles anywhere": ("a king of the an", ["The king of"], 1, 1),
    "an article inside a word": ("theater", ["ater"], 0, 0),
    "punctuation": ("(Denver), 'Broncos'!", ["Denver Broncos."], 1, 1),
    "punctuation is no space": ("well-known", ["well known"], 0, 0),
    "punctuation joins words": ("well-known", ["wellknown"], 1, 1),
    "points of an abbreviation": ("U.S.", ["us"], 1, 1),
    "points before articles": ("A.", ["the"], 0, 1),  # both nothing: equal, no word
    "a hyphen hides an article": ("a-team", ["ateam"], 1, 1),
    "an article and an apostrophe": ("the's king", ["thes king"], 1, 1),
    "a typographic quote stays": ("\u201cking\u201d", ["king"], 0, 0),
    "it parts an article": ("the\u2019s", ["\u2019s"], 1, 1),
    "an article leaves a space": (
        "king\u2013the\u2013queen",
        ["king\u2013 \u2013queen"],
        *(1, 1),
    ),
    "a dash stays": ("1990\u20131995", ["19901995"], 0, 0),
    "any white space": (" Denver\t\nBroncos\u00a0", ["Denver Broncos"], 1, 1),
    "an accent stays": ("Beyonce", ["Beyonc\u00e9"], 0, 0),
    "a word of two": ("Broncos", ["Denver Broncos"], 2 * 1 / (1 + 2), 0),
    "a word too many": ("Denver Broncos won", ["Denver Broncos"], 2 * 2 / (3 + 2), 0),
    "another order": ("Broncos Denver", ["Denver Broncos"], 1, 0),
    "a word said twice": ("very very", ["very"], 2 * 1 / (2 + 1), 0),
    "no word shared": ("Panthers", ["Denver Broncos"], 0, 0),
    "the best of references": ("Broncos", ["Denver", "Broncos", "he"], 1, 1),
    "the best in part": ("Denver city", ["Denver", "New York City"], 2 / 3, 0),
    "not the union of references": ("Denver city", ["x Denver", "y city"], 1 / 2, 0),
    "an empty prediction": ("", ["Denver"], 0, 0),
    "both empty": ("", [""], 0, 1),  # of SQuAD 2.0 the F1 would be 1
}


@pytest.mark.parametrize(
    "prediction, references, expected_f1, expected_match", CASES.values(), ids=CASES
)
def test_a_case_worked_by_hand(prediction, references, expected_f1, expected_match):
    assert f1(prediction, references) == pytest.approx(expected_f1, rel=1e-12)
    assert exact_match(prediction, references) == expected_match


def question(id, *references):
    context = " ".join(references)
    answers = [(each, context.index(each)) for each in references]
    return Question(id, "title", context, "who?", answers)


QUESTIONS = [
    question("1", "Denver Broncos", "Broncos"),
    question("2", "Carolina Panthers"),
    question("3", "24\u201310"),
    question("4", "gold"),
]


def test_the_mean_is_taken_over_all_questions_in_percent():
    predictions = {"1": "the Broncos", "2": "Panthers", "3": "", "4": "The Gold."}
    # F1: 1, 2 · 1 / (1 + 2), 0, 1; exact: 1, 0, 0, 1.
    assert evaluate(QUESTIONS, predictions) == {
        "f1": pytest.approx(100 * (1 + 2 / 3 + 0 + 1) / 4, rel=1e-12),
        "exact_match": 50,
    }


def test_a_question_without_a_prediction_counts_as_wrong():
    assert evaluate(QUESTIONS, {"4": "gold"}) == {"f1": 25, "exact_match": 25}
    assert evaluate(QUESTIONS, {}) == {"f1": 0, "exact_match": 0}
