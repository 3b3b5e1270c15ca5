"""Figures say what they are meant to say, whatever a run comes up with."""

import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lamb_keras.results import figures, statistics
from lamb_keras.results.figures import look

RATES = (0.001, 0.01, 0.1)


def trial(solver, rate, seed, accuracy, outcome="finished"):
    return {
        "solver": solver,
        "learning_rate": rate,
        "seed": seed,
        "outcome": outcome,
        "test_accuracy": accuracy,
    }


@pytest.fixture(autouse=True)
def no_figure_is_left():
    yield
    plt.close("all")


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
    assert look.COLORS["lamb"] in [line.get_color() for line in lamb.lines]
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
        trials,
        published={"lamb": 0.9945, "adam": "diverged"},
        chosen={"lamb": {"learning_rate": 0.01}},
    )
    adam, lamb = figure.axes
    assert "paper 0.9945" in texts(lamb)
    assert not any("paper" in text for text in texts(adam))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "chosen on held-out data" in labels


def test_a_sweep_of_which_nothing_finished_can_still_be_drawn():
    trials = [trial("lamb", rate, 0, math.nan, "diverged") for rate in RATES]
    axes = figures.accuracy_by_learning_rate(
        trials, chosen={"lamb": {"learning_rate": 0.1}}
    ).axes[0]
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


def test_a_plus_has_the_color_of_its_solver_and_is_hollow_and_dashed():
    base, plus = look.style("adam"), look.style("adam+")
    assert base["color"] == plus["color"] and base["marker"] == plus["marker"]
    assert plus["markerfacecolor"] == "white" and plus["linestyle"] != "-"


def test_lamb_stays_last_among_solvers_with_a_plus():
    rows = look.frame(
        [{"solver": name} for name in ("lamb", "adam+", "momentum+", "x")]
    )
    assert look.solvers(rows) == ["x", "momentum+", "adam+", "lamb"]


def tuned(imitated_table):
    trials = imitated_table(6)
    chosen = statistics.chosen(trials)
    return trials, chosen, figures.accuracy_by_learning_rate(trials, chosen=chosen)


def test_of_several_decays_at_a_rate_the_best_is_drawn_and_the_others_faint(
    imitated_table,
):
    trials, _, figure = tuned(imitated_table)
    (adamw,) = [axes for axes in figure.axes if axes.get_title() == "adamw"]
    adamws = [
        t for t in trials if t["solver"] == "adamw" and t["learning_rate"] == 0.01
    ]
    means = {
        decay: np.mean(
            [t["test_accuracy"] for t in adamws if t["weight_decay"] == decay]
        )
        for decay in (0.0001, 0.01, 1.0)
    }
    strong = [
        line
        for line in adamw.lines
        if line.get_color() == look.COLORS["adamw"] and line.get_alpha() is None
    ]
    drawn = dict(zip(*strong[0].get_data(), strict=True))
    assert drawn[0.01] == pytest.approx(max(means.values()))
    faint = [line for line in adamw.lines if line.get_alpha()]
    assert len(faint) == len(means)


def test_every_panel_says_how_many_settings_were_tried(imitated_table):
    _, _, figure = tuned(imitated_table)
    tried = {axes.get_title(): axes.get_xlabel() for axes in figure.axes}
    assert tried["adamw"].endswith("24 settings tried")
    assert tried["momentum"].endswith("1 setting tried")


def test_the_ring_is_around_the_chosen_setting_and_not_the_best_of_its_rate():
    trials = [
        trial("adamw", 0.01, 0, accuracy) | {"weight_decay": decay}
        for decay, accuracy in ((0.1, 0.8), (1.0, 0.9))
    ]
    chosen = {"adamw": {"solver": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}}
    axes = figures.accuracy_by_learning_rate(trials, chosen=chosen).axes[0]
    ring = next(
        c for c in axes.collections if c.get_label() == "chosen on held-out data"
    )
    assert ring.get_offsets().tolist() == [[0.01, 0.8]]


def test_many_diverged_rates_are_counted_once_inside_the_panel(imitated_table):
    _, _, figure = tuned(imitated_table)
    (adam,) = [axes for axes in figure.axes if axes.get_title() == "adam"]
    assert texts(adam) == ["6 of 24"]
    assert adam.texts[0].get_horizontalalignment() == "right"


def lines_of(axes):
    return {
        line.get_label(): line for line in axes.lines if line.get_label() != "chance"
    }


def test_a_sweep_shows_ours_beside_the_papers_on_the_same_axes(imitated_table):
    trials = imitated_table(11)
    ours, theirs = figures.sweep(trials, 11, classes=10).axes
    assert ours.get_xscale() == "log" and ours.get_ylim() == theirs.get_ylim()
    (line,) = lines_of(theirs).values()
    published = dict(zip(*line.get_data(), strict=True))
    assert published[0.001] == 0.6604
    (line,) = lines_of(ours).values()
    measured = dict(zip(*line.get_data(), strict=True))
    (same,) = [t for t in trials if t["learning_rate"] == 0.001]
    assert measured[0.001] == same["test_accuracy"]


def test_each_panel_has_the_chance_level_of_its_own_data(imitated_table):
    panels = figures.sweep(imitated_table(11), 11, classes=10).axes
    levels = [axes.lines[-1].get_ydata()[0] for axes in panels]
    assert levels == [0.1, 0.001]


def test_each_weight_decay_of_a_sweep_has_a_line_in_both_panels(imitated_table):
    for axes in figures.sweep(imitated_table(21), 21, classes=10).axes:
        lines = {name: one for name, one in lines_of(axes).items() if name[0] != "_"}
        assert set(lines) == {"decay 0.01", "decay 0.001"}
        assert len({to_hex(line.get_color()) for line in lines.values()}) == 2


