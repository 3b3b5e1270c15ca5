"""Pictures of a data set."""

import math

import matplotlib.pyplot as plt
import numpy as np

from lamb_keras.results.figures import style


@style.figure
def examples(images, labels, rows: int = 2, columns: int = 10):
    """The first images of a data set with their labels, as they are stored.

    Gray ones have one channel (or none) and are drawn in ink on paper; those in color
    have three, in uint8 or float. Floats outside [0, 1], as those that a net gets, are
    brought there, all by the same numbers.
    """
    pictures = np.asarray(images[: rows * columns])
    in_color = pictures.ndim == 4 and pictures.shape[-1] == 3
    if in_color and pictures.dtype != np.uint8:
        low, high = min(pictures.min(), 0.0), max(pictures.max(), 1.0)
        pictures = (pictures - low) / (high - low)
    rows = max(1, math.ceil(len(pictures) / columns))
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(0.9 * columns, 1.15 * rows),
        layout="constrained",
        # Where ticks would be takes longest to find out, seen or not.
        subplot_kw={"xticks": [], "yticks": []},
    )
    for axes in np.ravel(grid):
        axes.set_axis_off()
    for axes, picture, label in zip(np.ravel(grid), pictures, labels, strict=False):
        # The map of gray is for one channel; pictures in color do without.
        axes.imshow(picture, cmap="gray_r", interpolation="nearest")
        axes.set_title(str(label), fontweight="normal")
    return figure
