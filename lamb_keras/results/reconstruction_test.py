"""Every published cell has one line, with our value beside it where there is one."""

import csv
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from lamb_keras.results import paper, reconstruction, runs
from lamb_keras.results.runs import Run

COLUMN = "mean_accuracy_5_runs"


def cell(row="lamb", value=0.97, table=7, column=COLUMN, **more):
    return {
        "table": table,
        "row": row,
        "column": column,
        "value": value,
        "spread": 0.01,
        "n": 5,
        "status": "run",
    } | more


def run(*cells, table=7, name="table07/lenet_mnist", started="1", **more):
    return Run(
        name=name,
        path=Path("lenet_mnist.ipynb"),
        status="succeeded",
        notebook="lenet_mnist",
        table=table,
        scale="laptop",
        started=started,
        scraps={"cells": list(cells), "dataset": {"name": "digits"}},
        **more,
    )


def of(results, table, row, column=COLUMN):
    (found,) = [
        r for r in results if (r.table, r.row, r.column) == (table, row, column)
    ]
    return found


def test_without_runs_every_published_cell_is_there_and_not_run():
    results = reconstruction.reconstruct([])
    places = [(r.table, r.row, r.column, r.published, r.extra) for r in results]
    assert places == [tuple(cell) for cell in paper.cells()]
    assert {r.status for r in results} == {"not run"}
    assert all(r.ours is None and r.run is None for r in results)


def test_our_value_stands_beside_the_published_one():
    found = of(reconstruction.reconstruct([run(cell())]), 7, "lamb")
    assert (found.published, found.ours, found.spread, found.n) == (
        0.9945,
        0.97,
        0.01,
        5,
    )
    assert (found.status, found.dataset, found.run) == (
        "run",
        "digits",
        "table07/lenet_mnist",
    )
    assert found.difference == pytest.approx(-0.0245)


def test_solvers_that_a_run_left_out_are_not_run():
    results = reconstruction.reconstruct([run(cell("lamb"))])
    assert of(results, 7, "adam").status == "not run"
    assert reconstruction.table_status(reconstruction.by_table(results)[7]) == (
        "partly run"
    )


def test_a_diverged_cell_has_a_status_and_no_value():
    diverged = cell(value=None, spread=None, n=0, status="diverged")
    found = of(reconstruction.reconstruct([run(diverged)]), 7, "lamb")
    assert (found.status, found.ours, found.difference) == ("diverged", None, None)


def test_all_cells_of_a_failed_run_are_failed():
    failed = replace(run(), status="failed", reason="the kernel died.", scraps={})
    cells = reconstruction.by_table(reconstruction.reconstruct([failed]))[7]
    assert {(c.status, c.run) for c in cells} == {("failed", "table07/lenet_mnist")}
    assert reconstruction.table_status(cells) == "failed"


def test_a_failed_run_does_not_hide_the_cells_of_another():
    failed = replace(run(name="table07/other"), status="failed", scraps={})
    results = reconstruction.reconstruct([run(cell("lamb")), failed])
    assert of(results, 7, "lamb").status == "run"
    assert of(results, 7, "adam").status == "failed"


def test_the_run_of_the_table_itself_wins_over_others_and_then_the_latest():
    own = run(cell(value=0.1), started="1")
    other = run(cell(value=0.2), table=3, name="table03/a", started="2")
    latest = run(cell(value=0.3), table=3, name="table03/b", started="3")
    for order in ([own, other, latest], [latest, other, own]):
        assert of(reconstruction.reconstruct(order), 7, "lamb").ours == 0.1
    for order in ([other, latest], [latest, other]):
        assert of(reconstruction.reconstruct(order), 7, "lamb").ours == 0.3


def test_a_later_run_of_the_same_table_wins():
    first, second = run(cell(value=0.1), started="1"), run(cell(value=0.2), started="2")
    assert of(reconstruction.reconstruct([second, first]), 7, "lamb").ours == 0.2


def test_a_run_may_fill_cells_of_another_table():
    lamb = cell("lamb", 0.66, table=3, column="default")
    results = reconstruction.reconstruct([run(lamb, table=5)])
    assert of(results, 3, "lamb", "default").ours == 0.66


