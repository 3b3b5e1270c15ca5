"""A notebook as one self-contained page: no script, no network, one file.

A content security policy in the page lets the browser load nothing but what the file
itself holds, so that even a run's own output cannot ask for anything.
"""

import functools
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


def _body(notebook, code):
    import nbformat
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
    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        # Scraps are for programs; nbconvert would warn that it cannot show them.
        cell["outputs"] = [o for o in cell.get("outputs", []) if not _unseen(o)]
    # Which cell made something is of no use to a reader who does not see the code.
    resources = {"metadata": {"path": str(notebook.parent)}}
    body, _ = HTMLExporter(config=config).from_notebook_node(content, resources)
    return body


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
