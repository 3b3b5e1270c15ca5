"""How BERT was pre-trained, and what F1 came of it at each batch size."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import PercentFormatter

from lamb_keras.results import paper, pretraining
from lamb_keras.results.figures import look

# What tells one line of a figure from another, and how it is called there.
NUMBERS = {
    "batch_size": "batch",
    "warmup_fraction": "warm-up",
    "learning_rate": "learning rate",
}
LABELS = {"batch_size": "batch size of the paper", "learning_rate": "learning rate"}
# The kinds of BERT's layers in the order in which the text passes them, and what their
# variables' paths have in them; the first that fits, so normalization comes first.
KINDS = {
    "normalization": ("norm", "gamma", "beta"),
    "embeddings": ("embedding",),
    "attention": ("attention",),
    "feed-forward": ("feedforward", "feed_forward"),
}
HEADS = "heads"
ORDER = ("embeddings", "attention", "feed-forward", "normalization", HEADS)
# Vectors that LAMB leaves alone have a trust ratio of 1, which says nothing of a kind.
LEFT_OUT = "bias"


@look.figure
def pretraining_curves(curves, unigram_entropy=None):
    """Training and held-out loss over both stages, the second one behind a line.

    Pre-trainings of any number of steps are drawn over the part of theirs that is done:
    they all see as many sequences. A curve that stops being a number ends in a cross.

    Args:
        curves: dicts with solver, batch_size, learning_rate, warmup_fraction, seed,
            stage, step, steps (of the whole pre-training), train_loss and
            validation_loss.
        unigram_entropy: in nats; the loss of guessing words by their frequency, dotted.

    Example:
        >>> point = {"solver": "lamb", "batch_size": 512, "seed": 0, "steps": 10}
        >>> figure = pretraining_curves(
        ...     [point | {"stage": 1 + s // 9, "step": s, "train_loss": 9 / s,
        ...               "validation_loss": 10 / s} for s in (3, 6, 9)], 5.5)
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['training loss, both tasks', 'held-out loss, words']
    """
    rows = _frame(curves)
    figure, panels = plt.subplots(
        1, 2, figsize=(10, 3.9), sharey=True, layout="constrained"
    )
    for axes, column in zip(panels, ("train_loss", "validation_loss"), strict=True):
        _lines(axes, rows, column)
    if unigram_entropy is not None:
        panels[1].axhline(
            unigram_entropy,
            color="#8A8F99",
            linestyle=(0, (1, 2)),
            zorder=1,
            label="guessing words by their frequency",
        )
    panels[0].set_ylabel("training loss, both tasks")
    panels[1].set_ylabel("held-out loss, words")
    look.one_legend(figure, panels)
    return figure


@look.figure
def masked_language_model(curves):
    """The part of the masked words of held-out text that is predicted right.

    `curves` are as of `pretraining_curves`, with validation_accuracy.

    Example:
        >>> point = {"solver": "lamb", "batch_size": 512, "seed": 0, "steps": 10}
        >>> figure = masked_language_model(
        ...     [point | {"stage": 1, "step": s, "validation_accuracy": s / 20}
        ...      for s in (3, 6, 9)])
        >>> figure.axes[0].get_ylabel()
        'held-out masked words predicted'
    """
    rows = _frame(curves)
    figure, axes = plt.subplots(figsize=(7.5, 3.9), layout="constrained")
    _lines(axes, rows, "validation_accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("held-out masked words predicted")
    axes.set_ylim(bottom=0)
    look.one_legend(figure, [axes])
    return figure


@look.figure
def trust_ratios_by_type(rows):
    """The trust ratios of each kind of layer: the median, and from least to greatest.

    `rows` are dicts with step, layer (a variable's path) and trust_ratio. Biases are
    left out: where they are excluded, theirs is 1 whatever happens.

    Example:
        >>> figure = trust_ratios_by_type(
        ...     [{"step": s, "layer": layer, "trust_ratio": 10.0 / s}
        ...      for s in (1, 2, 3)
        ...      for layer in ("token_embedding/embeddings", "pooled_dense/kernel")])
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['embeddings (1)', 'heads (1)']
    """
    frame = look.frame(rows).replace([np.inf, -np.inf], np.nan)
    frame = frame[~frame.layer.str.endswith(LEFT_OUT)].copy()
    frame["kind"] = frame.layer.map(kind_of_layer)
    figure, axes = plt.subplots(figsize=(7.5, 3.9), layout="constrained")
    colors = dict(zip(ORDER, sns.color_palette("colorblind", len(ORDER)), strict=True))
    for kind in ORDER:
        one = frame[frame.kind == kind]
        if one.empty:
            continue
        by_step = one.groupby("step")["trust_ratio"]
        median, low, high = by_step.median(), by_step.min(), by_step.max()
        axes.plot(
            median,
            color=colors[kind],
            linewidth=2.2,
            marker=look.point(median),
            label=f"{kind} ({one.layer.nunique()})",
        )
        axes.fill_between(
            median.index, low, high, color=colors[kind], alpha=0.15, linewidth=0
        )
    look.log_scale(axes, frame["trust_ratio"])
    axes.set_xlabel("step")
    axes.set_ylabel("trust ratio")
    axes.margins(x=0.01)
    look.one_legend(figure, [axes], columns=3)
    return figure


def kind_of_layer(path: str) -> str:
    """Which part of BERT a variable belongs to, by its path.

    Example:
        >>> kind_of_layer("transformer_layer_0/self_attention_layer/query/kernel")
        'attention'
        >>> kind_of_layer("transformer_layer_0/self_attention_layer_norm/gamma")
        'normalization'
        >>> kind_of_layer("pooled_dense/kernel")
        'heads'
    """
    lower = path.lower()
    return next(
        (kind for kind, words in KINDS.items() if any(w in lower for w in words)), HEADS
    )


@look.figure
def f1_by_batch(trials, table: int):
    """F1 at each batch size, ours in one panel and the paper's in another.

    A line a solver; in Table 8, whose batch is always the same, F1 by learning rate, a
    line a warm-up. Points are fine-tunings, the line is their mean, crosses are what
    diverged. Of a tuned solver the chosen settings are shown.

    Example:
        >>> trials = [{"solver": "lamb", "batch_size": batch, "learning_rate": 0.005,
        ...            "seed": 0, "outcome": "finished", "validation_accuracy": 0.4,
        ...            "f1": 60.0} for batch in (512, 1024)]
        >>> [axes.get_title(loc="left") for axes in f1_by_batch(trials, 4).axes]
        ['ours', 'the paper']
    """
    published = paper.tables()[table]
    swept = _swept(published)
    shown = pretraining.of_chosen(trials, trials, table)
    ours = [(trial, _f1(trial)) for trial in shown]
    theirs = [
        (published.numbers_of(cell.row, cell.column), look.numbers([cell.published]))
        for cell in published.cells()
        if published.column(cell.column).metric == "f1"
    ]
    theirs = [(numbers, known[0] if known else np.nan) for numbers, known in theirs]
    places = list(dict.fromkeys(n[swept] for n, _ in (*theirs, *ours)))
    places.sort(key=_order)
    figure, panels = plt.subplots(
        1, 2, figsize=(10, 3.9), sharex=True, layout="constrained"
    )
    titled = (("ours", ours), ("the paper", theirs))
    for axes, (title, points) in zip(panels, titled, strict=True):
        _f1_panel(axes, points, swept, places)
        axes.set_title(title, loc="left")
    panels[0].set_ylabel("SQuAD F1")
    look.one_legend(figure, panels)
    return figure


def _frame(curves):
    rows = look.frame(curves)
    rows["part"] = rows.step / rows.steps
    rows["line"] = _names(rows)
    return rows


def _names(rows):
    """What the line of each row is called: its solver, and the numbers that vary."""
    several = [
        name
        for name in NUMBERS
        if name in rows and rows[name].nunique(dropna=False) > 1
    ]
    return [
        ", ".join(
            [row.solver, *(f"{NUMBERS[n]} {_shown(getattr(row, n))}" for n in several)]
        )
        for row in rows.itertuples()
    ]


def _shown(value):
    if isinstance(value, str):
        return value
    return f"{value:,}" if float(value).is_integer() else f"{value:g}"


def _lines(axes, rows, column):
    """A line a setting over the part of its pre-training: the mean over its seeds."""
    names = list(dict.fromkeys(rows.line))
    solvers = dict(zip(rows.line, rows.solver, strict=True))
    palette = sns.color_palette("viridis", len(names) + 1)
    alone = len(set(solvers.values())) == len(names)
    for name, shade in zip(names, palette, strict=False):
        one = rows[rows.line == name]
        color = look.color(solvers[name]) if alone else shade
        finite = one[np.isfinite(one[column].astype(float))]
        mean = finite.groupby("part")[column].mean()
        axes.plot(mean, color=color, linewidth=1.9, marker=look.point(mean), label=name)
        if len(finite) < len(one) and len(finite):
            last = finite.sort_values("part").iloc[-1]
            axes.scatter(
                last.part, last[column], marker="X", color=look.ALARM, s=60, zorder=5
            )
    for boundary in _boundaries(rows):
        axes.axvline(
            boundary,
            color=look.INK,
            linestyle=(0, (4, 3)),
            linewidth=1,
            zorder=1,
            label="second stage begins",
        )
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("part of the steps")


def _boundaries(rows):
    """Where the second stage begins, each place once: behind the first one's last look.

    A look is taken at the end of each stage, unless what is looked at diverged before.
    """
    both = rows.groupby("line").filter(lambda one: one.stage.nunique() > 1)
    ends = both[both.stage == 1].groupby("line")["part"].max()
    return sorted({round(end, 2) for end in ends})


def _swept(table):
    batches = {
        table.numbers_of(cell.row, cell.column).get("batch_size")
        for cell in table.cells()
    }
    return "batch_size" if len(batches) > 1 else "learning_rate"


def _f1(trial):
    known = look.numbers([trial.get("f1")])
    return known[0] if trial["outcome"] == "finished" and known else np.nan


def _order(place):
    """Batches by size, a mixed one behind the number that it begins with."""
    numbers = str(place).split("/")
    return float(numbers[0]), len(numbers)


def _f1_panel(axes, points, swept, places):
    groups = {}
    for numbers, value in points:
        name = numbers["solver"]
        if swept != "batch_size":
            name += f", warm-up {numbers['warmup_fraction']:g}"
        groups.setdefault(name, []).append((places.index(numbers[swept]), value))
    shades = itertools.cycle(sns.color_palette("viridis", len(groups) + 1))
    for name in sorted(groups):
        solver = name.partition(",")[0]
        color = look.color(solver) if swept == "batch_size" else next(shades)
        _f1_line(axes, groups[name], look.style(solver) | _colored(color), name)
    look.room(axes, look.numbers(value for _, value in points), least=2)
    axes.set_xticks(range(len(places)), [_shown(place) for place in places])
    if swept == "batch_size":
        axes.tick_params(axis="x", rotation=30)
    axes.set_xlabel(LABELS[swept])


def _colored(color):
    return {"color": color, "markerfacecolor": color}


def _f1_line(axes, points, style, name):
    xs = sorted({x for x, _ in points})
    by_x = {x: look.numbers(v for at, v in points if at == x) for x in xs}
    means = [np.mean(by_x[x]) if by_x[x] else np.nan for x in xs]
    axes.plot(xs, means, markersize=6, zorder=3, label=name, **style)
    seeds = [(x, value) for x in xs if len(by_x[x]) > 1 for value in by_x[x]]
    if seeds:
        faint = {"color": style["color"], "alpha": 0.45, "linewidth": 0}
        axes.scatter(*zip(*seeds, strict=True), s=14, zorder=2, **faint)
    lost = [x for x in xs if len(by_x[x]) < sum(at == x for at, _ in points)]
    if lost:
        look.cross(axes, lost)
