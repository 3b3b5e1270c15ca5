"""A run that finds the same again changes nothing shared, and any other does."""

import base64
import json
import operator

import nbformat.v4
import pytest

from lamb_keras.results import archive, report
from lamb_keras.results.conftest import PROJECT, imitated_scraps, leave_run

FIRST = {"commit": "0ld5ha1", "started": "2026-11-01T09:00:00+00:00", "seconds": 60.0}
LATER = {"commit": "new5ha1", "started": "2026-11-24T09:00:00+00:00", "seconds": 75.5}
TABLES = 1, 9


def png(content):
    return base64.b64encode(content).decode()


def run_all(folder, record, times=1.0, picture=b"a curve", commit="0ld5ha1"):
    """Leaves the runs of both tables; all that lasted took so many times as long."""
    for table in TABLES:
        about = imitated_scraps(table)
        for trial in about["trials"]:
            trial |= {n: trial[n] * times for n in ("seconds", "minutes") if n in trial}
        for cell in about["cells"]:
            if cell["column"] == "time_minutes":
                cell["value"] *= times
        about["environment"] |= {"commit": commit, "cpu_count": round(2 * times)}
        leave_run(folder, table, {"sweep": png(picture)}, record, **about)


@pytest.fixture(autouse=True)
def plain_summary(monkeypatch):
    """A summary that prints the runs, of which the real one is made alone."""

    def execute(notebook, output, parameters):
        shown = operator.attrgetter("started", "seconds", "scraps")
        told = [(shown(run), run.pictures()) for run in archive.read(output.parent)]
        cell = nbformat.v4.new_markdown_cell(repr(told), id="runs")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), output)
        return output

    monkeypatch.setattr(report, "execute", execute)


@pytest.fixture
def shared(tmp_path):
    """The folder of a scale with its report, as its first runs made it."""
    folder = tmp_path / "outputs" / "laptop"
    run_all(folder, FIRST)
    report.render(folder.parent, "laptop", PROJECT)
    return folder


def files(folder):
    """All that is shared: not what single runs leave on their machine."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    own = {path for path in paths if path.parent != folder and path.suffix != ".html"}
    return {str(p.relative_to(folder)): p.read_bytes() for p in {*paths} - own}


def test_runs_that_find_the_same_in_another_time_leave_every_byte(shared):
    before = files(shared)
    assert {"report.html", "summary.ipynb", "runs.jsonl", "results.csv"} < before.keys()
    run_all(shared, LATER, times=1.5, commit="new5ha1")
    report.render(shared.parent, "laptop", PROJECT)
    assert files(shared) == before
    for run in archive.read(shared):
        # What is shown says when it was found.
        assert (run.commit, run.started) == (FIRST["commit"], FIRST["started"])
        assert run.scraps["environment"]["commit"] == "0ld5ha1"
        assert list(run.pictures()) == ["sweep"]
    (minutes,) = [
        cell["value"]
        for run in archive.read(shared)
        for cell in run.scraps["cells"]
        if run.table == 1 and cell["row"] == "Baseline, 512"
        if cell["column"] == "time_minutes"
    ]
    assert minutes == pytest.approx(0.2)


def change_cells(path):
    content = json.loads(path.read_text())
    content["cells"][1]["source"] = "another = 'line'"
    path.write_text(json.dumps(content))


OTHERS = {
    "a value": lambda folder, path: leave_run(
        folder,
        9,
        {"sweep": png(b"a curve")},
        LATER,
        trials=[
            trial | {"test_accuracy": 0.5} for trial in imitated_scraps(9)["trials"]
        ],
    ),
    "a figure": lambda folder, path: run_all(folder, LATER, picture=b"another curve"),
    "a parameter": lambda folder, path: path.with_suffix(".json").write_text(
        path.with_suffix(".json").read_text().replace('"seeds": [', '"seeds": [77, ')
    ),
    "code": lambda folder, path: change_cells(path),
    "no page": lambda folder, path: path.with_suffix(".html").unlink(),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_run_with_anything_else_takes_the_place_of_the_one_before(shared, other):
    run_all(shared, LATER)
    # Both are as they were; then one is another.
    assert {run.commit for run in archive.read(shared)} == {"0ld5ha1"}
    OTHERS[other](shared, shared / "table09" / "resnet50_imagenet.ipynb")
    run = archive.read(shared)[-1]
    assert (run.table, run.commit, run.started) == (9, "new5ha1", LATER["started"])
    archive.write(archive.read(shared), shared)
    assert archive.read(shared)[-1].commit == "new5ha1"


def test_a_run_is_renewed_where_that_was_asked_for(shared):
    run_all(shared, LATER)
    name = "table09/resnet50_imagenet"
    commits = {r.name: r.commit for r in archive.read(shared, renewed=[name])}
    assert commits == {"table01/bert_squad": "0ld5ha1", name: "new5ha1"}


def test_what_was_found_later_elsewhere_stays(shared):
    earlier = {**FIRST, "started": "2026-10-01T09:00:00+00:00"}
    run_all(shared, earlier, picture=b"another curve", commit="older")
    assert {run.started for run in archive.read(shared)} == {FIRST["started"]}
    name = "table09/resnet50_imagenet"
    renewed = {r.name: r.started for r in archive.read(shared, renewed=[name])}
    assert renewed[name] == earlier["started"]
