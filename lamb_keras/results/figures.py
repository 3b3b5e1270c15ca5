"""The figures of the notebooks and the report, one look for all of them.

Every function takes plain lists of dicts (or arrays) and returns a Matplotlib figure.
A solver has the same color and marker everywhere, from Okabe and Ito's palette that
color-blind readers can tell apart; LAMB is drawn last and heaviest.
"""

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


def _figure(draw):
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
            figure = draw(*args, **kwargs)
        plt.close(figure)
        return figure

    return drawn


@_figure
def examples(images, labels, rows: int = 2, columns: int = 10):
    """The first images of a data set with their labels, as the net gets them.

    Example:
        >>> import numpy as np
        >>> figure = examples(np.zeros((3, 8, 8, 1)), [4, 0, 7])
        >>> [axes.get_title() for axes in figure.axes][:3]
        ['4', '0', '7']
    """
    shown = min(len(images), rows * columns)
    rows = max(1, math.ceil(shown / columns))
    figure, grid = plt.subplots(
        rows, columns, figsize=(0.9 * columns, 1.15 * rows), layout="constrained"
    )
    for i, axes in enumerate(np.ravel(grid)):
        axes.set_axis_off()
        if i < shown:
            image = np.asarray(images[i], dtype=float)
            axes.imshow(image, cmap="gray_r", interpolation="nearest")
            axes.set_title(str(labels[i]), fontweight="normal")
    return figure


@_figure
def learning_curves(curves):
    """Training loss and held-out accuracy by epoch: mean over seeds, band one spread.

    `curves` are dicts with solver, learning_rate, seed, epoch, train_loss and
    validation_accuracy. Where a solver comes with several learning rates, every solver
    gets a column of its own. A curve that stops being a number ends in a cross.

    Example:
        >>> point = {"solver": "lamb", "learning_rate": 0.01, "seed": 0}
        >>> figure = learning_curves(
        ...     [point | {"epoch": e, "train_loss": 1 / e, "validation_accuracy": 0.9}
        ...      for e in (1, 2, 3)])
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['training loss', 'held-out accuracy']
    """
    frame = _frame(curves)
    rates = frame.groupby("solver")["learning_rate"].nunique()
    if rates.max() > 1:
        return _curves_by_solver(frame)
    figure, (loss, accuracy) = plt.subplots(
        1, 2, figsize=(10, 3.8), layout="constrained"
    )
    for solver in _solvers(frame):
        one = frame[frame.solver == solver]
        label = f"{solver}, learning rate {one.learning_rate.iloc[0]:g}"
        _curve(loss, one, "train_loss", COLORS.get(solver, INK), solver, label)
        _curve(accuracy, one, "validation_accuracy", COLORS.get(solver, INK), solver)
    _loss_axes(loss, frame["train_loss"])
    _accuracy_axes(accuracy, frame["validation_accuracy"])
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


