"""The windows hold what they should, and every token knows its place in the context."""

import dataclasses
import random

import numpy as np
import pytest

from lamb_keras.data.squad import Question, features
from lamb_keras.data.text import wordpiece
from lamb_keras.data.text.corpus import Document
from lamb_keras.data.text.wordpiece import SPECIALS, Vocabulary

# Every word of the questions and contexts here is a token.
WORDS = Vocabulary(
    (*SPECIALS, *"what is it ? a b c d e f".split(), *(f"w{n}" for n in range(80)))
)
ID = {token: number for number, token in enumerate(WORDS.tokens)}


def question(first=0, last=None, tokens=20, id="1", asked="what is it ?"):
    """Answered by the words from first to last of a context w0, w1, …"""
    words = [f"w{number}" for number in range(tokens)]
    start = len("  ".join([*words[:first], ""]))
    answer = "  ".join(words[first : (first if last is None else last) + 1])
    return Question(id, "title", "  ".join(words), asked, [(answer, start)])


def found(made, questions, row=0):
    """The text from the first to the last token of a window's answer."""
    begin = made.offsets[row, made.start_positions[row], 0]
    end = made.offsets[row, made.end_positions[row], 1]
    return questions[made.question_index[row]].context[begin:end]


def test_a_window_is_cls_question_sep_context_sep_padding():
    made = features([question(1, 2, tokens=4)], WORDS, 14, 2, 4)
    text = "[CLS] what is it ? [SEP] w0 w1 w2 w3 [SEP] [PAD] [PAD] [PAD]"
    assert made.token_ids.tolist() == [[ID[token] for token in text.split()]]
    assert made.segment_ids.tolist() == [[0] * 6 + [1] * 5 + [0] * 3]
    assert made.padding_mask.tolist() == [[True] * 11 + [False] * 3]
    assert made.offsets[0, 6:10].tolist() == [[0, 2], [4, 6], [8, 10], [12, 14]]
    assert (made.offsets[0, :6] == -1).all() and (made.offsets[0, 10:] == -1).all()
    assert (made.start_positions, made.end_positions) == (7, 8)
    assert made.most_context[0].tolist() == [False] * 6 + [True] * 4 + [False] * 4


def test_the_arrays_have_a_row_for_every_window_in_the_questions_order():
    asked = [question(3, id=str(n), asked="what is it ?"[3 * n :]) for n in range(4)]
    made = features(asked, WORDS, 14, 3, 4)
    for each in dataclasses.fields(made):
        array = getattr(made, each.name)
        mask = each.name in ("padding_mask", "most_context")
        assert array.dtype == (bool if mask else np.int32)
        assert array.shape[0] == len(made)
    assert set(made.question_index) == {0, 1, 2, 3}
    assert (np.diff(made.question_index) >= 0).all()


def cases(count):
    """Contexts of many lengths in windows of many widths and strides."""
    draw = random.Random(0)
    for _ in range(count):
        width = draw.randint(1, 30)
        yield draw.randint(1, 80), width, draw.randint(1, width)


@pytest.mark.parametrize("tokens, width, stride", [(8, 5, 2), (7, 5, 2), *cases(20)])
def test_windows_begin_every_stride_until_one_reaches_the_end(tokens, width, stride):
    made = features([question(tokens=tokens, asked="?")], WORDS, width + 4, stride, 1)
    first = made.token_ids[:, 3] - ID["w0"]
    assert first.tolist() == list(range(0, max(tokens - width, 0) + stride, stride))
    lengths = made.padding_mask.sum(axis=1)
    assert made.token_ids[-1, lengths[-1] - 2] == ID[f"w{tokens - 1}"]
    # In each: the context and the last [SEP] are the second segment.
    assert made.segment_ids.sum(axis=1).tolist() == (lengths - 3).tolist()
    assert (made.segment_ids[~made.padding_mask] == 0).all()


@pytest.mark.parametrize("tokens, width, stride", list(cases(30)))
def test_the_windows_cover_every_answer_up_to_the_promised_length(
    tokens, width, stride
):
    longest = min(width - stride + 1, tokens)
    asked = [
        question(first, first + length - 1, tokens, asked="?")
        for length in {1, longest}
        for first in range(tokens - length + 1)
    ]
    made = features(asked, WORDS, width + 4, stride, 1)
    held = made.with_answers()
    assert set(held.question_index) == set(range(len(asked)))
    for row, index in enumerate(held.question_index):
        assert found(held, asked, row) == asked[index].references[0]
    # A window that holds all of an answer says so.
    for row, index in enumerate(made.question_index):
        ((text, first),) = asked[index].answers
        inside = made.offsets[row][made.offsets[row, :, 0] >= 0]
        holds = inside.min() <= first and first + len(text) <= inside.max()
        assert holds == (made.start_positions[row] > 0)
        assert holds == (made.end_positions[row] > 0)


