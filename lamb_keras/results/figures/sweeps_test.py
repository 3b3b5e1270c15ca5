"""Figures of sweeps show every setting that was tried, and what came to nothing."""

import math

import pytest

from lamb_keras.results import figures, statistics
from lamb_keras.results.figures import style
from lamb_keras.results.figures.conftest import crosses, labels, lines, points

RATES = (0.001, 0.01, 0.1)
BATCHES = [512 * 2**k for k in range(7)]


def trial(solver, rate, seed, accuracy, outcome="finished", **more):
    return {
        "solver": solver,
        "learning_rate": rate,
        "seed": seed,
        "outcome": outcome,
        "test_accuracy": accuracy,
        **more,
    }


@pytest.fixture
def trials():
    return [
        trial(solver, rate, seed, 0.9)
        if rate < 0.1 or seed == 0
        else trial(solver, rate, seed, math.nan, "diverged")
        for solver in ("lamb", "adam")
        for rate in RATES
        for seed in range(3)
    ]


def test_every_solver_has_a_panel_that_counts_what_was_tried_and_diverged(trials):
    figure = figures.accuracy_by_learning_rate(trials)
    assert [axes.get_title() for axes in figure.axes] == ["adam", "lamb"]
    for axes in figure.axes:
        words = axes.get_xlabel()
        assert words.endswith("3 settings tried,\n2 of 9 trials diverged")
        assert [x for x, _ in crosses(axes)] == [0.1]
    assert "diverged" in labels(figure)


def test_the_best_setting_of_each_rate_is_drawn_over_all_of_them():
    trials = [
        trial("adamw", 0.01, 0, accuracy, weight_decay=decay)
        for decay, accuracy in ((0.1, 0.8), (1.0, 0.9))
    ]
    chosen = {"adamw": {"solver": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}}
    (axes,) = figures.accuracy_by_learning_rate(trials, chosen=chosen).axes
    assert [line.get_ydata().tolist() for line in axes.lines][-1] == [0.9]
    assert [0.8] in [line.get_ydata().tolist() for line in axes.lines]
    # The ring is around what was chosen on held-out data, which is not the best here.
    assert points(axes, "chosen on held-out data") == [[0.01, 0.8]]


def test_a_sweep_of_which_nothing_finished_can_still_be_drawn():
    trials = [trial("lamb", rate, 0, math.nan, "diverged") for rate in RATES]
    chosen = {"lamb": {"learning_rate": 0.1}}
    (axes,) = figures.accuracy_by_learning_rate(trials, chosen=chosen).axes
    assert len(crosses(axes)) == 3


def test_the_accuracy_of_a_diverged_trial_is_never_drawn():
    """A diverged trial may carry a number, that of chance; it is no accuracy."""
    trials = [trial("adam", 0.001, 0, 0.9), trial("adam", 0.01, 0, 0.1, "diverged")]
    tuning = figures.accuracy_by_learning_rate(trials)
    for figure in (tuning, figures.sweep(trials, 11, classes=10)):
        drawn = [y for line in figure.axes[0].lines[:1] for y in line.get_ydata()]
        assert 0.1 not in drawn


def test_the_choice_of_a_run_has_its_ring(imitated_table):
    trials = imitated_table(6)
    chosen = statistics.chosen(trials)
    figure = figures.accuracy_by_learning_rate(trials, chosen=chosen)
    for axes in figure.axes:
        ((rate, _),) = points(axes, "chosen on held-out data")
        assert rate == chosen[axes.get_title()]["learning_rate"]


def test_a_sweep_shows_ours_beside_the_papers_on_the_same_axes(imitated_table):
    trials = imitated_table(11)
    ours, theirs = figures.sweep(trials, 11, classes=10).axes
    assert ours.get_xscale() == "log" and ours.get_ylim() == theirs.get_ylim()
    published = dict(zip(*lines(theirs)["adam"].get_data(), strict=True))
    assert published[0.001] == 0.6604
    measured = dict(zip(*lines(ours)["adam"].get_data(), strict=True))
    (same,) = [t for t in trials if t["learning_rate"] == 0.001]
    assert measured[0.001] == same["test_accuracy"]
    levels = [lines(axes)["chance"].get_ydata()[0] for axes in (ours, theirs)]
    assert levels == [0.1, 0.001]


