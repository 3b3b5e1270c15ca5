"""Text of a user's own, from a function that returns a corpus and questions on others.

That is `{"texts": [...], "train": {...}, "dev": {...}}`: a text is a document, or
several with headings, as a file is; questions are what SQuAD v1.1's JSON holds. Without
"dev", some of the articles of "train" are held out to judge by.
"""

from collections.abc import Mapping

from lamb_keras import own
from lamb_keras.data import squad
from lamb_keras.data.source import DataError, of_user
from lamb_keras.data.text import corpus


def find(place: str) -> tuple[str, list, list, list]:
    """(title, documents, questions to train on, questions to judge by) of a function.

    The title is the first line of its docstring.

    Raises:
        DataError: for what cannot be loaded, or is no such text.
    """
    title, found = of_user(place)
    is_text = isinstance(found, Mapping) and {*found} - {"dev"} == {"texts", "train"}
    texts = found["texts"] if is_text else None
    of_text = isinstance(texts, list | tuple) and all(
        isinstance(text, str) for text in texts
    )
    if not of_text or not any(map(str.strip, texts)):
        raise DataError(
            f"{place} returns something else, expected {{'texts': [text, ...], "
            "'train': questions as SQuAD v1.1's JSON has them}, and maybe 'dev'"
        )
    try:
        train, dev = (
            squad.read(found[part]) if found.get(part) is not None else []
            for part in ("train", "dev")
        )
    except (DataError, TypeError) as error:
        raise DataError(f"the questions of {place}: {error}") from None
    name = own.name(place)
    documents = [
        document
        for number, text in enumerate(texts, 1)
        for document in corpus.documents(text, f"{name} {number}")
    ]
    return title, documents, train, dev
