"""Files become documents of sentences, and the same ones are held out everywhere."""

import os
import time
from pathlib import Path

import pytest

from lamb_keras.data import DataError
from lamb_keras.data.text import corpus
from lamb_keras.data.text.corpus import Corpus, Document


@pytest.mark.parametrize(
    "paragraph, expected",
    [
        ("  ", []),
        ("No end", ["No end"]),
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Lines\nrun on.\nOr end.", ["Lines run on.", "Or end."]),
        ("Mr. and Mrs. Bennet. Dr. No.", ["Mr. and Mrs. Bennet.", "Dr. No."]),
        ("J. R. Smith came. He sat.", ["J. R. Smith came.", "He sat."]),
        ("It was I. He knew.", ["It was I.", "He knew."]),
        ("“Come!” he cried. “Now.”", ["“Come!” he cried.", "“Now.”"]),
        ('"Come." "Now!" So.', ['"Come."', '"Now!"', "So."]),
        ("Well... perhaps. Yes... No.", ["Well... perhaps.", "Yes...", "No."]),
        ("It cost 3.5 in 1843. 12 came.", ["It cost 3.5 in 1843.", "12 came."]),
        ("He left (at last.) She too.", ["He left (at last.)", "She too."]),
        ("Élan. Été.", ["Élan.", "Été."]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(paragraph, expected):
    assert corpus.sentences(paragraph) == expected


def test_a_long_paragraph_takes_a_time_in_proportion_to_its_length():
    text = "The quick brown fox jumps over the lazy dog and goes home. " * 40_000
    started = time.process_time()
    assert len(corpus.sentences(text)) == 40_000
    assert time.process_time() - started < 3  # was 5 s, and four times that for twice


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def read(folder):
    return corpus.read(sorted(folder.glob("*.txt")))


def test_a_folder_its_files_and_a_file_alone_are_read_alike(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("It is hot.\n\nIt rains.\n")
    (tmp_path / "notes.md").write_text("Not this.")
    assert corpus.read(tmp_path) == corpus.read([file]) == corpus.read(file)


def test_blank_lines_part_paragraphs(tmp_path):
    write(tmp_path, b="Second. File.", a="First\nfile.\n\nOf two\n\n\nparagraphs.")
    expected = [
        Document("a", ("First file.", "Of two", "paragraphs.")),
        Document("b", ("Second.", "File.")),
    ]
    assert read(tmp_path) == expected


def test_a_sentence_a_line_in_lower_case_is_recognized(tmp_path):
    lines = [
        "usually , he would be tearing around , playing with his toys .",
        "`` is that you , mr. darcy ? '' asked she .",
        "but not today",
        "i saw him . he did not see me .",
        "but just one look at a minion sent him practically catatonic !",
        "he left ...",
    ]
    write(tmp_path, a="\n".join([*lines, "chapter 2", *lines]) + "\n")
    assert read(tmp_path) == [
        Document("a", tuple(lines)),
        Document("a: chapter 2", tuple(lines)),
    ]
    # Blank lines in between change nothing.
    write(tmp_path, a="\n\n".join(lines))
    assert read(tmp_path) == [Document("a", tuple(lines))]


def test_sentences_in_lower_case_end_at_their_marks_where_lines_do_not(tmp_path):
    text = "we met mr. j. bennet at\nlast. he was i. then\nhe left! so did\nwe, too."
    write(tmp_path, a=text)
    expected = ("we met mr. j. bennet at last.", "he was i.", "then he left!")
    assert read(tmp_path) == [Document("a", (*expected, "so did we, too."))]


def test_a_paragraph_a_line_in_lower_case_has_its_sentences(tmp_path):
    write(tmp_path, a="he came. she left. it rained.\n\nwe met. so what? nothing.")
    assert len(read(tmp_path)[0].sentences) == 6


def test_each_article_of_wikiextractor_is_a_document(tmp_path):
    article = (
        '<doc id="1" url="?" title="{0}">\n{0}\n\nIt is {0}. It flies.\n\n</doc>\n'
    )
    write(tmp_path, a=article.format("Air") + article.format("Bee"))
    air, bee = read(tmp_path)
    assert air.sentences == ("Air", "It is Air.", "It flies.")
    assert bee.sentences == ("Bee", "It is Bee.", "It flies.")


@pytest.mark.parametrize(
    "heading",
    ["CHAPTER 1. Loomings", "Chapter XII", "Book the First--Recalled", "IV.", "I. Sea"],
)
def test_a_heading_begins_a_document(tmp_path, heading):
    write(tmp_path, a=f"Before.\n\n{heading}\n\nAfter.\n\nStill.")
    assert read(tmp_path) == [
        Document("a", ("Before.",)),
        Document(f"a: {heading}", ("After.", "Still.")),
    ]


@pytest.mark.parametrize(
    "line",
    ["I said so.", "“Yes.”", "Part of it.", "Letter writing is fun.", "Chapter I\nSo"],
)
def test_a_short_paragraph_is_no_heading(tmp_path, line):
    write(tmp_path, a=f"Before.\n\n{line}\n\nAfter.")
    assert len(read(tmp_path)) == 1


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(DataError, match="nowhere cannot be read.*No such file"):
        Corpus([tmp_path / "nowhere"]).check()


@pytest.mark.parametrize("text", ["", " \n\n "])
def test_an_empty_corpus_is_told(tmp_path, text):
    write(tmp_path, a=text)
    with pytest.raises(DataError, match="holds no text; expected"):
        Corpus([tmp_path / "a.txt"]).check()


def test_another_encoding_is_told(tmp_path):
    (tmp_path / "a.txt").write_bytes("Été.".encode("latin-1"))
    with pytest.raises(DataError, match="a.txt is not text in UTF-8"):
        read(tmp_path)


DOCUMENTS = [Document("", (f"Number {i}.",)) for i in range(1000)]


def test_documents_held_out_stay_so_when_others_are_added():
    every = Corpus([], DOCUMENTS, 0.1)
    train, held_out = [*every.train], [*every.held_out]
    assert sorted(train + held_out) == sorted(DOCUMENTS)
    assert 70 < len(held_out) < 130  # a hundred, with a deviation of 9.5
    fewer = Corpus([], DOCUMENTS[:500][::-1], 0.1)
    assert {*fewer.held_out} == {*held_out} & {*DOCUMENTS[:500]}


@pytest.mark.parametrize("count", [1, 3])
def test_a_part_too_small_to_take_segments_from_two_documents_is_refused(count):
    with pytest.raises(DataError, match="expected at least two in both"):
        Corpus([], DOCUMENTS[:count], 0.5).check()


def test_its_key_tells_of_all_content_and_of_what_is_held_out(tmp_path):
    write(tmp_path, a="It is hot.", b="It rains.")
    a, b = sorted(tmp_path.glob("*.txt"))
    keys = [Corpus([a, b], DOCUMENTS, 0.1).key, Corpus([b, a], DOCUMENTS, 0.1).key]
    keys += [Corpus([a, b], DOCUMENTS[1:], 0.1).key, Corpus([a, b], DOCUMENTS).key]
    b.write_text("It rained.")
    assert len({*keys, Corpus([a, b], DOCUMENTS, 0.1).key}) == 5


BOOKS = os.path.join(os.environ.get("LAMB_KERAS_DATA") or "", "books")


@pytest.mark.skipif(not os.path.isdir(BOOKS), reason="the novels are not here")
def test_the_novels_chapters_are_documents():
    documents = read(Path(BOOKS))
    chapters = [document.title.split(":")[0] for document in documents]
    # "Chapter 1" to 61, with what precedes them; and the same of 64.
    assert chapters.count("pride-and-prejudice") == 62
    assert chapters.count("david-copperfield") == 65
    lengths = [len(sentence) for each in documents for sentence in each.sentences]
    assert 60 < sum(lengths) / len(lengths) < 140
