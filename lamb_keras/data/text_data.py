"""Text to pre-train on and questions to fine-tune on, tied by one vocabulary.

"encyclopedia" is generated from a seed; "books" and "wikipedia" are text files and
SQuAD v1.1 files in the data folder, to which generated articles may be added. So they
may be to the text of a user's function, of which the name is the place.
"""

import functools
import hashlib
import itertools
import json
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lamb_keras import own
from lamb_keras.data import source, squad
from lamb_keras.data.source import DataError
from lamb_keras.data.text import corpus, encyclopedia, pairs, tokens, wordpiece
from lamb_keras.data.text import own as own_text

_SEED = 0  # of all that is generated or drawn; trials have seeds of their own

# Of the text, what its sentences have beyond a sequence's length: novels, far less.
_BEYOND = 0.25

_GENERATED = "encyclopedia"
_TITLES = {
    "books": "novels, with questions of SQuAD v1.1",
    "wikipedia": "Wikipedia and books, with SQuAD v1.1",
}
NAMES = (_GENERATED, *_TITLES)
_PAPERS = "Wikipedia, books and SQuAD v1.1"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TextDataset:
    """A corpus, a held-out part of it, and questions to train and to evaluate on."""

    name: str
    title: str  # what a report calls it
    stands_in_for: str | None  # what the paper used, where this is something else
    corpus: corpus.Corpus  # to pre-train on, and to evaluate on what it holds out
    train_questions: list[squad.Question]  # to fine-tune on
    dev_questions: list[squad.Question]  # to evaluate on, about other articles
    given_vocabulary: wordpiece.Vocabulary | None
    vocab_size: int  # of the vocabulary that is trained where none is given
    # Training questions left out since the paragraph they are on is evaluated on too.
    dropped_questions: int

    @functools.cached_property
    def prepared(self) -> tokens.Prepared:
        """The corpus as tokens, and their vocabulary."""
        return tokens.prepare(self.corpus, self.given_vocabulary or self.vocab_size)

    @property
    def vocabulary(self) -> wordpiece.Vocabulary:
        """The given vocabulary, or one that is trained on what is not held out."""
        return self.given_vocabulary or self.prepared.vocabulary

    @property
    def sizes(self) -> dict[str, int]:
        """The number of documents, questions and tokens of the vocabulary."""
        dropped = self.dropped_questions
        return {
            "documents": len(self.prepared.train.documents) - 1,
            "held_out_documents": len(self.prepared.held_out.documents) - 1,
            "train_questions": len(self.train_questions),
            "dev_questions": len(self.dev_questions),
            "vocabulary": self.vocabulary.size,
        } | ({"dropped_questions": dropped} if dropped else {})

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all content."""
        questions = self.train_questions + self.dev_questions
        of_text = self.corpus.key, self.vocabulary.fingerprint
        return _digest(*of_text, questions=questions)

    def __str__(self):
        documents, held_out, train, dev, tokens, *_ = self.sizes.values()
        return (
            f"{self.title}: {documents:,} documents to pre-train on, {held_out:,} held "
            f"out; {train:,} questions to fine-tune on, {dev:,} to judge by; a "
            f"vocabulary of {tokens:,}"
        )

    def describe(self) -> dict:
        """What a result records of its data, as plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "stands_in_for": self.stands_in_for,
            "fingerprint": self.fingerprint,
            **self.sizes,
        }

    def sequences(self, length: int) -> pairs.PairData:
        """Sentence pairs of all documents that are not held out.

        Warns where much of the text is in sentences far beyond a sequence.
        """
        train = self.prepared.train
        lengths = np.diff(train.sentences)
        beyond = np.maximum(lengths - length, 0).sum() / max(lengths.sum(), 1)
        if beyond > _BEYOND:
            warnings.warn(
                f"{beyond:.0%} of the text is in sentences beyond their first {length} "
                f"tokens (the longest has {lengths.max():,}); sentences are told apart "
                "by full stops and capitals, or by lines in lower case",
                stacklevel=2,
            )
        return pairs.pack(train, self.vocabulary.specials, length, _SEED)

    def held_out_sequences(self, length: int, most: int) -> pairs.PairData:
        """Sentence pairs of the held-out documents."""
        held_out, specials = self.prepared.held_out, self.vocabulary.specials
        return pairs.pack(held_out, specials, length, _SEED, most=most)

    @functools.cached_property
    def unigram_entropy(self) -> float:
        """-Σ p·ln p over the frequencies p of the held-out text's tokens, in nats.

        Special tokens do not count. No model that knows nothing but these frequencies
        has a lower masked-LM loss.
        """
        ids = self.prepared.held_out.ids
        counts = np.bincount(ids, minlength=self.vocabulary.size)
        counts[list(self.vocabulary.specials)] = 0
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())

    def questions(self, part: str) -> list[squad.Question]:
        """The questions of a part, "train" or "dev"."""
        return {"train": self.train_questions, "dev": self.dev_questions}[part]

    def features(self, part: str, *sizes: int) -> squad.Features:
        """The windows of a part's questions, of `squad.features`' sizes."""
        return squad.features(self.questions(part), self.vocabulary, *sizes)

    def examples(self, count: int) -> list[dict]:
        """The first training questions, with contexts and answers."""
        return [
            {"question": q.question, "context": q.context, "answers": q.references}
            for q in self.train_questions[:count]
        ]


