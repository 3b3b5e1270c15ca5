"""Documents of sentences, read from text files.

A document is a chapter of a file, or the whole file where it has no headings. What
precedes the first heading is a document too. Paragraphs end at blank lines. In lower
case, as BookCorpus comes, small letters begin sentences too, and where almost every
line ends as a sentence does, each line is one. WikiExtractor's <doc …> begins a
document as a heading does.
"""

import functools
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lamb_keras.data import source
from lamb_keras.data.source import DataError

_NUMBER = (
    "(?:[IVXLC]+|[ivxlc]+|[0-9]+|(?i:(?:the )?(?:one|two|three|four|five|six|seven|"
    "eight|nine|ten|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|"
    "last)))"
)
# "Chapter 1. Loomings", "BOOK THE FIRST", "XII.", "I. The Period".
_HEADING = re.compile(
    r"(?i:adventure|book|canto|chapter|letter|part|stave|volume) "
    rf"{_NUMBER}\b(?:\W.{{0,80}})?|[IVXLC]+\.?|[IVXLC]+\. [A-Z].{{0,80}}|</?doc\b.*>"
)
_MARKUP = re.compile("^</?doc\\b.*>$", re.MULTILINE)  # WikiExtractor's

# After these a full stop ends no sentence.
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr st prof rev hon capt col gen lieut lt sgt esq messrs mme mlle mdme "
    "no nos vol vols ch fig pp viz vs jr sr mt ft etc cf i.e e.g".split()
)
_END = re.compile(r"""(?P<mark>[.!?…]+)(?P<close>["'”’)\]_]*)\s+(?=(?P<next>\S+))""")
_OPENING = "\"'“‘([_—-"

# A text is in lower case if fewer of its letters are capitals: in prose, 2 % and more
# are; in lower case with "I" as it is, 0.5 %.
_CAPITALS = 0.01
_LINE_END = re.compile(r"""[.!?…][ "'”’)\]_]*$""")


class Document(NamedTuple):
    """Sentences of one text, in its order."""

    title: str
    sentences: tuple[str, ...]


@dataclass(eq=False)
class Corpus:
    """Documents of text files and further ones, read anew each time they are needed.

    About a fraction of the documents is held out. Each is chosen by its content alone,
    so that it stays where it is when others are added, and on every machine.
    """

    files: Sequence[str | os.PathLike]  # of text in UTF-8
    more: Sequence[Document] = ()  # documents that are in memory
    validation_fraction: float = 0.0  # of all, to hold out

    def __post_init__(self):
        self.train = _Part(self, False)
        self.held_out = _Part(self, True)

    def by_file(self, start: int = 0) -> Iterator[list[Document]]:
        """The documents of each file after some, and at last those in memory.

        A file that cannot be read or is not UTF-8 is a `lamb_keras.data.DataError`.
        """
        for file in self.files[start:]:
            text = read_text(file, "a folder of *.txt files, or a text file")
            yield documents(text, Path(file).stem)
        if start <= len(self.files):
            yield [*self.more]

    def holds_out(self, document: Document) -> bool:
        """Whether it is one of those held out."""
        return int(fingerprint([document])[:8], 16) / 16**8 < self.validation_fraction

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 of all content and of what is held out."""
        of = f"{self.validation_fraction} {fingerprint(self.more)}"
        digest = hashlib.sha256(of.encode())
        for file in self.files:
            name = Path(file).stem.encode()  # the titles have it
            digest.update(name + source.digest(file))
        return digest.hexdigest()

    def check(self, train: int | None = None, held_out: int | None = None) -> None:
        """Raises `DataError` where there is no text, or less than two documents a part.

        Of these no pairs of segments from different documents could be made. All is
        read, unless the numbers of documents are given.
        """
        if train is None:
            parts = [self.holds_out(d) for each in self.by_file() for d in each]
            train, held_out = parts.count(False), parts.count(True)
        if not train + held_out:
            raise _no_text(self.files)
        if min(train, held_out) < 2:
            raise DataError(
                f"holding out {self.validation_fraction} of {train + held_out} "
                f"documents leaves {train} to train on and {held_out} to evaluate on; "
                "expected at least two in both: add files or headings of chapters, or "
                "hold out another fraction"
            )


class _Part:
    def __init__(self, corpus, held_out):
        self._corpus, self._held_out = corpus, held_out

    def __iter__(self):
        for documents in self._corpus.by_file():
            for each in documents:
                if self._corpus.holds_out(each) == self._held_out:
                    yield each


def read(files: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Document]:
    """The documents of text files: some, one, or those named *.txt in a folder.

    A file that cannot be read or is not UTF-8, and files without any text, are a
    `lamb_keras.data.DataError`.
    """
    if isinstance(files, str | os.PathLike):
        where = Path(files)
        files = sorted(where.glob("*.txt")) if where.is_dir() else [where]
    found = [document for each in Corpus(files).by_file() for document in each]
    if not found:
        raise _no_text(files)
    return found


def _no_text(files):
    where = os.path.commonpath(files) if files else "the data set"
    return DataError(
        f"{where} holds no text; expected *.txt files of prose "
        "in UTF-8, paragraphs parted by blank lines"
    )


def read_text(path: str | os.PathLike, expected: str) -> str:
    """The text of a file in UTF-8; a `DataError` says what was expected."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problem = "is not text in UTF-8"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    raise DataError(f"{path} {problem}; expected {expected}")


