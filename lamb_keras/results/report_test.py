"""`render` leaves a whole, self-contained report, or the one that was there before."""

import base64
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile

import nbformat.v4
import pytest

from lamb_keras.results import archive, page, reconstruction, report, runs
from lamb_keras.results.conftest import (
    PROJECT,
    imitated_scraps,
    leave_run,
    text_of,
)
from lamb_keras.results.page_test import requests
from lamb_keras.store import temporary

PNG = base64.b64encode(b"a picture").decode()


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
    assert all(f'id="table-{number}"' in html for number in range(1, 26))
    assert "0.9945" in html and "0.9700" in html
    assert "data:image/png;base64," in html
    # No code and no cell's number, on a page for those who want results.
    assert "reconstruction.reconstruct" not in html and "In [" not in html
    for name in ("table07/lenet_mnist.html", "table07/lenet_mnist.failed.html"):
        assert f'href="./{name}"' in html
        of_run = (rendered.parent / name).read_text(encoding="utf-8")
        assert requests(of_run) == [] and 'href="../report.html"' in of_run
    with (rendered.parent / "trials.csv").open(newline="") as file:
        assert [line["outcome"] for line in csv.DictReader(file)].count("finished") == 4
    # How every verdict is computed from it stands there, code and all.
    assert "recomputed" in text_of(html) and "trials.csv" in text_of(html)
    with (rendered.parent / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 433
    assert [line["ours"] for line in lines if line["run"]][0] == "0.91"


def test_what_is_shared_tells_nothing_of_the_machine_and_is_the_same_again(rendered):
    folder, written = rendered.parent, {}
    for _ in range(2):
        report.render(folder.parent, "laptop", PROJECT)
        files = (path for path in folder.rglob("*") if path.is_file())
        written |= {p: {*written.get(p, ()), p.read_bytes()} for p in files}
    assert all(len(contents) == 1 for contents in written.values())
    summary = json.loads((folder / "summary.ipynb").read_bytes())
    assert set(summary["metadata"]) == {"kernelspec", "language_info"}
    assert all(cell.get("execution_count", 1) for cell in summary["cells"])
    assert not list(folder.rglob(".*"))  # nothing unfinished
    # Nobody's warnings, nor anything else that was printed on the way.
    kinds = [o["output_type"] for c in summary["cells"] for o in c.get("outputs", [])]
    assert set(kinds) == {"execute_result"}


@pytest.fixture
def elsewhere(tmp_path):
    """Outputs where Tables 3, 7 and 9 had been run, and the run of 7 alone is left."""
    folder = tmp_path / "outputs" / "laptop"
    record = {"commit": "0ld5ha1", "started": "2026-11-01T09:00:00+00:00"}
    for table in (3, 7, 9):
        leave_run(folder, table, {"sweep": PNG}, record=record)
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
    assert all(cell.done for cell in results[9])
    assert {cell.row for cell in results[3] if cell.done} >= {"adagrad", "lamb"}
    text = text_of(path.read_text(encoding="utf-8"))
    words = "The results of Tables 3 and 9 are those of an earlier report"
    assert words in text
    assert "1 November 2026, 09:00 UTC, at commit 0ld5ha1 ; the results are" in text
    # The page that was made then still stands, and has its figures.
    assert PNG in path.read_text("utf-8").split('id="table-9"')[1].split("<section")[0]
    assert 'href="./table09/resnet50_imagenet.html"' in path.read_text("utf-8")


def test_a_run_that_fails_where_its_results_are_known_leaves_them(elsewhere):
    place = elsewhere / "laptop" / "table09" / "resnet50_imagenet.failed.json"
    about = {"table": 9, "notebook": "resnet50_imagenet", "reason": "out of patience."}
    place.write_text(json.dumps(about))
    (run,) = [run for run in archive.read(elsewhere / "laptop") if run.table == 9]
    # The batch does not take it for done.
    tables = {each.table: each.succeeded for each in runs.read(elsewhere / "laptop")}
    assert tables == {7: True, 9: False}
    assert run.archived and run.succeeded and len(run.trials) == 27
    assert run.later_failure.reason == "out of patience."


def test_a_damaged_archive_is_told_in_one_sentence(elsewhere):
    path = elsewhere / "laptop" / "runs.jsonl"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(report.ReportError, match="^line 3 of .*runs.jsonl is no run"):
        report.render(elsewhere, "laptop", PROJECT)


def test_a_page_is_made_again_only_where_its_notebook_or_itself_has_changed(rendered):
    path = rendered.parent / "table07" / "lenet_mnist.html"
    notebook = path.with_suffix(".ipynb")
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


def test_a_report_of_all_image_tables_is_light(imitated, tmp_path):
    shutil.copytree(imitated, tmp_path / "outputs" / "laptop")
    path = report.render(tmp_path / "outputs", "laptop", PROJECT)
    # Without figures, of which a run has about 0.1 MB.
    assert path.stat().st_size < 2_000_000
    html = path.read_text(encoding="utf-8")
    assert requests(html) == []
    assert html.count('<details class="lk-fold"><summary>All') == 21


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
