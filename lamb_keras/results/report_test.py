"""`render` leaves a whole, self-contained report, or the one that was there before."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamb_keras.results import reconstruction, report, runs, views
from lamb_keras.results.page_test import requests

PROJECT = Path(__file__).parents[2]
MARKED = "<!-- table 7: start -->\nold\n<!-- table 7: end -->"


@pytest.fixture
def rendered(outputs, fail):
    fail(started="2026-11-23T18:00:00+00:00")
    path = report.render(outputs, "laptop", PROJECT)
    assert path == outputs / "laptop" / "report.html"
    return path


def test_the_report_is_one_file_with_every_table_and_links_to_the_runs(rendered):
    html = rendered.read_text(encoding="utf-8")
    assert requests(html) == []
    assert "<title>The LAMB paper, re-run</title>" in html
    for number in range(1, 26):
        assert f'id="table-{number}"' in html
    assert "0.9945" in html and "0.9700" in html
    assert "data:image/png;base64," in html
    # No code and no cell's number, on a page for those who want results.
    assert "reconstruction.reconstruct" not in html and "In [" not in html

    for name in ("table07/lenet_mnist.html", "table07/lenet_mnist.failed.html"):
        assert f'href="./{name}"' in html
        page = (rendered.parent / name).read_text(encoding="utf-8")
        assert requests(page) == [] and 'href="../report.html"' in page

    with (rendered.parent / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 433
    assert [line["ours"] for line in lines if line["run"]][0] == "0.91"

    # What is shared tells nothing of the machine, and nothing unfinished is left.
    summary = json.loads((rendered.parent / "summary.ipynb").read_bytes())
    assert not {"input_path", "output_path"} & set(summary["metadata"]["papermill"])
    assert all(cell.get("execution_count", 1) for cell in summary["cells"])
    assert not list(rendered.parent.rglob(".*"))
    # Nobody's warnings, nor anything else that was printed on the way.
    kinds = [o["output_type"] for c in summary["cells"] for o in c.get("outputs", [])]
    assert set(kinds) == {"execute_result"}


def test_a_page_is_made_again_only_where_its_notebook_or_itself_has_changed(rendered):
    folder = rendered.parent
    page = folder / "table07" / "lenet_mnist.html"
    notebook = page.with_suffix(".ipynb")
    whole = page.read_text(encoding="utf-8")

    def is_made_again():
        before = page.exists() and page.stat().st_ino
        report._render_runs(folder, runs.read(folder))
        return page.stat().st_ino != before

    assert not is_made_again()
    page.write_text(whole[:-20], encoding="utf-8")
    assert is_made_again() and page.read_text(encoding="utf-8") == whole
    notebook.write_text(notebook.read_text() + "\n")
    assert is_made_again() and not is_made_again()
    page.unlink()
    assert is_made_again()


def test_all_image_tables_are_soon_read_and_shown(imitated):
    started = time.process_time()
    found = runs.read(imitated)
    results = reconstruction.reconstruct(found)
    views.overview(results, found)
    views.tables(results, found)
    views.runs(found)
    # It takes a third of a second; make report, repeated, has 20 for everything.
    assert time.process_time() - started < 5


def test_a_report_of_all_image_tables_is_light(imitated, tmp_path):
    shutil.copytree(imitated, tmp_path / "outputs" / "laptop")
    path = report.render(tmp_path / "outputs", "laptop", PROJECT)
    # Without figures, of which a run has about 0.1 MB.
    assert path.stat().st_size < 2_000_000
    html = path.read_text(encoding="utf-8")
    assert requests(html) == []
    assert html.count('<details class="lk-fold"><summary>All') == 21
    with (path.parent / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    image_tables = [line for line in lines if line["table"] not in ("1", "2", "4", "8")]
    assert {line["status"] for line in image_tables} == {"run", "diverged"}


def test_without_any_run_the_report_lists_all_tables_as_not_run(tmp_path):
    path = report.render(tmp_path / "outputs", "gpu", PROJECT)
    html = path.read_text(encoding="utf-8")
    assert "none of the paper's 25 tables has been run" in html
    assert html.count("not run</span></summary>") == 25
    assert requests(html) == []


def test_a_summary_that_fails_leaves_the_earlier_report(tmp_path):
    notebook = json.loads((PROJECT / "notebooks" / "summary.ipynb").read_bytes())
    notebook["cells"][3]["source"] = "raise RuntimeError('no patience')"
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


def test_a_project_without_the_summary_is_told_so(tmp_path):
    with pytest.raises(report.ReportError, match="there is no notebook .*--project"):
        report.render(tmp_path / "outputs", "laptop", tmp_path)


def test_making_a_report_needs_neither_keras_nor_jax():
    program = (
        "import sys, lamb_keras.results.report, lamb_keras.results.page;"
        "import nbconvert, papermill; print({'keras', 'jax'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"


def test_outputs_of_the_project_are_named_from_the_project():
    assert report._outputs(PROJECT / "outputs") == "outputs"
    assert report._outputs(Path("/data/outputs")) == "/data/outputs"


def test_the_readme_shows_the_table_as_the_run_found_it(outputs):
    lines = report.readme_table(outputs).splitlines()
    assert lines[0].startswith("| solver | paper | ours | n |")
    assert [line.split(" | ")[0] for line in lines[2:7]] == [
        "| momentum",
        "| adagrad",
        "| adam",
        "| adamw",
        "| lamb",
    ]
    assert lines[6] == (
        "| lamb | 0.9945 | **0.9700** ± 0.0141 | 2 | learning rate 0.01 "
        "| 2 settings, 3 trials |"
    )
    assert lines[2] == "| momentum | 0.9933 | *not run* |  |  |  |"
    assert "Handwritten digits, standing in for MNIST" in lines[-1]


def test_only_what_is_between_the_marks_of_a_readme_changes(outputs, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Before\n\n{MARKED}\n\nAfter \\1.\n")
    assert report.update_readme(readme, outputs) is True
    text = readme.read_text()
    assert text.startswith("# Before\n\n<!-- table 7: start -->\n| solver")
    assert text.endswith("<!-- table 7: end -->\n\nAfter \\1.\n")
    assert "old" not in text
    assert report.update_readme(readme, outputs) is False


def test_every_marked_table_of_a_readme_is_renewed(outputs, tmp_path):
    readme = tmp_path / "README.md"
    marks = "<!-- table {0}: start -->\n<!-- table {0}: end -->\n"
    readme.write_text(marks.format(3) + marks.format(7))
    report.update_readme(readme, outputs)
    third, seventh = readme.read_text().split("<!-- table 3: end -->")
    assert "Table 3 has not been run at laptop scale yet." in third
    assert "| lamb | 0.9945 | **0.9700**" in seventh


def test_a_readme_without_marks_is_left_alone(outputs, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Nothing to replace\n")
    with pytest.raises(report.ReportError, match="README.md has no lines"):
        report.update_readme(readme, outputs)
    assert readme.read_text() == "# Nothing to replace\n"
