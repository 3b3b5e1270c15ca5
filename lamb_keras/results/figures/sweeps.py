"""What accuracy, or F1, came of each setting: ours, and the paper's beside it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from lamb_keras.results import paper, pretraining, statistics
from lamb_keras.results.figures import style

LABELS = {"learning_rate": "learning rate", "batch_size": "batch size of the paper"}
# What is drawn of a table.
METRICS = {
    "test_accuracy": "top-1 accuracy",
    "test_top5": "top-5 accuracy",
    "f1": "SQuAD F1",
}
SMALL = {"fontweight": "normal", "fontsize": 9}


@style.figure
def accuracy_by_learning_rate(trials, metric="test_accuracy", chosen=None):
    """Accuracy against learning rate, one panel a solver, the others faint behind it.

    Points are seeds, the line their mean, crosses what diverged. Where a solver has
    several settings at a rate, the best of them is drawn, the others faintly. What is
    `chosen`, as `statistics.chosen` returns it, has a ring.
    """
    rows = style.table(statistics.of_settings(trials))
    rows["value"] = _of_finished(rows, rows[metric])
    rows["x"], rows["line"], rows["extra"] = rows.learning_rate, rows.solver, False
    others = [name for name in style.varying(rows) if name != "learning_rate"]
    rows["setting"] = style.names(rows, others)
    means = rows.groupby(["solver", "x", "setting"]).value.mean().fillna(-np.inf)
    best = rows.set_index(["solver", "x", "setting"], drop=False)
    best = best.loc[means.groupby(["solver", "x"]).idxmax()].reset_index(drop=True)
    lines = style.lines(rows)
    size = 2.4 * len(lines) + 0.8, 3.6
    figure, (panels,) = plt.subplots(
        1, len(lines), figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for axes, solver in zip(panels, lines, strict=True):
        for _, line in best.groupby("solver"):
            axes.plot(line.groupby("x").value.mean(), color=style.FAINT, linewidth=1)
        own = rows[rows.solver == solver]
        for _, line in own.groupby("setting"):
            mean = line.groupby("x").value.mean()
            axes.plot(mean, color=lines[solver]["color"], alpha=0.35, linewidth=1)
        _draw(axes, best[best.solver == solver], lines[solver] | {"label": None})
        style.crosses(axes, own.x[own.value.isna()].unique())
        if chosen and solver in chosen:
            picked = own
            for name, number in chosen[solver].items():
                if name in own and number is not None:
                    picked = picked[picked[name] == number]
            label, value = "chosen on held-out data", picked.value.mean()
            _circle(axes, picked.x[:1], [value], label, 190)
        axes.set_title(solver, color=lines[solver]["color"])
        tried = statistics.count(len(means[solver]), "setting")
        lost = own.value.isna().sum()
        lost = f",\n{lost} of {len(own)} trials diverged" if lost else ""
        axes.set_xlabel(f"learning rate\n{tried} tried{lost}")
    panels[0].set_ylabel(metric.replace("_", " "))
    style.log_axis(panels[0].xaxis, rows.x)
    panels[0].set_xlim(rows.x.min() / 2, rows.x.max() * 2)
    style.room(panels[0], rows.value)
    style.legend(figure, panels)
    return figure


def _of_finished(rows, values):
    """A diverged trial may carry a number, that of chance; it is no accuracy."""
    values = pd.to_numeric(values, errors="coerce")
    return values.where((rows.outcome == "finished") & np.isfinite(values))


def _circle(axes, x, y, label, size):
    if np.isfinite(y).any():
        around = {"facecolor": "none", "edgecolor": style.INK, "linewidth": 1.4}
        axes.scatter(x, y, s=size, zorder=5, label=label, **around)


@style.figure
def sweep(trials, table: int, classes: int):
    """A table's accuracies, ours in one panel and the paper's in another.

    In a table of settings against the learning rate (or batch size), a line for each
    setting of the other numbers: points are seeds, the line their mean, crosses what
    diverged; a dotted line is chance, of one in `classes` in our data. Of other
    solvers, as a user brings, the best setting at each batch is drawn. In a table of
    solvers a line a solver, ours and the paper's on it.
    """
    published = paper.table(table)
    trials = statistics.of_first_form(trials)
    if published.solver is None:
        return _by_solver(trials, published)
    own = statistics.of_settings(_of_table(trials, published))
    brought = [trial for trial in trials if trial["solver"] != published.solver]
    for group in statistics.grouped(brought, statistics.solver_and_batch).values():
        own += statistics.choose(group).trials or group
    panels = {"ours": _ours(own, published), "the paper": _theirs(published)}
    known = paper.experiments()[published.experiment].classes
    return _panels(panels, chance=(1 / classes, 1 / known))


@style.figure
def forms(trials, table: int):
    """What either form of AdamW's weight decay gives, beside the paper's values."""
    published = paper.tables()[table]
    panels = {"the paper": _theirs(published)}
    trials = statistics.of_settings(_of_table(trials, published))
    for form, of_form in statistics.by_form(trials).items():
        panels[f"ours, {style.written(form)}"] = _ours(of_form, published)
    return _panels(panels)


@style.figure
def f1_by_batch(trials, table: int):
    """F1 at each batch size, ours in one panel and the paper's in another.

    A line a solver; in Table 8, whose batch is always the same, F1 by learning rate, a
    line a warm-up. Points are fine-tunings, the line is their mean, crosses are what
    diverged. Of a tuned solver the chosen settings are shown.
    """
    published = paper.tables()[table]
    ours = _ours(pretraining.of_chosen(trials, trials, table), published)
    return _panels({"ours": ours, "the paper": _theirs(published)}, one_scale=False)


def _of_table(trials, table):
    return [trial for trial in trials if trial["solver"] == table.solver]


def _ours(trials, table):
    """Our points: one a trial and metric, NaN where it diverged."""
    held = {table.columns[name].metric for name in table.results}
    rows = pd.DataFrame(
        trial | {"value": trial.get(metric), "metric": label, "extra": False}
        for metric, label in METRICS.items()
        for trial in trials
        if metric in held
    )
    return rows.assign(value=_of_finished(rows, rows.value))


def _theirs(table):
    """The paper's points, NaN where it prints "diverged"."""
    return pd.DataFrame(
        table.numbers_of(cell.row, cell.column)
        | {"value": pd.to_numeric(cell.published, errors="coerce")}
        | {"metric": label, "extra": cell.extra}
        for metric, label in METRICS.items()
        for cell in table.cells()
        if table.columns[cell.column].metric == metric
    )


