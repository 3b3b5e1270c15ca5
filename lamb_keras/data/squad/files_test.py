"""SQuAD's files are read, or refused with what is wrong where; articles are split."""

import copy
import json
import os
import subprocess
import sys

import pytest

from lamb_keras.data import DataError
from lamb_keras.data.squad import Question, read, split_by_article

REAL = os.path.join(
    os.environ.get("LAMB_KERAS_DATA") or "-", *("squad", "xquad.en.json")
)
needs_squad = pytest.mark.skipif(
    not os.path.isfile(REAL),
    reason="LAMB_KERAS_DATA names no folder with squad/xquad.en.json",
)


def qa(id, question, *answers):
    answers = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": id, "question": question, "answers": answers}


RIVER = "Caf\u00e9 \U0001f30a stands on the Elbe; the Elbe is long."
SUN = "The Sun is hot and yellow."
CONTENT = {
    "version": "1.1",
    "data": [
        {
            "title": "Elbe",
            "paragraphs": [
                {
                    "context": RIVER,
                    "qas": [
                        qa("a", "Which river?", ("Elbe", 21), ("the Elbe", 27)),
                        qa("b", "What is there?", ("Caf\u00e9 \U0001f30a", 0)),
                    ],
                },
                {"context": "Nobody asks.", "qas": []},
            ],
        },
        {
            "title": "Sun",
            "paragraphs": [{"context": SUN, "qas": [qa("c", "How?", ("hot", 11))]}],
        },
    ],
}


def test_the_questions_of_a_file_are_read(tmp_path):
    expected = [
        Question("a", "Elbe", RIVER, "Which river?", [("Elbe", 21), ("the Elbe", 27)]),
        Question("b", "Elbe", RIVER, "What is there?", [("Caf\u00e9 \U0001f30a", 0)]),
        Question("c", "Sun", SUN, "How?", [("hot", 11)]),
    ]
    assert read(CONTENT) == expected
    for ascii in (True, False):
        path = tmp_path / f"{ascii}.json"
        path.write_text(json.dumps(CONTENT, ensure_ascii=ascii), encoding="utf-8")
        assert read(path) == read(str(path)) == expected


def refusal(source):
    with pytest.raises(DataError) as caught:
        read(source)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    return str(caught.value)


FIRST = ("data", 0, "paragraphs", 0, "qas", 0)
ANSWER = (*FIRST, "answers", 0)
MEND = "; bring it into SQuAD v1.1's JSON format"
BAD = {
    "a start that does not match": (
        (*ANSWER, "answer_start"),
        22,
        "question 'a' of {} has its answer 'Elbe' at character 22, where the context "
        "has 'lbe;'; correct its answer_start, to 21 if that is the one meant",
    ),
    "a start before the context": (
        (*ANSWER, "answer_start"),
        21 - len(RIVER),  # from the end it would be right
        "question 'a' of {} has its answer 'Elbe' at character -23, where the context "
        "has ''; correct its answer_start, to 21 if that is the one meant",
    ),
    "a start after the context": (
        (*ANSWER, "answer_start"),
        900,
        "question 'a' of {} has its answer 'Elbe' at character 900, where the context "
        "has ''; correct its answer_start, to 21 if that is the one meant",
    ),
    "a text of another context": (
        (*ANSWER, "text"),
        "Rhine",
        "question 'a' of {} has its answer 'Rhine' at character 21, where the context "
        "has 'Elbe;'; correct its text or its context, which does not hold it",
    ),
    "a blank answer": (
        (*ANSWER, "text"),
        " ",
        "question 'a' of {} has the blank answer ' ', expected words of its context; "
        "correct it or take it out",
    ),
    "a question without answers": (
        (*FIRST, "answers"),
        [],
        "question 'a' of {} has no answer, expected at least one, as all have in SQuAD "
        "v1.1 (SQuAD 2.0 has some without); take the question out",
    ),
    "a start that is no number": (
        (*ANSWER, "answer_start"),
        "21",
        "question 'a' of {} has '21' as 'answer_start', expected a whole number" + MEND,
    ),
    "a start that is a truth value": (
        (*ANSWER, "answer_start"),
        True,
        "question 'a' of {} has True as 'answer_start', expected a whole number" + MEND,
    ),
    "an answer that is a text": (
        ANSWER,
        "Elbe",
        "question 'a' of {} is 'Elbe', expected an object with 'text'" + MEND,
    ),
    "a repeated id": (
        (*FIRST, "id"),
        "c",
        "{} holds more than one question with the id 'c', expected an id of its own "
        "for each; rename or take out the others",
    ),
    "a number as an id": (
        (*FIRST, "id"),
        7,
        "a question on a paragraph of 'Elbe' in {} has 7 as 'id', expected a string"
        + MEND,
    ),
    "a paragraph without a context": (
        FIRST[:4],
        {"qas": []},
        "a paragraph of 'Elbe' in {} has no 'context'" + MEND,
    ),
    "an article without a title": (
        FIRST[:2],
        {"paragraphs": []},
        "article 1 of {} has no 'title'" + MEND,
    ),
    "articles that are no list": (
        ("data",),
        {"Elbe": "long"},
        "{} has {{'Elbe': 'long'}} as 'data', expected a list" + MEND,
    ),
    "no articles": (
        ("data",),
        [],
        "{} holds no question (articles: 0), expected at least one; replace it by "
        "a full copy",
    ),
    "no questions": (
        ("data",),
        [{"title": "Elbe", "paragraphs": [{"context": RIVER, "qas": []}]}],
        "{} holds no question (articles: 1), expected at least one; replace it by "
        "a full copy",
    ),
}


