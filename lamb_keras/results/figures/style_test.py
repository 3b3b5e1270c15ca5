"""All figures have one style, and leave nothing of it behind."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lamb_keras.results import figures
from lamb_keras.results.figures import style


def lines_of(*solvers):
    return style.lines(pd.DataFrame({"solver": solvers, "line": solvers}))


def test_lamb_is_drawn_last_and_heaviest():
    lines = lines_of("lamb", "mine", "adam", "momentum+")
    assert list(lines) == ["mine", "momentum+", "adam", "lamb"]
    widths = {name: line["linewidth"] for name, line in lines.items()}
    assert widths.pop("lamb") > max(widths.values())


def test_a_plus_has_the_color_of_its_solver_and_is_hollow_and_dashed():
    plain, plus = lines_of("adam", "adam+").values()
    assert plain["color"] == plus["color"] == style.SOLVERS["adam"][0]
    assert plus["markerfacecolor"] == "white" != plain["markerfacecolor"]
    assert plain["linestyle"] == "-" != plus["linestyle"]


@pytest.mark.parametrize("number", [2, 4, 9])
def test_lines_of_one_solver_can_be_told_apart(number):
    names = [f"lamb, batch {i}" for i in range(number)]
    lines = style.lines(pd.DataFrame({"solver": "lamb", "line": names}))
    assert len({tuple(np.ravel(line["color"])) for line in lines.values()}) == number


def test_a_figure_is_handed_over_closed_and_leaves_no_style_behind():
    before = dict(plt.rcParams)
    figure = figures.examples(np.zeros((1, 4, 4)), [0])
    assert isinstance(figure, plt.Figure) and plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_nothing_to_draw_is_one_clear_sentence():
    with pytest.raises(ValueError, match="nothing to draw"):
        figures.learning_curves([])


@style.figure
def drawn(names, width=7.5):
    figure, axes = plt.subplots(figsize=(width, 4))
    for name in names:
        axes.plot([0, 1], label=name)
    style.legend(figure, [axes])
    return figure


@pytest.mark.parametrize("length", [5, 30, 50])
def test_a_legend_is_no_wider_than_its_figure(length):
    figure = drawn([f"{i} {'w' * length}" for i in range(9)])
    figure.draw_without_rendering()
    extent = figure.legends[0].get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width
    # Of short names there are four in a row.
    assert (figure.legends[0]._ncols == 4) == (length == 5)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.0001, 10], ["0.0001", "0.01", "1"]),
        ([0.02, 0.3], ["0.02", "0.05", "0.1", "0.2"]),
        ([2.30, 2.31], ["2.308"]),
    ],
)
def test_a_logarithmic_axis_has_plain_numbers_on_it_however_short(values, shown):
    figure, axes = plt.subplots()
    axes.plot(values)
    style.log_axis(axes.yaxis, values)
    figure.draw_without_rendering()
    plt.close(figure)
    texts = [text.get_text() for text in axes.get_yticklabels()]
    assert set(shown) <= set(texts) and axes.get_yscale() == "log"


def test_fewer_images_than_places_leave_places_empty():
    figure = figures.examples([[[0.0, 1.0]] * 2] * 3, [1, 2, 3])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:4] == ["1", "2", "3", ""]


def test_pictures_in_color_keep_their_colors():
    red = np.zeros((2, 4, 4, 3), "uint8")
    red[..., 0] = 255
    for images in (red, red / 255.0):
        figure = figures.examples(images, [0, 1])
        shown = np.asarray(figure.axes[0].images[0].get_array())
        assert (shown[0, 0] / shown.max()).tolist() == [1, 0, 0]


def test_solvers_that_a_user_brings_have_colors_and_markers_of_their_own():
    lines = lines_of("lion", "muon", "lamb")
    assert len({line["color"] for line in lines.values()}) == 3
    assert len({line["marker"] for line in lines.values()}) == 3
