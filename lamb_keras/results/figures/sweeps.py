"""A tuning sweep beside the paper's."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from lamb_keras.results import paper, statistics
from lamb_keras.results.figures import look

MARKERS = ("o", "s", "^", "D", "v", "P")
LABELS = {"learning_rate": "learning rate", "batch_size": "batch size of the paper"}


@look.figure
def sweep(trials, table: int, classes: int):
    """A table's accuracies, ours in one panel and the paper's in another.

    In a table of settings against the learning rate (or batch size), a line for each
    setting of the other numbers: points are seeds, the line their mean, crosses what
    diverged; a dotted line is chance, guessing among the `classes` of our data set, or
    the paper's. In a table of solvers a line a solver, ours and the paper's on it.

    Example:
        >>> trials = [{"solver": "adam", "learning_rate": rate, "seed": 0,
        ...            "outcome": "finished", "test_accuracy": 0.9}
        ...           for rate in (0.001, 0.01)]
        >>> figure = sweep(trials, table=11, classes=10)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['ours', 'the paper']
    """
    published = paper.tables()[table]
    trials = statistics.of_first_form(trials)
    if published.solver is None:
        return _by_solver(trials, published)
    guesses = 1 / classes, 1 / paper.experiments()[published.experiment].classes
    columns = [published.column(name) for name in published.results]
    columns.sort(key=_dashed)
    lines = {
        "ours": [
            line for column in columns for line in _ours(trials, column, published)
        ],
        "the paper": [
            line for column in columns for line in _theirs(published, column)
        ],
    }
    return _panels(lines, published, guesses)


@look.figure
def forms(trials, table: int):
    """What either form of AdamW's weight decay gives, beside the paper's values.

    Example:
        >>> trials = [{"solver": "adamw+", "learning_rate": 0.001, "weight_decay": 0.01,
        ...            "weight_decay_form": form, "l2_regularization": 0.0, "seed": 0,
        ...            "outcome": "finished", "test_accuracy": 0.9}
        ...           for form in ("per_step", "times_learning_rate")]
        >>> [axes.get_title(loc="left") for axes in forms(trials, 23).axes]
        ['the paper', 'ours, per step', 'ours, times learning rate']
    """
    published = paper.tables()[table]
    column = published.column(published.results[0])
    lines = {"the paper": _theirs(published, column)}
    for form, of_form in statistics.by_form(trials).items():
        lines[f"ours, {form.replace('_', ' ')}"] = _ours(of_form, column, published)
    return _panels(lines, published, itertools.repeat(None))


class _Line:
    """One line of a panel: its name, and (x, value, is extra) of each point.

    A value of NaN is a trial that diverged. Dashed is a second metric of the same
    trials.
    """

    def __init__(self, name, points, dashed=False):
        self.name, self.points, self.dashed = name, sorted(points), dashed


def _ours(trials, column, published):
    """Our lines of one result column: a point a trial."""
    swept = _swept(published)
    own = [trial for trial in trials if trial["solver"] == published.solver] or trials
    groups = {}
    for trial in own:
        finished = trial["outcome"] == "finished"
        value = trial.get(column.metric) if finished else None
        point = trial[swept], np.nan if value is None else value, False
        groups.setdefault(_name(trial, column, published), []).append(point)
    return [_Line(name, points, _dashed(column)) for name, points in groups.items()]


def _theirs(published, column):
    """The paper's lines of one result column."""
    groups = {}
    rows = [(row, False) for row in published.rows]
    rows += [(row, True) for row in published.extra_rows]
    for row, extra in rows:
        setting = published.setting(row)
        value = published.row_as_dict(row)[column.name]
        point = setting[_swept(published)], value, extra
        groups.setdefault(_name(setting, column, published), []).append(point)
    return [_Line(name, points, _dashed(column)) for name, points in groups.items()]


def _swept(published):
    return published.column(published.keys[0]).field


def _dashed(column):
    return column.metric == "test_top5"


def _name(setting, column, published):
    """What a line is called: the numbers that vary in the table, and the metric."""
    rows = [published.setting(row) for row in published.rows]
    words = [
        f"{look.OTHER_NUMBERS[name]} {look.written(setting[name])}"
        for name in list(rows[0])[1:]
        if len({row[name] for row in rows}) > 1
    ]
    if len(published.results) > 1:
        words.append(column.label)
    return ", ".join(words)


