"""A corpus becomes tokens once, whatever ends the work, and finds them afterwards."""

import json

import numpy as np
import pytest

from lamb_keras.data.text import corpus, encyclopedia, tokens, wordpiece
from lamb_keras.data.text.corpus import Corpus, Document

MADE = [each.document for each in encyclopedia.articles("train", 0, 50)]
EMPTY = [Document("", (" ", "")), Document("", ("", "in", "", "of the"))]


@pytest.fixture
def texts(tmp_path):
    """Four files, and documents in memory."""
    paths = [tmp_path / f"{name}.txt" for name in "abcd"]
    for path in paths:
        sentences = [f"{path.stem} has {n} winds. It rains." for n in range(20)]
        chapters = [f"CHAPTER {n}\n\n{each}" for n, each in enumerate(sentences)]
        path.write_text("\n\n".join(chapters))
    return Corpus(paths, MADE, validation_fraction=0.2)


def sentences(found):
    """The ids of each sentence of each document."""
    begins = found.sentences
    every = [found.ids[i:j].tolist() for i, j in zip(begins, begins[1:], strict=False)]
    ends = found.documents
    return [every[i:j] for i, j in zip(ends, ends[1:], strict=False)]


def same(one, other):
    assert one.vocabulary == other.vocabulary
    for ours, its in zip(one[1:], other[1:], strict=True):
        np.testing.assert_equal(ours._asdict(), its._asdict())


def test_each_sentence_is_what_the_vocabulary_makes_of_it():
    text = Corpus([], [*MADE, *EMPTY], 0.2)
    vocabulary = wordpiece.train(MADE, 800)
    found = tokens.prepare(text, vocabulary)
    for part, documents in ((found.train, text.train), (found.held_out, text.held_out)):
        encoded = [[vocabulary.encode(s)[0] for s in d.sentences] for d in documents]
        kept = [[ids for ids in each if ids] for each in encoded]
        assert sentences(part) == [each for each in kept if each]
    assert found.train.ids.dtype == np.int16


def test_a_vocabulary_is_trained_on_what_is_not_held_out(texts):
    found = tokens.prepare(texts, 600)
    assert found.vocabulary == wordpiece.train([*texts.train], 600)


def test_what_is_prepared_is_found_and_read_by_nobody_again(texts, monkeypatch):
    assert not tokens.are_prepared(texts, 600)
    first = tokens.prepare(texts, 600)
    monkeypatch.setattr(corpus, "documents", lambda *_: 1 / 0)
    assert tokens.are_prepared(texts, 600)
    same(tokens.prepare(texts, 600), first)
    for array in (first.train.ids, first.held_out.ids):
        assert isinstance(array, np.memmap) and not array.flags.writeable
    with pytest.raises(ZeroDivisionError):
        tokens.prepare(texts, 601)


@pytest.mark.parametrize("files", [1, 3])
def test_what_was_ended_goes_on_with_the_file_it_was_at(
    texts, files, monkeypatch, cache_folder
):
    whole = tokens.prepare(texts, wordpiece.train(MADE, 600))
    read, number = [], iter(range(100))
    of_text = corpus.documents

    def end(text, name):
        if next(number) == files:
            raise KeyboardInterrupt
        read.append(name)
        return of_text(text, name)

    monkeypatch.setenv("LAMB_KERAS_CACHE", str(cache_folder / "other"))
    monkeypatch.setattr(corpus, "documents", end)
    with pytest.raises(KeyboardInterrupt):
        tokens.prepare(texts, whole.vocabulary)
    [state] = (cache_folder / "other").glob("*/state.json")
    assert json.loads(state.read_text())["files"] == files
    # As of a power cut in the middle of the next one.
    with state.with_name("train.ids").open("ab") as file:
        file.write(b"123")
    same(tokens.prepare(texts, whole.vocabulary), whole)
    assert read == [*"abcd"]  # each of them once


def test_a_cache_that_cannot_be_written_to_only_costs_time(texts, monkeypatch):
    vocabulary = wordpiece.train(MADE, 600)
    whole = tokens.prepare(texts, vocabulary)
    monkeypatch.setenv("LAMB_KERAS_CACHE", "/proc/no/folder")
    same(tokens.prepare(texts, vocabulary), whole)


def test_a_file_that_was_damaged_is_made_again(texts, cache_folder):
    vocabulary = wordpiece.train(MADE, 600)
    whole = tokens.prepare(texts, vocabulary)
    [ids] = cache_folder.glob("*/train.ids")
    before = ids.read_bytes()
    ids.unlink()
    ids.write_bytes(before[:-2])
    same(tokens.prepare(texts, vocabulary), whole)
    assert ids.read_bytes() == before
