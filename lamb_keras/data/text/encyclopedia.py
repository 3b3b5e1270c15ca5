"""A small encyclopedia that is made up from a seed, with questions on it.

It stands in for Wikipedia and SQuAD v1.1 where neither is at hand or either would take
too long. All names, facts and sentences are generated.

An article is about three people, cities, rivers, mountains or machines. It has the same
facts of each, so several candidates of a kind stand in every paragraph, in sentences of
a random order. Every fact is told twice in an article, in two wordings: a word masked
in one can be read off the other, which teaches a masked language model to look up.

Names are a stem and an ending. Those of the dev articles are other combinations than
those of the training articles, for every seed. Two articles may know different people
of one name: what a name means can't be learned by heart.
"""

import random
import re
from functools import partial
from typing import NamedTuple

from lamb_keras.data.text.corpus import Document

VERSION = "generated"

SUBJECTS = 3  # an article
_RELATIONS = 2  # a paragraph

# So that with a question, which has at most ten, and [CLS] and two [SEP] it is 64.
_CONTEXT_PIECES = 51

_QUESTIONS_IN_TEXT = 1 / 6

_STEMS = (
    "Ab Ban Bex Bro Cal Cor Dal Den Dol Dov Ek Fal Fen Fos Gal Gur Gol Hal Hob Il Jas "
    "Jor Kal Kel Kro Lun Lor Lep Mal Mer Mol Nal Nib Nor Ob Pal Pev Pol Ral Rud Sab "
    "Sov Sul Tal Tor Ul Val Vor Wil Yar Zel Zad"
).split()

_ENDINGS = {
    "person": "ado bert dra gus ika lia mund nette rick sa vina zo",
    "city": "burg bury by dorf field ford gate ham mouth ton ville wick",
    "river": "ana bek enz flow ira lex oso rin una uth wash yne",
    "mountain": "alp berg cliff crag fell horn jok kopf peak spitz tor top",
    "machine": "dyne gine graph ler lift matic meter ometer phone scope tron wheel",
}

_WORDS = {
    "year": " ".join(map(str, range(1840, 1900))),
    "trade": "baker barber cook doctor farmer judge miller painter poet sailor tailor "
    "weaver",
    "instrument": "bell drum fiddle flute guitar harp horn lute organ piano trumpet "
    "viola",
    "goods": "butter candles cheese coal cotton glass honey paper salt silk timber "
    "wool",
    "fish": "bass carp cod eels herring perch pike salmon sharks sole trout tuna",
    "rock": "basalt chalk clay flint gneiss granite gypsum lava limestone marble "
    "sand slate",
    "metal": "brass bronze chrome copper gold iron lead nickel silver steel tin zinc",
}


class Relation(NamedTuple):
    """A kind of fact: what has it, its values, and how it is told and asked for."""

    subject: str
    value: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]