def test_what_is_the_best_of_other_tables_is_never_taken_from_a_run_s_cells():
    adam = cell("adam", 0.66, table=3, column="default")
    results = reconstruction.reconstruct([run(adam, table=3)])
    assert of(results, 3, "adam", "default").status == "not run"


def test_what_the_paper_has_no_cell_for_is_kept_apart():
    added = run(cell("lamb"), cell("lars", 0.9))
    (extra,) = reconstruction.unpublished([added])
    assert (extra.row, extra.ours, extra.published) == ("lars", 0.9, None)
    assert len(reconstruction.reconstruct([added])) == len(paper.cells())


def test_published_text_stays_text_and_has_no_difference():
    ours = cell("LARS", 88.0, table=2, column="32K")
    found = of(reconstruction.reconstruct([run(ours, table=2)]), 2, "LARS", "32K")
    assert (found.published, found.ours, found.difference) == ("diverge", 88.0, None)


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="'ok'; it must be one of run, diverged"):
        reconstruction.reconstruct([run(cell(status="ok"))])


@pytest.fixture
def written(outputs, tmp_path):
    results = reconstruction.reconstruct(runs.read(outputs / "laptop"))
    path = reconstruction.write_csv(results, tmp_path / "results.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_has_one_line_a_cell_in_the_papers_order(written):
    assert list(written[0]) == (
        "table,row,column,published,ours,spread,n,status,dataset,run".split(",")
    )
    assert [(int(line["table"]), line["row"], line["column"]) for line in written] == [
        cell[:3] for cell in paper.cells()
    ]


def test_the_csv_says_what_the_run_found_and_nothing_more(written):
    table_7 = {line["row"]: line for line in written if line["table"] == "7"}
    lamb = table_7["lamb"]
    # The setting with the best held-out accuracy, not the one best on the test set.
    assert float(lamb["ours"]) == pytest.approx(0.97)
    assert float(lamb["spread"]) == pytest.approx(math.sqrt(2) * 0.01)
    assert (lamb["n"], lamb["status"], lamb["dataset"]) == ("2", "run", "digits")
    assert lamb["run"] == "table07/lenet_mnist"
    assert (table_7["adam"]["ours"], table_7["adam"]["spread"]) == ("0.91", "")
    assert Counter(line["status"] for line in written) == {"run": 2, "not run": 431}


def test_published_numbers_in_the_csv_read_back_equal(written):
    for line, published in zip(written, paper.cells(), strict=True):
        text = line["published"]
        if isinstance(published.published, str):
            assert text == published.published
        else:
            assert float(text) == published.published


def test_a_number_that_is_none_survives_the_csv(tmp_path):
    results = reconstruction.reconstruct([run(cell(value=math.nan, spread=math.inf))])
    text = reconstruction.write_csv(results, tmp_path / "results.csv").read_text()
    assert "0.9945,nan,inf,5,run" in text


def test_all_cells_of_the_image_tables_are_run_or_diverged(imitated):
    results = reconstruction.reconstruct(runs.read(imitated))
    counts = Counter((r.status, r.table in (1, 2, 4, 8)) for r in results)
    assert counts["not run", True] == 57 and counts["not run", False] == 0
    assert counts["run", False] + counts["diverged", False] == 433 - 57


def test_a_row_that_is_one_setting_says_of_how_many(imitated):
    results = reconstruction.reconstruct(runs.read(imitated))
    row = of(results, 13, "0.05, 1e-05, default (0.01)", "Top-1 Validation Accuracy")
    assert (row.extra, row.settings_tried, row.settings) == (True, 1, 20)


def test_trials_alone_fill_the_cells_of_their_table(imitated):
    (found,) = [run for run in runs.read(imitated) if run.table == 23]
    table, trials = paper.tables()[23], found.scraps["trials"]
    other = [t for t in trials if t["weight_decay_form"] == "times_learning_rate"]
    results = reconstruction.of_trials(table, other, found)
    assert [result.row for result in results] == list(table.labeled_rows())
    erased = reconstruction.by_table(reconstruction.reconstruct([found]))[23]
    assert results[0].ours > erased[0].ours  # the imitation is erased per step