def _panels(lines, published, guesses):
    """A panel a key of `lines`, one scale for all, chance dotted in each."""
    figure, panels = plt.subplots(
        1,
        len(lines),
        figsize=(4.6 * len(lines) + 0.4, 3.9) if len(lines) < 3 else (12, 3.9),
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    names = list(dict.fromkeys(line.name for some in lines.values() for line in some))
    for axes, (title, some), guess in zip(panels, lines.items(), guesses, strict=False):
        for line in some:
            _draw(axes, line, _line_style(names, line, published.solver))
        if guess and _swept(published) == "learning_rate":
            dotted = {"color": "#8A8F99", "linestyle": (0, (1, 2)), "zorder": 1}
            axes.axhline(guess, label="chance", **dotted)
        axes.set_title(title, loc="left")
        full = [line for line in some if not line.dashed]
        settings = len({(line.name, x) for line in full for x, _, _ in line.points})
        axes.set_title(
            f"{settings} setting{'' if settings == 1 else 's'}",
            loc="right",
            fontweight="normal",
            fontsize=9,
        )
        axes.set_xlabel(LABELS[_swept(published)])
    panels[0].set_ylabel(_value_label(published))
    _scales(panels[0], lines, _swept(published))
    look.one_legend(figure, panels)
    return figure


def _value_label(published):
    labels = [published.column(name).label for name in published.results]
    return labels[0] if len(labels) == 1 else "accuracy"


def _scales(axes, lines, swept):
    points = [
        point for some in lines.values() for line in some for point in line.points
    ]
    places = sorted({x for x, _, _ in points})
    if swept == "batch_size":
        axes.set_xscale("log", base=2)
        axes.set_xticks(places, [f"{place:,}" for place in places])
        look.room(axes, look.numbers(value for _, value, _ in points), least=0.1)
        return
    axes.set_xscale("log")
    axes.set_ylim(-0.09, 1.02)
    axes.set_yticks(np.linspace(0, 1, 6))


def _line_style(names, line, solver):
    """Lines of one solver: its own color first, then ever darker ones."""
    i = names.index(line.name)
    shades = sns.blend_palette([look.color(solver), "#1B2130"], max(len(names), 2))
    style = look.style(solver) | {"color": shades[i]}
    hollow = style["markerfacecolor"] == "white"
    style["markerfacecolor"] = "white" if hollow or line.dashed else shades[i]
    if len(names) > 1:
        style["marker"] = MARKERS[i % len(MARKERS)]
    return style | {"linewidth": 1.8}


def _draw(axes, line, style):
    xs = list(dict.fromkeys(x for x, _, _ in line.points))
    by_x = {x: [v for at, v, _ in line.points if at == x] for x in xs}
    means = [np.mean(known) if (known := look.numbers(by_x[x])) else np.nan for x in xs]
    axes.plot(xs, means, markersize=5.5, zorder=3, label=line.name or None, **style)
    seeds = [(x, v) for x in xs if len(by_x[x]) > 1 for v in look.numbers(by_x[x])]
    if seeds:
        faint = {"color": style["color"], "alpha": 0.45, "linewidth": 0}
        axes.scatter(*zip(*seeds, strict=True), s=12, zorder=2, **faint)
    lost = [x for x in xs if len(look.numbers(by_x[x])) < len(by_x[x])]
    if lost:
        look.cross(axes, lost)
    extra = [(x, v) for x, v, of_version_3 in line.points if of_version_3]
    if extra:
        around = {"facecolor": "none", "edgecolor": look.INK, "linewidth": 1}
        label = "printed by version 3 of the paper alone"
        axes.scatter(*zip(*extra, strict=True), s=85, zorder=4, label=label, **around)


def _by_solver(trials, published):
    """A table of solvers: on each solver's line ours and the paper's."""
    cells = {cell["row"]: cell for cell in statistics.cells(trials, published.number)}
    column = published.results[0]
    theirs = {c.row: c.published for c in published.cells() if c.column == column}
    rows = list(cells)[::-1]
    figure, axes = plt.subplots(
        figsize=(7.5, 1.4 + 0.45 * len(rows)), layout="constrained"
    )
    for y, row in enumerate(rows):
        _solver_line(axes, y, cells[row], theirs.get(row))
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(published.column(column).label)
    look.one_legend(figure, [axes])
    return figure


def _solver_line(axes, y, cell, published):
    known = look.numbers([published])
    if known:
        axes.scatter(
            known,
            [y],
            s=70,
            facecolor="white",
            edgecolor=look.INK,
            zorder=3,
            label="the paper",
        )
    if cell["value"] is None:
        axes.text(
            0.02,
            y,
            "diverged",
            transform=axes.get_yaxis_transform(),
            color=look.ALARM,
            va="center",
        )
        return
    axes.plot(
        [*known, cell["value"]], [y] * (len(known) + 1), color=look.FAINT, zorder=1
    )
    axes.errorbar(
        cell["value"],
        y,
        xerr=cell["spread"] or 0,
        fmt="o",
        markersize=8,
        capsize=3,
        color=look.COLORS["lamb"],
        zorder=4,
        label="ours",
    )
    tried = cell["settings_tried"]
    axes.annotate(
        f"best of {tried}" if tried > 1 else "1 setting",
        (cell["value"], y),
        xytext=(0, 8),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color="#626B7C",
    )
