"""The best span is found under its constraints and cut from its context.

The metrics are the official evaluation's, case by case worked by hand.
"""

import itertools

import numpy as np
import pytest

from lamb_keras.data.squad import Features, Question, features, read
from lamb_keras.data.squad.answers import best_spans, evaluate, exact_match, f1
from lamb_keras.data.squad.features_test import WORDS, question
from lamb_keras.data.squad.files_test import REAL, needs_squad
from lamb_keras.data.text import wordpiece
from lamb_keras.data.text.corpus import Document


def logits(made):
    return np.zeros((2, *made.token_ids.shape), np.float32)


def position(made, window, word):
    """Where in the window the w-th word of the context is."""
    ((_, start),) = question(word).answers
    (found,) = np.flatnonzero(made.offsets[window, :, 0] == start)
    return found


@pytest.fixture
def one():
    """A question whose context fits into one window: (questions, features)."""
    questions = [question(tokens=8)]
    return questions, features(questions, WORDS, 20, 4, 4)


@pytest.mark.parametrize(
    "starts, ends, longest, expected",
    [
        ({2: 1}, {4: 1}, 30, "w2  w3  w4"),  # as it is written
        ({4: 5}, {2: 4}, 30, "w4"),  # not from w4 to w2: an end before its start
        ({1: 5}, {5: 4}, 4, "w1"),  # too long
        ({1: 5}, {5: 4}, 5, "w1  w2  w3  w4  w5"),
        ({4: np.inf, 2: np.nan}, {3: np.nan}, 30, "w4"),
        ({n: np.nan for n in range(8)}, {}, 30, ""),
    ],
)
def test_the_best_span_goes_forward_is_not_too_long_and_cut_from_the_context(
    one, starts, ends, longest, expected
):
    questions, made = one
    start, end = logits(made)
    start[0, made.offsets[0, :, 0] < 0] = 100  # outside the context: never used
    for array, values in ((start, starts), (end, ends)):
        for word, value in values.items():
            array[0, position(made, 0, word)] = value
    assert best_spans(start, end, made, questions, longest) == {"1": expected}


def test_a_start_counts_only_in_the_window_with_most_context_around_it():
    questions = [question(tokens=20)]
    made = features(questions, WORDS, 17, 5, 4)
    start, end = logits(made)
    w8 = [position(made, window, 8) for window in (0, 1)]
    assert [made.most_context[w, w8[w]] for w in (0, 1)] == [False, True]
    w9 = position(made, 1, 9)
    start[0, w8[0]], start[1, w9], end[1, w9] = 9, 1, 1
    assert best_spans(start, end, made, questions) == {"1": "w9"}
    start[1, w8[1]] = 9
    assert best_spans(start, end, made, questions) == {"1": "w8  w9"}


def searched(start, end, made, questions, longest):
    """The best spans, found one by one."""
    found = {}
    for index, each in enumerate(questions):
        best = -np.inf, ""
        for window in np.flatnonzero(made.question_index == index):
            inside = np.flatnonzero(made.offsets[window, :, 0] >= 0)
            for s, e in itertools.product(inside, inside):
                score = start[window, s] + end[window, e]
                fits = s <= e < s + longest and made.most_context[window, s]
                if fits and score > best[0]:
                    begin, stop = made.offsets[window, [s, e], [0, 1]]
                    best = score, each.context[begin:stop]
        found[each.id] = best[1]
    return found


@pytest.mark.parametrize("longest", [1, 3, 30])
@pytest.mark.parametrize("levels", [3, 10**6])  # few: many spans are equally good
def test_random_logits_give_what_a_search_of_every_span_gives(longest, levels):
    random = np.random.RandomState(levels % 1000 + longest)
    questions = [question(tokens=5 * n, id=str(n)) for n in range(2, 9)]
    made = features(questions, WORDS, 21, 6, 4)
    start, end = random.randint(levels, size=(2, *made.token_ids.shape))
    expected = searched(start, end, made, questions, longest)
    assert best_spans(start, end, made, questions, longest) == expected
    order = random.permutation(len(made))  # of windows, where no two are equal
    if levels > 3:
        given = start[order], end[order]
        turned = Features(**{name: a[order] for name, a in vars(made).items()})
        assert best_spans(*given, turned, questions, longest) == expected


def test_a_context_without_tokens_is_answered_by_nothing():
    questions = [Question("1", "t", " ", "?", [(" ", 0)]), question(id="2")]
    made = features(questions, WORDS, 30, 4, 4)
    assert best_spans(*logits(made), made, questions) == {"1": "", "2": "w0"}


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


def answered(id, *references):
    context = " ".join(references)
    answers = [(each, context.index(each)) for each in references]
    return Question(id, "title", context, "who?", answers)


QUESTIONS = [
    answered("1", "Denver Broncos", "Broncos"),
    answered("2", "Carolina Panthers"),
    answered("3", "24\u201310"),
    answered("4", "gold"),
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


# Its answer is "7,000,000 square kilometres (2,70", which ends inside a number. Whether
# that is inside a token too depends on the vocabulary.
ENDS_INSIDE_A_WORD = "5729e2316aef0514001550c5"


@needs_squad
@pytest.mark.parametrize("size, too_long", [(1000, 25), (8000, 0)])
@pytest.mark.parametrize("sequence_length, stride", [(384, 128), (128, 32)])
def test_a_model_that_is_always_right_gets_every_real_answer_to_the_letter(
    size, too_long, sequence_length, stride
):
    questions = read(REAL)
    contexts = tuple(sorted({each.context for each in questions}))
    vocabulary = wordpiece.train([Document("", contexts)], size)
    made = features(questions, vocabulary, sequence_length, stride, 32)
    assert set(made.with_answers().question_index) == set(range(1190))
    start, end = logits(made)
    rows = np.flatnonzero(made.start_positions)
    start[rows, made.start_positions[rows]] = 1
    end[rows, made.end_positions[rows]] = 1
    predictions = best_spans(start, end, made, questions)
    wrong = {e.id for e in questions if predictions[e.id] != e.references[0]}
    # Of the smaller vocabulary words have more pieces: some answers are too long.
    assert len(wrong - {ENDS_INSIDE_A_WORD}) <= too_long
    right = [each for each in questions if each.id not in wrong]
    assert evaluate(right, predictions) == {"f1": 100, "exact_match": 100}
