"""The trust ratios and norms of the last step, as a variable of the optimizer."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import keras
import numpy as np

from lamb_keras.optimizers.two_passes import wait_for


class TrustRatio(NamedTuple):
    """What the last step did to one variable.

    Attributes:
        trust_ratio: by which the update was multiplied, with the learning rate.
        weight_norm: ‖w‖ before the step.
        update_norm: ‖u‖, or LARS's denominator.
    """

    trust_ratio: float
    weight_norm: float
    update_norm: float


class Record:
    """One float32 matrix: a row for each quantity, a column for each layer.

    Args:
        optimizer: that the matrix becomes a variable of.
        variables: that it trains.
        stacked: for each of them, whether it holds one layer a slice of axis 0.

    Attributes:
        columns: for each variable, the slice of columns that is its own.
        variable: that holds the matrix; NaN before the first step.
    """

    def __init__(self, optimizer, variables, stacked):
        self.stacked = stacked
        self.columns, end = [], 0
        for variable, of_slices in zip(variables, stacked, strict=True):
            begin, end = end, end + (variable.shape[0] if of_slices else 1)
            self.columns.append(slice(begin, end))
        self.variable = optimizer.add_variable(
            shape=(len(TrustRatio._fields), end),
            initializer=keras.initializers.Constant(math.nan),
            dtype="float32",
            name="trust_ratios",
        )

    def assign(self, optimizer, step, indices):
        """Record a step that was taken by the variables of these indices."""
        before = self.variable.value
        quantities = wait_for(
            step.weights, (step.trust_ratios, step.weight_norms, step.update_norms)
        )
        # One array of all, not one change after another: that is a kernel each.
        rows = []
        for row, quantity in enumerate(quantities):
            latest = dict(zip(indices, quantity, strict=True))
            rows += [
                jnp.ravel(latest[i]).astype(before.dtype)
                if i in latest
                else before[row, columns]
                for i, columns in enumerate(self.columns)
            ]
        matrix = jnp.concatenate(rows).reshape(before.shape)
        optimizer.assign(self.variable, matrix)

    def trust_ratios(self, variables) -> dict[str, TrustRatio]:
        """A `TrustRatio` of floats for each path, of arrays where it is of slices."""
        matrix = np.asarray(self.variable.value)
        ratios = {}
        for variable, columns, of_slices in zip(
            variables, self.columns, self.stacked, strict=True
        ):
            rows = matrix[:, columns]
            ratios[variable.path] = TrustRatio(
                *(rows if of_slices else (float(row[0]) for row in rows))
            )
        return ratios
