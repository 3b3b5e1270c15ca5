"""`render` leaves a whole, self-contained report, or the one that was there before."""

import base64
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat.v4
import pytest
from axe_playwright_python.sync_playwright import Axe

from lamb_keras.results import archive, page, reconstruction, report, runs
from lamb_keras.results.conftest import (
    PROJECT,
    RECORD,
    imitated_scraps,
    leave_run,
    text_of,
)
from lamb_keras.results.page_test import requests
from lamb_keras.store import temporary

PNG, SWEEP = (base64.b64encode(words).decode() for words in (b"curves", b"a sweep"))


@pytest.fixture(scope="module")
def rendered(imitated, imitated_bert, executed_run, tmp_path_factory):
    """The report of every table, one real run among them, and two failures."""
    folder = tmp_path_factory.mktemp("project") / "outputs" / "laptop"
    for made_up in (imitated, imitated_bert):
        shutil.copytree(made_up, folder, dirs_exist_ok=True)
    shutil.copy(executed_run, folder / "table07" / "lenet_mnist.ipynb")
    (folder / "table07" / "lenet_mnist.json").write_text(json.dumps(RECORD))
    for name, table in (("table07/lenet_mnist", 7), ("table26/mine", 26)):
        about = {"table": table, "notebook": name[8:], "status": "failed"}
        about |= {"reason": "the kernel died.", "started": "2026-11-24T18:00:00+00:00"}
        path = folder / f"{name}.failed.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(RECORD | about))
        cells = [nbformat.v4.new_markdown_cell("# An attempt", id="a")]
        notebook = nbformat.v4.new_notebook(cells=cells)
        nbformat.write(notebook, path.with_suffix(".ipynb"))
    path = report.render(folder.parent, "laptop", PROJECT)
    assert path == folder / "report.html"
    return path


def test_the_report_is_one_file_with_every_table_and_names_the_pages(rendered):
    html = rendered.read_text(encoding="utf-8")
    assert requests(html) == []
    assert "<title>The LAMB paper, re-run</title>" in html
    assert all(f'id="table-{number}"' in html for number in range(1, 27))
    assert "0.9945" in html and "0.9700" in html
    # A run's curves are its page's picture; what a table shows is drawn anew.
    assert html.count("data:image/png;base64,") == 1
    assert html.count("<svg") == 27
    assert rendered.stat().st_size < 2_500_000
    # No code and no cell's number, on a page for those who want results.
    assert "reconstruction.reconstruct" not in html and "In [" not in html
    for name in ("table07/lenet_mnist", "table07/lenet_mnist.failed"):
        assert f'<span class="lk-page">{name}</span>' in html
        of_run = (rendered.parent / f"{name}.html").read_text(encoding="utf-8")
        assert requests(of_run) == [] and 'href="../report.html"' in of_run
    failed = text_of(html.split('id="table-26"')[1].split("</details>")[0])
    assert "table26/mine.failed as far as it came" in failed
    assert "Failed: the kernel died." in failed
    trials = lines_of(rendered.parent.parent, "trials.csv")
    of_run = [line["outcome"] for line in trials if line["table"] == "7"]
    assert of_run.count("finished") == 4
    # How every verdict is computed from it stands there, code and all.
    assert "recomputed" in text_of(html) and "trials.csv" in text_of(html)
    lines = [line for line in lines_of(rendered.parent.parent) if line["table"] == "7"]
    assert [line["ours"] for line in lines if line["run"]] == ["0.91", "0.97"]