@pytest.mark.parametrize("tokens, width, stride", list(cases(40)))
def test_of_overlapping_windows_the_one_with_most_context_counts(tokens, width, stride):
    made = features([question(tokens=tokens, asked="?")], WORDS, width + 4, stride, 1)
    ranges = [range(s, min(s + width, tokens)) for s in range(0, tokens, stride)]
    ranges = ranges[: len(made)]
    short = (width - stride) // 2
    for token in range(tokens):
        around = [
            min(token - each.start, each.stop - 1 - token) if token in each else -1
            for each in ranges
        ]
        chosen = [
            number
            for number, each in enumerate(ranges)
            if token in each and made.most_context[number, 3 + token - each.start]
        ]
        assert chosen == [around.index(max(around))]
        # Which holds a short answer that begins here, too.
        if short and token + short <= tokens:
            assert token + short - 1 in ranges[chosen[0]]
    assert not made.most_context[made.offsets[..., 0] < 0].any()


def test_a_long_question_keeps_its_beginning():
    made = features([question(asked="a b c d e f")], WORDS, 12, 4, 3)
    expected = [WORDS.specials.cls, *(ID[word] for word in "abc"), WORDS.specials.sep]
    assert (made.token_ids[:, :5] == expected).all()


def test_a_question_is_not_cut_within_a_character():
    # Korean's one character is three tokens.
    vocabulary = Vocabulary((*SPECIALS, "a", "\u1112", "##\u1161", "##\u11ab"))
    asked = Question("1", "t", "a", "a \ud55c", [("a", 0)])
    lengths = [
        features([asked], vocabulary, 20, 4, most).padding_mask.sum() - 4
        for most in range(1, 6)
    ]
    assert lengths == [1, 1, 1, 4, 4]


@pytest.mark.parametrize(
    "answer, expected",
    [(" w2  ", "w2"), ("w", "w1"), ("1  w", "w1  w2"), ("  w3", "w3")],
)
def test_blanks_around_an_answer_and_parts_of_words_become_whole_tokens(
    answer, expected
):
    context = "w0  w1  w2  w3"
    start = context.index(answer, 3)
    given = Question("1", "t", context, "?", [(answer, start)])
    assert found(features([given], WORDS, 12, 4, 1), [given]) == expected


def test_an_answer_without_any_token_is_nowhere():
    given = Question("1", "t", "w1 \u200b w2", "?", [("\u200b", 3)])
    made = features([given], WORDS, 12, 4, 1)
    assert made.start_positions.tolist() == made.end_positions.tolist() == [0]


def test_a_context_without_tokens_and_a_question_without_have_their_window():
    made = features([Question("1", "t", " ", " ", [(" ", 0)])], WORDS, 8, 4, 1)
    assert made.token_ids.tolist() == [[ID["[CLS]"], *[ID["[SEP]"]] * 2, *[0] * 5]]
    assert not made.most_context.any()


def test_special_tokens_may_have_any_ids():
    tokens = "? w0 [SEP] [MASK] w1 [CLS] [UNK] [PAD]".split()
    given = Question("1", "t", "w0 w1", "?", [("w1", 3)])
    made = features([given], Vocabulary(tuple(tokens)), 7, 2, 1)
    text = "[CLS] ? [SEP] w0 w1 [SEP] [PAD]"
    assert made.token_ids.tolist() == [[tokens.index(each) for each in text.split()]]


@pytest.mark.parametrize("sequence_length, stride", [(24, 8), (384, 128)])
@pytest.mark.parametrize(
    "answer",
    [
        "Beyonc\u00e9",
        "Beyonc\u00e9\u2019s",
        "\u00c9toile",
        "7m",
        "\u4e1c\u4eac",
        "2010",
    ],
)
def test_word_pieces_find_an_answer_as_it_is_written(answer, sequence_length, stride):
    context = (
        "In  2010 Beyonc\u00e9\u2019s caf\u00e9 (\u00c9toile) \U0001f30a cost "
        "\u20ac5\u20137m, in \u4e1c\u4eac."
    )
    vocabulary = wordpiece.train([Document("", (context,) * 3)], 200)
    given = Question("1", "t", context, "?", [(answer, context.index(answer))])
    made = features([given], vocabulary, sequence_length, stride, 4).with_answers()
    assert found(made, [given]) == answer


def test_an_answer_within_a_word_is_told_as_closely_as_its_tokens_are():
    word, answer = "\u06481388", "1388"  # Arabic: "and 1388"
    given = Question("1", "t", f"1 {word} 2", "1", [(answer, 3)])
    letters = Vocabulary(
        (*SPECIALS, *sorted({*word}), *sorted("##" + c for c in {*word}))
    )
    for vocabulary, expected in (
        (letters, answer),
        (Vocabulary((*letters.tokens, word)), word),
    ):
        assert found(features([given], vocabulary, 32, 8, 4), [given]) == expected


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        "Beyonce\u0301",  # its accent a character of its own
        "\u090f\u0932\u0935\u0947",  # Hindi, with a vowel sign
        "\u0e2a\u0e35\u0e48",  # Thai, with a vowel and a tone
        "\u062c\u062f\u0627\u064b",  # Arabic
        "\u2764\ufe0f",  # a heart with a variation selector
        "\ud55c",
    ],
)
def test_the_last_letter_of_an_answer_keeps_its_combining_marks(answer, lowercase):
    for context in (f"Who met {answer} there", f"Who met {answer}", f"{answer}, no?"):
        vocabulary = wordpiece.train([Document("", (context,) * 3)], 200, lowercase)
        given = Question("1", "t", context, "who", [(answer, context.index(answer))])
        assert found(features([given], vocabulary, 64, 16, 8), [given]) == answer
