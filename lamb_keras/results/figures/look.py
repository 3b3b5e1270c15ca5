"""The one look of all figures: colors, markers, axes and legends."""

import functools
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

COLORS = {
    "momentum": "#0072B2",
    "adagrad": "#E69F00",
    "adam": "#009E73",
    "adamw": "#CC79A7",
    "lars": "#56B4E9",
    "lamb": "#D55E00",
}
MARKERS = {
    "momentum": "s",
    "adagrad": "^",
    "adam": "D",
    "adamw": "v",
    "lars": "P",
    "lamb": "o",
}
INK, FAINT, ALARM = "#333333", "#C9CCD1", "#B00020"

# What tells one setting of a solver from another, besides its learning rate.
OTHER_NUMBERS = {
    "batch_size": "batch",
    "weight_decay_form": "form",
    "l2_regularization": "L2",
    "weight_decay": "decay",
}

LOOK = {
    "axes.edgecolor": "#B8BCC4",
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": "#ECEEF1",
    "legend.fontsize": 9,
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 9,
    "ytick.color": INK,
    "ytick.labelsize": 9,
}


def figure(draw):
    """Draws in the house's look and leaves nothing of it behind.

    The figure is closed once drawn: a notebook then shows it where its author puts it,
    and not a second time at the end of the cell.
    """

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        with (
            sns.axes_style("whitegrid", LOOK),
            sns.plotting_context("notebook", rc=LOOK),
        ):
            made = draw(*args, **kwargs)
        plt.close(made)
        return made

    return drawn


def color(solver):
    """The color of a solver; with Goyal's recipe ("+") it keeps its own."""
    return COLORS.get(solver.removesuffix("+"), INK)


def style(solver):
    """How the line and the points of a solver look: with a "+", hollow and dashed."""
    plus = solver.endswith("+")
    return {
        "color": color(solver),
        "marker": MARKERS.get(solver.removesuffix("+"), "o"),
        "markerfacecolor": "white" if plus else color(solver),
        "linestyle": (0, (5, 2)) if plus else "-",
        "linewidth": 2.8 if solver == "lamb" else 2,
    }


def point(values):
    """A marker for a curve of one epoch, which has no line."""
    return "o" if values.count() == 1 else None


def log_scale(axes, values):
    """A logarithmic axis, if any of the values can stand on one."""
    if any(math.isfinite(value) and value > 0 for value in values):
        axes.set_yscale("log")
        return
    axes.set_yticks([])
    axes.text(
        0.5,
        0.5,
        "diverged before there was anything to show",
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=ALARM,
    )


def cross(axes, x, label="diverged"):
    """A cross at the foot of a panel: here something diverged."""
    axes.scatter(
        x,
        np.full(np.shape(x), 0.06),
        transform=axes.get_xaxis_transform(),
        marker="X",
        s=60,
        color=ALARM,
        linewidth=0,
        zorder=4,
        clip_on=False,
        label=label,
    )


def room(axes, values, least=0.02):
    """Limits that hold all values, with room at the foot for crosses and counts."""
    if len(values) == 0:
        return
    low, high = min(values), max(values)
    height = max(high - low, least)
    axes.set_ylim(low - 0.2 * height, high + 0.12 * height)


def one_legend(figure, grid, columns=4):
    """One legend for all panels: every label once, below them."""
    handles = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=min(columns, len(handles)),
            frameon=False,
        )


def solvers(rows):
    """The solvers in the paper's order of colors, LAMB last and so on top."""
    present = list(dict.fromkeys(rows.solver))
    order = {name: i for i, base in enumerate(COLORS) for name in (base, base + "+")}
    return sorted(present, key=lambda solver: order.get(solver, -1))


def frame(rows):
    """The rows as a table, None in its numbers as NaN."""
    table = pd.DataFrame(list(rows))
    if table.empty:
        raise ValueError("there is nothing to draw: the list of rows is empty.")
    return table


def accuracies(trials, metric):
    """The trials as a table, the metric of those that did not finish NaN.

    A diverged trial may carry a number, that of chance; it is no accuracy.
    """
    table = frame(trials)
    table[metric] = table[metric].astype(float)
    table.loc[table.outcome != "finished", metric] = np.nan
    return table


def variants(rows):
    """What tells settings apart besides the learning rate, in words, one a row."""
    several = [
        name
        for name in OTHER_NUMBERS
        if name in rows and rows[name].nunique(dropna=False) > 1
    ]
    return (
        [
            ", ".join(
                f"{OTHER_NUMBERS[name]} {written(value)}"
                for name, value in zip(several, values, strict=True)
                if not pd.isna(value)
            )
            for values in rows[several].itertuples(index=False, name=None)
        ]
        if several
        else [""] * len(rows)
    )


def written(value):
    """A number as short as it goes, anything else as words."""
    if isinstance(value, str):
        return value.replace("_", " ")
    return f"{value:g}"


def numbers(values):
    """Those of the values that are finite numbers."""
    return [
        value
        for value in values
        if isinstance(value, float | int) and math.isfinite(value)
    ]
