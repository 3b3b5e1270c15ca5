"""Documents of sentences, read from text files.

A document is a chapter of a file, or the whole file where it has no headings. What
precedes the first heading is a document too. Paragraphs end at blank lines.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lamb_keras.data.images import DataError

_NUMBER = (
    "(?:[IVXLC]+|[ivxlc]+|[0-9]+|(?i:(?:the )?(?:one|two|three|four|five|six|seven|"
    "eight|nine|ten|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|"
    "last)))"
)
# "Chapter 1. Loomings", "BOOK THE FIRST", "XII.", "I. The Period".
_HEADING = re.compile(
    r"(?i:adventure|book|canto|chapter|letter|part|stave|volume) "
    rf"{_NUMBER}\b(?:\W.{{0,80}})?|[IVXLC]+\.?|[IVXLC]+\. [A-Z].{{0,80}}"
)

# After these a full stop ends no sentence.
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr st prof rev hon capt col gen lieut lt sgt esq messrs mme mlle mdme "
    "no nos vol vols ch fig pp viz vs jr sr mt ft etc cf i.e e.g".split()
)
_END = re.compile(r"""(?P<mark>[.!?…]+)(?P<close>["'”’)\]_]*)\s+(?=(?P<next>\S+))""")
_OPENING = "\"'“‘([_—-"


class Document(NamedTuple):
    """Sentences of one text, in its order."""

    title: str
    sentences: tuple[str, ...]


def read(path: str | os.PathLike) -> list[Document]:
    """The documents of a text file, or of all `*.txt` in a folder and its subfolders.

    A path that cannot be read, a file that is not UTF-8, and files without any text are
    a `lamb_keras.data.DataError`.
    """
    folder = Path(path)
    files = [folder]
    if folder.is_dir():
        files = sorted((f for f in folder.rglob("*.txt") if f.is_file()), key=str)
    documents = [document for file in files for document in _documents(file)]
    if not documents:
        raise DataError(
            f"{path} holds no text; expected *.txt files of prose in UTF-8, paragraphs "
            "parted by blank lines"
        )
    return documents


def read_text(path: str | os.PathLike, expected: str) -> str:
    """The text of a file in UTF-8; a `DataError` says what was expected."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problem = "is not text in UTF-8"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    raise DataError(f"{path} {problem}; expected {expected}")


def split(
    documents: Sequence[Document], fraction: float
) -> tuple[list[Document], list[Document]]:
    """(to train on, held out): about that fraction of the documents is held out.

    Each is chosen by its content alone, so that it stays where it is when others are
    added, and on every machine. An empty part is a `DataError`.

    Example:
        >>> documents = [Document("", (f"Number {i}.",)) for i in range(100)]
        >>> train, held_out = split(documents, 0.1)
        >>> len(train), len(held_out)
        (91, 9)
    """
    if not 0 < fraction < 1:
        raise DataError(
            f"the fraction of documents to hold out is {fraction!r}; expected a number "
            "between 0 and 1, such as 0.05"
        )
    parts = train, held_out = [], []
    for document in documents:
        place = int(fingerprint([document])[:8], 16) / 16**8
        parts[place < fraction].append(document)
    if not all(parts):
        raise DataError(
            f"holding out {fraction} of {len(documents)} documents leaves {len(train)} "
            f"to train on and {len(held_out)} to evaluate on; expected some in both: "
            "add documents, or hold out another fraction"
        )
    return parts


def fingerprint(documents: Iterable[Document]) -> str:
    """SHA-256 of all sentences and of where each document ends."""
    digest = hashlib.sha256()
    for document in documents:
        for sentence in document.sentences:
            digest.update(sentence.encode() + b"\0")
        digest.update(b"\1")
    return digest.hexdigest()


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, each white space a single blank.

    A sentence ends at a full stop, question or exclamation mark and the quotes after
    it, unless a small letter follows or an initial or an abbreviation precedes.

    Example:
        >>> sentences('"Is that you, Mr. Darcy?" asked she.  J. Bennet was 3.5 m away.')
        ['"Is that you, Mr. Darcy?" asked she.', 'J. Bennet was 3.5 m away.']
    """
    text = " ".join(paragraph.split())
    found, begin = [], 0
    for match in _END.finditer(text):
        if _ends_sentence(text, match):
            found.append(text[begin : match.end()].rstrip())
            begin = match.end()
    return [*found, text[begin:]] if text[begin:] else found


def _ends_sentence(text, match):
    following = match["next"].lstrip(_OPENING)
    if following[:1].islower():
        return False
    if match["mark"] != "." or match["close"]:
        return True
    # Searched from the mark back: a copy of all before it would be quadratic.
    end = match.start() - text.startswith(" ", match.start() - 1)
    word = text[text.rfind(" ", 0, end) + 1 : end].lstrip(_OPENING)
    initial = len(word) == 1 and word.isupper() and word != "I"
    return not initial and word.lower() not in _ABBREVIATIONS


def _documents(file):
    text = read_text(file, "a folder of *.txt files, or a text file")
    name = Path(file).stem
    found = [(name, [])]
    for paragraph in re.split(r"\n\s*\n", text):
        paragraph = paragraph.strip()
        if "\n" not in paragraph and _HEADING.fullmatch(paragraph):
            found.append((f"{name}: {paragraph}", []))
        else:
            found[-1][1].extend(sentences(paragraph))
    return [Document(title, tuple(each)) for title, each in found if each]
