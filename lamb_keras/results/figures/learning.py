"""How trials learned, epoch by epoch."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.ticker import MaxNLocator

from lamb_keras.results.figures import look

# A legend of more learning rates than this is not read; a scale of color is.
NAMED_RATES = 6


@look.figure
def learning_curves(curves):
    """Training loss and held-out accuracy by epoch: mean over seeds, band one spread.

    `curves` are dicts with solver, learning_rate, seed, epoch, train_loss and
    validation_accuracy, and what else tells settings apart. Where a solver comes with
    several settings, every solver gets a column of its own. A curve that stops being a
    number ends in a cross.

    Example:
        >>> point = {"solver": "lamb", "learning_rate": 0.01, "seed": 0}
        >>> figure = learning_curves(
        ...     [point | {"epoch": e, "train_loss": 1 / e, "validation_accuracy": 0.9}
        ...      for e in (1, 2, 3)])
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['training loss', 'held-out accuracy']
    """
    frame = look.frame(curves)
    frame["variant"] = look.variants(frame)
    settings = frame.groupby("solver")[["learning_rate", "variant"]].value_counts()
    if settings.groupby("solver").size().max() > 1:
        return _curves_by_solver(frame)
    figure, (loss, accuracy) = plt.subplots(
        1, 2, figsize=(10, 3.8), layout="constrained"
    )
    for solver in look.solvers(frame):
        one = frame[frame.solver == solver]
        label = f"{solver}, {_named(one)}"
        color = look.color(solver)
        _curve(loss, one, "train_loss", color, solver, label)
        _curve(accuracy, one, "validation_accuracy", color, solver)
    _loss_axes(loss, frame["train_loss"])
    _accuracy_axes(accuracy, frame["validation_accuracy"])
    look.one_legend(figure, [loss], columns=3)
    return figure


@look.figure
def trust_ratios(rows):
    """The trust ratio of every layer over training, on a logarithmic scale.

    `rows` are dicts with epoch (or step), layer (a variable's path) and trust_ratio.
    Layers are colored from input to output; biases and other vectors whose path does
    not end in "kernel" or "embeddings" are dashed. Of more layers than a legend can
    hold, it names every so many.

    Example:
        >>> figure = trust_ratios(
        ...     [{"epoch": e, "layer": "dense/kernel", "trust_ratio": 10.0 / e}
        ...      for e in (1, 2, 3)])
        >>> figure.axes[0].get_yscale()
        'log'
    """
    frame = look.frame(rows).replace([np.inf, -np.inf], np.nan)
    time = "epoch" if "epoch" in frame else "step"
    layers = list(dict.fromkeys(frame.layer))
    colors = sns.color_palette("viridis", n_colors=max(len(layers), 2))
    named = layers[:: -(-len(layers) // 14)]
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for layer, color in zip(layers, colors, strict=False):
        one = frame[frame.layer == layer].groupby(time)["trust_ratio"].mean()
        matrix = layer.endswith(("kernel", "embeddings"))
        axes.plot(
            one,
            color=color,
            linestyle="-" if matrix else (0, (3, 2)),
            linewidth=2 if matrix else 1.4,
            marker=look.point(one),
            label=layer if layer in named else None,
        )
    look.log_scale(axes, frame["trust_ratio"])
    axes.set_xlabel(time)
    axes.set_ylabel("trust ratio")
    axes.margins(x=0.01)
    title = f"{len(named)} of {len(layers)} layers named"
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
        title=title if len(named) < len(layers) else None,
    )
    return figure


def _named(frame):
    """The one setting of a solver in words."""
    words = [f"learning rate {frame.learning_rate.iloc[0]:g}"]
    if "weight_decay" in frame and frame.weight_decay.notna().any():
        words.append(f"decay {frame.weight_decay.iloc[0]:g}")
    return ", ".join(words)


def _curves_by_solver(frame):
    solvers = look.solvers(frame)
    rates = sorted(frame.learning_rate.unique())
    palette = sns.color_palette("viridis", n_colors=len(rates) + 1)  # less its yellow
    shades = dict(zip(rates, palette, strict=False))
    figure, grid = plt.subplots(
        2,
        len(solvers),
        figsize=(2.5 * max(len(solvers), 2) + 0.8, 5.2),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for i, solver in enumerate(solvers):
        grid[0][i].set_title(solver, color=look.color(solver))
        one = frame[frame.solver == solver]
        for (rate, _), curve in one.groupby(["learning_rate", "variant"]):
            label = f"learning rate {rate:g}"
            _curve(grid[0][i], curve, "train_loss", shades[rate], solver, label)
            _curve(grid[1][i], curve, "validation_accuracy", shades[rate], solver)
    for axes in grid[0]:
        _loss_axes(axes, frame["train_loss"], xlabel="")
    for axes in grid[1]:
        _accuracy_axes(axes, frame["validation_accuracy"])
    for axes in (*grid[0][1:], *grid[1][1:]):
        axes.set_ylabel("")
    if len(rates) <= NAMED_RATES:
        look.one_legend(figure, np.ravel(grid))
    else:
        scale = ScalarMappable(
            LogNorm(rates[0], rates[-1]), cmap=ListedColormap(palette)
        )
        figure.colorbar(scale, ax=grid, label="learning rate", fraction=0.04)
    return figure


def _curve(axes, frame, column, color, solver, label=None):
    finite = frame[np.isfinite(frame[column].astype(float))]
    grouped = finite.groupby("epoch")[column]
    mean, spread = grouped.mean(), grouped.std(ddof=1).fillna(0)
    axes.plot(
        mean,
        color=color,
        linewidth=2.6 if solver == "lamb" else 1.7,
        linestyle=look.style(solver)["linestyle"],
        marker=look.point(mean),
        label=label,
    )
    low, high = mean - spread, mean + spread
    if column == "train_loss":
        low = np.maximum(low, mean / 10)  # a logarithmic axis has no room below zero
    axes.fill_between(mean.index, low, high, color=color, alpha=0.15, linewidth=0)
    for _, seed in frame.groupby("seed"):
        known = np.isfinite(seed[column].astype(float))
        if not known.all() and known.any():
            last = seed[known].sort_values("epoch").iloc[-1]
            axes.scatter(
                last.epoch, last[column], marker="X", color=look.ALARM, s=60, zorder=5
            )


def _loss_axes(axes, values, xlabel="epoch"):
    look.log_scale(axes, values)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(xlabel)
    axes.set_ylabel("training loss")


def _accuracy_axes(axes, values):
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("held-out accuracy")
    look.room(axes, values.dropna())
