"""Vocabularies are the same every time, and their offsets point into the text."""

import subprocess
import sys
from pathlib import Path

import pytest

from lamb_keras.data import DataError
from lamb_keras.data.text import encyclopedia, wordpiece
from lamb_keras.data.text.wordpiece import SPECIALS

DOCUMENTS = [each.document for each in encyclopedia.articles("train", 0, 50)]
TEXTS = [
    "The Bek flows to Tarby.",
    "  Élan:  naïve\tcafé – 1,234.5 “ok” ",
    "日本 is two words; [MASK] is none",
    "\u0000zero\u200bwidth\ufffd",
    "",
]


@pytest.fixture
def vocabulary():
    return wordpiece.train(DOCUMENTS, 800)


def test_special_tokens_come_first(vocabulary):
    assert vocabulary.tokens[:5] == SPECIALS
    assert 600 < vocabulary.size <= 800
    assert vocabulary.specials == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("lowercase", [True, False])
def test_pieces_are_the_text_at_their_offsets(text, lowercase):
    vocabulary = wordpiece.train(DOCUMENTS, 800, lowercase)
    ids, offsets = vocabulary.encode(text)
    assert len(ids) == len(offsets)
    end = 0
    for i, (begin, stop) in zip(ids, offsets, strict=True):
        assert end <= begin < stop <= len(text)
        end = stop
        piece = text[begin:stop].translate(str.maketrans("Ééï", "Eei"))
        if lowercase:
            piece = piece.lower()
        if i != vocabulary.specials.unk:
            assert piece.isascii() is False or piece == vocabulary.tokens[i].lstrip("#")
    covered = "".join(text[begin:stop] for begin, stop in offsets)
    dropped = "\u0000\ufffd\u200b"
    visible = "".join(text.split())
    assert covered.translate(dict.fromkeys(map(ord, dropped))) == visible.translate(
        dict.fromkeys(map(ord, dropped))
    )


def test_a_special_token_in_a_text_is_none(vocabulary):
    ids, _ = vocabulary.encode("[MASK] [PAD] [SEP]")
    assert not set(ids) & {0, 2, 3, 4}


def test_every_process_trains_the_same(vocabulary):
    code = (
        "from lamb_keras.data.text import encyclopedia, wordpiece\n"
        "articles = encyclopedia.articles('train', 0, 50)\n"
        "documents = [each.document for each in articles]\n"
        "print(wordpiece.train(documents, 800).fingerprint)"
    )
    folder = Path(wordpiece.__file__).parents[3]
    again = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder
    )
    assert again.stdout.strip() == vocabulary.fingerprint, again.stderr


def test_a_size_too_small_is_told():
    with pytest.raises(DataError, match="of 50 tokens has no room"):
        wordpiece.train(DOCUMENTS, 50)


def write(tmp_path, tokens, ending="\n"):
    path = tmp_path / "vocab.txt"
    path.write_bytes((ending.join(tokens) + ending).encode())
    return str(path)


@pytest.mark.parametrize("ending, blank", [("\n", 0), ("\r\n", 0), ("\n", 2)])
def test_berts_file_has_a_token_a_line(tmp_path, ending, blank):
    tokens = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b"]
    vocabulary = wordpiece.load(write(tmp_path, tokens + [""] * blank, ending))
    assert vocabulary.tokens == tuple(tokens)
    assert vocabulary.specials == (0, 2, 3, 4, 5)
    assert vocabulary.encode("AB") == ([6, 7], [(0, 1), (1, 2)])


def test_a_line_separator_is_a_token_and_ends_no_line(tmp_path):
    tokens = [*SPECIALS, "\u2028", "\x85", "a"]
    assert wordpiece.load(write(tmp_path, tokens)).tokens == tuple(tokens)


@pytest.mark.parametrize(
    "tokens, text, expected",
    [
        (["Denver", "denver", "d"], "Denver denver", ["Denver", "denver"]),
        (["##S", "u", "e"], "uS", ["u", "##S"]),  # a capital continues a word
        (
            ["denver", "cafe", "<S>", "[unused1]"],
            "Denver Caf\u00e9",
            ["denver", "cafe"],
        ),
        (["\u00fcber", "uber"], "\u00dcber", ["\u00fcber"]),  # uncased German
        (["A", *(f"w{n}" for n in range(300))], "W7", ["w7"]),  # an outlier
    ],
)
def test_a_vocabulary_keeps_the_casing_and_accents_that_its_tokens_have(
    tmp_path, tokens, text, expected
):
    vocabulary = wordpiece.load(write(tmp_path, [*SPECIALS, *tokens]))
    assert [vocabulary.tokens[i] for i in vocabulary.encode(text)[0]] == expected


def test_a_trained_vocabulary_comes_back_from_its_file(tmp_path):
    for lowercase in (True, False):
        trained = wordpiece.train(DOCUMENTS, 800, lowercase)
        assert wordpiece.load(write(tmp_path, trained.tokens)) == trained


@pytest.mark.parametrize("missing", SPECIALS)
def test_a_file_without_a_special_token_is_told(tmp_path, missing):
    path = write(tmp_path, [token for token in SPECIALS if token != missing])
    with pytest.raises(DataError) as caught:
        wordpiece.load(path)
    assert str(caught.value) == (
        f"{path}: the vocabulary of 4 tokens has no {missing}; expected all of [PAD], "
        "[UNK], [CLS], [SEP], [MASK], as in BERT's vocab.txt"
    )


def test_a_token_twice_is_told(tmp_path):
    with pytest.raises(DataError, match="has the token 'a' twice"):
        wordpiece.load(write(tmp_path, [*SPECIALS, "a", "a"]))


def test_a_file_that_is_missing_or_no_text_is_told(tmp_path):
    with pytest.raises(DataError, match="cannot be read .No such file"):
        wordpiece.load(str(tmp_path / "vocab.txt"))
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is not text in UTF-8"):
        wordpiece.load(str(tmp_path / "vocab.txt"))
