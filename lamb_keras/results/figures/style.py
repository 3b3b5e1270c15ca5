"""The one style of all figures: colors, markers, axes and legends.

seaborn gives the style and the palettes. Means and bands are computed by pandas: of
`seaborn.lineplot` a figure needs up to twenty, each ten times as long.
"""

import functools
import itertools
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from lamb_keras.names import base

# The solvers in the order in which they are drawn: LAMB last, and so on top. The colors
# are Okabe and Ito's, which color-blind readers can tell apart.
SOLVERS = {
    "momentum": ("#0072B2", "s"),
    "adagrad": ("#E69F00", "^"),
    "adam": ("#009E73", "D"),
    "adamw": ("#CC79A7", "v"),
    "lars": ("#56B4E9", "P"),
    "lamb": ("#D55E00", "o"),
}
# Those that users bring, in turn.
BROUGHT = (("#333333", "*"), ("#8C564B", "<"), ("#7F6BB3", ">"), ("#7A8B2E", "h"))
MARKERS = [marker for _, marker in SOLVERS.values()]
INK, FAINT, ALARM = "#333333", "#C9CCD1", "#B00020"
DOTTED = {"color": "#8A8F99", "linestyle": (0, (1, 2)), "zorder": 1}
DASHED = {"color": INK, "linestyle": (0, (4, 3)), "linewidth": 1, "zorder": 1}

# How figures call the numbers that tell one setting of a solver from another.
NUMBERS = {
    "batch_size": "batch",
    "warmup_fraction": "warm-up",
    "learning_rate": "learning rate",
    "weight_decay_form": "form",
    "l2_regularization": "L2",
    "weight_decay": "decay",
}

STYLE = Path(__file__).with_name("figures.mplstyle")


def figure(draw):
    """Decorate a function that draws: the style holds within it, and nowhere else.

    The figure is closed once drawn: a notebook then shows it where its author puts it,
    and not a second time at the end of the cell.
    """

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        # Loads the backend, which would lose within what it sets: in a notebook, that
        # figures made without us are shown.
        plt.draw_if_interactive()
        with plt.rc_context(), sns.plotting_context("notebook"):
            sns.set_style("whitegrid")
            plt.style.use(STYLE)
            made = draw(*args, **kwargs)
        plt.close(made)
        return made

    return drawn


