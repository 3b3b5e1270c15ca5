"""A notebook as one self-contained page: no network, one file.

A content security policy in the page lets the browser load nothing but what the file
itself holds, so that even a run's own output cannot ask for anything, and run no script
but the report's own, which sorts its tables.
"""

import functools
import hashlib
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from lamb_keras.results import html
from lamb_keras.store import atomic

# Scripts and widgets would need a network or a kernel; what they stand for is beside
# them in one of these forms.
SHOWN = (
    *("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg"),
    *("text/latex", "text/plain"),
)

# A formula that stands by itself, in LaTeX.
FORMULA = re.compile(r"(?s)\$\$(.+?)\$\$")

# Where on the machine the code lies that warns: nothing for those who read the page.
FOLDER = re.compile(r"(?m)^.*[/\\](?=[^/\\\n]+\.py:\d+: \w*Warning: )")


def page(
    notebook: Path,
    code: bool = False,
    back: str | None = None,
    files: Mapping[str, bytes] | None = None,
) -> str:
    """The executed notebook at `notebook` as HTML, with its code only if asked for.

    A cell whose metadata say that its source is not hidden shows it in any case. The
    title is the notebook's first heading; `back` is a link to where the reader came
    from. A page that has `files`, of CSV by their names, is the report: they can be
    saved from it, and its tables be sorted.
    """
    headings = []

    def with_anchor(found):
        if found["table"]:
            headings[-1]["tables"].append(found["table"])
            return found[0]
        # The words lose their tags; the template escapes them again.
        about = {"id": f"section-{len(headings) + 1}", "tables": []}
        headings.append(about | {"text": Markup(found["words"]).striptags()})
        return f'<h2 id="{about["id"]}">{found["words"]}</h2>'

    places = r'(?s)<h2[^>]*>(?P<words>.*?)</h2>|(?<= )id="table-(?P<table>\d+)"'
    body = re.sub(places, with_anchor, _body(notebook, code))
    title = re.search(r"(?s)<h1[^>]*>(.*?)</h1>", body)
    script = (html.TEMPLATES / "page.js").read_text("utf-8") if files else ""
    return html.render(
        "page.html",
        title=Markup(title[1]).striptags() if title else notebook.stem,
        headings=headings,
        style=Markup(_style()),
        body=Markup(body),
        back=back,
        files=files or {},
        script=Markup(script),
    )


def renew(notebook: Path, back: str) -> None:
    """Writes the page of a run beside its notebook, unless it is there and the same.

    A comment at its end changes with whatever the page is made from: rendering the
    pages of earlier batches again would take longer than all else in a report.
    """
    sources = [notebook, Path(__file__), *sorted(html.TEMPLATES.iterdir())]
    versions = [version(name) for name in ("nbconvert", "jinja2", "pygments")]
    made_from = hashlib.sha256(repr((back, versions)).encode())
    for source in sources:
        made_from.update(hashlib.sha256(source.read_bytes()).digest())
    mark = f"<!-- made from {made_from.hexdigest()} -->\n"
    path = notebook.with_suffix(".html")
    if not path.exists() or not path.read_bytes().endswith(mark.encode()):
        atomic.write(path, page(notebook, code=True, back=back) + mark)


def _body(notebook, code):
    import nbformat
    from latex2mathml.converter import convert

    content, formulas = nbformat.read(notebook, as_version=4), []

    def keep(found):
        """A word for a formula, whose tags nbconvert would close at once."""
        formulas.append(convert(found[1], display="block"))
        return f"lk-formula-{len(formulas) - 1}."

    for cell in content.cells:
        shown = code or cell.metadata.get("jupyter", {}).get("source_hidden") is False
        if cell.cell_type == "code" and not shown:
            # As nbconvert's own preprocessor of tags would.
            cell.metadata["transient"] = {"remove_source": True}
        if cell.cell_type == "markdown":
            cell.source = FORMULA.sub(keep, cell.source)
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = FOLDER.sub("", output.text)
        # Scraps are for programs; nbconvert would warn that it cannot show them.
        cell["outputs"] = [
            output
            for output in cell.get("outputs", [])
            if not output.get("data") or set(output.data) & set(SHOWN)
        ]
    resources = {"metadata": {"path": str(notebook.parent)}}
    body = _exporter().from_notebook_node(content, resources)[0]
    return re.sub(r"lk-formula-(\d+)\.", lambda found: formulas[int(found[1])], body)


@functools.cache
def _exporter():
    """One for all pages: it compiles its templates, which takes longer than a page."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    # Which cell made something is of no use to a reader who does not see the code.
    plain = ("exclude_input_prompt", "exclude_output_prompt", "exclude_anchor_links")
    options = dict.fromkeys((*plain, "embed_images"), True)
    config = Config(
        HTMLExporter=options | {"template_name": "basic"},
        NbConvertBase={"display_data_priority": list(SHOWN)},
    )
    return HTMLExporter(config=config)


@functools.cache
def _style():
    from pygments.formatters import HtmlFormatter

    sheets = [html.TEMPLATES / name for name in ("page.css", html.STYLE)]
    styles = [sheet.read_text(encoding="utf-8") for sheet in sheets]
    for scheme, name in (("light", "friendly"), ("dark", "github-dark")):
        rules = HtmlFormatter(style=name).get_style_defs(".highlight")
        # The page has a background of its own.
        rules = re.sub(r"background: #[0-9a-fA-F]+;?", "", rules)
        styles.append(f"@media (prefers-color-scheme: {scheme}) {{\n{rules}\n}}")
    return "\n".join(styles)