def _panels(panels, chance=(), one_scale=True):
    """A panel for the points under each title, all over the same axis."""
    theirs, rows = panels["the paper"], pd.concat(panels, names=["panel"])
    over = "batch_size" if "batch_size" in style.varying(theirs) else "learning_rate"
    numbers = [name for name in style.varying(theirs) if name != over]
    rows["line"] = style.names(rows, numbers)
    metrics = list(rows.metric.unique())
    lines = style.lines(rows)
    if len(metrics) > 1:
        lines = _by_metric(lines, metrics)
        rows["line"] += ", " + rows.metric
    places = sorted(rows[over].unique(), key=_size)
    # Batch sizes stand evenly spaced, for one of them is a pair.
    by_batch = over == "batch_size"
    rows["x"] = rows[over].map(places.index) if by_batch else rows[over]
    width = min(4.6 * len(panels) + 0.4, 12)
    figure, grid = plt.subplots(
        1, len(panels), figsize=(width, 3.9), sharex=True, sharey=one_scale
    )
    for axes, title in zip(grid, panels, strict=True):
        points = rows.loc[title]
        for name in lines:
            _draw(axes, points[points.line == name], lines[name] | {"linewidth": 1.8})
        style.crosses(axes, points.x[points.value.isna()].unique())
        extra = points[points.extra]
        label = "printed by version 3 of the paper alone"
        _circle(axes, extra.x, extra.value, label, 85)
        settings = len(points.groupby(["line", "x"])) // len(metrics)
        axes.set_title(title, loc="left")
        axes.set_title(statistics.count(settings, "setting"), loc="right", **SMALL)
        axes.set_xlabel(LABELS[over])
        if by_batch or not one_scale:
            together = rows if one_scale else points
            style.room(axes, together.value, least=0.1 if one_scale else 2)
        else:
            axes.set(ylim=(-0.09, 1.02), yticks=np.linspace(0, 1, 6))
    grid[0].set_ylabel(metrics[0] if len(metrics) == 1 else "accuracy")
    if by_batch:
        grid[0].set_xticks(range(len(places)), map(style.written, places))
        for axes in grid:
            axes.tick_params(axis="x", rotation=30)
    else:
        style.log_axis(grid[0].xaxis, places)
        if len(places) < 5:
            grid[0].set_xticks(places)
        for axes, level in zip(grid, chance, strict=False):
            axes.axhline(level, label="chance", **style.DOTTED)
    style.legend(figure, grid)
    return figure


