"""The figure of the first page shows LAMB untuned and others at their best."""

import pandas as pd
import pytest

from lamb_keras.results import figures
from lamb_keras.results.figures import style
from lamb_keras.results.figures.batches import points
from lamb_keras.results.figures.conftest import labels


def trial(solver, seed, right, table=3, batch=16384, rate=0.01, **more):
    about = {"table": table, "solver": solver, "seed": seed, "classes": 10}
    numbers = {"batch_size": batch, "learning_rate": rate, "outcome": "finished"}
    metrics = {"validation_accuracy": right, "test_accuracy": right}
    return about | numbers | metrics | {"confirmation": False} | more


def of(*trials):
    return points(pd.DataFrame(trials))


def test_a_tuned_solver_is_told_by_seeds_that_had_no_say_in_the_choice():
    fresh = {"rate": 0.1, "confirmation": True}
    (point,) = of(
        trial("adam", 0, 0.8, table=11),
        trial("adam", 0, 0.99, table=11, rate=0.1),
        trial("adam", 100, 0.7, table=11, **fresh),
        trial("adam", 101, 0.9, table=11, **fresh),
    )
    assert (point.mean, point.n) == (pytest.approx(0.8), 2)
    assert point.low == pytest.approx(0.8 - 12.706 * 0.1, abs=1e-3)


def test_lamb_is_not_tuned_though_its_controls_were_better():
    rates = ((0.04, 0.8), (0.08, 0.9))
    (point,) = of(*(trial("lamb", 0, r, 5, 512, rate) for rate, r in rates))
    assert point.mean == 0.8


def test_fine_tunings_are_no_seeds_and_mixed_batches_no_place():
    about = {"table": 4, "batch": 512, "rate": 0.005, "unigram_entropy": 5.0}
    about |= {"classes": None}
    (point,) = of(
        trial("lamb", 0, 0.5, validation_loss=4.0, finetuning_seed=0, **about),
        trial("lamb", 0, 0.5, validation_loss=4.0, finetuning_seed=1, **about),
        trial("lamb", 1, 0.5, validation_loss=4.5, finetuning_seed=0, **about),
        trial("lamb", 0, 0.5, validation_loss=3.0, **about | {"batch": "9/8"}),
    )
    assert (point.mean, point.n) == (4.25, 2)


def test_single_seeds_are_hollow_and_what_did_not_train_is_a_gray_cross():
    figure = figures.over_batches(
        of(
            trial("lamb", 0, 0.9),
            trial("lamb", 1, 0.92),
            trial("adam", 0, 0.9, table=11),
            trial("adagrad", 0, 0.1, table=9),
        )
    )
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "ResNet, solvers at 16,384"
    drawn = {c.get_label(): c.lines[0] for c in axes.containers}
    assert set(drawn) == set(labels(figure)) == {"lamb", "adam", "did not train"}
    assert drawn["adam"].get_markerfacecolor() == "white"
    assert drawn["lamb"].get_markerfacecolor() == style.SOLVERS["lamb"][0]
    assert drawn["did not train"].get_marker() == "X"


def test_solvers_that_a_user_brings_are_drawn_and_told_apart():
    names = ("lion", "muon", "lamb")
    drawn = figures.over_batches(of(*(trial(name, 0, 0.9) for name in names)))
    lines = {c.get_label(): c.lines[0] for c in drawn.axes[0].containers}
    assert {*lines} == {*names}
    assert len({line.get_marker() for line in lines.values()}) == 3
    assert len({line.get_color() for line in lines.values()}) == 3
