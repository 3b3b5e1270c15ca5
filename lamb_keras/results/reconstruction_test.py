"""Every published cell has one line, with our value beside it where there is one."""

import csv
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from lamb_keras.results import paper, pretraining, reconstruction, runs, statistics
from lamb_keras.results.reconstruction import (
    best_of,
    by_table,
    reconstruct,
    table_status,
)
from lamb_keras.results.runs import Run

COLUMN = "mean_accuracy_5_runs"


def cell(row="lamb", value=0.97, table=7, column=COLUMN, **more):
    place = {"table": table, "row": row, "column": column}
    return place | {"value": value, "spread": 0.01, "n": 5, "status": "run"} | more


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
    results = reconstruct([])
    places = [(r.table, r.row, r.column, r.published, r.extra) for r in results]
    assert places == [tuple(cell) for cell in paper.cells()]
    assert {r.status for r in results} == {"not run"}
    assert all(r.ours is None and r.run is None for r in results)


def test_our_value_stands_beside_the_published_one():
    results = reconstruct([run(cell())])
    found = of(results, 7, "lamb")
    ours = 0.97, 0.01, 5, "run", "digits", "table07/lenet_mnist"
    assert ours == (
        *(found.ours, found.spread, found.n, found.status, found.dataset, found.run),
    )
    assert found.difference == pytest.approx(0.97 - 0.9945)
    # Solvers that the run left out are not run.
    assert of(results, 7, "adam").status == "not run"
    assert table_status(by_table(results)[7]) == "partly run"


def test_a_diverged_cell_has_a_status_and_no_value():
    diverged = cell(value=None, spread=None, n=0, status="diverged")
    found = of(reconstruct([run(diverged)]), 7, "lamb")
    assert (found.status, found.ours, found.difference) == ("diverged", None, None)


def test_a_failed_run_fails_the_cells_that_no_other_run_fills():
    failed = replace(run(name="table07/other"), status="failed", scraps={})
    cells = by_table(reconstruct([failed]))[7]
    assert {(c.status, c.run) for c in cells} == {("failed", "table07/other")}
    assert table_status(cells) == "failed"
    results = reconstruct([run(cell("lamb")), failed])
    assert of(results, 7, "lamb").status == "run"
    assert of(results, 7, "adam").status == "failed"


def test_the_run_of_the_table_itself_wins_over_others_and_then_the_latest():
    first = run(cell(value=0), started="0")
    own = run(cell(value=0.1), started="1")
    other = run(cell(value=0.2), table=3, name="table03/a", started="2")
    latest = run(cell(value=0.3), table=3, name="table03/b", started="3")
    for order in ([own, first, other, latest], [latest, other, first, own]):
        assert of(reconstruct(order), 7, "lamb").ours == 0.1
    for order in ([other, latest], [latest, other]):
        assert of(reconstruct(order), 7, "lamb").ours == 0.3


def test_what_is_the_best_of_other_tables_is_never_taken_from_a_run_s_cells():
    cells = [cell(row, 0.66, table=3, column="default") for row in ("adam", "lamb")]
    results = reconstruct([run(*cells, table=5)])
    assert of(results, 3, "adam", "default").status == "not run"
    assert of(results, 3, "lamb", "default").ours == 0.66


def test_a_solver_of_ones_own_follows_the_cells_of_its_table():
    results = reconstruct([run(cell("lamb"), cell("lars", 0.9))])
    assert len(results) == len(paper.cells()) + 1
    *published, own = by_table(results)[7]
    assert (own.row, own.ours, own.published) == ("lars", 0.9, None)
    assert [cell.row for cell in published][-1] == "lamb"


def test_published_text_stays_text_and_has_no_difference():
    ours = cell("LARS", 88.0, table=2, column="32K")
    found = of(reconstruct([run(ours, table=2)]), 2, "LARS", "32K")
    assert (found.published, found.ours, found.difference) == ("diverge", 88.0, None)