def test_each_weight_decay_of_a_sweep_has_a_line_in_both_panels(imitated_table):
    for axes in figures.sweep(imitated_table(21), 21, classes=10).axes:
        drawn = lines(axes)
        del drawn["chance"]
        assert set(drawn) == {"adamw+, decay 0.01", "adamw+, decay 0.001"}


def test_what_diverged_in_a_sweep_is_a_cross_and_no_point(imitated_table):
    ours, theirs = figures.sweep(imitated_table(9), 9, classes=10).axes
    assert [x for x, _ in points(ours, "diverged")] == [50.0]
    values = dict(zip(*lines(ours)["adagrad"].get_data(), strict=True))
    assert math.isnan(values[50.0])
    assert not points(theirs, "diverged")


def test_the_rows_of_version_3_are_marked_in_the_papers_panel(imitated_table):
    ours, theirs = figures.sweep(imitated_table(13), 13, classes=10).axes
    label = "printed by version 3 of the paper alone"
    assert [x for x, _ in points(theirs, label)] == [0.025, 0.03, 0.04, 0.05]
    assert not points(ours, label)


def test_seeds_are_points_and_the_line_is_their_mean():
    trials = [trial("adam", 0.001, seed, 0.5 + seed / 10) for seed in range(3)]
    ours, _ = figures.sweep(trials, 11, classes=10).axes
    assert lines(ours)["adam"].get_ydata() == pytest.approx([0.6])
    (seeds,) = ours.collections
    assert sorted(y for _, y in seeds.get_offsets()) == [0.5, 0.6, 0.7]


def test_the_sweep_of_table_5_is_over_batches_with_both_metrics(imitated_table):
    ours, _ = figures.sweep(imitated_table(5), 5, classes=10).axes
    of_lamb = {"lamb, top-1 accuracy", "lamb, top-5 accuracy"}
    # Momentum is tuned at the largest batch, for claim 18.
    assert (
        set(lines(ours)) == {m.replace("lamb", "momentum+") for m in of_lamb} | of_lamb
    )
    assert lines(ours)["momentum+, top-1 accuracy"].get_xdata().tolist() == [6]
    assert ours.get_title(loc="right") == "8 settings"
    assert [label.get_text() for label in ours.get_xticklabels()][0] == "512"


def test_a_solver_that_a_user_brings_has_its_best_setting_at_each_batch(imitated_table):
    def lion(batch, rate, seed, right, **more):
        metrics = {"validation_accuracy": right, "test_top5": 1.0, "batch_size": batch}
        return trial("lion", rate, seed, right, **metrics, **more)

    own = imitated_table(5)
    brought = [
        *(lion(512, rate, 0, right) for rate, right in ((0.1, 0.6), (0.2, 0.8))),
        lion(512, 0.2, 100, 0.7, confirmation=True),
        lion(1024, 0.1, 0, 0.5),
    ]
    alone, _ = figures.sweep(own, 5, classes=10).axes
    ours, theirs = figures.sweep([*own, *brought], 5, classes=10).axes
    drawn = lines(ours)["lion, top-1 accuracy"]
    assert drawn.get_xdata().tolist() == [0, 1]
    assert drawn.get_ydata().tolist() == [0.7, 0.5]
    assert not lines(theirs)["lion, top-1 accuracy"].get_xdata().size
    of_lamb = (lines(axes)["lamb, top-1 accuracy"] for axes in (alone, ours))
    first, second = (line.get_ydata().tolist() for line in of_lamb)
    assert first == second


