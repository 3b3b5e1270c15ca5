"""The windows hold what they should, and every token knows its place in the context."""

import dataclasses
import random
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from lamb_keras.data import DataError
from lamb_keras.data.squad import Question, features
from lamb_keras.data.squad.features import window_starts


class Words:
    """Every word a token, numbered from 10 as they come; `encoded` counts the texts."""

    pad, unk, cls, sep, mask = range(5)

    def __init__(self):
        self.ids, self.encoded = {}, {}

    def encode(self, text):
        self.encoded[text] = self.encoded.get(text, 0) + 1
        ids, offsets, end = [], [], 0
        for word in text.split():
            start = text.index(word, end)
            end = start + len(word)
            ids.append(self.ids.setdefault(word, 10 + len(self.ids)))
            offsets.append((start, end))
        return ids, offsets


def word_pieces(texts, size):
    """A WordPiece vocabulary trained on the texts."""
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(texts, vocab_size=size, show_progress=False)

    def encode(text):
        encoded = tokenizer.encode(text, add_special_tokens=False)
        return encoded.ids, encoded.offsets

    special = {
        name: tokenizer.token_to_id(f"[{name.upper()}]")
        for name in ("pad", "unk", "cls", "sep", "mask")
    }
    return SimpleNamespace(size=size, encode=encode, **special)


def question(first=0, last=None, tokens=20, id="1", asked="what is it ?"):
    """Answered by the words from first to last of a context w0, w1, …"""
    words = [f"w{number}" for number in range(tokens)]
    start = len("  ".join([*words[:first], ""]))
    answer = "  ".join(words[first : (first if last is None else last) + 1])
    return Question(id, "title", "  ".join(words), asked, [(answer, start)])


def test_a_window_is_cls_question_sep_context_sep_padding():
    words = Words()
    made = features([question(1, 2, tokens=4)], words, 14, 2, 4)
    assert len(made) == 1
    asked = [words.ids[word] for word in "what is it ?".split()]
    context = [words.ids[f"w{number}"] for number in range(4)]
    expected = [words.cls, *asked, words.sep, *context, words.sep, *[words.pad] * 3]
    assert made.token_ids.tolist() == [expected]
    assert made.segment_ids.tolist() == [[0] * 6 + [1] * 5 + [0] * 3]
    assert made.padding_mask.tolist() == [[True] * 11 + [False] * 3]
    assert made.lengths.tolist() == [11]
    assert made.offsets[0, 6:10].tolist() == [[0, 2], [4, 6], [8, 10], [12, 14]]
    assert (made.offsets[0, :6] == -1).all() and (made.offsets[0, 10:] == -1).all()
    assert (made.start_positions, made.end_positions) == (7, 8)
    assert made.most_context[0].tolist() == [False] * 6 + [True] * 4 + [False] * 4
    assert made.question_index.tolist() == [0]


