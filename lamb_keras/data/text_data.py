"""Text to pre-train on and questions to judge by, tied together by one vocabulary.

`open` finds both by the name of a data set: "encyclopedia" is made up from a seed;
"books" and "wikipedia" are text files and SQuAD v1.1 files below the data folder, to
which generated articles may be added.
"""

import functools
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from lamb_keras.data import source, squad
from lamb_keras.data.images import DataError
from lamb_keras.data.text import corpus, encyclopedia, pairs, statistics, wordpiece
from lamb_keras.data.text.tokenized import tokenize

# Of everything that is made up or drawn; trials have seeds of their own.
_SEED = 0

_PAPERS = "Wikipedia, books and SQuAD v1.1"

LIBRARIES = ("encyclopedia", "books", "wikipedia")


@dataclass(frozen=True, eq=False, kw_only=True)
class TextDataset:
    """A corpus with a held-out part, questions to fine-tune on and others to judge by.

    Args:
        name: of the data set.
        title: what it is, as a report says it.
        stands_in_for: what the paper used, where this is something else.
        documents: to pre-train on.
        held_out: others, to judge the masked language model by.
        train_questions: to fine-tune on.
        dev_questions: to judge by: on articles that none of the others are on.
        vocabulary: of the documents, or one that was given.
    """

    name: str
    title: str
    stands_in_for: str | None
    documents: list[corpus.Document] = field(repr=False)
    held_out: list[corpus.Document] = field(repr=False)
    train_questions: list[squad.Question] = field(repr=False)
    dev_questions: list[squad.Question] = field(repr=False)
    vocabulary: wordpiece.Vocabulary

    @property
    def sizes(self) -> dict[str, int]:
        """How many documents and questions, and tokens of the vocabulary."""
        return {
            "documents": len(self.documents),
            "held_out_documents": len(self.held_out),
            "train_questions": len(self.train_questions),
            "dev_questions": len(self.dev_questions),
            "vocabulary": self.vocabulary.size,
        }

    @functools.cached_property
    def fingerprint(self) -> str:
        """What tells this content from any other."""
        questions = [
            [each.id, each.question, each.context, each.answers]
            for each in [*self.train_questions, *self.dev_questions]
        ]
        told = json.dumps(
            [
                corpus.fingerprint(self.documents),
                corpus.fingerprint(self.held_out),
                self.vocabulary.fingerprint,
                questions,
            ]
        )
        return hashlib.sha256(told.encode()).hexdigest()

    def describe(self) -> dict:
        """What a result should say of its data: plain values, sizes counted."""
        return {
            "name": self.name,
            "title": self.title,
            "stands_in_for": self.stands_in_for,
            "fingerprint": self.fingerprint,
            **self.sizes,
        }

    def sequences(self, length: int, count: int | None = None) -> pairs.PairData:
        """Packed sentence pairs of the documents, as many as asked or one pass."""
        cut = tokenize(self.documents, self.vocabulary)
        return pairs.pack(cut, self.vocabulary, length, _SEED, examples=count)

    def held_out_sequences(self, length: int, most: int) -> pairs.PairData:
        """Packed sentence pairs of the held-out documents, at most one pass."""
        cut = tokenize(self.held_out, self.vocabulary)
        return pairs.pack(cut, self.vocabulary, length, _SEED)[:most]

    @functools.cached_property
    def unigram_entropy(self) -> float:
        """Of the held-out documents, in nats a token: see `text.statistics`."""
        cut = tokenize(self.held_out, self.vocabulary)
        return statistics.unigram_entropy(cut.token_ids, self.vocabulary)

    def features(
        self, part: str, length: int, stride: int, max_question_length: int
    ) -> squad.Features:
        """The windows of the questions of a part, "train" or "dev"."""
        return squad.features(
            self.questions(part), self.vocabulary, length, stride, max_question_length
        )

    def questions(self, part: str) -> list[squad.Question]:
        """The questions of a part, "train" or "dev"."""
        return {"train": self.train_questions, "dev": self.dev_questions}[part]

    def examples(self, count: int) -> list[dict]:
        """The first training questions, with contexts and answers."""
        return [
            {
                "question": each.question,
                "context": each.context,
                "answers": each.references,
            }
            for each in self.train_questions[:count]
        ]


