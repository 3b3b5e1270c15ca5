"""What the tests of all figures share."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from lamb_keras.results.figures import style


@pytest.fixture(autouse=True)
def no_figure_is_left():
    yield
    assert plt.get_fignums() == []


def labels(figure):
    """The entries of a figure's legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(axes):
    """The lines of a panel by the name that the legend has."""
    named = {line.get_label(): line for line in axes.lines}
    return {name: line for name, line in named.items() if name[0] != "_"}


def crosses(axes):
    """Where the crosses of a panel stand."""
    marks = [c for c in axes.collections if type(c) is PathCollection]
    red = [c for c in marks if to_hex(c.get_facecolor()[0]).upper() == style.ALARM]
    return [place for mark in red for place in mark.get_offsets().tolist()]


def points(axes, label):
    """Where the points stand that the legend calls so."""
    marks = [c for c in axes.collections if c.get_label() == label]
    return [place for mark in marks for place in mark.get_offsets().tolist()]