def written(results, folder):
    path = reconstruction.write_csv(results, folder / "results.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_has_one_line_a_cell_with_what_the_run_found(outputs, tmp_path):
    lines = written(reconstruct(runs.read(outputs / "laptop")), tmp_path)
    for line, published in zip(lines, paper.cells(), strict=True):
        place = int(line["table"]), line["row"], line["column"]
        assert place == published[:3]
        # Numbers read back equal.
        kind = type(published.published)
        assert kind(line["published"]) == published.published
    table_7 = {line["row"]: line for line in lines if line["table"] == "7"}
    lamb = table_7["lamb"]
    # The setting with the best held-out accuracy, not the one best on the test set.
    assert float(lamb["ours"]) == pytest.approx(0.97)
    assert float(lamb["spread"]) == pytest.approx(math.sqrt(2) * 0.01)
    assert (lamb["n"], lamb["status"], lamb["dataset"]) == ("2", "run", "digits")
    assert lamb["run"] == "table07/lenet_mnist"
    assert (table_7["adam"]["ours"], table_7["adam"]["spread"]) == ("0.91", "")
    assert Counter(line["status"] for line in lines) == {"run": 2, "not run": 431}


def test_the_csv_has_solvers_of_ones_own_and_numbers_that_are_none(tmp_path):
    own = cell("lars", math.nan, spread=math.inf)
    lines = written(reconstruct([run(own)]), tmp_path)
    (line,) = [line for line in lines if line["row"] == "lars"]
    assert (line["ours"], line["spread"], line["published"]) == ("nan", "inf", "")


def test_all_cells_of_the_image_tables_are_run_or_diverged(imitated):
    results = reconstruct(runs.read(imitated))
    counts = Counter((r.done, r.table in (1, 2, 4, 8)) for r in results)
    tuned_beside = 2  # momentum in Table 5: top-1 and top-5
    images = 433 - 57 + tuned_beside
    assert counts == {(False, True): 57, (True, False): images}
    # A row that is one setting says of how many.
    row = of(results, 13, "0.05, 1e-05, default (0.01)", "Top-1 Validation Accuracy")
    assert (row.extra, row.settings_tried, row.settings) == (True, 1, 20)


# Table 3's cells are the best of other tables, chosen without the test set.
PLACE = 3, "adamw", "default"


@pytest.fixture(scope="module")
def found(imitated):
    return runs.read(imitated)


def best(found, table, change, place=PLACE):
    """What is derived if the trials of a table are changed."""
    changed = [
        replace(run, scraps=run.scraps | {"trials": change(run.scraps["trials"])})
        if run.table == table
        else run
        for run in found
    ]
    return best_of(changed)[place]


def test_the_best_setting_by_held_out_accuracy_is_reported_on_the_test_set(found):
    def spoil(trials):
        lucky = {"validation_accuracy": 0.999, "test_accuracy": 0.123}
        return [trials[0] | lucky, *trials[1:]]

    spoiled = best(found, 18, spoil)
    assert spoiled["value"] == 0.123
    assert spoiled["run"] == "table18/resnet50_imagenet"
    assert spoiled["chosen"] == {
        "table": 18,
        "learning_rate": 0.0001,
        "weight_decay": 0.0001,
        "l2_regularization": 0.0,
    }
    tempting = best(found, 13, lambda ts: [t | {"test_accuracy": 1.0} for t in ts])
    assert tempting["chosen"] == best_of(found)[PLACE]["chosen"]


def test_all_settings_of_all_its_tables_were_tried_those_of_version_3_too(found):
    derived = best_of(found)
    assert (derived[PLACE]["settings_tried"], derived[PLACE]["trials"]) == (160, 160)
    plus = derived[3, "adamw", "plus (Goyal LR scheme)"]
    assert plus["settings_tried"] == 100  # and not the 20 of the other form besides
    # The choice names its table even if there is only one.
    assert derived[3, "adam", "default"]["chosen"]["table"] == 11


def test_a_setting_of_a_further_solver_is_not_taken(found):
    def add(trials):
        return [*trials, trials[0] | {"solver": "lamb", "validation_accuracy": 1.0}]

    assert best(found, 18, add) == best_of(found)[PLACE]


def test_without_one_of_its_tables_there_is_no_best(found):
    assert best_of([run for run in found if run.table != 20])[PLACE] is None
    failed = [
        replace(run, status="failed", scraps={}) if run.table == 20 else run
        for run in found
    ]
    results = reconstruct(failed)
    assert of(results, *PLACE).status == "not run"
    assert of(results, 3, "adam", "default").status == "run"


def test_where_nothing_finished_the_cell_is_diverged(found):
    place = 3, "adam", "default"
    lost = best(found, 11, lambda ts: [t | {"outcome": "diverged"} for t in ts], place)
    assert (lost["status"], lost["value"], lost["diverged"]) == ("diverged", None, 11)


def guessed(run, **how_bad):
    """The run with these metrics in every trial."""
    trials = [trial | how_bad for trial in run.trials]
    of_it = pretraining if run.notebook == "bert_squad" else statistics
    cells = of_it.cells(trials, run.table)
    return replace(run, scraps=run.scraps | {"trials": trials, "cells": cells})


def test_what_ended_no_better_than_guessing_did_not_train_and_keeps_its_value(imitated):
    (run,) = [run for run in runs.read(imitated) if run.table == 7]
    cells = by_table(reconstruct([guessed(run, test_accuracy=0.15)]))[7]
    assert {cell.status for cell in cells} == {"did not train"}
    assert all(cell.done and cell.ours == pytest.approx(0.15) for cell in cells)
    # One seed that trained is enough.
    best = [t | {"test_accuracy": 0.15 if t["seed"] else 0.9} for t in run.trials]
    told = statistics.cells(best, 7)
    scraps = run.scraps | {"trials": best, "cells": told}
    cells = by_table(reconstruct([replace(run, scraps=scraps)]))[7]
    assert {cell.status for cell in cells} == {"run"}


def test_text_that_ends_above_the_unigram_entropy_did_not_train(imitated_bert):
    found = [run for run in runs.read(imitated_bert) if run.table == 4]
    results = by_table(
        reconstruct([guessed(run, validation_loss=5.6) for run in found])
    )
    assert {cell.status for cell in results[4]} == {"did not train"}
    by_column = {cell.column: cell.status for cell in results[1] if cell.done}
    # What the clock says is none of its business.
    assert by_column == {"f1_dev": "did not train", "time_minutes": "run"}
    assert {c.status for c in results[2] if c.row == "LAMB"} == {"did not train"}
