"""What LAMB and the others reach over batch sizes: the figure of the first page."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import NullLocator
from scipy import stats

from lamb_keras.results import evidence, paper, statistics
from lamb_keras.results.figures import style

# Of each panel the title, the metric and the tables whose trials are alike in size.
PANELS = (
    ("ResNet over batches", "test_accuracy", (5,)),
    ("ResNet, solvers at one batch", "test_accuracy", (3, *range(9, 26))),
    ("BERT over batches", "validation_loss", (1, 2, 4, 8)),
)
LABELS = {
    "test_accuracy": "test accuracy",
    "validation_loss": "held-out loss (nats)",
}


class Point(NamedTuple):
    """A solver at a batch: the mean over n seeds and its 95 % interval, NaN of one."""

    panel: int
    solver: str
    batch_size: int
    mean: float
    low: float
    high: float
    n: int
    trained: bool


def points(trials: pd.DataFrame) -> list[Point]:
    """The points of the figure, of one scale's trials.

    LAMB is as untuned as the paper's. Of others the best setting by held-out accuracy
    is taken, and its mean is that of the seeds that had no say in the choice, if there
    are any. Fine-tunings of one pre-training are averaged: they are no further seeds.
    Mixed batches are left out.
    """
    trials = trials.assign(failed=evidence.failed_to_train(trials))
    trials["batch"] = pd.to_numeric(trials.batch_size, errors="coerce")
    trials = trials[trials.batch.notna() & ~_tuned_lamb(trials)]
    made = [
        _point(group, number, metric, solver, int(batch))
        for number, (_, metric, tables) in enumerate(PANELS)
        for (solver, batch), group in trials[trials.table.isin(tables)].groupby(
            ["solver", "batch"]
        )
    ]
    order = [name for solver in style.SOLVERS for name in (solver, f"{solver}+")]
    place = {name: i for i, name in enumerate(order)}  # what users bring comes first
    return sorted(
        made, key=lambda p: (p.panel, place.get(p.solver, -1), p.solver, p.batch_size)
    )


def _tuned_lamb(trials):
    """LAMB at other rates than the rule's: controls, in the runs of Tables 4 and 5."""
    rule = {n: paper.tables()[n].rows[-1]["learning_rate"] for n in (4, 5)}
    other = trials.learning_rate != trials.table.map(rule)
    return (trials.solver == "lamb") & trials.table.isin(rule) & other


def _point(group, panel, metric, solver, batch):
    records = group.astype(object).where(group.notna(), None).to_dict("records")
    records = statistics.of_first_form(records)
    choice = statistics.choose(records, tuned=(*statistics.SETTING, "table"))
    rows = pd.DataFrame(choice.trials or records)
    values = rows.groupby("seed")[metric].mean().astype(float).dropna()
    n, mean = len(values), float(values.mean())
    reach = float(stats.sem(values) * stats.t.isf(0.025, n - 1)) if n > 1 else np.nan
    trained = bool(n) and not rows.failed.all()
    return Point(panel, solver, batch, mean, mean - reach, mean + reach, n, trained)


def in_words(points: Sequence[Point]) -> str:
    """What the figure shows, for those who cannot see it."""
    told = []
    for number, (title, metric, _) in enumerate(PANELS):
        own = [
            f"{p.solver} at {p.batch_size:,} "
            + (f"{p.mean:.3g}" if p.trained else "did not train")
            + (f" ({p.low:.3g} to {p.high:.3g})" if p.trained and p.n > 1 else "")
            for p in points
            if p.panel == number
        ]
        if own:
            told.append(f"{title}, {LABELS[metric]}: {', '.join(own)}.")
    return " ".join(told)


@style.figure
def over_batches(points: Sequence[Point]):
    """Means over seeds by batch size, or by solver, with 95 % intervals.

    LAMB's are joined by a line. What is hollow is a single seed, which has no interval;
    what did not train is a cross.
    """
    rows = pd.DataFrame(points)
    rows["name"] = rows.solver.replace("momentum+", "momentum")
    numbers = sorted(rows.panel.unique())
    size, look = (3.9 * len(numbers), 3.7), style.looks(sorted(rows.name.unique()))
    figure, (panels,) = plt.subplots(1, len(numbers), figsize=size, squeeze=False)
    for axes, number in zip(panels, numbers, strict=True):
        title, metric, _ = PANELS[number]
        of_net = rows[rows.panel == number]
        batches, names = sorted(of_net.batch_size.unique()), [*of_net.name.unique()]
        by_batch = len(batches) > 1
        places, ticks = batches, [f"{batch:,}" for batch in batches]
        if not by_batch:
            places, ticks = range(len(names)), names
            title = title.replace("one batch", f"{batches[0]:,}")
        for shift, name in enumerate(names):
            own = of_net[of_net.name == name]
            # Beside one another where several stand at a batch.
            aside = 2 ** (0.12 * (shift - (len(names) - 1) / 2))
            x = own.batch_size * aside if by_batch else own.panel * 0 + shift
            _draw(axes, own, x, name, *look[name])
        if by_batch:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(places, ticks, rotation=30)
        axes.set_title(title, loc="left")
        axes.set_xlabel("batch size of the paper" if by_batch else "")
        axes.set_ylabel(LABELS[metric])
    style.legend(figure, panels, columns=6)
    return figure


def _draw(axes, rows, x, name, color, marker):
    if name == "lamb":
        axes.plot(x, rows["mean"], color=color, linewidth=1.6)
    for (trained, single), part in rows.groupby([rows.trained, rows.n < 2]):
        middle = part["mean"]
        axes.errorbar(
            x[part.index],
            middle,
            np.nan_to_num([middle - part.low, part.high - middle]),
            fmt=marker if trained else "X",
            color=color if trained else style.FAINT,
            markerfacecolor="white" if single and trained else None,
            markersize=7,
            capsize=3,
            linewidth=1.4,
            label=name if trained else "did not train",
            zorder=4 if name == "lamb" else 3,
        )