RELATIONS = (
    Relation(
        "person",
        "year",
        (
            "{s} was born in {v}.",
            "In {v}, {s} was born.",
            "The birth of {s} was in {v}.",
            "The year in which {s} was born was {v}.",
        ),
        (
            "In which year was {s} born?",
            "When was {s} born?",
            "When was the birth of {s}?",
        ),
    ),
    Relation(
        "person",
        "year",
        (
            "{s} was married in {v}.",
            "In {v}, {s} was married.",
            "The wedding of {s} was in {v}.",
            "The year in which {s} was married was {v}.",
        ),
        (
            "In which year was {s} married?",
            "When was {s} married?",
            "When was the wedding of {s}?",
        ),
    ),
    Relation(
        "person",
        "city",
        (
            "{s} lived in {v}.",
            "{v} was where {s} lived.",
            "The home of {s} was in {v}.",
            "The city in which {s} lived was {v}.",
        ),
        (
            "In which city did {s} live?",
            "Where did {s} live?",
            "Where was the home of {s}?",
        ),
    ),
    Relation(
        "person",
        "trade",
        (
            "{s} worked as a {v}.",
            "By trade, {s} was a {v}.",
            "The trade of {s} was that of a {v}.",
            "The work that {s} did was that of a {v}.",
        ),
        (
            "What was {s} by trade?",
            "What was the trade of {s}?",
            "Which work did {s} do?",
        ),
    ),
    Relation(
        "person",
        "instrument",
        (
            "{s} played the {v}.",
            "On the {v}, {s} made music.",
            "The instrument of {s} was the {v}.",
            "What {s} played was the {v}.",
        ),
        (
            "Which instrument did {s} play?",
            "What did {s} play?",
            "What was the instrument of {s}?",
        ),
    ),
    Relation(
        "city",
        "year",
        (
            "{s} was founded in {v}.",
            "In {v}, {s} was founded.",
            "The founding of {s} was in {v}.",
            "The year in which {s} was founded was {v}.",
        ),
        (
            "In which year was {s} founded?",
            "When was {s} founded?",
            "When was the founding of {s}?",
        ),
    ),
    Relation(
        "city",
        "year",
        (
            "{s} burned in {v}.",
            "In {v}, {s} burned.",
            "The fire of {s} was in {v}.",
            "The year in which {s} burned was {v}.",
        ),
        (
            "In which year did {s} burn?",
            "When did {s} burn?",
            "When was the fire of {s}?",
        ),
    ),
    Relation(
        "city",
        "river",
        (
            "{s} lies on the {v}.",
            "On the {v} lies {s}.",
            "The river of {s} is the {v}.",
            "The river on which {s} lies is the {v}.",
        ),
        (
            "On which river does {s} lie?",
            "What is the river of {s}?",
            "On what does {s} lie?",
        ),
    ),
    Relation(
        "city",
        "goods",
        (
            "{s} sold {v}.",
            "From {s} came {v}.",
            "The goods of {s} were {v}.",
            "What {s} sold was {v}.",
        ),
        (
            "Which goods did {s} sell?",
            "What did {s} sell?",
            "What were the goods of {s}?",
        ),
    ),
    Relation(
        "city",
        "person",
        (
            "{s} was ruled by {v}.",
            "{v} ruled in {s}.",
            "The ruler of {s} was {v}.",
            "The one by whom {s} was ruled was {v}.",
        ),
        (
            "By whom was {s} ruled?",
            "Who ruled in {s}?",
            "Who was the ruler of {s}?",
        ),
    ),
    Relation(
        "river",
        "year",
        (
            "The {s} was bridged in {v}.",
            "In {v}, the {s} was bridged.",
            "The bridge of the {s} was built in {v}.",
            "The year in which the {s} was bridged was {v}.",
        ),
        (
            "In which year was the {s} bridged?",
            "When was the {s} bridged?",
            "When was the bridge of the {s} built?",
        ),
    ),
    Relation(
        "river",
        "year",
        (
            "The {s} froze in {v}.",
            "In {v}, the {s} froze.",
            "The frost of the {s} was in {v}.",
            "The year in which the {s} froze was {v}.",
        ),
        (
            "In which year did the {s} freeze?",
            "When did the {s} freeze?",
            "When was the frost of the {s}?",
        ),
    ),
    Relation(
        "river",
        "mountain",
        (
            "The {s} rises on {v}.",
            "On {v} rises the {s}.",
            "The source of the {s} is on {v}.",
            "The mountain on which the {s} rises is {v}.",
        ),
        (
            "On which mountain does the {s} rise?",
            "Where does the {s} rise?",
            "Where is the source of the {s}?",
        ),
    ),
    Relation(
        "river",
        "fish",
        (
            "The {s} is full of {v}.",
            "In the {s} live {v}.",
            "The fish of the {s} are {v}.",
            "The fish that live in the {s} are {v}.",
        ),
        (
            "Which fish live in the {s}?",
            "What is the {s} full of?",
            "What are the fish of the {s}?",
        ),
    ),
    Relation(
        "river",
        "city",
        (
            "The {s} flows to {v}.",
            "To {v} flows the {s}.",
            "The mouth of the {s} is at {v}.",
            "The city to which the {s} flows is {v}.",
        ),
        (
            "To which city does the {s} flow?",
            "Where does the {s} flow?",
            "Where is the mouth of the {s}?",
        ),
    ),
    Relation(
        "mountain",
        "year",
        (
            "{s} was climbed in {v}.",
            "In {v}, {s} was climbed.",
            "The climb of {s} was in {v}.",
            "The year in which {s} was climbed was {v}.",
        ),
        (
            "In which year was {s} climbed?",
            "When was {s} climbed?",
            "When was the climb of {s}?",
        ),
    ),
    Relation(
        "mountain",
        "year",
        (
            "{s} was mapped in {v}.",
            "In {v}, {s} was mapped.",
            "The map of {s} was made in {v}.",
            "The year in which {s} was mapped was {v}.",
        ),
        (
            "In which year was {s} mapped?",
            "When was {s} mapped?",
            "When was the map of {s} made?",
        ),
    ),
    Relation(
        "mountain",
        "person",
        (
            "{s} was climbed by {v}.",
            "{v} climbed {s}.",
            "The climber of {s} was {v}.",
            "The one by whom {s} was climbed was {v}.",
        ),
        (
            "By whom was {s} climbed?",
            "Who climbed {s}?",
            "Who was the climber of {s}?",
        ),
    ),
    Relation(
        "mountain",
        "rock",
        (
            "{s} is made of {v}.",
            "On {s} there is {v}.",
            "The rock of {s} is {v}.",
            "The rock of which {s} is made is {v}.",
        ),
        (
            "Of which rock is {s} made?",
            "What is the rock of {s}?",
            "Of what is {s} made?",
        ),
    ),
    Relation(
        "mountain",
        "city",
        (
            "{s} is seen from {v}.",
            "From {v}, {s} is seen.",
            "The view of {s} is from {v}.",
            "The city from which {s} is seen is {v}.",
        ),
        (
            "From which city is {s} seen?",
            "From where is {s} seen?",
            "From where is the view of {s}?",
        ),
    ),
    Relation(
        "machine",
        "year",
        (
            "The {s} was built in {v}.",
            "In {v}, the {s} was built.",
            "The building of the {s} was in {v}.",
            "The year in which the {s} was built was {v}.",
        ),
        (
            "In which year was the {s} built?",
            "When was the {s} built?",
            "When was the building of the {s}?",
        ),
    ),
    Relation(
        "machine",
        "year",
        (
            "The {s} was sold in {v}.",
            "In {v}, the {s} was sold.",
            "The sale of the {s} was in {v}.",
            "The year in which the {s} was sold was {v}.",
        ),
        (
            "In which year was the {s} sold?",
            "When was the {s} sold?",
            "When was the sale of the {s}?",
        ),
    ),
    Relation(
        "machine",
        "person",
        (
            "The {s} was built by {v}.",
            "{v} built the {s}.",
            "The maker of the {s} was {v}.",
            "The one by whom the {s} was built was {v}.",
        ),
        (
            "By whom was the {s} built?",
            "Who built the {s}?",
            "Who was the maker of the {s}?",
        ),
    ),
    Relation(
        "machine",
        "metal",
        (
            "The {s} was made of {v}.",
            "For the {s} there was {v}.",
            "The metal of the {s} was {v}.",
            "The metal of which the {s} was made was {v}.",
        ),
        (
            "Of which metal was the {s} made?",
            "What was the metal of the {s}?",
            "Of what was the {s} made?",
        ),
    ),
    Relation(
        "machine",
        "city",
        (
            "The {s} is kept in {v}.",
            "In {v}, the {s} is kept.",
            "The place of the {s} is in {v}.",
            "The city in which the {s} is kept is {v}.",
        ),
        (
            "In which city is the {s} kept?",
            "Where is the {s} kept?",
            "Where is the place of the {s}?",
        ),
    ),
)


