"""The best span is found under its constraints, and its text is the context's own."""

import itertools

import numpy as np
import pytest

from lamb_keras.data.squad import (
    Features,
    Question,
    best_spans,
    evaluate,
    features,
    read,
)
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
