"""Documents of sentences, read from text files."""

from typing import NamedTuple


class Document(NamedTuple):
    """A text of its own: what is next to each other in it belongs together."""

    title: str
    sentences: tuple[str, ...]