def test_the_arrays_are_what_a_model_takes():
    made = features([question(3, id=id) for id in "ab"], Words(), 14, 3, 4)
    windows = len(made)
    for each in dataclasses.fields(made):
        array = getattr(made, each.name)
        mask = each.name in ("padding_mask", "most_context")
        assert array.dtype == (bool if mask else np.int32)
        assert array.shape[0] == windows
    assert made.question_index.tolist() == [0] * (windows // 2) + [1] * (windows // 2)


@pytest.mark.parametrize(
    "tokens, width, stride, expected",
    [
        (0, 5, 2, [0]),
        (5, 5, 2, [0]),
        (6, 5, 2, [0, 2]),
        (7, 5, 2, [0, 2]),
        (8, 5, 2, [0, 2, 4]),
        (10, 5, 5, [0, 5]),
        (11, 5, 5, [0, 5, 10]),
    ],
)
def test_windows_begin_every_stride_until_one_reaches_the_end(
    tokens, width, stride, expected
):
    assert list(window_starts(tokens, width, stride)) == expected


def cases():
    """Contexts of many lengths in windows of many widths and strides."""
    draw = random.Random(0)
    for _ in range(60):
        width = draw.randint(1, 30)
        yield draw.randint(1, 80), width, draw.randint(1, width)


@pytest.mark.parametrize("tokens, width, stride", list(cases()))
def test_the_windows_cover_every_answer_up_to_the_promised_length(
    tokens, width, stride
):
    longest = min(width - stride + 1, tokens)
    asked = [
        question(first, first + length - 1, tokens, asked="?")
        for length in {1, longest}
        for first in range(tokens - length + 1)
    ]
    made = features(asked, Words(), width + 4, stride, 1)
    held = made.with_answers()
    assert set(held.question_index) == set(range(len(asked)))
    start = held.offsets[np.arange(len(held)), held.start_positions, 0]
    end = held.offsets[np.arange(len(held)), held.end_positions, 1]
    for index, one, other in zip(held.question_index, start, end, strict=True):
        assert asked[index].context[one:other] == asked[index].references[0]
    # A window that holds all of an answer says so.
    for row, index in enumerate(made.question_index):
        ((text, first),) = asked[index].answers
        last = first + len(text)
        inside = made.offsets[row][made.offsets[row, :, 0] >= 0]
        holds = inside.min() <= first and last <= inside.max()
        assert holds == (made.start_positions[row] > 0)
        assert holds == (made.end_positions[row] > 0)


@pytest.mark.parametrize("tokens, width, stride", list(cases()))
def test_of_overlapping_windows_the_one_with_most_context_counts(tokens, width, stride):
    made = features([question(tokens=tokens, asked="?")], Words(), width + 4, stride, 1)
    ranges = [range(s, min(s + width, tokens)) for s in range(0, tokens, stride)]
    ranges = ranges[: len(made)]
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
    assert not made.most_context[made.offsets[..., 0] < 0].any()


@pytest.mark.parametrize("tokens, width, stride", list(cases()))
def test_a_short_answer_is_held_by_the_window_with_most_context_around_its_start(
    tokens, width, stride
):
    made = features([question(tokens=tokens, asked="?")], Words(), width + 4, stride, 1)
    rows, positions = np.nonzero(made.most_context)
    length = (width - stride) // 2
    numbers = made.token_ids - 11  # of the words; the question is the first to be met
    for row, position in zip(rows, positions, strict=True):
        if length and numbers[row, position] + length <= tokens:
            assert made.offsets[row, position + length - 1, 0] > -1


def test_windows_with_answers_are_those_to_train_on():
    made = features([question(7), question(19)], Words(), 14, 3, 4)
    held = made.with_answers()
    assert 0 < len(held) < len(made)
    assert (held.start_positions > 0).all() and (held.end_positions > 0).all()
    np.testing.assert_array_equal(
        held.token_ids, made.token_ids[made.start_positions > 0]
    )


def test_of_several_answers_the_first_is_trained_on():
    given = question(3)
    later = dataclasses.replace(given, answers=[*given.answers, ("w1", 4)])
    first, same = (features([each], Words(), 30, 5, 4) for each in (given, later))
    assert first.start_positions.tolist() == same.start_positions.tolist() == [9]


def test_a_long_question_keeps_its_beginning():
    words = Words()
    made = features([question(asked="a b c d e f")], words, 12, 4, 3)
    asked = [words.ids[word] for word in "abc"]
    assert (made.token_ids[:, :5] == [words.cls, *asked, words.sep]).all()


def test_blanks_around_an_answer_and_parts_of_words_are_taken_to_whole_tokens():
    context = "the 308s of  1912"
    for answer, expected in {
        " of  ": "of",
        "308": "308s",
        "08s o": "308s of",
        "  1912": "1912",
        "\t".join(["the"]): "the",
    }.items():
        given = Question("1", "t", context, "?", [(answer, context.index(answer))])
        made = features([given], Words(), 12, 4, 1)
        start = made.offsets[0, made.start_positions[0], 0]
        end = made.offsets[0, made.end_positions[0], 1]
        assert context[start:end] == expected


def test_an_answer_without_any_token_is_nowhere():
    class Dropping(Words):
        def encode(self, text):
            kept = [
                pair
                for pair in zip(*super().encode(text), strict=True)
                if pair[0] != 11
            ]
            return [id for id, _ in kept], [span for _, span in kept]

    words = Dropping()
    words.ids = {"w2": 11}
    made = features([question(2, tokens=5, asked="?")], words, 12, 4, 1)
    assert made.start_positions.tolist() == made.end_positions.tolist() == [0]


def test_a_context_without_tokens_and_a_question_without_have_their_window():
    given = Question("1", "t", " ", " ", [(" ", 0)])
    words = Words()
    made = features([given], words, 8, 4, 1)
    assert made.token_ids.tolist() == [[words.cls, words.sep, words.sep] + [0] * 5]
    assert not made.most_context.any()


def test_each_context_is_encoded_once():
    words = Words()
    asked = [question(id=str(n), tokens=20 + n % 3, asked=f"q{n}") for n in range(30)]
    features(asked, words, 14, 3, 4)
    assert len(words.encoded) == 33
    assert set(words.encoded.values()) == {1}


def test_no_questions_have_no_windows():
    made = features([], Words(), 14, 3, 4)
    assert len(made) == 0 and made.token_ids.shape == (0, 14)


@pytest.mark.parametrize(
    "sizes, expected",
    [
        (
            (12, 4, 6),
            "a window of 12 tokens has 3 left for the context beside a question of 6 "
            "and 3 special tokens, expected at least the stride of 4; raise "
            "sequence_length or lower stride or max_question_length",
        ),
        ((12, 1, 20), "a window of 12 tokens has 0 left"),
        ((12, 0, 4), "stride is 0; expected a whole number from 1 up"),
        ((12.0, 1, 4), "sequence_length is 12.0; expected a whole number from 1 up"),
        ((12, 1, -1), "max_question_length is -1; expected a whole number from 1 up"),
    ],
)
def test_windows_that_would_lose_tokens_are_refused(sizes, expected):
    with pytest.raises(DataError) as caught:
        features([question()], Words(), *sizes)
    assert str(caught.value).startswith(expected)


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
    words = word_pieces([context] * 3, size=200)
    given = Question("1", "t", context, "?", [(answer, context.index(answer))])
    made = features([given], words, sequence_length, stride, 4).with_answers()
    start = made.offsets[0, made.start_positions[0], 0]
    end = made.offsets[0, made.end_positions[0], 1]
    assert context[start:end] == answer
