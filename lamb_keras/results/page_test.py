"""A page holds everything it needs and asks nothing of a network."""

import re
from html.parser import HTMLParser

import nbformat.v4
import pytest

from lamb_keras.results.page import page


class Requests(HTMLParser):
    """Collects whatever in a page would make a browser load or run something."""

    FOREIGN = {"iframe", "object", "embed", "base", "frame", "audio", "video"}

    def __init__(self, own_script):
        super().__init__()
        self.found = []
        self.own_script = own_script

    def handle_starttag(self, tag, attributes):
        foreign = tag in self.FOREIGN or tag == "link"
        foreign = foreign or (tag == "script" and not self.own_script)
        for name, value in attributes:
            source = name in ("src", "srcset", "background", "data", "poster")
            elsewhere = source and not (value or "data:").startswith("data:")
            foreign = foreign or elsewhere or name.startswith("on")
        if foreign:
            self.found.append((tag, attributes))


def requests(html):
    """What a page would ask for."""
    # A script of its own is known to the page's policy by its hash.
    reader = Requests("script-src 'sha256-" in html)
    reader.feed(html)
    css = re.findall(r"@import[^;]*|url\((?!['\"]?data:|#)[^)]*\)", html)
    return reader.found + css


def write(path, *cells):
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return path


def shown(data):
    output = nbformat.v4.new_output("display_data", data=data)
    return nbformat.v4.new_code_cell("x = 1", outputs=[output])


def test_a_page_of_an_executed_run_asks_for_nothing_and_shows_code_if_asked(
    executed_run,
):
    html = page(executed_run, code=True, back="../report.html")
    assert requests(html) == []
    assert "data:image/png;base64," in html and 'alt="Curves of nothing."' in html
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    # Highlighted code is cut into pieces, so its words are looked for.
    assert "glue_figure" in html and "glue_figure" not in page(executed_run)


def test_a_cell_that_says_so_shows_its_code_in_any_case(tmp_path):
    hidden, open_ = nbformat.v4.new_code_cell("a = 1"), nbformat.v4.new_code_cell("b")
    open_.metadata["jupyter"] = {"source_hidden": False}
    text = nbformat.v4.new_markdown_cell("# Words")
    html = page(write(tmp_path / "a.ipynb", text, hidden, open_))
    assert html.count("input_area") - html.count(".input_area") == 1
    assert "Words</h1>" in html


def test_the_title_and_the_contents_are_the_notebooks_headings(executed_run):
    html = page(executed_run, back="../report.html")
    assert "<title>LeNet on digits</title>" in html
    (id,) = re.findall(r'<a href="#([^"]+)">Trials</a>', html)
    assert f'<h2 id="{id}">Trials</h2>' in html
    assert 'href="../report.html"' in html


def test_headings_are_escaped_once(tmp_path):
    text = "# Adam & `Lamb` <i>compared</i>\n\n## φ & λ"
    html = page(write(tmp_path / "a.ipynb", nbformat.v4.new_markdown_cell(text)))
    assert "<title>Adam &amp; Lamb compared</title>" in html
    assert ">φ &amp; λ</a>" in html


@pytest.mark.parametrize(
    "data",
    [
        {"application/javascript": "fetch('https://example.org')"},
        {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}},
        {"application/scrapbook.scrap.json+json": {"data": "unseen"}},
    ],
)
def test_scripts_widgets_and_scraps_are_left_out_but_not_the_text_beside_them(
    tmp_path, data, recwarn
):
    with_text = data | {"text/plain": "100 of 100 trials"}
    html = page(write(tmp_path / "a.ipynb", shown(data), shown(with_text)), code=True)
    assert requests(html) == [] and not recwarn.list
    assert "example.org" not in html and "unseen" not in html
    assert "100 of 100 trials" in html


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        '<img src="figure.png">',
        "<style>@import 'a.css';</style>",
        "<style>p { background: url(https://example.org/a.png) }</style>",
        '<p onclick="go()">',
    ],
)
def test_the_scan_for_requests_finds_them(html):
    assert requests(html)
    assert requests('<img src="data:image/png;base64,AA"><a href="b.html">b</a>') == []


def test_a_warning_does_not_tell_in_which_folder_its_code_lies(tmp_path):
    said = "/home/ada/my code/pkg/bert.py:194: UserWarning: a/b is long\n  a / b\n"
    output = nbformat.v4.new_output("stream", name="stderr", text=f"1/2\n{said}")
    cells = [nbformat.v4.new_code_cell("1", outputs=[output])]
    path = tmp_path / "x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    html = page(path)
    assert "1/2\nbert.py:194: UserWarning: a/b is long\n  a / b" in html
    assert "ada" not in html


def test_a_formula_is_one_for_every_browser(tmp_path):
    text = "Two:\n\n$$u_1 = \\frac{m}{v}$$\n\nand $$w$$"
    html = page(write(tmp_path / "a.ipynb", nbformat.v4.new_markdown_cell(text)))
    assert "<msub><mi>u</mi><mn>1</mn></msub>" in html
    assert "<mfrac><mrow><mi>m</mi></mrow><mrow><mi>v</mi></mrow></mfrac>" in html
    assert html.count("<math") == 2 and "lk-formula" not in html
