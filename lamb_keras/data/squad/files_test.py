"""SQuAD's files are read, or refused with what is wrong where; articles are split."""

import copy
import json
import os

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


def paragraph(context, *qas):
    return {"context": context, "qas": list(qas)}


RIVER = "Caf\u00e9 \U0001f30a stands on the Elbe; the Elbe is long."
ELBE = (
    qa("a", "Which river?", ("Elbe", 21), ("the Elbe", 27)),
    qa("b", "What is there?", ("Caf\u00e9 \U0001f30a", 0)),
)
SUN = paragraph("The Sun is hot and yellow.", qa("c", "How?", ("hot", 11)))
CONTENT = {
    "version": "1.1",
    "data": [
        {
            "title": "Elbe",
            "paragraphs": [paragraph(RIVER, *ELBE), paragraph("Nobody asks.")],
        },
        {"title": "Sun", "paragraphs": [SUN]},
    ],
}


def test_the_questions_of_a_file_are_read(tmp_path):
    expected = [
        Question("a", "Elbe", RIVER, "Which river?", [("Elbe", 21), ("the Elbe", 27)]),
        Question("b", "Elbe", RIVER, "What is there?", [("Caf\u00e9 \U0001f30a", 0)]),
        Question("c", "Sun", SUN["context"], "How?", [("hot", 11)]),
    ]
    for ascii in (True, False):
        path = tmp_path / f"{ascii}.json"
        path.write_text(json.dumps(CONTENT, ensure_ascii=ascii), encoding="utf-8")
        assert read(path) == read(str(path)) == expected


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def refusal(path):
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    return str(caught.value)


FIRST = ("data", 0, "paragraphs", 0, "qas", 0)
ANSWER = (*FIRST, "answers", 0)
BAD = {
    "a start that does not match": (
        (*ANSWER, "answer_start"),
        22,
        "data.0.paragraphs.0.qas.0: question 'a' has its answer 'Elbe' at character 22,"
        " where the context has it at 21",
    ),
    "a start before the context": (
        (*ANSWER, "answer_start"),
        21 - len(RIVER),  # from the end it would be right
        "question 'a' has its answer 'Elbe' at character -23, where the context has it "
        "at 21",
    ),
    "a text of another context": (
        (*ANSWER, "text"),
        "Rhine",
        "question 'a' has its answer 'Rhine' at character 21, where the context has it "
        "nowhere",
    ),
    "a blank answer": ((*ANSWER, "text"), " ", "data.0.paragraphs.0.qas.0.answers.0.t"),
    "a question without answers": (
        (*FIRST, "answers"),
        [],
        "answers: no answer, as SQuAD 2.0",
    ),
    "a start that is no number": ((*ANSWER, "answer_start"), "21", "valid integer"),
    "a start that is a truth value": ((*ANSWER, "answer_start"), True, "valid integer"),
    "an answer that is a text": (ANSWER, "Elbe", "data.0.paragraphs.0.qas.0.answers.0"),
    "a repeated id": ((*FIRST, "id"), "c", "more than one question: 1, the first: 'c'"),
    "a list as an id": ((*FIRST, "id"), [7], "valid string"),
    "a paragraph without a context": (
        FIRST[:4],
        {"qas": [ELBE[0]]},
        "data.0.paragraphs.0.context: Field required",
    ),
    "articles that are no list": (("data",), {"Elbe": "long"}, "data: Input should be"),
    "no articles": (("data",), [], "has no question, expected at least one"),
}


@pytest.mark.parametrize("path, value, expected", BAD.values(), ids=BAD)
def test_a_fault_in_a_file_is_named_with_its_place(tmp_path, path, value, expected):
    content = copy.deepcopy(CONTENT)
    target = content
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    file = write(tmp_path / "dev.json", content)
    assert refusal(file).startswith(str(file)) and expected in refusal(file)


def test_all_faults_are_counted_and_the_first_three_named(tmp_path):
    wrong = [qa(f"q{n}", "How?", ("hot", 12)) for n in range(40)]
    right = [qa(f"r{n}", "How?", ("hot", 11)) for n in range(50)]
    asked = [*right, *wrong, {"id": "x", "answers": []}]
    content = {"data": [{"paragraphs": [paragraph(SUN["context"], *asked)]}]}
    message = refusal(write(tmp_path / "dev.json", content))
    assert "faults: 42, the first: data.0.paragraphs.0.qas.50: question 'q0'" in message
    assert "'q2'" in message and "'q3'" not in message


def test_whole_number_ids_and_missing_titles_are_no_faults(tmp_path):
    asked = [paragraph(SUN["context"], qa(n, "How?", ("hot", 11))) for n in range(4)]
    content = {"data": [{"paragraphs": [each]} for each in asked]}
    found = read(write(tmp_path / "dev.json", content))
    assert [each.id for each in found] == ["0", "1", "2", "3"]
    train, held_out = split_by_article(found, 0.25)
    assert (len(train), len(held_out)) == (3, 1)


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "Invalid JSON: EOF while parsing a value at line 1"),
        (b'{"data": [', "Invalid JSON: EOF while parsing a list at line 1 column 10"),
        (b'{"data": "\xff"}', "is not text in UTF-8; expected SQuAD v1.1's JSON"),
        (b"[]", "Input should be an object"),
        (b"{}", "data: Field required"),
    ],
)
def test_what_is_no_squad_file_is_refused(tmp_path, content, expected):
    path = tmp_path / "dev.json"
    path.write_bytes(content)
    assert expected in refusal(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert refusal(tmp_path / "none.json") == (
        f"{tmp_path}/none.json cannot be read (No such file or directory); "
        "expected SQuAD v1.1's JSON"
    )


def test_a_long_answer_is_cut_short_in_the_message(tmp_path):
    content = copy.deepcopy(CONTENT)
    (answer,) = content["data"][1]["paragraphs"][0]["qas"][0]["answers"]
    answer["text"] = "warm " * 50
    assert len(refusal(write(tmp_path / "dev.json", content))) < 400


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
    train, held_out = split_by_article(given, fraction)
    titles = {each.title for each in held_out}
    assert len(titles) == held
    assert held_out == [each for each in given if each.title in titles]
    assert train == [each for each in given if each.title not in titles]


def test_the_same_articles_are_held_out_in_whatever_order_they_come():
    given = questions(20)
    expected = split_by_article(given, 0.3)
    turned = split_by_article(given[::-1], 0.3)
    assert turned == tuple(part[::-1] for part in expected)


def test_a_single_article_cannot_be_split():
    with pytest.raises(
        DataError, match="on fewer than two articles, expected two or more"
    ):
        split_by_article(questions(1), 0.5)


@needs_squad
def test_the_real_questions_are_read_and_split():
    real = read(REAL)
    assert len(real) == len({each.id for each in real}) == 1190
    assert len({each.title for each in real}) == 48
    assert len({each.context for each in real}) == 240
    train, held_out = split_by_article(real, 0.25)
    assert len({each.title for each in held_out}) == 12
    assert len(train) + len(held_out) == 1190
    assert not {each.context for each in train} & {each.context for each in held_out}
