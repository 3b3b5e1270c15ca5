"""Documents of sentences, read from text files.

A document is a chapter of a file, or the whole file where none are to be seen. What
precedes the first heading is a document too. Paragraphs end at blank lines.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
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
    """A text of its own: what is next to each other in it belongs together."""

    title: str
    sentences: tuple[str, ...]


class Parts(NamedTuple):
    """Documents to train on and others to judge by."""

    train: list[Document]
    held_out: list[Document]


def read(files: str | os.PathLike | Sequence) -> list[Document]:
    """The documents in text files, in the order of the files' names.

    Args:
        files: a folder, of which all `*.txt` are read, in folders within it too; or
            paths of files.

    Raises:
        lamb_keras.data.DataError: where there is no such folder or file, it is not
            UTF-8, or there is no text in any.
    """
    if isinstance(files, str | os.PathLike):
        where = os.fspath(files)
        paths = _text_files(where) if os.path.isdir(where) else [where]
    else:
        paths = [os.fspath(path) for path in files]
        where = ", ".join(paths[:3]) or "the empty list of files"
    documents = [document for path in paths for document in _read(path)]
    if not documents:
        raise DataError(
            f"{where} holds no text; expected *.txt files of prose in UTF-8, its "
            "paragraphs parted by blank lines"
        )
    return documents


def split(documents: Sequence[Document], held_out: float) -> Parts:
    """Some of the documents apart, the same ones on every machine.

    They are chosen by their content alone, each whole, so a document keeps its side
    when others are added.

    Args:
        documents: of which some are held out.
        held_out: about which part of them, more than 0 and less than 1.

    Raises:
        lamb_keras.data.DataError: where either part would be empty.

    Example:
        >>> documents = [Document("", (f"Number {i}.",)) for i in range(100)]
        >>> train, held_out = split(documents, 0.1)
        >>> len(train), len(held_out)
        (91, 9)
    """
    if not 0 < held_out < 1:
        raise DataError(
            f"held_out is {held_out!r}; expected a number between 0 and 1, such as "
            "0.05, the part of the documents to hold out"
        )
    parts = Parts([], [])
    for document in documents:
        place = int(fingerprint([document])[:8], 16) / 16**8
        parts[place < held_out].append(document)
    if not all(parts):
        raise DataError(
            f"held_out {held_out} of {len(documents)} documents leaves "
            f"{len(parts.train)} to train on and {len(parts.held_out)} to judge by; "
            "expected some in both: add documents, or hold out another part"
        )
    return parts


def fingerprint(documents: Iterable[Document]) -> str:
    r"""SHA-256 of all sentences and of where a document ends.

    Example:
        >>> one = [Document("", ("A.", "B."))]
        >>> two = [Document("", ("A.",)), Document("", ("B.",))]
        >>> fingerprint(one) == fingerprint(two)
        False
    """
    digest = hashlib.sha256()
    for document in documents:
        for sentence in document.sentences:
            digest.update(sentence.encode() + b"\0")
        digest.update(b"\1")
    return digest.hexdigest()


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, its white space evened out.

    A full stop, question or exclamation mark and the quotes after it end one, if what
    comes next may begin one: not a small letter, and not after an initial or a title.

    Example:
        >>> sentences('"Is that you, Mr. Darcy?" asked she.  J. Bennet was 3.5 m away.')
        ['"Is that you, Mr. Darcy?" asked she.', 'J. Bennet was 3.5 m away.']
    """
    text = " ".join(paragraph.split())
    found, begin = [], 0
    for match in _END.finditer(text):
        if _ends(text, match):
            found.append(text[begin : match.end()].rstrip())
            begin = match.end()
    return [*found, text[begin:]] if text[begin:] else found


def _ends(text, match):
    following = match["next"].lstrip(_OPENING)
    if following[:1].islower():
        return False
    if match["mark"] != "." or match["close"]:
        return True
    word = text[: match.start()].rsplit(maxsplit=1)[-1:] or [""]
    word = word[0].lstrip(_OPENING)
    initial = len(word) == 1 and word.isupper() and word != "I"
    return not initial and word.lower() not in _ABBREVIATIONS


def _text_files(folder):
    return sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.endswith(".txt")
    )


def _read(path):
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not text in UTF-8; save it in that encoding"
        ) from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); expected a folder of *.txt "
            "files, or a text file"
        ) from None
    name = os.path.splitext(os.path.basename(path))[0]
    title, found, documents = name, [], []
    for paragraph in re.split(r"\n\s*\n", text):
        paragraph = paragraph.strip()
        if "\n" not in paragraph and _HEADING.fullmatch(paragraph):
            documents.append(Document(title, tuple(found)))
            title, found = f"{name}: {paragraph}", []
        else:
            found += sentences(paragraph)
    documents.append(Document(title, tuple(found)))
    return [document for document in documents if document.sentences]
