"""Table 3's cells are the best of other tables, chosen without the test set."""

from dataclasses import replace

import pytest

from lamb_keras.results import reconstruction, runs

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
    return reconstruction.best_of(changed)[place]


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
    assert tempting["chosen"] == reconstruction.best_of(found)[PLACE]["chosen"]


def test_all_settings_of_all_its_tables_were_tried_those_of_version_3_too(found):
    derived = reconstruction.best_of(found)
    assert (derived[PLACE]["settings_tried"], derived[PLACE]["trials"]) == (160, 160)
    plus = derived[3, "adamw", "plus (Goyal LR scheme)"]
    assert plus["settings_tried"] == 100  # and not the 20 of the other form besides
    # The choice names its table even if there is only one.
    assert derived[3, "adam", "default"]["chosen"]["table"] == 11


def test_a_setting_of_a_further_solver_is_not_taken(found):
    def add(trials):
        return [*trials, trials[0] | {"solver": "lamb", "validation_accuracy": 1.0}]

    assert best(found, 18, add) == reconstruction.best_of(found)[PLACE]


def test_without_one_of_its_tables_there_is_no_best(found):
    assert (
        reconstruction.best_of([run for run in found if run.table != 20])[PLACE] is None
    )
    failed = [
        replace(run, status="failed", scraps={}) if run.table == 20 else run
        for run in found
    ]
    results = reconstruction.reconstruct(failed)
    by_place = {(r.table, r.row, r.column): r for r in results}
    assert by_place[PLACE].status == "not run"
    assert by_place[3, "adam", "default"].status == "run"


def test_where_nothing_finished_the_cell_is_diverged(found):
    place = 3, "adam", "default"
    lost = best(found, 11, lambda ts: [t | {"outcome": "diverged"} for t in ts], place)
    assert (lost["status"], lost["value"], lost["diverged"]) == ("diverged", None, 11)
