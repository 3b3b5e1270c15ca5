import pytest

from lamb_keras import data
from lamb_keras.data import DataError, text_data

MINE = '''
TEXTS = [
    f"The river number {n} is long. It flows to the sea. Nobody swims in it."
    for n in range(60)
]

def question(n):
    context = f"Town {n} lies on river {n}."
    answer = {"text": f"river {n}", "answer_start": context.index("river")}
    asked = {"id": str(n), "question": f"Where lies town {n}?", "answers": [answer]}
    return {"title": str(n), "paragraphs": [{"context": context, "qas": [asked]}]}

QUESTIONS = {"data": [question(n) for n in range(10)]}

def rivers():
    """Rivers and towns.

    More of it.
    """
    return {"texts": TEXTS, "train": QUESTIONS}

def judged():
    dev = {"data": [question(n) for n in range(10, 14)]}
    return rivers() | {"dev": dev}

def nothing(): return {"texts": ["  "], "train": QUESTIONS}
def images(): return (1, 2), (3, 4)
def misspelt(): return {"text": TEXTS, "train": QUESTIONS}
def broken(): return rivers() | {"train": {"data": [{}]}}
'''


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(MINE)
    return "mine.py:{}".format


def test_text_of_ones_own_is_a_data_set_of_text(place):
    found = text_data.open(place("rivers"), dev_fraction=0.2, vocab_size=300)
    assert found.title == "Rivers and towns" and found.stands_in_for is None
    assert found.sizes["documents"] + found.sizes["held_out_documents"] == 60
    assert next(iter(found.corpus.train)).sentences[1] == "It flows to the sea."
    assert (len(found.train_questions), len(found.dev_questions)) == (8, 2)
    assert found.describe()["name"] == "mine.py:rivers"


def test_questions_to_judge_by_may_be_given_and_generated_articles_added(place):
    more = {"articles": 5, "question_articles": 5, "dev_articles": 5}
    found = text_data.open(place("judged"), **more, vocab_size=300)
    assert {q.title for q in found.dev_questions} >= {"10", "11", "12", "13"}
    assert found.sizes["documents"] + found.sizes["held_out_documents"] == 65


def test_its_fingerprint_is_that_of_what_the_function_returns(place):
    parameters = {"vocabulary": None}
    one, same, other = (
        data.fingerprint(place(name), parameters)
        for name in ("rivers", "rivers", "judged")
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", "mine.py:nothing returns something else, expected {'texts': "),
        ("images", "mine.py:images returns something else, expected {'texts': "),
        ("misspelt", "mine.py:misspelt returns something else, expected {'texts'"),
        ("broken", "the questions of mine.py:broken: the file is not in SQuAD v1.1"),
        ("missing", "mine.py has no function missing; there are: question, rivers"),
    ],
)
def test_what_is_no_text_is_one_sentence(place, name, sentence):
    with pytest.raises(DataError) as caught:
        data.check(place(name), {"vocabulary": None})
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_text_is_no_images(place):
    with pytest.raises(DataError, match="rivers returns something else, expected .ima"):
        data.check(place("rivers"), {"validation_fraction": 0.1})
