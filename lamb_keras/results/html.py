"""Text and HTML from the templates beside this module; HTML escapes every value."""

import base64
import functools
import hashlib
from pathlib import Path

import jinja2

from lamb_keras.results import wording

TEMPLATES = Path(__file__).parent / "templates"
STYLE = "sections.css"
# A verdict is told by word and mark, not by its color alone.
MARKS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?"}


class Html(str):
    """HTML that a notebook shows as such."""

    def _repr_html_(self):
        return str(self)

    def __repr__(self):
        # A notebook stores this beside the HTML, which need not be there twice.
        return f"<HTML, {len(self)} characters>"


def render(template: str, **context) -> Html:
    """The template of that name, filled in."""
    return Html(_environment().get_template(template).render(**context))


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def sha256(text: str) -> str:
    """The hash by which a page's policy lets a script run."""
    digest = hashlib.sha256(text.encode()).digest()
    return base64.b64encode(digest).decode("ascii")


@functools.cache
def _environment():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = "moment duration words line span listed percent signed".split()
    filters = *(getattr(wording, name) for name in names), data_uri, sha256
    environment.filters |= {each.__name__: each for each in filters}
    environment.globals["marks"] = MARKS
    return environment