def _by_metric(lines, metrics):
    """A line for each metric: those of the second are dotted, without markers."""
    second = {"linestyle": ":", "marker": None}
    return {
        f"{name}, {metric}": properties
        | {"label": f"{name}, {metric}"}
        | (second if metric != metrics[0] else {})
        for metric in metrics
        for name, properties in lines.items()
    }


def _size(place):
    """Batches by size, a mixed one behind the number that it begins with."""
    numbers = str(place).split("/")
    return float(numbers[0]), len(numbers)


def _draw(axes, points, properties):
    """Seeds as points, and the line of their means; it breaks where all diverged."""
    values = points.groupby("x").value
    axes.plot(values.mean(), markersize=5.5, zorder=3, **properties)
    seeds = points[(values.transform("size") > 1) & points.value.notna()]
    if len(seeds):
        faint = {"color": properties["color"], "alpha": 0.45, "linewidth": 0}
        axes.scatter(seeds.x, seeds.value, s=13, zorder=2, **faint)


def _by_solver(trials, published):
    """A table of solvers: on each solver's line ours and the paper's."""
    column = published.columns[published.results[0]]
    theirs = {c.row: c.published for c in published.cells() if c.column == column.name}
    rows = pd.DataFrame(statistics.cells(trials, published.number))[::-1]
    rows = rows.astype({"value": float, "spread": float}).reset_index(drop=True)
    rows["theirs"] = rows.row.map(theirs)
    figure, axes = plt.subplots(figsize=(7.5, 1.4 + 0.5 * len(rows)))
    axes.hlines(rows.index, rows.theirs, rows.value, color=style.FAINT, zorder=1)
    hollow = {"facecolor": "white", "edgecolor": style.INK, "s": 70, "zorder": 3}
    axes.scatter(rows.theirs, rows.index, label="the paper", **hollow)
    color, _ = style.SOLVERS["lamb"]
    ours = {"fmt": "o", "markersize": 8, "capsize": 3, "color": color}
    spread = rows.spread.fillna(0)
    axes.errorbar(rows.value, rows.index, xerr=spread, label="ours", zorder=4, **ours)
    for y in rows.index[rows.value.isna()]:
        left = {"transform": axes.get_yaxis_transform(), "va": "center"}
        axes.text(0.02, y, "diverged", color=style.ALARM, **left)
    tried = ["1 setting" if n == 1 else f"best of {n}" for n in rows.settings_tried]
    axes.set_yticks(rows.index, rows.row + "\n" + tried)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(column.label)
    style.legend(figure, [axes])
    return figure
