"""Text to pre-train on and questions to fine-tune on, tied by one vocabulary.

`open` finds both by the name of a data set: "encyclopedia" is generated from a seed;
"books" and "wikipedia" are text files and SQuAD v1.1 files in the data folder, to
which generated articles may be added.
"""

import functools
import hashlib
import json
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lamb_keras.data import source, squad
from lamb_keras.data.images import DataError
from lamb_keras.data.text import corpus, encyclopedia, pairs, wordpiece
from lamb_keras.data.text.tokenized import tokenize

# Of everything that is generated or drawn; trials have seeds of their own.
_SEED = 0

# Of the text, what its sentences have beyond a sequence's length: novels, far less.
_BEYOND = 0.25

_GENERATED = "encyclopedia"
_TITLES = {
    "books": "novels, with questions of SQuAD v1.1",
    "wikipedia": "Wikipedia and books, with SQuAD v1.1",
}
NAMES = (_GENERATED, *_TITLES)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TextDataset:
    """A corpus, a held-out part of it, and questions to train and to evaluate on."""

    name: str
    title: str  # what a report calls it
    stands_in_for: str | None  # what the paper used, where this is something else
    documents: list[corpus.Document]  # to pre-train on
    held_out: list[corpus.Document]  # to evaluate the masked language model on
    train_questions: list[squad.Question]  # to fine-tune on
    dev_questions: list[squad.Question]  # to evaluate on, about other articles
    given_vocabulary: wordpiece.Vocabulary | None
    vocab_size: int  # of the vocabulary that is trained where none is given
    # Training questions left out since the paragraph they are on is evaluated on too.
    dropped_questions: int = 0

    @functools.cached_property
    def vocabulary(self) -> wordpiece.Vocabulary:
        """The given vocabulary, or one that is trained on the documents."""
        return self.given_vocabulary or wordpiece.train(self.documents, self.vocab_size)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of documents, questions and tokens of the vocabulary."""
        sizes = {
            "documents": len(self.documents),
            "held_out_documents": len(self.held_out),
            "train_questions": len(self.train_questions),
            "dev_questions": len(self.dev_questions),
            "vocabulary": self.vocabulary.size,
        }
        if self.dropped_questions:
            sizes["dropped_questions"] = self.dropped_questions
        return sizes

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all content."""
        questions = [
            [each.id, each.question, each.context, each.answers]
            for each in [*self.train_questions, *self.dev_questions]
        ]
        content = [
            corpus.fingerprint(self.documents),
            corpus.fingerprint(self.held_out),
            self.vocabulary.fingerprint,
            questions,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def describe(self) -> dict:
        """What a result records of its data, as plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "stands_in_for": self.stands_in_for,
            "fingerprint": self.fingerprint,
            **self.sizes,
        }

    def sequences(self, length: int, count: int | None = None) -> pairs.PairData:
        """Packed sentence pairs of the documents, by default one pass.

        Warns where much of the text is in sentences far beyond a sequence.
        """
        tokens = tokenize(self.documents, self.vocabulary)
        lengths = np.diff(tokens.sentences)
        beyond = np.maximum(lengths - length, 0).sum() / max(lengths.sum(), 1)
        if beyond > _BEYOND:
            warnings.warn(
                f"{beyond:.0%} of the text is in sentences beyond their first {length} "
                f"tokens (the longest has {lengths.max():,}); sentences are told apart "
                "by full stops and capitals, or by lines in lower case",
                stacklevel=2,
            )
        return pairs.pack(tokens, self.vocabulary, length, _SEED, examples=count)

    def held_out_sequences(self, length: int, most: int) -> pairs.PairData:
        """Packed sentence pairs of the held-out documents, at most one pass."""
        tokens = tokenize(self.held_out, self.vocabulary)
        return pairs.pack(tokens, self.vocabulary, length, _SEED)[:most]

    @functools.cached_property
    def unigram_entropy(self) -> float:
        """Of the held-out documents' tokens, in nats (`Tokenized.unigram_entropy`)."""
        return tokenize(self.held_out, self.vocabulary).unigram_entropy(self.vocabulary)

    def questions(self, part: str) -> list[squad.Question]:
        """The questions of a part, "train" or "dev"."""
        return {"train": self.train_questions, "dev": self.dev_questions}[part]

    def features(
        self, part: str, length: int, stride: int, max_question_length: int
    ) -> squad.Features:
        """The windows of a part's questions (`squad.features`)."""
        return squad.features(
            self.questions(part), self.vocabulary, length, stride, max_question_length
        )

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
    name: str,  # "encyclopedia", "books" or "wikipedia"
    *,
    articles: int = 0,  # generated ones to pre-train on, besides the text files
    question_articles: int = 0,  # generated ones with questions to fine-tune on
    dev_articles: int = 0,  # generated ones with questions to evaluate on
    dev_fraction: float = 0.2,  # of SQuAD's articles, where there is no dev*.json
    validation_fraction: float = 0.05,  # of the documents, to hold out
    vocab_size: int = 1000,  # of the vocabulary that is trained on the documents
    vocabulary: str | None = None,  # the file of another one, such as BERT's vocab.txt
) -> TextDataset:
    """The data set of that name.

    An unknown name, missing or damaged files, or a part that would be empty, are a
    `lamb_keras.data.DataError`.

    Example:
        >>> dataset = open("encyclopedia", articles=80, question_articles=10,
        ...                dev_articles=5, vocab_size=300)
        >>> dataset.sizes["train_questions"], dataset.sizes["dev_questions"]
        (60, 30)
    """
    if name not in NAMES:
        raise DataError(f"there is no text {name!r}; there are: {', '.join(NAMES)}")
    if name == _GENERATED and not articles:
        raise DataError(
            "articles is 0; expected some of the encyclopedia to pre-train on"
        )
    documents, train, dev = [], [], []
    if name != _GENERATED:
        documents = corpus.read(_folder(name))
        train, dev = _squad(dev_fraction)
    made = encyclopedia.articles("train", _SEED, max(articles, question_articles))
    made_dev = encyclopedia.articles("dev", _SEED, dev_articles)
    documents = documents + [each.document for each in made[:articles]]
    train = train + [q for each in made[:question_articles] for q in each.questions]
    dev = dev + [q for each in made_dev for q in each.questions]
    train, dropped = _apart(train, dev)
    documents, held_out = corpus.split(documents, validation_fraction)
    return TextDataset(
        name=name,
        title=_title(name, max(len(made), len(made_dev))),
        stands_in_for=None
        if name == "wikipedia"
        else "Wikipedia, books and SQuAD v1.1",
        documents=documents,
        held_out=held_out,
        train_questions=train,
        dev_questions=dev,
        given_vocabulary=wordpiece.load(vocabulary) if vocabulary else None,
        vocab_size=vocab_size,
        dropped_questions=dropped,
    )


