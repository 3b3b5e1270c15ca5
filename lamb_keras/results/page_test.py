"""A page holds everything it needs and asks nothing of a network."""

import re
from html.parser import HTMLParser

import nbformat.v4
import pytest

from lamb_keras.results.page import page


class Requests(HTMLParser):
    """Collects whatever in a page would make a browser load or run something."""

    FOREIGN = {"script", "iframe", "object", "embed", "base", "frame", "audio", "video"}

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag in self.FOREIGN or tag == "link":
            self.found.append((tag, attributes))
        for name in ("src", "srcset", "background", "data", "poster"):
            if not (attributes.get(name) or "data:").startswith("data:"):
                self.found.append((tag, attributes[name]))
        if any(name.startswith("on") for name in attributes):
            self.found.append((tag, attributes))


def requests(html):
    reader = Requests()
    reader.feed(html)
    css = re.findall(r"@import[^;]*|url\((?!['\"]?data:)[^)]*\)", html)
    return reader.found + css


def write(path, *cells):
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return path


def code(source, *outputs):
    return nbformat.v4.new_code_cell(source, outputs=list(outputs))


def shown(**data):
    data = {name.replace("__", "/"): value for name, value in data.items()}
    return nbformat.v4.new_output("display_data", data=data)


markdown = nbformat.v4.new_markdown_cell


def test_a_page_of_an_executed_run_asks_for_nothing(executed_run):
    html = page(executed_run, code=True, back="../report.html")
    assert requests(html) == []
    assert "data:image/png;base64," in html and 'alt="Curves of nothing."' in html


def test_the_browser_is_told_to_load_nothing_from_elsewhere(executed_run):
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page(
        executed_run
    )


def test_code_is_shown_only_if_asked_for(executed_run):
    # Highlighted code is cut into pieces, so its words are looked for.
    assert "glue_figure" in page(executed_run, code=True)
    assert "glue_figure" not in page(executed_run)


def test_the_title_and_the_contents_are_the_notebooks_headings(executed_run):
    html = page(executed_run, back="../report.html")
    assert "<title>LeNet on digits</title>" in html
    (id,) = re.findall(r'<a href="#([^"]+)">Trials</a>', html)
    assert f'<h2 id="{id}">Trials</h2>' in html
    assert 'href="../report.html"' in html


def test_headings_are_escaped_once(tmp_path):
    cells = [markdown("# Adam & `Lamb` <i>compared</i>"), markdown("## φ & λ")]
    html = page(write(tmp_path / "a.ipynb", *cells))
    assert "<title>Adam &amp; Lamb compared</title>" in html
    assert ">φ &amp; λ</a>" in html


@pytest.mark.parametrize(
    "output",
    [
        shown(application__javascript="fetch('https://example.org')"),
        shown(**{"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}),
        shown(**{"application/scrapbook.scrap.json+json": {"data": "unseen"}}),
    ],
)
def test_scripts_widgets_and_scraps_are_left_out(tmp_path, output, recwarn):
    html = page(write(tmp_path / "a.ipynb", code("x = 1", output)), code=True)
    assert requests(html) == []
    assert "example.org" not in html and "unseen" not in html
    assert not recwarn.list


@pytest.mark.parametrize(
    "live",
    [
        {"application/javascript": "fetch('https://example.org')"},
        {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}},
    ],
)
def test_the_text_beside_a_script_or_a_widget_is_shown(tmp_path, live):
    output = shown(**live, text__plain="100 of 100 trials")
    html = page(write(tmp_path / "a.ipynb", code("", output)))
    assert "100 of 100 trials" in html and requests(html) == []


def test_the_scan_for_requests_finds_them():
    for html in (
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        '<img src="figure.png">',
        "<style>@import 'a.css';</style>",
        "<style>p { background: url(https://example.org/a.png) }</style>",
        '<p onclick="go()">',
    ):
        assert requests(html), html
    assert requests('<img src="data:image/png;base64,AA"><a href="b.html">b</a>') == []
