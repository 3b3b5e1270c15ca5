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
accuracies = st.floats(0, 1, allow_nan=False)


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
    return trial(learning_rate, seed, math.nan, math.nan, outcome="diverged", **more)


def cell(trials, **more):
    (only,) = statistics.cells(trials, 7, "mean_accuracy_5_runs", **more)
    return only


def test_the_setting_with_the_best_held_out_mean_is_chosen():
    trials = [
        trial(0.001, 0, 0.90),
        trial(0.001, 1, 0.92),
        trial(0.01, 0, 0.99),
        trial(0.01, 1, 0.80),
    ]
    assert statistics.choose(trials).setting == {"learning_rate": 0.001}


@given(st.lists(accuracies, min_size=12, max_size=12), st.data())
def test_the_test_metric_cannot_influence_the_choice(held_out, data):
    """Whatever the test set says, the same setting is chosen."""
    places = list(itertools.product(RATES, range(3)))
    trials = [trial(*p, v) for p, v in zip(places, held_out, strict=True)]
    anything = st.floats(-1e300, 1e300) | st.sampled_from([math.nan, math.inf])
    other = data.draw(st.lists(anything, min_size=12, max_size=12))
    changed = [{**t, "test_accuracy": o} for t, o in zip(trials, other, strict=True)]
    assert cell(changed)["chosen"] == cell(trials)["chosen"]


def test_the_test_accuracy_of_the_chosen_setting_is_reported_even_if_it_is_worse():
    trials = [trial(0.001, 0, 0.95, test=0.6), trial(0.01, 0, 0.90, test=0.99)]
    assert cell(trials)["value"] == 0.6


def test_choosing_by_the_test_set_is_refused():
    with pytest.raises(ValueError, match="held-out part"):
        cell([trial(0.001, 0, 0.9)], by="test_accuracy")
    with pytest.raises(ValueError, match="held-out part"):
        cell([trial(0.001, 0, 0.9)], metric="f1", by="f1")


def test_a_setting_with_one_diverged_seed_ranks_below_every_finished_one():
    trials = [
        trial(0.001, 0, 0.2),
        trial(0.001, 1, 0.2),
        trial(0.1, 0, 0.99),
        diverged(0.1, 1),
    ]
    assert statistics.choose(trials).setting == {"learning_rate": 0.001}


def test_where_every_setting_lost_a_seed_the_one_that_lost_fewest_is_chosen():
    trials = [
        diverged(0.01, 0),
        diverged(0.01, 1),
        trial(0.01, 2, 0.99),
        diverged(0.1, 0),
        trial(0.1, 1, 0.3, test=0.31),
        trial(0.1, 2, 0.3, test=0.31),
    ]
    found = cell(trials)
    assert found["chosen"] == {"learning_rate": 0.1}
    assert (found["status"], found["n"], found["value"]) == ("run", 2, 0.31)
    assert found["diverged"] == 3


def test_a_setting_that_lost_all_its_seeds_ranks_last_even_with_fewer_seeds():
    trials = [diverged(0.01, 0), *[diverged(0.1, s) for s in (0, 1)], trial(0.1, 2, 0)]
    assert statistics.choose(trials).setting == {"learning_rate": 0.1}


def test_a_solver_whose_trials_all_diverged_has_a_status_and_no_value():
    found = cell([diverged(rate, seed) for rate in RATES for seed in range(5)])
    assert found["status"] == "diverged"
    assert (found["value"], found["spread"], found["n"]) == (None, None, 0)
    assert (found["settings_tried"], found["trials"], found["diverged"]) == (4, 20, 20)


def test_a_solver_whose_trials_all_failed_is_failed():
    assert cell([trial(0.1, 0, 0.5, outcome="failed")])["status"] == "failed"


def test_a_finished_trial_without_a_number_counts_as_lost():
    trials = [trial(0.001, 0, 0.2), trial(0.1, 0, math.nan)]
    for order in (trials, trials[::-1]):
        assert statistics.choose(order).setting == {"learning_rate": 0.001}


