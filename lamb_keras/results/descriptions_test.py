"""What is told of a table follows from its numbers, and judges nothing."""

import math

import pytest

from lamb_keras.results import paper
from lamb_keras.results.descriptions import sentences
from lamb_keras.results.reconstruction import UNTRAINED, Result


def told(number, ours):
    """The sentences of a table whose values of ours are made of its cells."""
    table, results = paper.tables()[number], []
    for cell in table.cells():
        value = ours(cell, table.numbers_of(cell.row, cell.column))
        status = {None: "diverged", 0: UNTRAINED}.get(value, "run")
        results.append(Result(*cell[:4], ours=value, status=status))
    return " ".join(sentences(table, results))


def same(cell, _):
    return cell.published if isinstance(cell.published, float) else None


@pytest.mark.parametrize(
    ("number", "ours", "words"),
    [
        (
            7,
            same,
            "the paper: lamb, adamw, adam, momentum, adagrad; ours: lamb, adamw,",
        ),
        (7, lambda c, _: 0.5, "ours: momentum = adagrad = adam = adamw = lamb."),
        (
            7,
            lambda c, _: None if c.row == "adam" else c.published,
            "ours: lamb, adamw, momentum, adagrad, adam (came to nothing). Came to "
            "nothing, of 5: none in the paper; of these none in ours, of the others 1 "
            "(adam).",
        ),
        (
            3,
            same,
            "ours: lamb, momentum, adam+, adamw+, adagrad+, adamw, adam, adagrad.",
        ),
        (
            5,
            same,
            "lamb to the worst the paper's test accuracy falls by 0.0069, ours by",
        ),
        (4, lambda c, _: 0, "paper's F1 falls by 0.809, none of ours trained."),
        (
            2,
            same,
            "1 (LARS at 32,768) in the paper; of these 1 (LARS at 32,768) in ours",
        ),
        (
            8,
            same,
            "Highest in the paper at warmup fraction 0.1, learning rate 0.0002 (",
        ),
        (
            11,
            same,
            "learning rate 0.001 (0.6604), in ours at learning rate 0.001 (0.66",
        ),
        (
            11,
            lambda c, _: 0.9,
            "ours at learning rate 0.0001 (0.9000 and 10 more settin",
        ),
        (17, same, "Rank correlation (Spearman) of the 20 settings with the paper's"),
        (17, same, "as equal: 1.00."),
        (17, lambda c, _: 1 - c.published, "as equal: −1.00."),
        (
            16,
            lambda c, _: 0,
            "nothing, of 20: 11 in the paper; of these 11 in ours, of",
        ),
        (
            9,
            lambda c, n: None if n["learning_rate"] > 35 else c.published,
            "27: 1 (50.0) in the paper; of these 1 (50.0) in ours, of the others 1 (40",
        ),
    ],
)
def test_what_is_told_follows_from_the_numbers(number, ours, words):
    assert words in told(number, ours)


def test_where_no_setting_trained_there_is_neither_a_best_one_nor_an_order():
    words = told(11, lambda *_: 0)
    assert "Highest" not in words and "correlation" not in words
    assert "in ours, of the others 11" in words


@pytest.mark.parametrize("number", range(1, 26))
def test_nothing_is_judged_and_without_values_nothing_said(number):
    table = paper.tables()[number]
    assert sentences(table, [Result(*cell[:4]) for cell in table.cells()]) == []
    words = told(number, lambda cell, _: math.pi / 4)
    assert words and not {"agrees", "differs"} & set(words.split())
