"""What updates cost, as a bar chart."""

import matplotlib.pyplot as plt
import seaborn as sns

from lamb_keras.results.figures import style

# How the names of ours begin.
_OURS = ("lamb_keras.", "same, ")


@style.figure
def chart(measured):
    """The time of an update of every optimizer, in times of the memory floor.

    `measured` is what `benchmarks.update.measure` gives: a dict of optimizer
    to one with to_floor, "floor" among them. Where kernels_to_floor is there too, a dot
    marks it.

    Example:
        >>> measured = {"lamb_keras.Lamb": 1.5, "optax.lamb": 4.0, "floor": 1.0}
        >>> figure = chart({name: {"to_floor": x} for name, x in measured.items()})
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['lamb_keras.Lamb', 'optax.lamb']
    """
    names = [name for name in measured if name != "floor"]
    times = [measured[name]["to_floor"] for name in names]
    figure, axes = plt.subplots(
        figsize=(8, 0.8 + 0.42 * len(names)), layout="constrained"
    )
    alone = {
        place: measured[name]["kernels_to_floor"]
        for place, name in enumerate(names)
        if "kernels_to_floor" in measured[name]
    }
    ours = [name.startswith(_OURS) for name in names]
    palette = [style.SOLVERS["lamb"][0] if each else style.FAINT for each in ours]
    sns.barplot(
        x=times, y=names, hue=names, palette=palette, legend=False, width=0.7, ax=axes
    )
    for bars, time in zip(axes.containers, times, strict=True):
        axes.bar_label(bars, [f"{time:.2f}"], padding=4, color=style.INK, fontsize=9)
    if alone:
        axes.plot(
            list(alone.values()),
            list(alone),
            "o",
            color=style.INK,
            markersize=5,
            label="the kernels alone",
        )
        axes.legend(loc="lower right")
    axes.axvline(1, color=style.INK, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set(xlabel="time of an update / time of the memory floor", ylabel="")
    axes.set_xlim(0, 1.1 * max(*times, 1))
    sns.despine(ax=axes, left=True)
    return figure
