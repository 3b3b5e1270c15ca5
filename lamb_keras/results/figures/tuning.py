"""What tuning gives each solver."""

import matplotlib.pyplot as plt
import numpy as np

from lamb_keras.results.figures import look

# Above so many learning rates there is no room to say what diverged at each.
COUNTED_RATES = 6


@look.figure
def accuracy_by_learning_rate(
    trials, published=None, metric="test_accuracy", chosen=None
):
    """Accuracy against learning rate, one panel a solver, the others faint behind it.

    Points are seeds, the line their mean, the bar one spread. Where a solver has
    several settings at a rate, the best of them is drawn, the others faintly. A ring
    marks the setting in `chosen` (by solver, as `statistics.chosen` returns it), a
    dashed line the paper's value in `published` (by solver). Crosses at the foot of the
    panel say where seeds diverged.

    Example:
        >>> trials = [{"solver": "lamb", "learning_rate": rate, "seed": 0,
        ...            "outcome": "finished", "test_accuracy": 0.9}
        ...           for rate in (0.001, 0.01)]
        >>> figure = accuracy_by_learning_rate(trials, published={"lamb": 0.9945})
        >>> figure.axes[0].get_title()
        'lamb'
    """
    frame = look.accuracies(trials, metric)
    frame["variant"] = look.variants(frame)
    published, chosen = published or {}, chosen or {}
    solvers = look.solvers(frame)
    figure, (panels,) = plt.subplots(
        1,
        len(solvers),
        figsize=(2.4 * len(solvers) + 0.8, 3.6),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    groups = {solver: frame[frame.solver == solver] for solver in solvers}
    best = {solver: _best_by_rate(group, metric) for solver, group in groups.items()}
    means = {
        solver: one.groupby("learning_rate")[metric].mean()
        for solver, one in best.items()
    }
    for axes, solver in zip(panels, solvers, strict=True):
        for other in solvers:
            axes.plot(means[other], color=look.FAINT, linewidth=1, zorder=1)
        _others(axes, groups[solver], metric, solver)
        _seeds(axes, best[solver], metric, solver)
        _crosses(axes, groups[solver], metric, frame.learning_rate)
        _ring(axes, groups[solver], metric, chosen.get(solver))
        _published(axes, published.get(solver))
        axes.set_title(solver, color=look.color(solver))
        axes.set_xlabel(f"learning rate\n{_count(groups[solver])} tried")
    panels[0].set_ylabel(metric.replace("_", " "))
    panels[0].set_xscale("log")
    panels[0].set_xlim(frame.learning_rate.min() / 2, frame.learning_rate.max() * 2)
    values = [*frame[metric].dropna(), *look.numbers(published.values())]
    look.room(panels[0], values)
    look.one_legend(figure, panels)
    return figure


def _count(frame):
    settings = len(frame.groupby(["learning_rate", "variant"]))
    return f"{settings} setting{'' if settings == 1 else 's'}"


def _best_by_rate(frame, metric):
    """The trials of each rate's best setting."""
    means = frame.groupby(["learning_rate", "variant"])[metric].mean()
    best = {}
    for (rate, variant), mean in means.items():
        if rate not in best or (mean > best[rate][0]) or np.isnan(best[rate][0]):
            best[rate] = mean, variant
    keep = [
        best[rate][1] == variant
        for rate, variant in zip(frame.learning_rate, frame.variant, strict=True)
    ]
    return frame[keep]


def _others(axes, frame, metric, solver):
    """All settings of a solver, faintly, where it has several at a rate."""
    if frame.variant.nunique() > 1:
        for _, one in frame.groupby("variant"):
            mean = one.groupby("learning_rate")[metric].mean()
            axes.plot(mean, color=look.color(solver), alpha=0.35, linewidth=1, zorder=2)


def _seeds(axes, frame, metric, solver):
    """Seeds, their mean and their spread against learning rate."""
    grouped = frame.groupby("learning_rate")[metric]
    if grouped.size().max() > 1:
        axes.scatter(
            frame.learning_rate,
            frame[metric],
            s=14,
            color=look.color(solver),
            alpha=0.45,
            linewidth=0,
        )
    mean = grouped.mean()
    axes.errorbar(
        mean.index,
        mean,
        yerr=grouped.std(ddof=1).fillna(0),
        markersize=7 if len(mean) < 12 else 4.5,
        capsize=3 if grouped.size().max() > 1 else 0,
        zorder=3,
        **look.style(solver),
    )


def _crosses(axes, frame, metric, rates):
    """Where seeds diverged, and how many: at each rate, if there is room to say it."""
    lost = frame[frame[metric].isna()].groupby("learning_rate").size()
    if lost.empty:
        return
    tried = frame.groupby("learning_rate").size()
    look.cross(axes, list(lost.index))
    style = {"color": look.ALARM, "fontsize": 8}
    style["transform"] = axes.get_xaxis_transform()
    if len(tried) <= COUNTED_RATES:
        for rate, count in lost.items():
            axes.text(rate, 0.115, f"{count} of {tried[rate]}", ha="center", **style)
        return
    # Towards the middle of the panel, so that the words stay inside.
    middle = np.sqrt(rates.min() * rates.max())
    right = lost.index.max() > middle
    place = lost.index.max() if right else lost.index.min()
    words = f"{lost.sum()} of {tried.sum()}"
    axes.text(place, 0.115, words, ha="right" if right else "left", **style)


def _ring(axes, frame, metric, setting):
    if setting is None:
        return
    of_it = frame
    for name, value in setting.items():
        if name in frame and value is not None:
            of_it = of_it[of_it[name] == value]
    at = setting["learning_rate"], of_it[metric].mean()
    if np.isfinite(at[1]):
        look_of_ring = {"facecolor": "none", "edgecolor": look.INK, "linewidth": 1.6}
        axes.scatter(
            *at, s=190, zorder=5, label="chosen on held-out data", **look_of_ring
        )


def _published(axes, value):
    if not look.numbers([value]):
        return
    axes.axhline(value, color=look.INK, linestyle=(0, (4, 3)), zorder=2)
    axes.annotate(
        f"paper {value:.4f}",
        # On the right, where the rates are too large and no curve is high.
        (0.97, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
