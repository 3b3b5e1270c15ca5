"""Figures say what they are meant to say, whatever a run comes up with."""

import io
import math

import matplotlib.pyplot as plt
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from lamb_keras.results import figures

RATES = (0.001, 0.01, 0.1)


def trial(solver, rate, seed, accuracy, outcome="finished"):
    return {
        "solver": solver,
        "learning_rate": rate,
        "seed": seed,
        "outcome": outcome,
        "test_accuracy": accuracy,
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


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_lamb_is_drawn_last_and_heaviest(trials):
    figure = figures.accuracy_by_learning_rate(trials)
    adam, lamb = figure.axes
    assert (adam.get_title(), lamb.get_title()) == ("adam", "lamb")
    assert lamb.lines[-1].get_color() == figures.COLORS["lamb"]
    widths = [max(line.get_linewidth() for line in axes.lines) for axes in (adam, lamb)]
    assert widths[1] > widths[0]


def test_diverged_seeds_are_counted_where_they_diverged(trials):
    figure = figures.accuracy_by_learning_rate(trials)
    assert texts(figure.axes[0]) == ["2 of 3"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "diverged" in labels


def test_the_accuracy_of_a_diverged_trial_is_never_drawn():
    """A diverged trial may carry a number, that of chance; it is no accuracy."""
    trials = [
        trial("lamb", 0.01, 0, 0.9),
        trial("lamb", 0.1, 0, 0.1, outcome="diverged"),
    ]
    axes = figures.accuracy_by_learning_rate(trials).axes[0]
    drawn = [y for line in axes.lines for y in line.get_ydata()]
    assert 0.1 not in drawn and texts(axes) == ["1 of 1"]


def test_the_published_value_and_the_chosen_rate_are_marked(trials):
    figure = figures.accuracy_by_learning_rate(
        trials, published={"lamb": 0.9945, "adam": "diverged"}, chosen={"lamb": 0.01}
    )
    adam, lamb = figure.axes
    assert "paper 0.9945" in texts(lamb)
    assert not any("paper" in text for text in texts(adam))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "chosen on held-out data" in labels


def test_a_sweep_of_which_nothing_finished_can_still_be_drawn():
    trials = [trial("lamb", rate, 0, math.nan, "diverged") for rate in RATES]
    axes = figures.accuracy_by_learning_rate(trials, chosen={"lamb": 0.1}).axes[0]
    assert texts(axes) == ["1 of 1"] * 3


def curve(solver, rate, losses):
    return [
        {
            "solver": solver,
            "learning_rate": rate,
            "seed": 0,
            "epoch": epoch,
            "train_loss": loss,
            "validation_accuracy": math.nan if math.isnan(loss) else 0.5,
        }
        for epoch, loss in enumerate(losses, start=1)
    ]


def test_a_curve_that_diverges_ends_in_a_cross():
    figure = figures.learning_curves(curve("lamb", 0.1, [2.0, 1.0, math.nan]))
    (cross,) = [c for c in figure.axes[0].collections if type(c) is PathCollection]
    assert list(cross.get_offsets()[0]) == [2.0, 1.0]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_what_diverged_at_once_is_drawn_as_that(loss):
    rows = curve("lamb", 0.1, [loss]) + curve("adam", 0.1, [loss])
    ratios = [{"epoch": 1, "layer": "dense/kernel", "trust_ratio": loss}]
    for figure in (figures.learning_curves(rows), figures.trust_ratios(ratios)):
        figure.savefig(io.BytesIO(), format="png")  # where an empty log axis fails
        assert "diverged before" in figure.axes[0].texts[0].get_text()


def test_a_curve_of_one_epoch_is_a_point():
    figure = figures.learning_curves(curve("lamb", 0.1, [2.0]))
    assert figure.axes[0].lines[0].get_marker() == "o"
    longer = figures.learning_curves(curve("lamb", 0.1, [2.0, 1.0]))
    assert longer.axes[0].lines[0].get_marker() in (None, "None")


def test_an_infinite_ratio_among_others_does_not_spoil_the_axis():
    ratios = [
        {"epoch": epoch, "layer": "dense/kernel", "trust_ratio": ratio}
        for epoch, ratio in enumerate([1.0, math.inf, 2.0], start=1)
    ]
    figure = figures.trust_ratios(ratios)
    figure.savefig(io.BytesIO(), format="png")
    assert figure.axes[0].get_ylim()[1] < 10


def test_several_learning_rates_give_every_solver_a_column():
    rows = [
        point
        for solver in ("adam", "lamb")
        for rate in RATES
        for point in curve(solver, rate, [2.0, 1.0])
    ]
    figure = figures.learning_curves(rows)
    assert [axes.get_title() for axes in figure.axes] == ["adam", "lamb", "", ""]


def test_layers_are_told_apart_in_the_nets_order():
    layers = ["conv2d/kernel", "conv2d/bias", "dense/kernel"]
    rows = [
        {"step": step, "layer": layer, "trust_ratio": 1.0 + step}
        for layer in layers
        for step in range(3)
    ]
    axes = figures.trust_ratios(rows).axes[0]
    assert [line.get_label() for line in axes.lines] == layers
    assert axes.lines[1].is_dashed() and not axes.lines[0].is_dashed()
    assert axes.get_xlabel() == "step"


def test_fewer_images_than_places_leave_places_empty():
    figure = figures.examples([[[0.0, 1.0]] * 2] * 3, [1, 2, 3])
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == [
        "1",
        "2",
        "3",
    ]


def test_a_figure_is_handed_over_closed_and_leaves_no_style_behind(trials):
    before = dict(plt.rcParams)
    figure = figures.accuracy_by_learning_rate(trials)
    assert isinstance(figure, Figure) and plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_nothing_to_draw_is_one_clear_sentence():
    with pytest.raises(ValueError, match="nothing to draw"):
        figures.learning_curves([])