def open(
    name: str,
    *,
    articles: int = 0,
    question_articles: int = 0,
    dev_articles: int = 0,
    dev_fraction: float = 0.2,
    validation_fraction: float = 0.05,
    vocab_size: int = 1000,
    vocabulary: str | None = None,
) -> TextDataset:
    """The library of that name.

    Args:
        name: "encyclopedia", "books" or "wikipedia".
        articles: generated ones to pre-train on, in addition to text files if any.
        question_articles: generated ones that carry questions to fine-tune on, the
            first of `articles` if there are as many.
        dev_articles: generated ones that carry questions to judge by.
        dev_fraction: of the articles in the SQuAD files, held out to judge by, unless
            there is a file `dev*.json` with some of its own.
        validation_fraction: of the documents, held out to judge the language model by.
        vocab_size: of the vocabulary that is trained on the documents.
        vocabulary: the file of another one, such as BERT's vocab.txt.

    Raises:
        lamb_keras.data.DataError: for an unknown name, files that are not there or are
            damaged, or a part that would be empty.

    Example:
        >>> library = open("encyclopedia", articles=40, question_articles=10,
        ...                dev_articles=5, vocab_size=300)
        >>> library.sizes["train_questions"], library.sizes["dev_questions"]
        (60, 30)
    """
    if name not in LIBRARIES:
        raise DataError(f"there is no text {name!r}; there are: {', '.join(LIBRARIES)}")
    documents, train, dev = [], [], []
    if name != "encyclopedia":
        documents = corpus.read(_folder(name))
        train, dev = _squad(dev_fraction)
    if name == "encyclopedia" and not articles:
        raise DataError(
            "articles is 0; expected some of the encyclopedia to pre-train on"
        )
    if generated := max(articles, question_articles, dev_articles):
        made = encyclopedia.generate(
            _SEED,
            max(articles, question_articles, 1),
            dev_articles=max(dev_articles, 1),
            question_articles=question_articles,
        )
        documents = documents + made.documents[:articles]
        train += squad.read(made.train) if question_articles else []
        dev += squad.read(made.dev) if dev_articles else []
    documents, held_out = corpus.split(documents, validation_fraction)
    return TextDataset(
        name=name,
        title=_title(name, generated),
        stands_in_for=None if name == "wikipedia" else _PAPERS,
        documents=documents,
        held_out=held_out,
        train_questions=train,
        dev_questions=dev,
        vocabulary=(
            wordpiece.load(vocabulary)
            if vocabulary
            else wordpiece.train(documents, vocab_size)
        ),
    )


def check(name: str) -> None:
    """Raises `DataError`, naming the file, where `open` would stumble over one."""
    if name != "encyclopedia":
        corpus.read(_folder(name))
        for path in _squad_files():
            squad.read(path)


def fingerprint(name: str) -> str:
    """What tells the files of a library from any others; the generator has none."""
    digest = hashlib.sha256(name.encode())
    if name != "encyclopedia":
        for path in [*sorted(_folder(name).rglob("*.txt")), *_squad_files()]:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _folder(name):
    """Where the text files of a library are."""
    found = source.folder(name)
    if found is None:
        raise DataError(
            f"there is no folder {name} with *.txt files to pre-train on; put them "
            f"there and set {source.FOLDER_VARIABLE} to the folder that holds it, or "
            "choose the data set encyclopedia, which is generated"
        )
    return Path(found)


def _squad_files():
    found = source.folder("squad")
    files = sorted(Path(found).glob("*.json")) if found else []
    if not files:
        raise DataError(
            "there is no folder squad with SQuAD v1.1's *.json files to fine-tune on; "
            f"put them there and set {source.FOLDER_VARIABLE} to the folder that "
            "holds it"
        )
    return files


def _squad(dev_fraction):
    """(questions to fine-tune on, questions to judge by) of the SQuAD files."""
    train, dev = [], []
    for path in _squad_files():
        (dev if path.name.startswith("dev") else train).extend(squad.read(path))
    return (train, dev) if dev else squad.split_by_article(train, dev_fraction)


def _title(name, articles):
    made_up = f"a generated encyclopedia of {articles:,} articles, with questions"
    files = {
        "books": "novels, with questions of SQuAD v1.1",
        "wikipedia": "Wikipedia and books, with SQuAD v1.1",
    }
    if name not in files:
        return made_up
    return f"{files[name]}, and {made_up}" if articles else files[name]
