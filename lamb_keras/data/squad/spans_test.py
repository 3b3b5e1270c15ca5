"""The best span is found under its constraints, and its text is the context's own."""

import itertools

import numpy as np
import pytest

from lamb_keras.data import DataError
from lamb_keras.data.squad import Question, best_spans, evaluate, features, read, texts
from lamb_keras.data.squad.features_test import Words, question, word_pieces
from lamb_keras.data.squad.files_test import REAL, needs_squad


def logits(made, low=0.0):
    return np.full((2, *made.token_ids.shape), low, np.float32)


def position(made, window, word):
    """Where in the window the w-th word of the context is."""
    ((_, start),) = question(word).answers
    (found,) = np.flatnonzero(made.offsets[window, :, 0] == start)
    return found


@pytest.fixture
def one():
    """A question whose context fits into one window: (questions, features)."""
    questions = [question(tokens=8)]
    return questions, features(questions, Words(), 20, 4, 4)


def test_the_text_is_cut_from_the_context_as_it_is_written(one):
    questions, made = one
    start, end = logits(made)
    start[0, position(made, 0, 2)] = end[0, position(made, 0, 4)] = 1
    assert best_spans(start, end, made, questions) == {"1": "w2  w3  w4"}


def test_a_span_does_not_end_before_it_starts(one):
    questions, made = one
    start, end = logits(made)
    start[0, position(made, 0, 4)], end[0, position(made, 0, 2)] = 5, 4
    # The start alone is worth more than the end alone.
    assert best_spans(start, end, made, questions) == {"1": "w4"}


def test_a_span_is_no_longer_than_allowed(one):
    questions, made = one
    start, end = logits(made)
    start[0, position(made, 0, 1)], end[0, position(made, 0, 5)] = 5, 4
    expected = {4: "w1", 5: "w1  w2  w3  w4  w5", 30: "w1  w2  w3  w4  w5"}
    for longest, text in expected.items():
        assert best_spans(start, end, made, questions, longest) == {"1": text}


def test_a_span_lies_within_the_context(one):
    questions, made = one
    start, end = logits(made)
    outside = made.offsets[0, :, 0] < 0
    start[0, outside] = end[0, outside] = 100
    start[0, position(made, 0, 3)] = end[0, position(made, 0, 3)] = 1
    assert best_spans(start, end, made, questions) == {"1": "w3"}


def test_a_start_counts_only_in_the_window_with_most_context_around_it():
    questions = [question(tokens=20)]
    made = features(questions, Words(), 17, 5, 4)
    start, end = logits(made)
    w8 = [position(made, window, 8) for window in (0, 1)]
    assert [made.most_context[w, w8[w]] for w in (0, 1)] == [False, True]
    w9 = position(made, 1, 9)
    start[0, w8[0]], start[1, w9], end[1, w9] = 9, 1, 1
    assert best_spans(start, end, made, questions) == {"1": "w9"}
    start[1, w8[1]] = 9
    assert best_spans(start, end, made, questions) == {"1": "w8  w9"}


def test_the_best_of_all_windows_of_a_question_is_taken():
    questions = [question(tokens=20, id=id) for id in "ab"]
    made = features(questions, Words(), 17, 5, 4)
    start, end = logits(made)
    third = position(made, 2, 17)
    start[2, third] = end[2, third] = 2
    first = position(made, 0, 1)
    start[0, first] = end[0, first] = 1
    second = len(made) // 2  # the first window of the second question
    start[second, first] = end[second, first] = 1
    assert best_spans(start, end, made, questions) == {"a": "w17", "b": "w1"}


def searched(start, end, made, questions, longest):
    """The best spans, looked for one by one."""
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
    made = features(questions, Words(), 21, 6, 4)
    start, end = random.randint(levels, size=(2, *made.token_ids.shape))
    expected = searched(start, end, made, questions, longest)
    assert best_spans(start, end, made, questions, longest) == expected
    order = random.permutation(len(made))  # of windows, where no two are equal
    if levels > 3:
        turned = made.take(order)
        given = start[order], end[order]
        assert best_spans(*given, turned, questions, longest) == expected


def test_logits_that_are_no_numbers_do_not_count(one):
    questions, made = one
    start, end = logits(made)
    start[0, position(made, 0, 2)] = np.nan
    end[0, position(made, 0, 3)] = np.nan
    start[0, position(made, 0, 4)] = np.inf
    assert best_spans(start, end, made, questions) == {"1": "w4"}
    end[0, position(made, 0, 4) :] = -np.inf
    end[0, position(made, 0, 1)] = 1
    assert best_spans(start, end, made, questions) == {"1": "w0  w1"}
    start[:] = np.nan
    assert best_spans(start, end, made, questions) == {"1": ""}


def test_a_context_without_tokens_is_answered_by_nothing():
    questions = [Question("1", "t", " ", "?", [(" ", 0)]), question(id="2")]
    made = features(questions, Words(), 30, 4, 4)
    assert best_spans(*logits(made), made, questions) == {"1": "", "2": "w0"}


def test_logits_of_another_shape_are_refused(one):
    questions, made = one
    start, end = logits(made)
    with pytest.raises(DataError, match=r"^the end logits have the shape \(1, 19\), "):
        best_spans(start, end[:, 1:], made, questions)
    with pytest.raises(
        DataError, match=r"the start logits have the shape \(1, 20, 1\)"
    ):
        best_spans(start[..., None], end, made, questions)
    with pytest.raises(DataError, match="max_answer_tokens is 0"):
        best_spans(start, end, made, questions, 0)


# The real questions


# Its answer is "7,000,000 square kilometres (2,70", which ends inside a number. Whether
# that is inside a token too depends on the vocabulary.
ENDS_INSIDE_A_WORD = "5729e2316aef0514001550c5"


@pytest.fixture(scope="module", params=[1000, 8000])
def real(request):
    questions = read(REAL)
    contexts = sorted({each.context for each in questions})
    return questions, word_pieces(contexts, request.param), request.param


def oracle(made):
    """The logits of a model that is always right."""
    start, end = logits(made)
    rows = np.flatnonzero(made.start_positions)
    start[rows, made.start_positions[rows]] = 1
    end[rows, made.end_positions[rows]] = 1
    return start, end


@needs_squad
@pytest.mark.parametrize("sequence_length, stride", [(384, 128), (128, 32)])
def test_the_offsets_give_the_real_answers_to_the_letter_where_they_fit(
    real, sequence_length, stride
):
    questions, words, size = real
    made = features(questions, words, sequence_length, stride, 32)
    held = made.with_answers()
    assert set(held.question_index) == set(range(1190))  # covered, every one
    found = texts(
        held, questions, np.arange(len(held)), held.start_positions, held.end_positions
    )
    misfits = {
        questions[index].id
        for index, text in zip(held.question_index, found, strict=True)
        if text != questions[index].references[0]
    }
    assert misfits <= {ENDS_INSIDE_A_WORD}
    tokens = held.end_positions - held.start_positions + 1
    too_long = {questions[index].id for index in held.question_index[tokens > 30]}
    # Of the smaller vocabulary words have more pieces, which makes 18 answers too long.
    assert len(too_long) <= {1000: 25, 8000: 0}[size]
    fitting = [each for each in questions if each.id not in misfits | too_long]
    predictions = best_spans(*oracle(made), made, questions)
    assert len(predictions) == 1190
    assert evaluate(fitting, predictions) == {"f1": 100, "exact_match": 100}
    assert all(predictions[each.id] == each.references[0] for each in fitting)