def fingerprint(documents: Iterable[Document]) -> str:
    """SHA-256 of all sentences and of where each document ends."""
    digest = hashlib.sha256()
    for document in documents:
        for sentence in document.sentences:
            digest.update(sentence.encode() + b"\0")
        digest.update(b"\1")
    return digest.hexdigest()


def sentences(paragraph: str, lowercase: bool = False) -> list[str]:
    """The sentences of a paragraph, each white space a single blank.

    A sentence ends at a full stop, question or exclamation mark and the quotes after
    it, unless an initial or an abbreviation precedes, or a small letter follows in a
    text that is not in `lowercase`.

    Example:
        >>> sentences('"Is that you, Mr. Darcy?" asked she.  J. Bennet was 3.5 m away.')
        ['"Is that you, Mr. Darcy?" asked she.', 'J. Bennet was 3.5 m away.']
    """
    text = " ".join(paragraph.split())
    found, begin = [], 0
    for match in _END.finditer(text):
        if _ends_sentence(text, match, lowercase):
            found.append(text[begin : match.end()].rstrip())
            begin = match.end()
    return [*found, text[begin:]] if text[begin:] else found


def _ends_sentence(text, match, lowercase):
    if match["next"].lstrip(_OPENING)[:1].islower() and not lowercase:
        return False
    if match["mark"] != "." or match["close"]:
        return True
    # Searched from the mark back: a copy of all before it would be quadratic.
    end = match.start() - text.startswith(" ", match.start() - 1)
    word = text[text.rfind(" ", 0, end) + 1 : end].lstrip(_OPENING)
    initial = len(word) == 1 and word not in ("I", "i")
    initial = initial and (word.isupper() or lowercase and word.islower())
    return not initial and word.lower() not in _ABBREVIATIONS


def documents(text: str, name: str) -> list[Document]:
    """The documents of a text of that name; none of a blank one."""
    text = _MARKUP.sub(r"\n\n\g<0>\n\n", text)
    found = [(name, [])]
    lowercase = sum(map(str.isupper, text)) < _CAPITALS * sum(map(str.isalpha, text))
    lines = [" ".join(line.split()) for line in text.split("\n") if line.strip()]
    by_line = lowercase and _are_sentences(lines)
    for paragraph in lines if by_line else re.split(r"\n\s*\n", text):
        paragraph = paragraph.strip()
        is_text = "\n" in paragraph or by_line and _LINE_END.search(paragraph)
        if not is_text and _HEADING.fullmatch(paragraph):
            found.append((f"{name}: {paragraph}", []))
        else:
            found[-1][1].extend(
                [paragraph] if by_line else sentences(paragraph, lowercase)
            )
    return [Document(title, tuple(each)) for title, each in found if each]


def _are_sentences(lines):
    ends = sum(bool(_LINE_END.search(line)) for line in lines)
    count = sum(len(sentences(line, lowercase=True)) for line in lines)
    return ends > 0.6 * len(lines) and count < 2 * len(lines)
