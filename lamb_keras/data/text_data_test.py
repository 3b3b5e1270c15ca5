import json
import os
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

from lamb_keras import data
from lamb_keras.data import DataError, text_data
from lamb_keras.data.text.corpus import Corpus, Document
from lamb_keras.data.text.wordpiece import SPECIALS, Vocabulary

SMALL = {
    "articles": 60,
    "question_articles": 12,
    "dev_articles": 6,
    "validation_fraction": 0.1,
    "vocab_size": 400,
}
DATA = os.environ.get("LAMB_KERAS_DATA") or ""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with a small book and a SQuAD file of two articles."""
    (tmp_path / "books").mkdir()
    (tmp_path / "squad").mkdir()
    chapters = [
        f"CHAPTER {n}\n\nIt was a day of {n} winds. Nobody went out. The doors shut."
        for n in range(1, 41)
    ]
    (tmp_path / "books" / "winds.txt").write_text("\n\n".join(chapters))
    contexts = [f"It was a day of winds and of {n} doors." for n in range(5)]
    articles = [_article(f"Wind {n}", each, str(n)) for n, each in enumerate(contexts)]
    _write(tmp_path / "squad" / "train.json", articles)
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    return tmp_path


def _write(path, articles):
    path.write_text(json.dumps({"version": "1.1", "data": articles}))


def _article(title, context, id):
    start = context.index("winds")
    answers = [{"text": "winds", "answer_start": start}]
    asked = {"id": id, "question": f"What {id}?", "answers": answers}
    return {"title": title, "paragraphs": [{"context": context, "qas": [asked]}]}


def _titles(questions):
    return {question.title for question in questions}


def test_no_article_is_both_learned_from_and_judged_by():
    found = text_data.open("encyclopedia", **SMALL)
    assert not _titles(found.train_questions) & _titles(found.dev_questions)
    dev = {question.context for question in found.dev_questions}
    text = {" ".join(document.sentences) for document in found.corpus.train}
    assert not dev & text
    held_out = {document.title for document in found.corpus.held_out}
    assert held_out and not held_out & {d.title for d in found.corpus.train}


def test_the_same_parameters_give_the_same_data_and_others_another():
    one, again, other = (
        text_data.open("encyclopedia", **SMALL | {"dev_articles": count})
        for count in (6, 6, 7)
    )
    assert one.fingerprint == again.fingerprint != other.fingerprint


def test_generated_text_is_labeled_as_such():
    found = text_data.open("encyclopedia", **SMALL)
    assert "generated" in found.title and found.stands_in_for
    json.dumps(found.describe())
    assert found.describe()["dev_questions"] == 36


def test_text_files_in_folders_within_are_read_too(folder):
    (folder / "books" / "a").mkdir()
    (folder / "books" / "winds.txt").rename(folder / "books" / "a" / "winds.txt")
    data.check("books", {"validation_fraction": 0.2})


def test_books_and_squad_are_read_from_their_folders(folder):
    found = text_data.open("books", vocab_size=120, validation_fraction=0.2)
    assert found.sizes["documents"] + found.sizes["held_out_documents"] == 40
    assert len(found.train_questions) == 4 and len(found.dev_questions) == 1
    assert "generated" not in found.title
    more = text_data.open("books", **SMALL)
    assert "generated" in more.title
    assert len(more.train_questions) == 4 + 72 and len(more.dev_questions) == 1 + 36


def test_generated_questions_can_be_added_without_their_text(folder):
    plain = text_data.open("books", vocab_size=120, validation_fraction=0.2)
    more = text_data.open(
        "books", vocab_size=120, validation_fraction=0.2, question_articles=3
    )
    assert more.corpus.key == plain.corpus.key and "generated" in more.title
    assert len(more.train_questions) == len(plain.train_questions) + 18
    assert more.dev_questions == plain.dev_questions


def test_a_dev_file_is_what_is_judged_by(folder):
    article = _article("Wind 9", "A day of other winds.", "9")
    _write(folder / "squad" / "dev-v1.1.json", [article])
    found = text_data.open("books", vocab_size=120, validation_fraction=0.2)
    assert [question.id for question in found.dev_questions] == ["9"]
    assert len(found.train_questions) == 5


def test_questions_of_several_files_are_told_apart_whatever_their_ids(folder):
    for language in ("de", "en"):
        article = _article("Wind 9", f"A day of winds, {language}.", "9")
        _write(folder / "squad" / f"dev.{language}.json", [article])
    found = text_data.open("books", vocab_size=120, validation_fraction=0.2)
    assert [question.id for question in found.dev_questions] == ["9", "dev.en/9"]


def test_questions_on_paragraphs_that_are_evaluated_on_are_not_trained_on(folder):
    same = "It was a  Day of winds and of {} doors."  # but for blanks and capitals
    other = "Then it was a day of other winds."
    dev = [_article("X", same.format(n), f"x{n}") for n in range(5)]
    _write(folder / "squad" / "dev.json", dev)
    with pytest.raises(DataError, match="all 5 questions to fine-tune on are on para"):
        data.check("books", {"validation_fraction": 0.2})
    _write(folder / "squad" / "more.json", [_article("Y", other, "y")])
    found = text_data.open("books", vocab_size=120, validation_fraction=0.2)
    assert [each.id for each in found.train_questions] == ["y"]
    assert (
        found.sizes["dropped_questions"] == found.describe()["dropped_questions"] == 5
    )


def test_a_vocabulary_may_be_given(folder):
    path = folder / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "day"]))
    found = text_data.open("encyclopedia", **SMALL, vocabulary=str(path))
    assert found.vocabulary.size == 6
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nday")
    with pytest.raises(DataError, match=re.escape("[MASK]")):
        text_data.open("encyclopedia", **SMALL, vocabulary=str(path))


def test_its_sequences_are_of_documents_that_are_not_held_out(folder):
    found = text_data.open("books", vocab_size=200, validation_fraction=0.2)
    assert found.sequences(32)[:10]["token_ids"].shape == (10, 32)
    assert found.sequences(32).ids is found.prepared.train.ids
    held_out = found.held_out_sequences(32, most=3)
    assert len(held_out) == 3 and held_out.ids is found.prepared.held_out.ids


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a b", "c d"], np.log(4)),
        (["a a", "b c"], 1.5 * np.log(2)),
        (["a", "a"], 0),
        (["a ? b", "!"], np.log(2)),  # unknown ones do not count
    ],
)
def test_the_entropy_is_that_of_the_held_out_tokens_frequencies(
    words, expected, monkeypatch
):
    found = text_data.open("encyclopedia", **SMALL)
    text = Corpus([], [Document("", (each,)) for each in [*words, "c", "d"]])
    monkeypatch.setattr(text, "holds_out", lambda each: each.sentences[0] in words)
    vocabulary = Vocabulary((*SPECIALS, *"abcd"))
    found = replace(found, corpus=text, given_vocabulary=vocabulary)
    assert found.unigram_entropy == pytest.approx(expected)


def test_sentences_far_beyond_a_sequence_are_named(folder):
    text = "\n\n".join(["The wind " + "and the rain " * 60 + "came."] * 3)
    for name in "abcdef":
        (folder / "books" / f"{name}.txt").write_text(f"{text} So {name}.")
    found = text_data.open("books", vocab_size=200, validation_fraction=0.2)
    with pytest.warns(UserWarning, match=r"first 16 tokens \(the longest has 18\d"):
        found.sequences(16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.sequences(256)


def test_the_batch_knows_its_files(folder):
    before = data.fingerprint("books")
    assert data.fingerprint("encyclopedia") != before
    (folder / "books" / "winds.txt").write_text("Another book. With words.")
    assert data.fingerprint("books") != before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "books" / "winds.txt").write_text(""), "holds no text"),
        (
            lambda f: (f / "books" / "winds.txt").unlink(),
            "there is no folder books with *.txt files",
        ),
        (
            lambda f: (f / "squad" / "train.json").unlink(),
            "there is no folder squad with SQuAD v1.1's *.json files",
        ),
        (
            lambda f: (f / "squad" / "train.json").write_text(
                (f / "squad" / "train.json").read_text().replace(": 16", ": 15")
            ),
            "winds",
        ),
    ],
)
def test_damaged_files_are_one_sentence_before_anything_starts(folder, damage, message):
    damage(folder)
    with pytest.raises(DataError, match=re.escape(message)):
        data.check("books")


@pytest.mark.parametrize(
    ("damage", "parameters", "message"),
    [
        (
            lambda f: (f / "books" / "winds.txt").write_text("One text. " * 99),
            {},
            "0.05 of 1 documents leaves",
        ),
        (lambda f: None, {"validation_fraction": 1e-6}, "of 40 documents leaves 40"),
        (lambda f: None, {"vocabulary": "none.txt"}, "none.txt cannot be read"),
    ],
)
def test_a_check_opens_all_that_a_run_would_open(folder, damage, parameters, message):
    data.check("books", {"validation_fraction": 0.2, "layers": 2})
    damage(folder)
    with pytest.raises(DataError, match=re.escape(message)):
        data.check("books", {"layers": 2, **parameters})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("novels", {}, "there is no text 'novels'; there are: encyclopedia"),
        ("wikipedia", {}, "there is no folder wikipedia with *.txt files"),
    ],
)
def test_what_there_is_not_is_one_sentence(folder, name, options, message):
    with pytest.raises(DataError, match=re.escape(message)):
        text_data.open(name, **{**SMALL, **options})


@pytest.mark.slow
@pytest.mark.skipif(
    not os.path.isdir(os.path.join(DATA, "books")),
    reason="LAMB_KERAS_DATA names no folder with books",
)
def test_the_novels_and_the_real_questions_are_a_data_set():
    found = text_data.open("books", vocab_size=2000)
    assert len(found.train_questions) + len(found.dev_questions) == 1190
    assert not _titles(found.train_questions) & _titles(found.dev_questions)
    assert sum(1 for _ in found.corpus.train) > 300
