"""Pictures of a data set."""

import math

import matplotlib.pyplot as plt
import numpy as np

from lamb_keras.results.figures import style

COLUMNS = 10


@style.figure
def examples(images, labels):
    """Images of a data set with their labels, as they are stored.

    Gray ones have one channel and are drawn in ink on paper, those in color three.
    """
    rows = math.ceil(len(images) / COLUMNS)
    figure, grid = plt.subplots(
        rows,
        COLUMNS,
        figsize=(0.9 * COLUMNS, 1.15 * rows),
        layout="constrained",
        # Where ticks would be takes longest to find out, seen or not.
        subplot_kw={"xticks": [], "yticks": []},
    )
    for axes in np.ravel(grid):
        axes.set_axis_off()
    for axes, picture, label in zip(np.ravel(grid), images, labels, strict=False):
        # The map of gray is for one channel; pictures in color do without.
        axes.imshow(picture, cmap="gray_r", interpolation="nearest")
        axes.set_title(str(label), fontweight="normal")
    return figure