class Fact(NamedTuple):
    """Something said of a subject: the value that it has in a relation."""

    relation: Relation
    subject: str
    value: str


class Encyclopedia(NamedTuple):
    """Articles to pre-train on and questions to fine-tune on and to judge by.

    Args:
        documents: the training articles, in which every fact is told twice.
        held_out: the dev articles in the same form.
        train: questions on the first of the training articles, as SQuAD v1.1's JSON.
        dev: questions on the dev articles, likewise.
    """

    documents: list[Document]
    held_out: list[Document]
    train: dict
    dev: dict


def generate(
    seed: int,
    articles: int,
    *,
    dev_articles: int | None = None,
    question_articles: int | None = None,
    paragraphs: int = 2,
    questions: int = 3,
) -> Encyclopedia:
    """An encyclopedia of that size, the same for the same arguments.

    The paragraph that questions are asked on tells each of its six facts once, in a
    wording of its own. A question and its paragraph fit 64 word pieces, special ones
    included, of a vocabulary that has all words whole and the names in two: one of
    1000 pieces has, but for the odd name.

    Args:
        seed: of everything that is made up.
        articles: to train on.
        dev_articles: to judge by; by default a tenth of `articles`, at least one.
        question_articles: how many of the training articles get questions, by default
            all.
        paragraphs: of an article, 1 or 2.
        questions: of a paragraph, at most six.

    Example:
        >>> made = generate(seed=0, articles=2)
        >>> len(made.documents), len(made.held_out), len(made.dev["data"])
        (2, 1, 1)
        >>> made.documents[0].sentences[1]
        'In 1874, the Jorbek was bridged.'
        >>> paragraph = made.train["data"][0]["paragraphs"][0]
        >>> paragraph["context"][:32]
        'The Zeloso froze in 1889. The Le'
        >>> paragraph["qas"][0]["question"]
        'When was the frost of the Zeloso?'
    """
    if dev_articles is None:
        dev_articles = max(1, articles // 10)
    if question_articles is None:
        question_articles = articles
    documents, train = _articles("train", seed, articles, paragraphs, questions)
    held_out, dev = _articles("dev", seed, dev_articles, paragraphs, questions)
    return Encyclopedia(
        documents,
        held_out,
        {"version": VERSION, "data": train[:question_articles]},
        {"version": VERSION, "data": dev},
    )


def _articles(split, seed, count, paragraphs, questions):
    """(documents, SQuAD articles), of which the first n don't depend on `count`."""
    rng = random.Random(f"{split} {seed}")
    names = {kind: _names(kind, split) for kind in _ENDINGS}
    documents, asked = [], []
    for number in range(count):
        kind = rng.choice(tuple(_ENDINGS))
        facts = _facts(rng, kind, names, paragraphs)
        title = ", ".join(dict.fromkeys(fact.subject for fact in facts[0]))
        sentences, parts = [], []
        for place, group in enumerate(facts):
            wordings = [rng.sample(fact.relation.statements, 2) for fact in group]
            sentences += _told_twice(rng, group, wordings)
            where = f"{split}-{seed}-{number}-{place}"
            parts.append(_paragraph(rng, group, wordings, questions, where))
        documents.append(Document(title, tuple(sentences)))
        asked.append({"title": title, "paragraphs": parts})
    return documents, asked


def _names(kind, split):
    """(stem, name) of the names of a kind in that split: one in five is dev's."""
    endings = _ENDINGS[kind].split()
    return [
        (stem, stem + ending)
        for i, stem in enumerate(_STEMS)
        for j, ending in enumerate(endings)
        if ((i + 2 * j) % 5 == 0) == (split == "dev")
    ]


def _facts(rng, kind, names, paragraphs):
    """For each paragraph the facts in it. No stem and no value is there twice."""
    taken = set()

    def draw(of):
        while True:
            if of in _WORDS:
                key = word = rng.choice(_VALUES[of])
            else:
                key, word = rng.choice(names[of])
            if key not in taken:
                taken.add(key)
                return word

    subjects = [draw(kind) for _ in range(SUBJECTS)]
    relations = rng.sample(_OF_KIND[kind], _RELATIONS * paragraphs)
    return [
        [
            Fact(relation, subject, draw(relation.value))
            for relation in relations[first : first + _RELATIONS]
            for subject in subjects
        ]
        for first in range(0, len(relations), _RELATIONS)
    ]


def _told_twice(rng, facts, wordings):
    """Relation by relation: all facts in one order, then all in another.

    There, one in six follows on a question, so that their words are known too.
    """
    told = []
    for first in range(0, len(facts), SUBJECTS):
        for wording in range(2):
            order = list(range(first, first + SUBJECTS))
            rng.shuffle(order)
            for i in order:
                if wording and rng.random() < _QUESTIONS_IN_TEXT:
                    told.append(_question(rng, facts[i]))
                told.append(_sentence(facts[i], wordings[i][wording]))
    return told


def _paragraph(rng, facts, wordings, questions, where):
    """Each fact once, in SQuAD's form."""
    order = list(range(len(facts)))
    rng.shuffle(order)
    statements = [rng.choice(told) for told in wordings]
    # The longest are told in fewer words until all fit.
    by_length = sorted(order, key=lambda i: -_pieces(facts[i], statements[i]))
    for i in by_length:
        told = zip(facts, statements, strict=True)
        if sum(_pieces(*each) for each in told) <= _CONTEXT_PIECES:
            break
        fact = facts[i]
        statements[i] = min(fact.relation.statements, key=partial(_pieces, fact))
    context, starts = "", {}
    for i in order:
        fact, statement = facts[i], statements[i]
        context += " " * bool(context)
        value_at = statement.index("{v}")
        before = statement[:value_at].replace("{s}", fact.subject)
        starts[i] = len(context) + len(before)
        context += _sentence(fact, statement)
    qas = [
        {
            "id": f"{where}-{n}",
            "question": _question(rng, facts[i]),
            "answers": [{"text": facts[i].value, "answer_start": starts[i]}],
        }
        for n, i in enumerate(rng.sample(range(len(facts)), questions))
    ]
    return {"context": context, "qas": qas}


def _question(rng, fact):
    return rng.choice(fact.relation.questions).format(s=fact.subject)


def _pieces(fact, statement):
    """How many word pieces a sentence has: a made-up name has two, a word one."""
    names = 1 + (fact.relation.value in _ENDINGS)
    return len(re.findall(r"\w+|[^\w\s]", _sentence(fact, statement))) + names


def _sentence(fact, statement):
    return statement.format(s=fact.subject, v=fact.value)


_VALUES = {kind: words.split() for kind, words in _WORDS.items()}
_OF_KIND = {
    kind: [relation for relation in RELATIONS if relation.subject == kind]
    for kind in _ENDINGS
}