def test_what_diverged_in_a_sweep_is_a_cross_and_no_point(imitated_table):
    ours, theirs = figures.sweep(imitated_table(9), 9, classes=10).axes
    (cross,) = [c for c in ours.collections if c.get_label() == "diverged"]
    assert [x for x, _ in cross.get_offsets()] == [50.0]
    (line,) = lines_of(ours).values()
    assert math.isnan(dict(zip(*line.get_data(), strict=True))[50.0])
    assert not [c for c in theirs.collections if c.get_label() == "diverged"]


def test_a_number_that_a_diverged_trial_carries_is_not_drawn():
    trials = [trial("adam", 0.001, 0, 0.9), trial("adam", 0.01, 0, 0.1, "diverged")]
    ours, _ = figures.sweep(trials, 11, classes=10).axes
    (line,) = lines_of(ours).values()
    assert math.isnan(dict(zip(*line.get_data(), strict=True))[0.01])


def test_the_rows_of_version_3_are_marked_in_the_papers_panel(imitated_table):
    _, theirs = figures.sweep(imitated_table(13), 13, classes=10).axes
    (rings,) = [c for c in theirs.collections if "version 3" in c.get_label()]
    assert [x for x, _ in rings.get_offsets()] == [0.025, 0.03, 0.04, 0.05]


def test_seeds_are_points_and_the_line_is_their_mean():
    trials = [trial("adam", 0.001, seed, 0.5 + seed / 10) for seed in range(3)]
    ours, _ = figures.sweep(trials, 11, classes=10).axes
    (line,) = lines_of(ours).values()
    assert line.get_ydata() == pytest.approx([0.6])
    (points,) = ours.collections
    assert sorted(y for _, y in points.get_offsets()) == [0.5, 0.6, 0.7]


def test_the_sweep_of_table_5_is_over_batches_with_both_metrics(imitated_table):
    ours, _ = figures.sweep(imitated_table(5), 5, classes=10).axes
    assert set(lines_of(ours)) == {"top-1 accuracy", "top-5 accuracy"}
    assert ours.get_title(loc="right") == "7 settings"
    assert [label.get_text() for label in ours.get_xticklabels()][0] == "512"


def test_a_table_of_solvers_has_a_line_a_solver(imitated_table):
    (axes,) = figures.sweep(imitated_table(3), 3, classes=10).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "lamb",
        "momentum",
    ]
    lost = [trial("lamb", 0.01, 0, None, "diverged") | {"validation_accuracy": None}]
    (axes,) = figures.sweep(lost, 3, classes=10).axes
    assert "diverged" in texts(axes)


def test_both_forms_of_weight_decay_stand_beside_the_paper(imitated_table):
    trials = imitated_table(23)
    _, per_step, times_rate = figures.forms(trials, 23).axes
    first = {
        axes: lines_of(axes)["decay 0.01"].get_ydata()
        for axes in (per_step, times_rate)
    }
    assert max(first[per_step]) < 0.2 < max(first[times_rate])
    # The sweep itself is of the first form alone.
    ours, _ = figures.sweep(trials, 23, classes=10).axes
    assert list(lines_of(ours)["decay 0.01"].get_ydata()) == list(first[per_step])


def test_pictures_in_color_keep_their_colors():
    red = np.zeros((2, 4, 4, 3), "uint8")
    red[..., 0] = 255
    for images in (red, red / 255.0):
        figure = figures.examples(images, [0, 1])
        shown = np.asarray(figure.axes[0].images[0].get_array())
        assert shown.shape == (4, 4, 3)
        assert (shown[0, 0] / shown.max()).tolist() == [1, 0, 0]


def test_normalized_pictures_are_brought_where_they_can_be_drawn():
    images = np.stack([np.full((4, 4, 3), -2.0), np.full((4, 4, 3), 3.0)])
    figure = figures.examples(images, [0, 1])
    values = [axes.images[0].get_array().max() for axes in figure.axes[:2]]
    assert values == [0.0, 1.0]


def test_curves_of_chosen_settings_name_rate_and_decay():
    rows = [
        point | {"weight_decay": 0.01, "l2_regularization": 0.0}
        for point in curve("adamw+", 0.1, [2.0, 1.0])
    ]
    figure = figures.learning_curves(rows)
    (text,) = figure.legends[0].get_texts()
    assert text.get_text() == "adamw+, learning rate 0.1, decay 0.01"
    assert figure.axes[0].lines[0].is_dashed()


def test_curves_of_several_decays_at_a_rate_are_not_averaged():
    rows = [
        point | {"weight_decay": decay}
        for decay in (0.1, 0.2)
        for point in curve("adamw", 0.1, [2.0 + decay, 1.0])
    ]
    figure = figures.learning_curves(rows)
    firsts = sorted(line.get_ydata()[0] for line in figure.axes[0].lines)
    assert firsts == [2.1, 2.2]


def test_many_learning_rates_are_a_scale_of_color_and_no_legend():
    rows = [p for rate in range(1, 31) for p in curve("adam", rate, [2.0, 1.0])]
    figure = figures.learning_curves(rows)
    assert not figure.legends
    assert figure.axes[-1].get_ylabel() == "learning rate"


def test_of_very_many_layers_some_are_named():
    rows = [
        {"epoch": 1, "layer": f"dense_{i}/kernel", "trust_ratio": 1.0}
        for i in range(160)
    ]
    legend = figures.trust_ratios(rows).axes[0].get_legend()
    assert len(legend.get_texts()) <= 14
    assert legend.get_title().get_text().endswith("of 160 layers named")