@_figure
def accuracy_by_learning_rate(
    trials, published=None, metric="test_accuracy", chosen=None
):
    """Accuracy against learning rate, one panel a solver, the others faint behind it.

    Points are seeds, the line their mean, the bar one spread. A ring marks the
    learning rate in `chosen` (by solver), a dashed line the paper's value in
    `published` (by solver). Where seeds diverged, a cross at the foot of the panel
    says how many of how many.

    Example:
        >>> trials = [{"solver": "lamb", "learning_rate": rate, "seed": 0,
        ...            "outcome": "finished", "test_accuracy": 0.9}
        ...           for rate in (0.001, 0.01)]
        >>> figure = accuracy_by_learning_rate(trials, published={"lamb": 0.9945})
        >>> figure.axes[0].get_title()
        'lamb'
    """
    frame = _frame(trials)
    frame.loc[frame.outcome != "finished", metric] = np.nan
    published, chosen = published or {}, chosen or {}
    solvers = _solvers(frame)
    figure, (panels,) = plt.subplots(
        1,
        len(solvers),
        figsize=(2.4 * len(solvers) + 0.8, 3.5),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    means = {
        solver: frame[frame.solver == solver].groupby("learning_rate")[metric].mean()
        for solver in solvers
    }
    for axes, solver in zip(panels, solvers, strict=True):
        for other in solvers:
            axes.plot(means[other], color=FAINT, linewidth=1, zorder=1)
        _sweep(axes, frame[frame.solver == solver], metric, solver)
        if solver in chosen and chosen[solver] in means[solver]:
            at = chosen[solver], means[solver][chosen[solver]]
            style = {"facecolor": "none", "edgecolor": INK, "linewidth": 1.6}
            axes.scatter(*at, s=190, zorder=5, label="chosen on held-out data", **style)
        if isinstance(published.get(solver), float | int):
            axes.axhline(published[solver], color=INK, linestyle=(0, (4, 3)), zorder=2)
            axes.annotate(
                f"paper {published[solver]:.4f}",
                (0.04, published[solver]),
                xycoords=("axes fraction", "data"),
                xytext=(0, 3),
                textcoords="offset points",
                fontsize=8,
            )
        axes.set_title(solver, color=COLORS.get(solver, INK))
        axes.set_xlabel("learning rate")
    panels[0].set_ylabel(metric.replace("_", " "))
    panels[0].set_xscale("log")
    panels[0].set_xlim(frame.learning_rate.min() / 2, frame.learning_rate.max() * 2)
    _room(panels[0], [*frame[metric].dropna(), *_numbers(published.values())])
    _one_legend(figure, panels)
    return figure


@_figure
def trust_ratios(rows):
    """The trust ratio of every layer over training, on a logarithmic scale.

    `rows` are dicts with epoch (or step), layer (a variable's path) and trust_ratio.
    Layers are colored from input to output; biases and other vectors whose path does
    not end in "kernel" or "embeddings" are dashed.

    Example:
        >>> figure = trust_ratios(
        ...     [{"epoch": e, "layer": "dense/kernel", "trust_ratio": 10.0 / e}
        ...      for e in (1, 2, 3)])
        >>> figure.axes[0].get_yscale()
        'log'
    """
    frame = _frame(rows).replace([np.inf, -np.inf], np.nan)
    time = "epoch" if "epoch" in frame else "step"
    layers = list(dict.fromkeys(frame.layer))
    colors = sns.color_palette("viridis", n_colors=max(len(layers), 2))
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for layer, color in zip(layers, colors, strict=False):
        one = frame[frame.layer == layer].groupby(time)["trust_ratio"].mean()
        matrix = layer.endswith(("kernel", "embeddings"))
        axes.plot(
            one,
            color=color,
            linestyle="-" if matrix else (0, (3, 2)),
            linewidth=2 if matrix else 1.4,
            marker=_point(one),
            label=layer,
        )
    _log_scale(axes, frame["trust_ratio"])
    axes.set_xlabel(time)
    axes.set_ylabel("trust ratio")
    axes.margins(x=0.01)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def _sweep(axes, frame, metric, solver):
    """One solver's seeds, mean, spread, and what diverged, against learning rate."""
    color = COLORS.get(solver, INK)
    marker = MARKERS.get(solver, "o")
    grouped = frame.groupby("learning_rate")[metric]
    axes.scatter(
        frame.learning_rate, frame[metric], s=14, color=color, alpha=0.45, linewidth=0
    )
    axes.errorbar(
        grouped.mean().index,
        grouped.mean(),
        yerr=grouped.std(ddof=1).fillna(0),
        color=color,
        marker=marker,
        markersize=7,
        linewidth=2.8 if solver == "lamb" else 2,
        capsize=3,
        zorder=3,
    )
    lost = frame[frame[metric].isna()].groupby("learning_rate").size()
    tried = frame.groupby("learning_rate").size()
    for rate, count in lost.items():
        place = axes.get_xaxis_transform()
        axes.scatter(
            rate,
            0.06,
            transform=place,
            marker="X",
            s=80,
            color=ALARM,
            zorder=4,
            clip_on=False,
            label="diverged",
        )
        axes.text(
            rate,
            0.115,
            f"{count} of {tried[rate]}",
            transform=place,
            ha="center",
            color=ALARM,
            fontsize=8,
        )


def _curves_by_solver(frame):
    solvers = _solvers(frame)
    rates = sorted(frame.learning_rate.unique())
    palette = sns.color_palette("viridis", n_colors=len(rates) + 1)  # less its yellow
    shades = dict(zip(rates, palette, strict=False))
    figure, grid = plt.subplots(
        2,
        len(solvers),
        figsize=(2.5 * len(solvers) + 0.8, 5.2),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for i, solver in enumerate(solvers):
        grid[0][i].set_title(solver, color=COLORS.get(solver, INK))
        one = frame[frame.solver == solver]
        for rate, curve in one.groupby("learning_rate"):
            label = f"learning rate {rate:g}"
            _curve(grid[0][i], curve, "train_loss", shades[rate], solver, label)
            _curve(grid[1][i], curve, "validation_accuracy", shades[rate], solver)
    for axes in grid[0]:
        _loss_axes(axes, frame["train_loss"], xlabel="")
    for axes in grid[1]:
        _accuracy_axes(axes, frame["validation_accuracy"])
    for axes in (*grid[0][1:], *grid[1][1:]):
        axes.set_ylabel("")
    _one_legend(figure, np.ravel(grid))
    return figure


def _curve(axes, frame, column, color, solver, label=None):
    finite = frame[np.isfinite(frame[column])]
    grouped = finite.groupby("epoch")[column]
    mean, spread = grouped.mean(), grouped.std(ddof=1).fillna(0)
    axes.plot(
        mean,
        color=color,
        linewidth=2.6 if solver == "lamb" else 1.7,
        marker=_point(mean),
        label=label,
    )
    low, high = mean - spread, mean + spread
    if column == "train_loss":
        low = np.maximum(low, mean / 10)  # a logarithmic axis has no room below zero
    axes.fill_between(mean.index, low, high, color=color, alpha=0.15, linewidth=0)
    for _, seed in frame.groupby("seed"):
        if not np.isfinite(seed[column]).all() and np.isfinite(seed[column]).any():
            last = seed[np.isfinite(seed[column])].sort_values("epoch").iloc[-1]
            axes.scatter(
                last.epoch, last[column], marker="X", color=ALARM, s=60, zorder=5
            )


def _point(values):
    """A marker for a curve of one epoch, which has no line."""
    return "o" if values.count() == 1 else None


def _loss_axes(axes, values, xlabel="epoch"):
    _log_scale(axes, values)
    axes.set_xlabel(xlabel)
    axes.set_ylabel("training loss")


def _log_scale(axes, values):
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


def _accuracy_axes(axes, values):
    axes.set_xlabel("epoch")
    axes.set_ylabel("held-out accuracy")
    _room(axes, values.dropna())


def _room(axes, values):
    """Limits that hold all values, with room at the foot for crosses and counts."""
    if len(values) == 0:
        return
    low, high = min(values), max(values)
    height = max(high - low, 0.02)
    axes.set_ylim(low - 0.2 * height, high + 0.12 * height)


def _one_legend(figure, grid):
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
            ncols=min(4, len(handles)),
            frameon=False,
        )


def _solvers(frame):
    """The solvers in the paper's order of colors, LAMB last and so on top."""
    present = list(dict.fromkeys(frame.solver))
    known = [solver for solver in COLORS if solver in present]
    return [solver for solver in present if solver not in COLORS] + known


def _frame(rows):
    frame = pd.DataFrame(list(rows))
    if frame.empty:
        raise ValueError("there is nothing to draw: the list of rows is empty.")
    return frame


def _number(value):
    """`value` if it is a finite number, else None."""
    if isinstance(value, float | int) and math.isfinite(value):
        return value
    return None


def _numbers(values):
    return [value for value in values if _number(value) is not None]
