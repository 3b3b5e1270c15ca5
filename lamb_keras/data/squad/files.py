"""Questions in SQuAD v1.1's JSON format.

    {"data": [{"title": …, "paragraphs": [{"context": …, "qas": [
        {"id": …, "question": …, "answers": [{"text": …, "answer_start": …}]}]}]}]}

`answer_start` counts the characters (Unicode code points) of the context before the
answer. Every question has at least one answer, which stands in its context word for
word.
"""

import json
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lamb_keras.data.images import DataError

_KINDS = {str: "a string", int: "a whole number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Question:
    """A question on a paragraph, with every answer that counts as right.

    Args:
        id: what predictions are filed under; unique in a file.
        title: of the article that the paragraph is from.
        context: the paragraph.
        question: what is asked.
        answers: (text, start) of each, where `context[start:]` begins with `text`.
    """

    id: str
    title: str
    context: str
    question: str
    answers: list[tuple[str, int]]

    @property
    def references(self) -> list[str]:
        """The texts of the answers.

        Example:
            >>> Question("1", "Sun", "It is hot.", "How?", [("hot", 6)]).references
            ['hot']
        """
        return [text for text, _ in self.answers]


def read(path_or_dict) -> list[Question]:
    """The questions of a SQuAD v1.1 file, in the file's order.

    Args:
        path_or_dict: the file, or what its JSON holds.

    Raises:
        DataError: what is no such file, or a question whose answer does not stand where
            the file says.

    Example:
        >>> qa = {"id": "1", "question": "How is it?",
        ...       "answers": [{"text": "hot", "answer_start": 6}]}
        >>> paragraph = {"context": "It is hot.", "qas": [qa]}
        >>> read({"data": [{"title": "Sun", "paragraphs": [paragraph]}]})[0].answers
        [('hot', 6)]
    """
    if isinstance(path_or_dict, Mapping):
        name, content = "the SQuAD data", path_or_dict
    else:
        name, content = os.fspath(path_or_dict), _json(Path(path_or_dict))
    questions = []
    articles = _member(content, "data", list, name)
    for number, article in enumerate(articles, 1):
        where = f"article {number} of {name}"
        title = _member(article, "title", str, where)
        for paragraph in _member(article, "paragraphs", list, where):
            place = f"a paragraph of {title!r} in {name}"
            context = _member(paragraph, "context", str, place)
            questions += [
                _question(each, title, context, place, name)
                for each in _member(paragraph, "qas", list, place)
            ]
    if not questions:
        raise DataError(
            f"{name} holds no question (articles: {len(articles)}), expected at "
            "least one; replace it by a full copy"
        )
    _refuse_repeated_ids(questions, name)
    return questions


def split_by_article(
    questions: Sequence[Question], fraction: float, seed: int = 0
) -> tuple[list[Question], list[Question]]:
    """(kept, held out): no article, so no context either, has questions in both.

    The same seed holds out the same articles, on every machine and NumPy, and in
    whatever order they come.

    Args:
        questions: of at least two articles.
        fraction: of the articles, between 0 and 1; at least one is held out and at
            least one kept.
        seed: of the draw.

    Example:
        >>> questions = [Question(str(n), f"article {n // 3}", "", "", [])
        ...              for n in range(12)]
        >>> kept, held_out = split_by_article(questions, 0.25)
        >>> len(kept), [question.title for question in held_out]
        (9, ['article 2', 'article 2', 'article 2'])
    """
    if not isinstance(fraction, numbers.Real) or not 0 < fraction < 1:
        raise DataError(
            f"the fraction of articles to hold out is {fraction!r}; expected a number "
            "between 0 and 1, such as 0.2"
        )
    titles = sorted({each.title for each in questions})
    if len(titles) < 2:
        raise DataError(
            "the questions are on fewer than two articles, expected two or more, to "
            "hold out one and keep one; add questions on another"
        )
    count = min(max(round(fraction * len(titles)), 1), len(titles) - 1)
    # RandomState's stream is frozen; default_rng's may change with NumPy's version.
    order = np.random.RandomState(seed).permutation(len(titles))
    chosen = {titles[each] for each in order[:count]}
    kept = [each for each in questions if each.title not in chosen]
    return kept, [each for each in questions if each.title in chosen]


def _json(path):
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); "
            "make it a file that you may read"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not valid JSON ({error}); replace it by an intact copy"
        ) from None


def _member(value, key, kind, where):
    """`value[key]`, of that kind."""
    if not isinstance(value, Mapping):
        found = f"is {_short(value)}, expected an object with {key!r}"
    elif key not in value:
        found = f"has no {key!r}"
    elif not isinstance(value[key], kind) or isinstance(value[key], bool):
        found = f"has {_short(value[key])} as {key!r}, expected {_KINDS[kind]}"
    else:
        return value[key]
    raise DataError(f"{where} {found}; bring it into SQuAD v1.1's JSON format")


def _question(value, title, context, place, name):
    id = _member(value, "id", str, f"a question on {place}")
    where = f"question {id!r} of {name}"
    text = _member(value, "question", str, where)
    answers = [
        _answer(each, context, where) for each in _member(value, "answers", list, where)
    ]
    if not answers:
        raise DataError(
            f"{where} has no answer, expected at least one, as all have in SQuAD v1.1 "
            "(SQuAD 2.0 has some without); take the question out"
        )
    return Question(id, title, context, text, answers)


def _answer(value, context, where):
    text = _member(value, "text", str, where)
    start = _member(value, "answer_start", int, where)
    if not text.strip():
        raise DataError(
            f"{where} has the blank answer {text!r}, expected words of its context; "
            "correct it or take it out"
        )
    if start < 0 or not context.startswith(text, start):
        found = context[start : start + len(text)] if start >= 0 else ""
        place = context.find(text)
        cure = (
            f"correct its answer_start, to {place} if that is the one meant"
            if place >= 0
            else "correct its text or its context, which does not hold it"
        )
        raise DataError(
            f"{where} has its answer {_short(text)} at character {start}, where the "
            f"context has {_short(found)}; {cure}"
        )
    return text, start


def _refuse_repeated_ids(questions, name):
    seen = set()
    for each in questions:
        if each.id in seen:
            raise DataError(
                f"{name} holds more than one question with the id {each.id!r}, "
                "expected an id of its own for each; rename or take out the others"
            )
        seen.add(each.id)


def _short(value):
    """How an error shows a value that may be an article long."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
