"""A notebook as one self-contained page: no script, no network, one file.

A content security policy in the page lets the browser load nothing but what the file
itself holds, so that even a run's own output cannot ask for anything.
"""

import functools
import hashlib
import re
from pathlib import Path

from markupsafe import Markup

from lamb_keras.results import views

# Scripts and widgets would need a network or a kernel; what they stand for is beside
# them in one of these forms.
SHOWN = (
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/latex",
    "text/plain",
)


def page(notebook: Path, code: bool = False, back: str | None = None) -> str:
    """The executed notebook at `notebook` as HTML, with its code only if asked for.

    The title is the notebook's first heading; `back` is a link to where the reader
    came from.

    Example:
        >>> import nbformat.v4, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "run.ipynb"
        >>> cell = nbformat.v4.new_markdown_cell("# LeNet on MNIST")
        >>> nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
        >>> "<title>LeNet on MNIST</title>" in page(path)
        True
    """
    body, headings = _with_anchors(_body(notebook, code))
    titles = re.findall(r"<h1[^>]*>(.*?)</h1>", body, flags=re.DOTALL)
    return views.render(
        "page.html",
        title=_text(titles[0]) if titles else notebook.stem,
        headings=headings,
        style=Markup(_style()),
        body=Markup(body),
        back=back,
    )


def mark(notebook: Path, code: bool = False, back: str | None = None) -> str:
    """A comment that changes with whatever `page` of the same arguments depends on.

    At the end of a page that was written, it tells whether that is still the one.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "run.ipynb"
        >>> _ = path.write_text("{}")
        >>> mark(path) == mark(path), mark(path) == mark(path, code=True)
        (True, False)
    """
    made_of = [notebook.read_bytes(), repr((code, back)).encode(), _made_by()]
    digests = [hashlib.sha256(each).digest() for each in made_of]
    return f"<!-- made from {hashlib.sha256(b''.join(digests)).hexdigest()} -->\n"


@functools.cache
def _made_by():
    from importlib.metadata import version

    sources = [Path(__file__), Path(views.__file__)]
    sources += sorted(path for path in views.TEMPLATES.rglob("*") if path.is_file())
    texts = [path.read_bytes() for path in sources]
    versions = [version(name).encode() for name in ("nbconvert", "jinja2", "pygments")]
    return b"\0".join(texts + versions)


def _body(notebook, code):
    import nbformat

    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        # Scraps are for programs; nbconvert would warn that it cannot show them.
        cell["outputs"] = [o for o in cell.get("outputs", []) if not _unseen(o)]
    # Which cell made something is of no use to a reader who does not see the code.
    resources = {"metadata": {"path": str(notebook.parent)}}
    body, _ = _exporter(code).from_notebook_node(content, resources)
    return body


@functools.cache
def _exporter(code):
    """One for all pages: it compiles its templates, which takes longer than a page."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config(
        HTMLExporter={
            "template_name": "basic",
            "exclude_input": not code,
            "exclude_input_prompt": True,
            "exclude_output_prompt": True,
            "exclude_anchor_links": True,
            "embed_images": True,
        },
        NbConvertBase={"display_data_priority": list(SHOWN)},
    )
    return HTMLExporter(config=config)


def _unseen(output):
    return bool(output.get("data")) and not set(output.data) & set(SHOWN)


def _with_anchors(body):
    """Gives every section's heading an id; returns these too, with the words."""
    headings = []

    def anchored(found):
        headings.append((f"section-{len(headings) + 1}", _text(found[1])))
        return f'<h2 id="{headings[-1][0]}">{found[1]}</h2>'

    body = re.sub(r"<h2[^>]*>(.*?)</h2>", anchored, body, flags=re.DOTALL)
    return body, headings


def _text(html):
    """The words of a heading, as the template is to escape them again."""
    return Markup(html).striptags()


@functools.cache
def _style():
    from pygments.formatters import HtmlFormatter

    styles = [(views.TEMPLATES / "page.css").read_text(encoding="utf-8")]
    styles.append((views.TEMPLATES / "views.css").read_text(encoding="utf-8"))
    for scheme, name in (("light", "friendly"), ("dark", "github-dark")):
        rules = HtmlFormatter(style=name).get_style_defs(".highlight")
        # The page has a background of its own.
        rules = re.sub(r"background: #[0-9a-fA-F]+;?", "", rules)
        styles.append(f"@media (prefers-color-scheme: {scheme}) {{\n{rules}\n}}")
    return "\n".join(styles)
