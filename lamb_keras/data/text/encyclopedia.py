"""A small made-up encyclopedia with questions, in place of Wikipedia and SQuAD.

An article is about three people, cities, rivers, mountains or machines and states the
same relations of each, so that every paragraph has several candidates of a kind, in
random order. Its document states every fact twice, in two wordings: a word masked in
one can be read off the other, which teaches a masked language model to look up.

Names are a stem and an ending. Dev articles combine them in other ways than training
articles do, for every seed, and two articles may give one name to different people:
what a name means can't be learned by heart.
"""

import json
import random
import re
from pathlib import Path
from typing import NamedTuple

from lamb_keras.data.squad.files import Question
from lamb_keras.data.text.corpus import Document

SUBJECTS = 3  # of an article
_PARAGRAPHS = 2  # of an article
_RELATIONS = 2  # of a paragraph
_QUESTIONS = 3  # on a paragraph

# With a question, of at most ten, and [CLS] and two [SEP] these are 64.
_CONTEXT_PIECES = 51

_QUESTIONS_IN_TEXT = 1 / 6


class Relation(NamedTuple):
    """A kind of fact: whose, of which values, and templates that state or ask it."""

    subject: str
    value: str
    statements: list[str]
    questions: list[str]


class Fact(NamedTuple):
    """The value that a subject has in a relation."""

    relation: Relation
    subject: str
    value: str

    def state(self, statement):
        return statement.format(s=self.subject, v=self.value)

    def ask(self, rng):
        return rng.choice(self.relation.questions).format(s=self.subject)

    def pieces(self, statement):
        """The word pieces of a sentence: a made-up name has two, a word one."""
        words = re.findall(r"\w+|[^\w\s]", self.state(statement))
        return len(words) + 1 + (self.relation.value in ENDINGS)


class Article(NamedTuple):
    """A document to pre-train on, and questions on paragraphs of the same facts."""

    document: Document
    questions: list[Question]


_lists = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
STEMS = _lists["stems"].split()
ENDINGS = {kind: endings.split() for kind, endings in _lists["endings"].items()}
RELATIONS = [Relation(**relation) for relation in _lists["relations"]]
_VALUES = {kind: words.split() for kind, words in _lists["values"].items()}
_VALUES["year"] = list(map(str, range(1840, 1900)))


def articles(split: str, seed: int, count: int) -> list[Article]:
    """The first `count` articles of a split, "train" or "dev".

    A question and its paragraph fit into 64 word pieces, special ones included, of a
    vocabulary of 1,000 tokens: it has all words whole and the names in two pieces.

    Example:
        >>> (article,) = articles("train", seed=0, count=1)
        >>> article.questions[0].context[:32], article.questions[0].question
        ('The Zeloso froze in 1889. The Le', 'When was the frost of the Zeloso?')
    """
    rng = random.Random(f"{split} {seed}")
    # (stem, name) of each kind, of which one in five is dev's; other words are whole.
    pools = {kind: [(word, word) for word in _VALUES[kind]] for kind in _VALUES}
    pools |= {
        kind: [
            (stem, stem + ending)
            for i, stem in enumerate(STEMS)
            for j, ending in enumerate(endings)
            if ((i + 2 * j) % 5 == 0) == (split == "dev")
        ]
        for kind, endings in ENDINGS.items()
    }
    made = []
    for number in range(count):
        paragraphs = _facts(rng, rng.choice(tuple(ENDINGS)), pools)
        title = ", ".join(dict.fromkeys(fact.subject for fact in paragraphs[0]))
        sentences, questions = [], []
        for place, facts in enumerate(paragraphs):
            wordings = [rng.sample(fact.relation.statements, 2) for fact in facts]
            sentences += _stated_twice(rng, facts, wordings)
            paragraph = f"{split}-{seed}-{number}-{place}"
            questions += _questions(rng, facts, wordings, title, paragraph)
        made.append(Article(Document(title, tuple(sentences)), questions))
    return made


def _facts(rng, kind, pools):
    """The facts of each paragraph. No stem and no value occurs twice."""
    taken = set()

    def draw(of):
        while True:
            stem, word = rng.choice(pools[of])
            if stem not in taken:
                taken.add(stem)
                return word

    subjects = [draw(kind) for _ in range(SUBJECTS)]
    of_kind = [relation for relation in RELATIONS if relation.subject == kind]
    relations = rng.sample(of_kind, _RELATIONS * _PARAGRAPHS)
    return [
        [
            Fact(relation, subject, draw(relation.value))
            for relation in relations[first : first + _RELATIONS]
            for subject in subjects
        ]
        for first in range(0, len(relations), _RELATIONS)
    ]


def _stated_twice(rng, facts, wordings):
    """Sentences, relation by relation: all facts in one order, then all in another.

    There, one in six follows on a question, so that questions' words are known too.
    """
    sentences = []
    for first in range(0, len(facts), SUBJECTS):
        for wording in range(2):
            order = list(range(first, first + SUBJECTS))
            rng.shuffle(order)
            for i in order:
                if wording and rng.random() < _QUESTIONS_IN_TEXT:
                    sentences.append(facts[i].ask(rng))
                sentences.append(facts[i].state(wordings[i][wording]))
    return sentences


def _questions(rng, facts, wordings, title, paragraph):
    """Questions on a paragraph that states each fact once."""
    order = list(range(len(facts)))
    rng.shuffle(order)
    statements = [rng.choice(wording) for wording in wordings]
    # The longest are put more shortly until all fit.
    for i in sorted(order, key=lambda i: -facts[i].pieces(statements[i])):
        if sum(map(Fact.pieces, facts, statements)) <= _CONTEXT_PIECES:
            break
        statements[i] = min(facts[i].relation.statements, key=facts[i].pieces)
    context = " ".join(facts[i].state(statements[i]) for i in order)
    return [
        Question(
            id=f"{paragraph}-{n}",
            title=title,
            context=context,
            question=facts[i].ask(rng),
            answers=[(facts[i].value, _place(facts[i].value, context))],
        )
        for n, i in enumerate(rng.sample(range(len(facts)), _QUESTIONS))
    ]


def _place(value, context):
    return re.search(rf"\b{value}\b", context).start()  # "lute", not "flute"
