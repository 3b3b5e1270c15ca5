"""Questions in SQuAD v1.1's JSON format.

    {"data": [{"title": …, "paragraphs": [{"context": …, "qas": [
        {"id": …, "question": …, "answers": [{"text": …, "answer_start": …}]}]}]}]}

`answer_start` counts the characters (Unicode code points) of the context before the
answer. Every question has at least one answer, which its context has word for word.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, Field, StrictInt, ValidationError

from lamb_keras.data.source import DataError
from lamb_keras.data.text import corpus


@dataclass(frozen=True)
class Question:
    """A question on a paragraph, with every answer that counts as right."""

    id: str  # unique in a file
    title: str  # of the paragraph's article
    context: str  # the paragraph
    question: str
    answers: list[tuple[str, int]]  # text and start: context[start:] begins with text

    @property
    def references(self) -> list[str]:
        """The texts of the answers."""
        return [text for text, _ in self.answers]


def _some(answers):
    if not answers:
        raise ValueError("no answer, as SQuAD 2.0 has it, expected one or more")
    return answers


class _Answer(BaseModel):
    text: Annotated[str, Field(pattern=r"\S")]
    answer_start: StrictInt


class _Asked(BaseModel):
    id: Annotated[str, Field(coerce_numbers_to_str=True)]
    question: str
    answers: Annotated[list[_Answer], AfterValidator(_some)]


def _in_context(asked, info):
    """The question, if the paragraph has its answers where they say."""
    context = info.data.get("context")
    for answer in asked.answers if context is not None else ():
        text, start = answer.text, answer.answer_start
        if start < 0 or not context.startswith(text, start):
            place = context.find(text)
            cure = f"at {place}" if place >= 0 else "nowhere"
            raise ValueError(
                f"question {asked.id!r} has its answer {text[:50]!r} at character "
                f"{start}, where the context has it {cure}"
            )
    return asked


class _Paragraph(BaseModel):
    context: str
    qas: list[Annotated[_Asked, AfterValidator(_in_context)]]


class _Article(BaseModel):
    title: str | None = None
    paragraphs: list[_Paragraph]


class _File(BaseModel):
    data: list[_Article]


def read(path: str | os.PathLike | dict) -> list[Question]:
    """The questions of a SQuAD v1.1 file, or of what is in one, in the file's order.

    No such file, or an answer that is not where the file says, is a `DataError`.
    """
    if isinstance(path, dict):
        text, path = json.dumps(path), "the file"
    else:
        text = corpus.read_text(path, "SQuAD v1.1's JSON")
    try:
        file = _File.model_validate_json(text)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, each['loc'])) or 'file'}: "
            + each["msg"].removeprefix("Value error, ")
            for each in error.errors(include_url=False)
        ]
        raise DataError(
            f"{path} is not in SQuAD v1.1's JSON format, faults: {len(faults):,}, the "
            f"first: {'; '.join(faults[:3])}"
        ) from None
    questions = [
        Question(
            id=asked.id,
            title=article.title or f"article {number} of {path}",
            context=paragraph.context,
            question=asked.question,
            answers=[(each.text, each.answer_start) for each in asked.answers],
        )
        for number, article in enumerate(file.data, 1)
        for paragraph in article.paragraphs
        for asked in paragraph.qas
    ]
    if not questions:
        raise DataError(
            f"{path} has no question, expected at least one; replace it by a full copy"
        )
    counts = Counter(each.id for each in questions)
    repeated = [id for id, count in counts.items() if count > 1]
    if repeated:
        raise DataError(
            f"{path} has ids of more than one question: {len(repeated):,}, the first: "
            f"{', '.join(map(repr, repeated[:3]))}; expected an id of its own for each"
        )
    return questions


def split_by_article(
    questions: Sequence[Question], fraction: float
) -> tuple[list[Question], list[Question]]:
    """(to train on, held out): no article, so no context either, is in both.

    About that fraction of the articles is held out, the same ones on every machine, in
    whatever order the questions come; at least one goes to either part.
    """
    titles = sorted({each.title for each in questions})
    if len(titles) < 2:
        raise DataError(
            "the questions are on fewer than two articles, expected two or more, to "
            "hold out one and train on one; add questions on another"
        )
    count = min(max(round(fraction * len(titles)), 1), len(titles) - 1)
    # RandomState's stream is frozen; default_rng's may change with NumPy's version.
    order = np.random.RandomState(0).permutation(len(titles))
    chosen = {titles[each] for each in order[:count]}
    parts = [], []
    for each in questions:
        parts[each.title in chosen].append(each)
    return parts
