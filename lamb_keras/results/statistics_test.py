"""The best setting is chosen on held-out data, and its cell tells the whole story."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamb_keras.results import paper, statistics

RATES = [0.0001, 0.001, 0.01, 0.1]
PLACES = list(itertools.product(RATES, range(3)))
accuracies = st.lists(st.floats(0, 1), min_size=12, max_size=12)


TOPS = ("top5", "top1")


def trial(learning_rate, seed, validation, test=0.5, solver="lamb", **more):
    return {
        "solver": solver,
        "learning_rate": learning_rate,
        "seed": seed,
        "outcome": "finished",
        "validation_accuracy": validation,
        "test_accuracy": test,
        **more,
    }


def diverged(learning_rate, seed, **more):
    lost = {"outcome": "diverged", "test_accuracy": None}
    return trial(learning_rate, seed, math.nan, **lost | more)


def cell(trials):
    (only,) = statistics.cells(trials, 7)
    return only


def rate(trials):
    """The learning rate that is chosen, in whichever order the trials come."""
    chosen = {
        statistics.choose(t).setting["learning_rate"] for t in (trials, trials[::-1])
    }
    (only,) = chosen
    return only


@pytest.mark.parametrize(
    ("low", "high", "best"),
    [
        ([0.90, 0.92], [0.99, 0.80], 0.001),  # the mean decides
        ([0.20, 0.20], [0.99, None], 0.001),  # a seed that diverged counts most
        ([0.3, 0.2, 0.1], [0.1, 0.2, 0.3], 0.001),  # of equals the smaller rate
        # 5 of 287 wrong in either case, but the mean of float32 numbers differs.
        ([float(np.float32(282 / 287))], [282 / 287 + 1e-7], 0.001),
        # One of 50,000 images, in one of 5 seeds: the finest step of any table.
        ([0.7] * 5, [0.7] * 4 + [0.7 + 1 / 50_000], 0.01),
        ([None, None], [0.1, None], 0.01),
        ([None, None, 0.99], [None, 0.3, 0.3], 0.01),  # the fewest diverged
        ([None], [None, None, 0.0], 0.01),  # none finished, though fewer diverged
    ],
)
def test_the_setting_with_the_best_held_out_mean_is_chosen(low, high, best):
    trials = [
        diverged(rate, seed) if value is None else trial(rate, seed, value)
        for rate, values in ((0.001, low), (0.01, high))
        for seed, value in enumerate(values)
    ]
    assert rate(trials) == best


@given(accuracies, st.data())
def test_the_test_metric_cannot_influence_the_choice(held_out, data):
    trials = [trial(*p, v) for p, v in zip(PLACES, held_out, strict=True)]
    anything = st.floats(-1e300, 1e300) | st.sampled_from([math.nan, math.inf])
    other = data.draw(st.lists(anything, min_size=12, max_size=12))
    changed = [{**t, "test_accuracy": o} for t, o in zip(trials, other, strict=True)]
    assert cell(changed)["chosen"] == cell(trials)["chosen"]


@given(accuracies, st.randoms())
def test_the_order_of_the_trials_does_not_matter(held_out, generator):
    trials = [trial(*p, v) for p, v in zip(PLACES, held_out, strict=True)]
    shuffled = random.Random(generator.random()).sample(trials, len(trials))
    chosen = statistics.choose(trials).setting
    assert statistics.choose(shuffled).setting == chosen


def test_a_solver_of_which_nothing_finished_has_a_status_and_no_value():
    found = cell([diverged(0.1, 0), diverged(0.1, 1, outcome="failed")])
    assert (found["value"], found["status"], found["diverged"]) == (None, "diverged", 1)
    assert cell([diverged(0.1, 0, outcome="failed")])["status"] == "failed"


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_mean_and_spread_are_the_textbooks(values):
    # NumPy sums numbers up to 1e6 with an error of about 1e-10 of them.
    assert statistics.mean(values) == pytest.approx(np.mean(values), abs=1e-8)
    expected = np.std(values, ddof=1)
    assert statistics.spread(values) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_the_mean_of_what_is_not_finite_is_not_a_number():
    for values in ([1.0, math.nan], [math.inf, -math.inf], [math.inf, 1.0]):
        assert math.isnan(statistics.mean(values))
        assert math.isnan(statistics.spread(values))


def test_every_solver_has_its_own_choice_in_the_order_of_the_trials():
    trials = [
        trial(rate, 0, 0.9 if rate == best else 0.5, solver=solver)
        for solver, best in (("momentum", 0.1), ("lamb", 0.01))
        for rate in RATES
    ]
    found = statistics.cells(trials, 7)
    assert [(c["row"], c["chosen"], c["settings_tried"]) for c in found] == [
        ("momentum", {"learning_rate": 0.1}, 4),
        ("lamb", {"learning_rate": 0.01}, 4),
    ]
    # What is chosen finds its trials and no others.
    chosen = statistics.chosen(trials)["lamb"]
    assert [t["learning_rate"] for t in trials if chosen.items() <= t.items()] == [0.01]


def test_all_that_a_trial_tells_of_its_setting_is_tuned():
    trials = [
        trial(rate, 0, rate + decay, weight_decay=decay, l2_regularization=0.0)
        for rate in (0.1, 0.2)
        for decay in (0.0, 0.5)
    ]
    found = cell(trials)
    assert found["settings_tried"] == 4
    # What there was no choice of is not told.
    assert found["chosen"] == {"learning_rate": 0.2, "weight_decay": 0.5}


def test_among_equals_none_comes_before_any_number():
    trials = [
        trial(rate, 0, 0.9, weight_decay=decay)
        for decay in (0.5, None)
        for rate in (0.2, 0.1)
    ]
    setting = {"learning_rate": 0.1, "weight_decay": None}
    assert statistics.choose(trials).setting == setting


def test_trials_that_differ_in_something_untold_are_not_mixed_up():
    trials = [trial(0.001, 0, 0.5, solver="adam", nesterov=n) for n in (True, False)]
    with pytest.raises(ValueError, match="tells them apart"):
        statistics.choose(trials)
    with pytest.raises(ValueError, match="table 11, row 0.001 and seed 0"):
        statistics.cells(trials, 11)


def test_the_other_form_of_weight_decay_makes_no_cell():
    trials = [
        trial(0.1, 0, held_out, weight_decay_form=form, solver=solver)
        for solver, form, held_out in (
            ("adamw", "per_step", 0.5),
            ("adamw", "times_learning_rate", 0.9),
            ("lamb", None, 0.7),
        )
    ]
    assert statistics.chosen(trials)["adamw"]["weight_decay_form"] == "per_step"
    found = statistics.cells(trials, 6)
    tried = [(c["row"], c["settings_tried"]) for c in found]
    assert tried == [("adamw", 1), ("lamb", 1)]


def test_momentum_in_table_3_is_that_with_goyals_recipe():
    found = statistics.cells([trial(0.1, 0, 0.5, solver="momentum+")], 3)
    assert [(c["row"], c["column"]) for c in found] == [("momentum", "default")]


def test_rows_are_called_as_the_paper_calls_them(imitated_table):
    for number in (5, *range(9, 26)):
        table = paper.tables()[number]
        found = statistics.cells(imitated_table(number), number)
        places = [(c["row"], c["column"]) for c in found]
        assert len(set(places)) == len(places)
        # What is tuned beside the paper's solver has one row.
        others = {("32768, momentum+", name) for name in table.results * (number == 5)}
        assert set(places) == {cell[1:3] for cell in table.cells()} | others


def test_a_row_is_the_mean_over_the_seeds_that_finished():
    adamw = {"solver": "adamw", "weight_decay": 1e-5, "l2_regularization": 0.01}
    trials = [
        trial(0.1, 0, 0.5, 0.6, **adamw),
        trial(0.1, 1, 0.5, 0.8, **adamw),
        diverged(0.1, 2, **adamw),
        diverged(0.2, 0, **adamw),
    ]
    row, lost = statistics.cells(trials, 13)
    assert row["value"] == pytest.approx(0.7)
    assert (row["n"], row["trials"], row["diverged"]) == (2, 3, 1)
    assert (row["status"], row["settings_tried"], row["settings"]) == ("run", 1, 2)
    assert (lost["value"], lost["spread"], lost["status"]) == (None, None, "diverged")


def test_the_rows_of_table_5_have_both_metrics():
    trials = [trial(0.04, 0, 0.5, 0.7, batch_size=512, test_top5=0.9)]
    found = statistics.cells(trials, 5)
    assert [(c["row"], c["column"], c["value"]) for c in found] == [
        ("512", "top5", 0.9),
        ("512", "top1", 0.7),
    ]


def test_a_users_solver_is_tuned_for_each_row_of_a_table_of_settings():
    lion = {"solver": "lion", "batch_size": 512}
    trials = [
        trial(0.04, 0, 0.5, 0.7, batch_size=512, test_top5=0.9),
        trial(0.001, 0, 0.3, 0.9, test_top5=0.9, **lion),
        trial(0.002, 0, 0.6, 0.6, test_top5=0.8, **lion),
    ]
    found = {(c["row"], c["column"]): c for c in statistics.cells(trials, 5)}
    assert [*found] == [(row, m) for row in ("512", "512, lion") for m in TOPS]
    assert found["512, lion", "top1"]["value"] == 0.6
    assert found["512, lion", "top1"]["settings_tried"] == 2
    assert found["512", "top1"]["value"] == 0.7


def test_a_table_of_a_projects_own_has_a_row_for_each_solver():
    trials = [trial(0.1, 0, 0.5, 0.7), trial(0.1, 0, 0.5, 0.6, solver="lion")]
    found = statistics.cells(trials, 26)
    assert [(c["table"], c["row"], c["column"], c["value"]) for c in found] == [
        (26, "lamb", "test_accuracy", 0.7),
        (26, "lion", "test_accuracy", 0.6),
    ]


def test_what_the_paper_has_no_row_for_gets_a_name_that_says_why():
    base = {"l2_regularization": 0.0, "batch_size": 16384}
    trials = [
        trial(0.001, 0, 0.5, solver="adam", **base),
        trial(0.001, 0, 0.5, solver="adam", **base | {"l2_regularization": 0.1}),
        trial(0.001, 0, 0.5, solver="lamb", **base),
    ]
    rows = [c["row"] for c in statistics.cells(trials, 11)]
    assert rows == ["0.001", "0.001, l2 regularization 0.1", "0.001, lamb"]


def test_no_trials_are_an_error_with_a_cure():
    with pytest.raises(ValueError, match="run at least one"):
        statistics.choose([])


def test_the_best_of_several_settings_is_told_by_seeds_that_did_not_choose_it():
    trials = [
        trial(0.1, 0, 0.8, 0.8),
        trial(0.2, 0, 0.9, 0.99),  # the luckiest
        *(trial(0.2, seed, 0.9, 0.7, confirmation=True) for seed in (1, 2, 3)),
        # However good, they choose nothing.
        trial(0.1, 1, 1.0, 1.0, confirmation=True),
    ]
    found = cell(trials)
    assert (found["value"], found["n"], found["settings_tried"]) == (0.7, 3, 2)
    assert found["chosen"] == {"learning_rate": 0.2}
    unconfirmed = cell([t for t in trials if not t.get("confirmation")])
    assert (unconfirmed["value"], unconfirmed["n"]) == (0.99, 1)
    lost = [*trials[:2], diverged(0.2, 1, confirmation=True)]
    assert (cell(lost)["value"], cell(lost)["status"]) == (None, "diverged")
    # Where nothing was chosen, all its seeds count.
    assert cell(trials[1:5])["n"] == 4


def test_rows_of_settings_are_not_confirmed():
    trials = [trial(0.001, 0, 0.5, 0.6), trial(0.002, 0, 0.7, 0.8)]
    again = trial(0.002, 1, 0.7, 0.1, confirmation=True)
    for table, solver in ((5, "lamb"), (11, "adam")):
        more = {"batch_size": 512, "l2_regularization": 0.0, "solver": solver}

        def values(*of, table=table, more=more):
            found = statistics.cells([t | more for t in of], table)
            return [c["value"] for c in found if "top5" not in c["column"]]

        assert values(*trials, again) == [0.6, 0.8]
        # Nothing was chosen of the only setting of a batch: all its seeds count.
        assert values(trials[1], again) == [pytest.approx(0.45)]


def test_seeds_that_chose_cannot_confirm():
    again = trial(0.1, 0, 0.9, confirmation=True)
    with pytest.raises(ValueError, match="seed 0; expected one"):
        statistics.choose([trial(0.1, 0, 0.8), again])


def test_a_second_warm_up_is_a_setting():
    trials = [trial(0.1, 0, 0.9 - without, rewarmup=not without) for without in (0, 1)]
    assert statistics.choose(trials).setting == {"learning_rate": 0.1, "rewarmup": True}
