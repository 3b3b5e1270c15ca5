"""How trials learned, over epochs, steps or the part of a pre-training."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lamb_keras.results.figures import style

NAMED_LAYERS = 14
# The kinds of BERT's layers in the order in which the text passes them.
KINDS = ("embeddings", "attention", "feed-forward", "normalization", "heads")
# What the paths of their variables have in them; of these the first that fits, as the
# layers that are normalized have their names in its path.
PATHS = {
    "normalization": ("norm", "gamma", "beta"),
    "embeddings": ("embedding",),
    "attention": ("attention",),
    "feed-forward": ("feedforward", "feed_forward"),
}


@style.figure
def learning_curves(curves):
    """Training loss and held-out accuracy by epoch: mean over seeds, band one spread.

    A line a setting of a solver. A curve that stops being a number ends in a cross.
    `curves` are dicts with solver, learning_rate, seed, epoch, train_loss and
    validation_accuracy, and what else tells settings apart.
    """
    rows = style.table(curves)
    numbers = {"learning_rate", "weight_decay"}
    for _, of_solver in rows.groupby("solver"):
        numbers.update(style.varying(of_solver))
    rows["line"] = style.names(rows, numbers)
    figure, (loss, accuracy) = plt.subplots(1, 2, figsize=(10, 3.8))
    for name, properties in style.lines(rows).items():
        of_line = rows[rows.line == name]
        for axes, metric in ((loss, "train_loss"), (accuracy, "validation_accuracy")):
            style.mean(axes, of_line, "epoch", metric, "spread", **properties)
    for axes, label in ((loss, "training loss"), (accuracy, "held-out accuracy")):
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.log_axis(loss.yaxis, rows.train_loss)
    style.room(accuracy, rows.validation_accuracy)
    style.legend(figure, [loss])
    return figure


@style.figure
def trust_ratios(rows):
    """The trust ratio of every layer over training, on a logarithmic scale.

    Layers are colored from input to output; biases and other vectors, whose paths do
    not end in "kernel" or "embeddings", are dashed. Of more layers than a legend can
    hold, it names every so many. `rows` are dicts with epoch (or step), layer (a
    variable's path) and trust_ratio.
    """
    rows = style.table(rows)
    layers = list(dict.fromkeys(rows.layer))
    named = layers[:: -(-len(layers) // NAMED_LAYERS)]
    figure, axes = plt.subplots(figsize=(9, 4))
    colors = sns.color_palette("viridis", max(len(layers), 2))
    for layer, color in zip(layers, colors, strict=False):
        matrix = layer.endswith(("kernel", "embeddings"))
        line = {"linestyle": "-" if matrix else (0, (3, 2))}
        line |= {"linewidth": 2 if matrix else 1.4, "color": color}
        line |= {"label": layer if layer in named else None}
        _ratios(axes, rows[rows.layer == layer], **line)
    style.log_axis(axes.yaxis, rows.trust_ratio)
    some = len(named) < len(layers)
    title = f"{len(named)} of {len(layers)} layers named" if some else None
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title=title)
    return figure


@style.figure
def trust_ratios_by_type(rows):
    """The trust ratios of each kind of layer: the median, and from least to greatest.

    Biases are left out: where LAMB excludes them, theirs is 1 whatever happens.
    `rows` are as of `trust_ratios`.
    """
    rows = style.table(rows)
    rows = rows[~rows.layer.str.endswith("bias")]
    kinds = dict(iter(rows.groupby(rows.layer.map(kind_of_layer))))
    figure, axes = plt.subplots(figsize=(7.5, 3.9))
    colors = sns.color_palette("colorblind", len(KINDS))
    for kind, color in zip(KINDS, colors, strict=True):
        if kind in kinds:
            label = f"{kind} ({kinds[kind].layer.nunique()})"
            _ratios(axes, kinds[kind], "range", color=color, label=label, linewidth=2.2)
    style.log_axis(axes.yaxis, rows.trust_ratio)
    style.legend(figure, [axes], columns=3)
    return figure


def _ratios(axes, rows, band=None, **properties):
    time = "epoch" if "epoch" in rows else "step"
    style.mean(axes, rows, time, "trust_ratio", band, **properties)
    axes.set(xlabel=time, ylabel="trust ratio", xmargin=0.01)


def kind_of_layer(path: str) -> str:
    """Which part of BERT a variable belongs to, by its path: one of `KINDS`."""
    fits = (k for k, words in PATHS.items() if any(w in path.lower() for w in words))
    return next(fits, "heads")


@style.figure
def pretraining_curves(curves, unigram_entropy=None):
    """Training and held-out loss over both stages, the second one behind a line.

    Pre-trainings of any number of steps are drawn over the part of theirs that is done:
    they all see as many sequences. A curve that stops being a number ends in a cross.
    `curves` are dicts with the numbers of a setting, seed, stage, step, steps (of the
    whole pre-training), train_loss and validation_loss; `unigram_entropy` is the loss
    of guessing words by their frequency, in nats.
    """
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.9), sharey=True)
    for axes, metric in zip(panels, ("train_loss", "validation_loss"), strict=True):
        _pretrainings(axes, curves, metric)
    if unigram_entropy is not None:
        label = "guessing words by their frequency"
        panels[1].axhline(unigram_entropy, label=label, **style.DOTTED)
    panels[0].set_ylabel("training loss, both tasks")
    panels[1].set_ylabel("held-out loss, words")
    style.legend(figure, panels)
    return figure


@style.figure
def masked_language_model(curves):
    """The part of the masked words of held-out text that is predicted right.

    `curves` are as of `pretraining_curves`, with validation_accuracy.
    """
    figure, axes = plt.subplots(figsize=(7.5, 3.9))
    _pretrainings(axes, curves, "validation_accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("held-out masked words predicted")
    axes.set_ylim(bottom=0)
    style.legend(figure, [axes])
    return figure


def _pretrainings(axes, curves, metric):
    """A line a setting over the part of its pre-training: the mean over its seeds."""
    rows = style.table(curves)
    rows["part"] = rows.step / rows.steps
    numbers = {"batch_size", "warmup_fraction", "learning_rate"}
    rows["line"] = style.names(rows, numbers.intersection(style.varying(rows)))
    for name, properties in style.lines(rows).items():
        style.mean(axes, rows[rows.line == name], "part", metric, **properties)
    # A stage ends with an evaluation; what diverged in the first has no second.
    both = rows[rows.groupby("line").stage.transform("nunique") > 1]
    first_stages = both[both.stage == 1].groupby("line").part.max()
    for part in np.unique(first_stages.round(2)):
        axes.axvline(part, label="second stage begins", **style.DASHED)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("part of the steps")