def looks(solvers: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The color and marker of each solver, by name.

    Example:
        >>> looks(["lion", "adam+", "muon"])
        {'lion': ('#333333', '*'), 'adam+': ('#009E73', 'D'), 'muon': ('#8C564B', '<')}
    """
    brought = itertools.cycle(BROUGHT)
    return {
        name: SOLVERS.get(base(name)) or next(brought)
        for name in dict.fromkeys(solvers)
    }


def lines(frame: pd.DataFrame) -> dict[str, dict]:
    """Matplotlib's properties of each `line` of a frame, by its `solver`.

    A solver has its color and marker; several lines of one have shades and markers of
    their own. With a "+" it is dashed and hollow.
    """
    solvers = frame.groupby("line", sort=False).solver.first()
    order = {name: i for i, base in enumerate(SOLVERS) for name in (base, base + "+")}
    solvers = solvers.sort_values(key=lambda s: s.map(order).fillna(-1), kind="stable")
    properties, look = {}, looks(solvers)
    for solver, names in solvers.groupby(solvers, sort=False).groups.items():
        plus = solver.endswith("+")
        own, marker = look[solver]
        shades, markers = [own], [marker]
        if len(names) > 1:
            few = sns.blend_palette([own, "#1B2130"], len(names))
            many = sns.color_palette("viridis", len(names) + 1)
            shades, markers = few if len(names) < 5 else many, itertools.cycle(MARKERS)
        for name, shade, marker in zip(names, shades, markers, strict=False):
            properties[name] = {
                "label": name,
                "color": shade,
                "marker": marker,
                "markerfacecolor": "white" if plus else shade,
                "linestyle": (0, (5, 2)) if plus else "-",
                "linewidth": 2.8 if solver == "lamb" else 2,
            }
    return properties


def varying(rows: pd.DataFrame) -> list[str]:
    """The numbers of a setting, by name, that are not the same in all rows."""
    return [n for n in NUMBERS if n in rows and rows[n].nunique(dropna=False) > 1]


def names(rows: pd.DataFrame, numbers) -> list[str]:
    """A name of each row, of its solver and these numbers: "lars, batch 1,024"."""
    shown = [name for name in NUMBERS if name in numbers and name in rows]
    return [
        ", ".join(
            [row["solver"]]
            + [f"{NUMBERS[n]} {written(row[n])}" for n in shown if pd.notna(row[n])]
        )
        for row in rows.to_dict("records")
    ]


def mean(axes, frame, x: str, y: str, band: str | None = None, **properties) -> None:
    """The mean of `y` at each `x`, of its finite values, and a band about it.

    The band is "spread", one standard deviation to either side, or "range", from least
    to greatest around the median. A seed that stops being a number ends in a cross.
    """
    values = frame[y].astype(float)
    finite = np.isfinite(values)
    groups = values[finite].groupby(frame[x])
    middle = groups.median() if band == "range" else groups.mean()
    # A curve of one point has no line.
    axes.plot(middle, **properties | {"marker": "o" if len(middle) == 1 else None})
    if band:
        spread = groups.std().fillna(0)
        # A logarithmic axis has no room below zero.
        ends = np.maximum(middle - spread, middle / 10), middle + spread
        ends = (groups.min(), groups.max()) if band == "range" else ends
        shaded = {"color": properties["color"], "alpha": 0.15, "linewidth": 0}
        axes.fill_between(middle.index, *ends, **shaded)
    for _, seed in frame.groupby("seed") if "seed" in frame else ():
        alive = finite[seed.index]
        if alive.any() and not alive.all():
            last = seed[alive].sort_values(x).iloc[-1]
            axes.scatter(last[x], last[y], marker="X", color=ALARM, s=60, zorder=5)


def crosses(axes, x) -> None:
    """Crosses at the foot of a panel: there something diverged."""
    style = {"marker": "X", "color": ALARM, "s": 60, "linewidth": 0, "zorder": 5}
    style |= {"transform": axes.get_xaxis_transform(), "clip_on": False}
    if len(x):
        axes.scatter(x, np.full(len(x), 0.06), label="diverged", **style)


def log_axis(axis, values) -> None:
    """A logarithmic axis with a few plain numbers on it, however short it is.

    Without minor ticks, which take half the time of drawing.
    """
    values = _finite(values)
    values = values[values > 0]
    if len(values) == 0:
        axis.set_ticks([])
        words = "diverged before there was anything to show"
        place = axis.axes.transAxes
        axis.axes.text(0.5, 0.5, words, transform=place, ha="center", color=ALARM)
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    decades = np.log10(values.max() / values.min())
    few = LogLocator(subs=(1, 2, 5)) if decades > 0.4 else MaxNLocator(4)
    axis.set_major_locator(LogLocator() if decades > 1.7 else few)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def room(axes, values, least: float = 0.02) -> None:
    """Limits that hold all values, with room at the foot for crosses."""
    values = _finite(values)
    if len(values):
        low, high = values.min(), values.max()
        height = max(high - low, least)
        axes.set_ylim(low - 0.2 * height, high + 0.12 * height)


def _finite(values):
    values = np.asarray(values, float)
    return values[np.isfinite(values)]


def legend(figure, panels, columns: int = 4) -> None:
    """One legend below all panels: every label once, no wider than the figure."""
    handles = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    for ncols in range(min(columns, len(handles)), 0, -1):
        labeled = handles.values(), handles.keys()
        made = figure.legend(*labeled, loc="outside lower center", ncols=ncols)
        if ncols == 1 or made.get_window_extent().width <= figure.bbox.width:
            return
        made.remove()


def table(rows) -> pd.DataFrame:
    """The rows as a table; with nothing to draw, an error that says so."""
    made = pd.DataFrame(list(rows))
    if made.empty:
        raise ValueError("there is nothing to draw: the list of rows is empty.")
    return made


def written(value) -> str:
    """A number as short as it goes, anything else as words."""
    if isinstance(value, str):
        return value.replace("_", " ")
    return f"{int(value):,}" if value == int(value) else f"{value:g}"