OPTIONS = tuple(open.__kwdefaults__)


def check(name: str, parameters: Mapping | None = None) -> None:
    """Raise `DataError` where `open` would with these parameters of a run.

    Other names among them are ignored. Without any, the files alone are read.
    """
    if parameters is not None:
        open(name, **{key: parameters[key] for key in OPTIONS if key in parameters})
    elif name != _GENERATED:
        corpus.read(_folder(name))
        for path in _squad_files():
            squad.read(path)


def fingerprint(name: str) -> str:
    """SHA-256 of a data set's files, if any."""
    digest = hashlib.sha256(name.encode())
    if name != _GENERATED:
        for path in [*sorted(_folder(name).rglob("*.txt")), *_squad_files()]:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _folder(name):
    found = source.folder(name)
    if found is None:
        raise DataError(
            f"there is no folder {name} with *.txt files to pre-train on; put them "
            f"there and set {source.FOLDER_VARIABLE} to the folder that holds it, or "
            f"choose the data set {_GENERATED}, which is generated"
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
    """(questions to fine-tune on, questions to evaluate on) of the SQuAD files."""
    train, dev = [], []
    for path in _squad_files():
        (dev if path.name.startswith("dev") else train).extend(squad.read(path))
    return (train, dev) if dev else squad.split_by_article(train, dev_fraction)


def _apart(train, dev):
    """(training questions on none of the dev questions' paragraphs, number of others).

    Files are compared by content: XQuAD, for one, is made of SQuAD's dev file.
    """
    evaluated = {_plain(each.context) for each in dev}
    apart = [each for each in train if _plain(each.context) not in evaluated]
    if train and not apart:
        raise DataError(
            f"all {len(train):,} questions to fine-tune on are on paragraphs of those "
            "to evaluate on; take out the files that hold the same questions"
        )
    return apart, len(train) - len(apart)


def _plain(text):
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _title(name, articles):
    made_up = f"a generated encyclopedia of {articles:,} articles, with questions"
    files = [_TITLES[name]] if name in _TITLES else []
    return ", and ".join([*files, *([made_up] if articles else [])])