def open(
    name: str,  # "encyclopedia", "books", "wikipedia", or the place of a function
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

    An unknown name, and missing or damaged files, are a `lamb_keras.data.DataError`;
    those of the corpus are read when it is prepared.

    Example:
        >>> dataset = open("encyclopedia", articles=80, question_articles=10,
        ...                dev_articles=5, vocab_size=300)
        >>> dataset.sizes["train_questions"], dataset.sizes["dev_questions"]
        (60, 30)
    """
    is_place = own.is_place(name)
    if name not in NAMES and not is_place:
        raise DataError(f"there is no text {name!r}; there are: {', '.join(NAMES)}")
    texts, documents, train, dev, titles = [], [], [], [], []
    if is_place:
        title, documents, train, dev = own_text.find(name)
        titles.append(title)
    elif name != _GENERATED:
        texts, files = _files(name)
        for path, read in _questions(files):
            (dev if path.name.startswith("dev") else train).extend(read)
        titles.append(_TITLES[name])
    if titles and not dev:
        train, dev = squad.split_by_article(train, dev_fraction)
    made = encyclopedia.articles("train", _SEED, max(articles, question_articles))
    made_dev = encyclopedia.articles("dev", _SEED, dev_articles)
    if count := max(len(made), len(made_dev)):
        titles.append(f"a generated encyclopedia of {count:,} articles, with questions")
    generated = [each.document for each in made[:articles]]
    train = train + [q for each in made[:question_articles] for q in each.questions]
    dev = dev + [q for each in made_dev for q in each.questions]
    apart = _apart(train, dev)
    return TextDataset(
        name=name,
        title=", and ".join(titles),
        stands_in_for=None if is_place or name == "wikipedia" else _PAPERS,
        corpus=corpus.Corpus(texts, documents + generated, validation_fraction),
        train_questions=apart,
        dev_questions=dev,
        given_vocabulary=wordpiece.load(vocabulary) if vocabulary else None,
        vocab_size=vocab_size,
        dropped_questions=len(train) - len(apart),
    )


OPTIONS = tuple(open.__kwdefaults__)


def check(name: str, parameters: Mapping) -> None:
    """Raise `DataError` where a training with these of a run's parameters would."""
    chosen = {each: parameters[each] for each in OPTIONS if each in parameters}
    dataset = open(name, **chosen)
    vocabulary = dataset.given_vocabulary or dataset.vocab_size
    if not tokens.are_prepared(dataset.corpus, vocabulary):
        dataset.corpus.check()


def fingerprint(name: str, vocabulary: str | None = None) -> str:
    """SHA-256 of a data set's files, if any, or of what a function returns."""
    if vocabulary:
        tokens = corpus.read_text(vocabulary, "a file of one token a line")
        of_tokens = hashlib.sha256(tokens.encode()).hexdigest()
        return f"{fingerprint(name)} {of_tokens}"
    if own.is_place(name):
        _, documents, train, dev = own_text.find(name)
        # Which of them are judged by is part of it.
        questions = [*train, *dev]
        return _digest(corpus.fingerprint(documents), len(dev), questions=questions)
    digest = hashlib.sha256(name.encode())
    for path in itertools.chain(*_files(name)) if name != _GENERATED else ():
        digest.update(source.digest(path))
    return digest.hexdigest()


def _digest(*content, questions):
    asked = [[q.id, q.question, q.context, q.answers] for q in questions]
    return hashlib.sha256(json.dumps([*content, asked]).encode()).hexdigest()


def _files(name):
    """(text files, SQuAD files), neither of them empty."""
    both = []
    for folder, pattern, content in (
        (name, "**/*.txt", "*.txt files to pre-train on"),
        ("squad", "*.json", "SQuAD v1.1's *.json files to fine-tune on"),
    ):
        found = source.folder(folder)
        both.append(sorted(Path(found).glob(pattern), key=str) if found else [])
        if not both[-1]:
            raise DataError(
                f"there is no folder {folder} with {content}; put them there and set "
                f"{source.FOLDER_VARIABLE} to the folder that holds it, or choose the "
                f"data set {_GENERATED}, which is generated"
            )
    return both


def _questions(files):
    """Each file with its questions, whose ids no file before has.

    XQuAD's languages, for one, all have the same.
    """
    taken = set()
    for path in files:
        read = squad.read(path)
        if taken & {each.id for each in read}:
            read = [replace(each, id=f"{path.stem}/{each.id}") for each in read]
        taken.update(each.id for each in read)
        yield path, read


def _apart(train, dev):
    """The training questions on none of the dev questions' paragraphs.

    Files are compared by content: XQuAD, for one, is made of SQuAD's dev file.
    """

    def plain(text):
        return " ".join(unicodedata.normalize("NFKC", text).casefold().split())

    evaluated = {plain(each.context) for each in dev}
    apart = [each for each in train if plain(each.context) not in evaluated]
    if train and not apart:
        raise DataError(
            f"all {len(train):,} questions to fine-tune on are on paragraphs of those "
            "to evaluate on; take out the files that hold the same questions"
        )
    return apart