@pytest.mark.parametrize("path, value, expected", BAD.values(), ids=BAD)
def test_bad_questions_are_refused_by_name(tmp_path, path, value, expected):
    content = copy.deepcopy(CONTENT)
    target = content
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    assert refusal(content) == expected.format("the SQuAD data")
    file = tmp_path / "dev.json"
    file.write_text(json.dumps(content))
    assert refusal(file) == expected.format(file)


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "is not valid JSON (Expecting value: line 1 column 1 (char 0))"),
        (b'{"data": [', "is not valid JSON (Expecting value: line 1 column 11"),
        (b'{"data": "\xff"}', "is not valid JSON ('utf-8' codec can't decode byte"),
        (b"[]", "is [], expected an object with 'data'" + MEND),
        (b"{}", "has no 'data'" + MEND),
    ],
)
def test_what_is_no_squad_file_is_refused(tmp_path, content, expected):
    path = tmp_path / "dev.json"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path} {expected}")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert refusal(tmp_path / "none.json") == (
        f"{tmp_path}/none.json cannot be read (No such file or directory); "
        "make it a file that you may read"
    )


def test_a_long_answer_is_cut_short_in_the_message():
    content = copy.deepcopy(CONTENT)
    (answer,) = content["data"][1]["paragraphs"][0]["qas"][0]["answers"]
    answer["text"] = "warm " * 50
    assert len(refusal(content)) < 250


# The split


def questions(articles, each=3):
    return [
        Question(f"{article}.{number}", f"{article:03}", "", "", [])
        for number in range(each)
        for article in range(articles)
    ]


@pytest.mark.parametrize(
    "articles, fraction, held",
    [(10, 0.2, 2), (10, 0.01, 1), (10, 0.99, 9), (2, 0.5, 1), (48, 0.25, 12)],
)
def test_articles_are_held_out_whole_and_in_order(articles, fraction, held):
    given = questions(articles)
    kept, held_out = split_by_article(given, fraction, seed=3)
    titles = {each.title for each in held_out}
    assert len(titles) == held
    assert held_out == [each for each in given if each.title in titles]
    assert kept == [each for each in given if each.title not in titles]


def test_the_seed_alone_decides_which_articles_are_held_out():
    given = questions(20)
    expected = split_by_article(given, 0.3, seed=1)
    turned = split_by_article(given[::-1], 0.3, seed=1)
    assert turned == tuple(part[::-1] for part in expected)
    drawn = [split_by_article(given, 0.3, seed)[1][0].title for seed in range(20)]
    assert len(set(drawn)) > 1


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 20, "0.2", None, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction):
    with pytest.raises(DataError, match="expected a number between 0 and 1"):
        split_by_article(questions(10), fraction)


def test_a_single_article_cannot_be_split():
    with pytest.raises(
        DataError, match="on fewer than two articles, expected two or more"
    ):
        split_by_article(questions(1), 0.5)


# The real questions


@needs_squad
def test_the_real_questions_are_read_and_split():
    real = read(REAL)
    assert len(real) == len({each.id for each in real}) == 1190
    assert len({each.title for each in real}) == 48
    assert len({each.context for each in real}) == 240
    kept, held_out = split_by_article(real, 0.25)
    assert len({each.title for each in held_out}) == 12
    assert len(kept) + len(held_out) == 1190
    assert not {each.context for each in kept} & {each.context for each in held_out}


def test_nothing_here_needs_jax_keras_or_tensorflow():
    code = (
        "import sys; import lamb_keras.data.squad;"
        "print({'jax', 'keras', 'tensorflow', 'tokenizers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