def test_equal_means_go_to_the_smaller_learning_rate_in_any_order():
    # Summed in this order, the larger rate would win by the last bit.
    low = [trial(0.001, seed, v) for seed, v in enumerate([0.3, 0.2, 0.1])]
    high = [trial(0.01, seed, v) for seed, v in enumerate([0.1, 0.2, 0.3])]
    for order in ([*low, *high], [*high, *low]):
        assert statistics.choose(order).setting == {"learning_rate": 0.001}


def test_the_noise_of_float32_does_not_decide():
    """5 of 287 wrong in either case, but the mean of float32 numbers differs."""
    low = [trial(0.001, 0, float(np.float32(282 / 287)))]
    high = [trial(0.01, 0, 282 / 287 + 1e-7)]
    assert low[0]["validation_accuracy"] != high[0]["validation_accuracy"]
    assert statistics.choose([*high, *low]).setting == {"learning_rate": 0.001}


def test_one_image_more_does_decide():
    # One of 50,000 test images, in one of 5 seeds: the finest step of any table.
    low = [trial(0.001, seed, 0.7) for seed in range(5)]
    high = [trial(0.01, seed, 0.7 + (seed == 0) / 50_000) for seed in range(5)]
    assert statistics.choose([*low, *high]).setting == {"learning_rate": 0.01}


@given(st.lists(accuracies, min_size=12, max_size=12), st.randoms())
def test_the_order_of_the_trials_does_not_matter(held_out, generator):
    places = list(itertools.product(RATES, range(3)))
    trials = [trial(*p, v) for p, v in zip(places, held_out, strict=True)]
    shuffled = random.Random(generator.random()).sample(trials, len(trials))
    chosen = statistics.choose(trials).setting
    assert statistics.choose(shuffled).setting == chosen


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
        trial(rate, 0, accuracy, solver=solver)
        for solver, best in (("momentum", 0.1), ("lamb", 0.01))
        for rate in RATES
        for accuracy in [0.9 if rate == best else 0.5]
    ]
    found = statistics.cells(trials, 7, "mean_accuracy_5_runs")
    assert [(c["row"], c["chosen"]) for c in found] == [
        ("momentum", {"learning_rate": 0.1}),
        ("lamb", {"learning_rate": 0.01}),
    ]


def test_several_hyperparameters_can_be_tuned_together():
    trials = [
        trial(rate, 0, rate + decay, weight_decay=decay)
        for rate in (0.1, 0.2)
        for decay in (0.0, 0.5)
    ]
    choice = statistics.choose(trials, tuned=("learning_rate", "weight_decay"))
    assert choice.setting == {"learning_rate": 0.2, "weight_decay": 0.5}
    assert choice.settings_tried == 4


def test_trials_that_differ_in_something_untold_are_not_mixed_up():
    trials = [trial(0.1, 0, 0.5, nesterov=nesterov) for nesterov in (True, False)]
    with pytest.raises(ValueError, match="tells them apart"):
        statistics.choose(trials)


def test_all_that_a_trial_tells_of_its_setting_is_tuned_by_default():
    trials = [
        trial(rate, 0, rate + decay, weight_decay=decay, l2_regularization=0.0)
        for rate in (0.1, 0.2)
        for decay in (0.0, 0.5)
    ]
    found = cell(trials)
    assert found["settings_tried"] == 4
    # What there was no choice of is not told.
    assert found["chosen"] == {"learning_rate": 0.2, "weight_decay": 0.5}


def test_among_equals_the_smaller_rate_comes_first_and_none_before_any_number():
    trials = [
        trial(rate, 0, 0.9, weight_decay=decay)
        for decay in (0.5, None)
        for rate in (0.2, 0.1)
    ]
    setting = {"learning_rate": 0.1, "weight_decay": None}
    assert statistics.choose(trials).setting == setting


