"""Table 3's cells are the best of other tables, chosen without the test set."""

from dataclasses import replace

import pytest

from lamb_keras.results import best_of, reconstruction, runs

PLACE = 3, "adamw", "default"


@pytest.fixture(scope="module")
def found(imitated):
    return runs.read(imitated)


def changed(found, table, change):
    """The runs, those of a table with other trials."""
    return [
        replace(run, scraps=run.scraps | {"trials": change(run.scraps["trials"])})
        if run.table == table
        else run
        for run in found
    ]


def test_the_best_setting_by_held_out_accuracy_is_reported_on_the_test_set(found):
    def spoil(trials):
        lucky = {"validation_accuracy": 0.999, "test_accuracy": 0.123}
        return [trials[0] | lucky, *trials[1:]]

    best = best_of.derived(changed(found, 18, spoil))[PLACE]
    assert best["value"] == 0.123
    assert best["run"] == "table18/resnet50_imagenet"
    assert best["chosen"] == {
        "table": 18,
        "learning_rate": 0.0001,
        "weight_decay": 0.0001,
        "l2_regularization": 0.0,
    }


def test_the_test_set_has_no_say_in_it(found):
    def tempt(trials):
        return [trial | {"test_accuracy": 1.0} for trial in trials]

    before, after = (
        best_of.derived(r)[PLACE] for r in (found, changed(found, 13, tempt))
    )
    assert before["chosen"] == after["chosen"]


def test_all_settings_of_all_its_tables_were_tried_those_of_version_3_too(found):
    best = best_of.derived(found)[PLACE]
    assert (best["settings_tried"], best["trials"]) == (160, 160)
    plus = best_of.derived(found)[3, "adamw", "plus (Goyal LR scheme)"]
    assert plus["settings_tried"] == 100  # and not the 20 of the other form besides


def test_a_setting_of_a_further_solver_is_not_taken(found):
    def add(trials):
        return [*trials, trials[0] | {"solver": "lamb", "validation_accuracy": 1.0}]

    assert best_of.derived(changed(found, 11, add)) == best_of.derived(found)


def test_the_choice_names_its_table_even_if_there_is_only_one(found):
    best = best_of.derived(found)[3, "adam", "default"]
    assert best["chosen"]["table"] == 11


def test_without_one_of_its_tables_there_is_no_best(found):
    some = [run for run in found if run.table != 20]
    assert best_of.derived(some)[PLACE] is None
    failed = [
        replace(run, status="failed", scraps={}) if run.table == 20 else run
        for run in found
    ]
    results = reconstruction.reconstruct(failed)
    by_place = {(r.table, r.row, r.column): r for r in results}
    assert by_place[PLACE].status == "not run"
    assert by_place[3, "adam", "default"].status == "run"


def test_where_nothing_finished_the_cell_is_diverged(found):
    def lose(trials):
        return [trial | {"outcome": "diverged"} for trial in trials]

    best = best_of.derived(changed(found, 11, lose))[3, "adam", "default"]
    assert (best["status"], best["value"], best["diverged"]) == ("diverged", None, 11)