def test_a_table_of_solvers_has_a_line_a_solver(imitated_table):
    (axes,) = figures.sweep(imitated_table(3), 3, classes=10).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["lamb\n1 setting", "momentum\nbest of 8"]
    lost = [trial("lamb", 0.01, 0, None, "diverged", validation_accuracy=None)]
    (axes,) = figures.sweep(lost, 3, classes=10).axes
    assert "diverged" in [text.get_text() for text in axes.texts]


def test_both_forms_of_weight_decay_stand_beside_the_paper(imitated_table):
    trials = imitated_table(23)
    _, per_step, times_rate = figures.forms(trials, 23).axes
    drawn = [
        lines(axes)["adamw+, decay 0.01"].get_ydata().tolist()
        for axes in (per_step, times_rate)
    ]
    assert max(drawn[0]) < 0.2 < max(drawn[1])
    # The sweep itself is of the first form alone.
    ours, _ = figures.sweep(trials, 23, classes=10).axes
    assert lines(ours)["adamw+, decay 0.01"].get_ydata().tolist() == drawn[0]


def tuning(solver="lamb", batch_size=512, f1=60.0, finetuning_seed=0, **more):
    numbers = {"batch_size": batch_size, "warmup_fraction": 0.2, "learning_rate": 0.005}
    metrics = {"validation_accuracy": 0.4, "f1": f1, "outcome": "finished"}
    seeds = {"seed": 0, "finetuning_seed": finetuning_seed}
    return {"solver": solver, **numbers, **seeds, **metrics, **more}


def test_f1_stands_beside_the_papers_at_every_batch():
    trials = [tuning("adamw", 512), tuning(batch_size="65536/32768")]
    trials += [tuning(batch_size=batch) for batch in BATCHES]
    ours, theirs = figures.f1_by_batch(trials, 1).axes
    ticks = [tick.get_text() for tick in ours.get_xticklabels()]
    # The mixed batch stands behind the regular ones.
    assert ticks == [f"{batch:,}" for batch in BATCHES] + ["65536/32768"]
    assert lines(ours)["lamb"].get_xdata().tolist() == list(range(8))
    assert lines(theirs)["lamb"].get_ydata()[-2:].tolist() == [91.475, 90.584]
    assert lines(theirs)["adamw"].get_ydata().tolist() == [90.395]
    assert lines(ours)["lamb"].get_color() == style.SOLVERS["lamb"][0]


def test_of_lars_the_chosen_rate_is_shown_and_what_diverged_is_a_cross():
    lost = {"f1": None, "validation_accuracy": None, "outcome": "diverged"}
    trials = [
        tuning("lars", batch, f1, learning_rate=rate, validation_accuracy=right)
        for batch in BATCHES[:6]
        for rate, right, f1 in ((0.005, 0.5, 50.0), (0.01, 0.4, 99.0))
    ] + [tuning("lars", 32768, finetuning_seed=None) | lost]
    ours, theirs = figures.f1_by_batch(trials, 2).axes
    assert lines(ours)["lars"].get_ydata()[:6].tolist() == [50.0] * 6
    assert [[x for x, _ in crosses(axes)] for axes in (ours, theirs)] == [[6], [6]]


def test_table_8_is_over_rates_with_a_line_a_warmup():
    trials = [
        tuning("adamw", 16384, learning_rate=rate, warmup_fraction=warmup)
        for rate in (0.0001, 0.0002, 0.0003)
        for warmup in (0.05, 0.1, 0.2)
    ]
    theirs = figures.f1_by_batch(trials, 8).axes[1]
    assert theirs.get_xlabel() == "learning rate"
    assert lines(theirs)["adamw, warm-up 0.1"].get_ydata()[1] == 88.54
    assert len(crosses(theirs)) == 3


def test_fine_tunings_are_points_and_the_line_is_their_mean():
    trials = [tuning(f1=60.0 + n, finetuning_seed=n) for n in range(3)]
    ours = figures.f1_by_batch(trials, 4).axes[0]
    assert lines(ours)["lamb"].get_ydata().tolist() == [61.0]
    (seeds,) = ours.collections
    assert seeds.get_offsets()[:, 1].tolist() == [60.0, 61.0, 62.0]