def test_the_other_form_of_weight_decay_makes_no_cell():
    trials = [
        trial(
            0.1, 0, held_out, weight_decay=0.01, weight_decay_form=form, solver=solver
        )
        for solver, form, held_out in (
            ("adamw", "per_step", 0.5),
            ("adamw", "times_learning_rate", 0.9),
            ("lamb", None, 0.7),
        )
    ]
    assert statistics.chosen(trials)["adamw"]["weight_decay_form"] == "per_step"
    found = statistics.cells(trials, 6)
    assert [(c["row"], c["settings_tried"]) for c in found] == [
        ("adamw", 1),
        ("lamb", 1),
    ]


def test_what_is_chosen_finds_its_trials_and_no_others():
    trials = [
        trial(rate, 0, rate, solver=s) for s in ("adam", "lamb") for rate in RATES
    ]
    chosen = statistics.chosen(trials)["adam"]
    same = [t for t in trials if chosen.items() <= t.items()]
    assert [(t["solver"], t["learning_rate"]) for t in same] == [("adam", 0.1)]


def test_momentum_in_table_3_is_that_with_goyals_recipe():
    found = statistics.cells([trial(0.1, 0, 0.5, solver="momentum+")], 3)
    assert [(c["row"], c["column"]) for c in found] == [("momentum", "default")]


ADAMW = {"solver": "adamw", "weight_decay": 1e-5, "l2_regularization": 0.01}


def test_rows_are_called_as_the_paper_calls_them(imitated_table):
    for number in (5, *range(9, 26)):
        table = paper.tables()[number]
        found = statistics.rows(imitated_table(number), number)
        places = [(c["row"], c["column"]) for c in found]
        assert len(set(places)) == len(places)
        assert set(places) == {cell[1:3] for cell in table.cells()}


def test_a_row_is_the_mean_over_the_seeds_that_finished():
    trials = [
        trial(0.1, 0, 0.5, 0.6, **ADAMW),
        trial(0.1, 1, 0.5, 0.8, **ADAMW),
        diverged(0.1, 2, **ADAMW),
        trial(0.2, 0, 0.9, 0.9, **ADAMW),
    ]
    row, _ = statistics.rows(trials, 13)
    assert row["value"] == pytest.approx(0.7)
    assert (row["n"], row["trials"], row["diverged"]) == (2, 3, 1)
    assert (row["status"], row["settings_tried"], row["settings"]) == ("run", 1, 2)


def test_a_row_of_which_no_seed_finished_is_diverged():
    lost = {**diverged(0.1, 0, **ADAMW), "test_accuracy": None}
    (row,) = statistics.rows([lost], 13)
    assert (row["value"], row["spread"], row["status"]) == (None, None, "diverged")


def test_the_rows_of_table_5_have_both_metrics():
    trials = [trial(0.04, 0, 0.5, 0.7, batch_size=512, test_top5=0.9)]
    found = statistics.rows(trials, 5)
    assert [(c["row"], c["column"], c["value"]) for c in found] == [
        ("512", "top5", 0.9),
        ("512", "top1", 0.7),
    ]


def test_what_the_paper_has_no_row_for_gets_a_name_that_says_why():
    base = {"solver": "adam", "l2_regularization": 0.0, "batch_size": 16384}
    other = {"solver": "lamb", "l2_regularization": 0.0, "batch_size": 16384}
    trials = [
        trial(0.001, 0, 0.5, **base),
        trial(0.003, 0, 0.5, **base),
        trial(0.001, 0, 0.5, **base | {"l2_regularization": 0.1}),
        trial(0.001, 0, 0.5, **other),
    ]
    rows = [c["row"] for c in statistics.cells(trials, 11)]
    assert rows == [
        "0.001",
        "0.003",
        "0.001, l2 regularization 0.1",
        "0.001, lamb",
    ]


def test_two_trials_of_one_row_and_seed_are_refused():
    trials = [trial(0.001, 0, 0.5, solver="adam", nesterov=n) for n in (True, False)]
    with pytest.raises(ValueError, match="table 11, row 0.001 and seed 0"):
        statistics.rows(trials, 11)


def test_no_trials_are_an_error_with_a_cure():
    with pytest.raises(ValueError, match="run at least one"):
        statistics.choose([])