def test_what_is_shared_tells_nothing_of_the_machine_and_is_the_same_again(rendered):
    folder = rendered.parent
    report.bundle(folder)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    written = {path: path.read_bytes() for path in paths}
    report.render(folder.parent, "laptop", PROJECT)
    report.bundle(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == written
    summary = json.loads((folder / "summary.ipynb").read_bytes())
    assert set(summary["metadata"]) == {"kernelspec", "language_info"}
    assert all(cell.get("execution_count", 1) for cell in summary["cells"])
    assert not list(folder.rglob(".*"))  # nothing unfinished
    # Nobody's warnings, nor anything else that was printed on the way.
    kinds = [o["output_type"] for c in summary["cells"] for o in c.get("outputs", [])]
    assert set(kinds) == {"execute_result"}


def test_a_bundle_has_the_pages_and_its_report_links_to_them(rendered, tmp_path):
    with zipfile.ZipFile(report.bundle(rendered.parent)) as file:
        file.extractall(tmp_path)
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    links = {link for link in re.findall(r'href="([^"]+)"', html) if link[0] == "t"}
    assert {*links} >= {f"table{n:02d}/resnet50_imagenet.html" for n in range(9, 26)}
    assert "table26/mine.failed.html" in links
    assert all((tmp_path / "report" / link).is_file() for link in links)
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names > {"report.html", "results.csv", "trials.csv"}


@pytest.fixture
def elsewhere(tmp_path):
    """Outputs where Tables 3, 7 and 9 had been run, and the run of 7 alone is left."""
    folder = tmp_path / "outputs" / "laptop"
    record = {"commit": "0ld5ha1", "started": "2026-11-01T09:00:00+00:00"}
    for table in (3, 7, 9):
        leave_run(folder, table, {"curves": PNG, "sweep": SWEEP}, record=record)
    found = runs.read(folder)
    archive.write(found, folder)
    reconstruction.write_csv(reconstruction.reconstruct(found), folder / "results.csv")
    for run in found:
        page.renew(run.path, "../report.html")
    for table in (3, 9):
        for ending in ("ipynb", "json"):
            (folder / f"table{table:02d}" / f"resnet50_imagenet.{ending}").unlink()
    return folder.parent


def lines_of(outputs, name="results.csv"):
    with (outputs / "laptop" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_not_run_anew_keeps_its_results_commit_and_date(elsewhere):
    before = lines_of(elsewhere)
    cells = imitated_scraps(7)["cells"]
    cells[0]["value"] = 0.5
    leave_run(elsewhere / "laptop", 7, cells=cells, record={"commit": "new5ha1"})
    path = report.render(elsewhere, "laptop", PROJECT)

    changed = [
        (a, b) for a, b in zip(before, lines_of(elsewhere), strict=True) if a != b
    ]
    ((was, now),) = changed
    assert (now["row"], now["ours"], now["commit"]) == ("momentum", "0.5", "new5ha1")
    assert was["commit"] == "0ld5ha1"
    # The trials of archived runs count too.
    of_trials = lines_of(elsewhere, "trials.csv")
    assert {line["table"] for line in of_trials} == {"3", "7", "9"}
    # Table 3 is the best of Table 9 and has results of its own; neither is here.
    results = reconstruction.by_table(
        reconstruction.reconstruct(archive.read(path.parent))
    )
    assert SWEEP not in path.read_text("utf-8")
    assert all(cell.done for cell in results[9])
    assert {cell.row for cell in results[3] if cell.done} >= {"adagrad", "lamb"}
    text = text_of(path.read_text(encoding="utf-8"))
    assert "1 November 2026, 09:00 UTC, at commit 0ld5ha1." in text
    # The page that was made then still stands, and has its curves; sweeps are drawn.
    of_tables, of_runs = path.read_text("utf-8").split('id="run-table03')
    assert PNG in of_runs and PNG not in of_tables and of_tables.count("<svg") == 4


def test_a_run_that_fails_where_its_results_are_known_leaves_them(elsewhere):
    place = elsewhere / "laptop" / "table09" / "resnet50_imagenet.failed.json"
    about = {"table": 9, "notebook": "resnet50_imagenet", "reason": "out of patience."}
    place.write_text(json.dumps(about))
    (run,) = [run for run in archive.read(elsewhere / "laptop") if run.table == 9]
    # The batch does not take it for done.
    tables = {each.table: each.succeeded for each in runs.read(elsewhere / "laptop")}
    assert tables == {7: True, 9: False}
    assert run.succeeded and len(run.trials) == 27
    assert run.later_failure.reason == "out of patience."


def test_a_damaged_archive_is_told_in_one_sentence(elsewhere):
    path = elsewhere / "laptop" / "runs.jsonl"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(report.ReportError, match="^line 3 of .*runs.jsonl is no run"):
        report.render(elsewhere, "laptop", PROJECT)


def test_a_page_is_made_again_only_where_its_notebook_or_itself_has_changed(outputs):
    notebook = outputs / "laptop" / "table07" / "lenet_mnist.ipynb"
    path = notebook.with_suffix(".html")
    page.renew(notebook, back="../report.html")
    whole = path.read_text(encoding="utf-8")

    def is_made_again():
        before = path.exists() and path.stat().st_ino
        page.renew(notebook, back="../report.html")
        return path.stat().st_ino != before

    assert not is_made_again()
    path.write_text(whole[:-20], encoding="utf-8")
    assert is_made_again() and path.read_text(encoding="utf-8") == whole
    notebook.write_text(notebook.read_text() + "\n")
    assert is_made_again() and not is_made_again()
    path.unlink()
    assert is_made_again()


def test_a_summary_that_fails_leaves_the_earlier_report(tmp_path):
    notebook = json.loads((PROJECT / "notebooks" / "summary.ipynb").read_bytes())
    notebook["cells"][2]["source"] = "raise RuntimeError('no patience')"
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "summary.ipynb").write_text(json.dumps(notebook))
    folder = tmp_path / "outputs" / "laptop"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("the earlier report")
    before = dict(os.environ)
    with pytest.raises(report.ReportError, match="summary.ipynb ended with .*patience"):
        report.render(tmp_path / "outputs", "laptop", tmp_path)
    assert (folder / "report.html").read_text() == "the earlier report"
    assert not (folder / "summary.ipynb").exists()
    assert dict(os.environ) == before


def test_where_temporary_files_lie_deep_a_notebook_is_executed(tmp_path, monkeypatch):
    (deep := tmp_path / ("x" * 80)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert temporary.folder() == "/tmp"
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    report.run_cells(content, tmp_path)
    assert content.cells[0].outputs[0].data["text/plain"] == "2"


def test_a_project_without_the_summary_is_told_so(tmp_path):
    with pytest.raises(report.ReportError, match="there is no notebook .*--project"):
        report.render(tmp_path / "outputs", "laptop", tmp_path)


def test_making_a_report_needs_neither_keras_nor_jax_nor_the_batch():
    program = (
        "import sys, lamb_keras.results.report, lamb_keras.results.page, nbconvert;"
        "from lamb_keras.results import runs, sections, tables;"
        "print({'keras', 'jax', 'lamb_keras.batch'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert found.stdout.strip() == b"set()"


@pytest.fixture(scope="module")
def alone(rendered, browser, tmp_path_factory):
    """The report in a folder of its own, as it is mailed, open in a browser."""
    path = tmp_path_factory.mktemp("mail") / "report.html"
    shutil.copy(rendered, path)
    page = browser.new_page(color_scheme="dark")
    told = []
    page.on("request", lambda request: told.append(request.url[:80]))
    page.on("console", lambda message: told.append(message.text))
    page.goto(path.as_uri())
    # It asks for nothing but itself, and the policy refuses none of its own parts.
    assert told == [path.as_uri()]
    yield page
    assert told == [path.as_uri()]


ANCHORS = """() => [...document.querySelectorAll("a[href]")]
    .map(link => link.getAttribute("href"))
    .filter(link => !/^(https|data):/.test(link))
    .filter(link => link[0] !== "#" || !document.getElementById(link.slice(1)))"""
CONTENTS = """() => [...document.querySelectorAll("nav a[href^='#']")].filter(link => {
    link.click();
    const place = document.querySelector(link.hash).getBoundingClientRect();
    const contents = document.querySelector("nav").getBoundingClientRect();
    const shown = document.elementFromPoint(contents.left + 2, contents.top + 2);
    return !(place.top < innerHeight && place.bottom > 0 && shown.closest("nav"));
}).map(link => link.hash)"""
# Of every text whatever lies outside the box that ought to hold it.
OUTSIDE = """([texts, box]) => [...document.querySelectorAll(texts)].filter(text => {
    const around = text.closest(box).getBoundingClientRect();
    const own = text.getBoundingClientRect();
    const seen = own.width && text.checkVisibility();
    return seen && (own.left < around.left - 1 || own.right > around.right + 1
        || own.top < around.top - 1 || own.bottom > around.bottom + 1);
}).map(text => text.textContent.slice(0, 60))"""


@pytest.mark.parametrize("width", [1280, 390])
def test_a_report_sent_alone_shows_verdicts_first_and_leads_to_every_table(
    alone, width
):
    alone.set_viewport_size({"width": width, "height": 844})
    alone.evaluate("scrollTo(0, 0)")
    for words in (".lk-lead", ".lk-verdict >> nth=0"):
        place = alone.locator(words).bounding_box()
        assert 0 < place["y"] and place["y"] + place["height"] < 844
    assert alone.evaluate(ANCHORS) == []
    links = alone.locator("nav ol a").all_inner_texts()
    assert links == [str(number) for number in range(1, 27)]
    assert alone.evaluate(CONTENTS) == []
    assert alone.evaluate("document.body.scrollWidth") == width
    # Legends and all other words of figures are whole, and no smaller than is read.
    assert alone.evaluate(OUTSIDE, ["svg text", "svg"]) == []
    heights = (
        "[...document.querySelectorAll('svg text')].map(t => t.getBBox().height * "
    )
    heights += "t.getScreenCTM().a / t.getScreenCTM().a * t.closest('svg').clientWidth"
    heights += " / t.closest('svg').viewBox.baseVal.width)"
    assert min(alone.evaluate(heights)) > 9


def test_what_a_report_holds_is_sorted_filtered_and_saved(alone, rendered):
    table = alone.locator("#table-5 .lk-results").first
    ours = table.locator("thead button", has_text="ours ±")
    column = "t => [...t.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[5]"
    column += ".textContent.slice(0, 6))"
    ours.click()
    assert table.evaluate(column) == sorted(table.evaluate(column), key=float)
    ours.click()
    assert table.evaluate(column) == sorted(
        table.evaluate(column), key=float, reverse=True
    )
    alone.locator("#table-5 input").fill("TOP-1  8192")
    assert len(table.evaluate(column)) == 1
    alone.locator("#table-5 input").fill("")
    for name in ("results.csv", "trials.csv"):
        with alone.expect_download() as saving:
            alone.locator("nav a", has_text=name).evaluate("link => link.click()")
        saved = saving.value
        assert saved.suggested_filename == name
        assert Path(saved.path()).read_bytes() == (rendered.parent / name).read_bytes()


def test_a_report_has_no_barrier_that_axe_core_calls_serious(alone):
    # Of sections that are made alike a few are looked at.
    alike = "[class^=lk-table]:nth-of-type(n + 9)", ".lk-run:nth-of-type(n + 3)"
    about = {"exclude": [[each] for each in alike]}, {"resultTypes": ["violations"]}
    found = Axe().run(alone, *about).response["violations"]
    serious = [
        (each["id"], len(each["nodes"]), each["nodes"][0]["html"][:200])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
    levels = "[...document.querySelectorAll('h1, h2, h3, h4')].map(h => +h.tagName[1])"
    levels = alone.evaluate(levels)
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


def test_a_report_on_paper_is_whole(alone):
    # A4 without its margins of 12 mm, in pixels of a 96th of an inch.
    alone.set_viewport_size({"width": 703, "height": 1032})
    alone.emulate_media(media="print")
    assert (
        alone.evaluate(OUTSIDE, ["p, li, h1, h2, h3, th, td, svg, img", "body"]) == []
    )
    assert alone.evaluate(OUTSIDE, ["td *, th *", "td, th"]) == []
    seen = "[...document.querySelectorAll('.lk-ours')].filter(c => c.checkVisibility("
    seen += "{contentVisibilityAuto: true}) && c.clientWidth).length"
    assert alone.evaluate(seen) == alone.locator(".lk-ours").count()
