"""How long a step takes: a model of two constants, fitted to the paper's Table 1.

A step of F FLOPs on n chips of a peak p takes F / (n p u) + c log₂ n seconds, with the
utilization u and a cost c. Published are nine trainings, so the fit is all that these
constants know: each row is also predicted by a fit to the other eight.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.planning import machines
from lamb_keras.planning.stages import stages
from lamb_keras.results import paper

FAMILY = "v3"  # which the paper trained on
_VOCABULARY = 30522  # BERT's


class TimeModel(NamedTuple):
    """The two constants."""

    utilization: float  # of a chip's peak in bfloat16
    cost: float  # seconds a step for each doubling of the chips


class Row(NamedTuple):
    """A training of Table 1, in minutes: published, by the fit, by one without it."""

    solver: str
    batch: int | str
    chips: int
    published: float
    fitted: float
    left_out: float


def fit() -> TimeModel:
    """The constants that make the sum of squared relative errors least.

    Example:
        >>> f"{fit().utilization:.2f} of the peak, {1000 * fit().cost:.0f} ms"
        '0.38 of the peak, 17 ms'
    """
    return _solve(*_published())


def rows() -> list[Row]:
    """Table 1's trainings beside the model's minutes, in the paper's order."""
    minutes, published = _published()
    found = []
    for number, row in enumerate(paper.tables()[1].rows):
        others = np.arange(len(published)) != number
        models = fit(), _solve(minutes[others], published[others])
        told = [minutes[number] @ [1 / u, c] for u, c in models]
        about = row["solver"], row["batch_size"], row["tpus"], row["time_minutes"]
        found.append(Row(*about, *map(float, told)))
    return found


def _solve(minutes, published):
    relative = minutes / published[:, None]
    inverse, cost = np.linalg.lstsq(relative, np.ones(len(published)), rcond=None)[0]
    return TimeModel(1 / float(inverse), float(cost))


@functools.cache
def _published():
    """Of each row, minutes at the peak and of a cost of one second; and published."""
    known, sizes = paper.tables()[1].rows, paper.experiments()["bert_squad"].sizes
    chip = machines.find(f"{FAMILY}-8")
    found = []
    for row in known:
        experiment = BertExperiment(
            **{"notebook": "bert_squad", "table": 1, "scale": "paper"},
            **{"dataset": "wikipedia", "vocab_size": _VOCABULARY, "solvers": ["lamb"]},
            **{"learning_rates": [1.0], "batch_size": row["batch_size"], "seeds": [0]},
            **{"validation_fraction": 0.1, **sizes},
        )
        *pretraining, _ = stages(vars(experiment))
        steps = sum(stage.steps for stage in pretraining)
        seconds = sum(stage.flops for stage in pretraining) / chip.peak / row["tpus"]
        found.append([seconds / 60, steps * math.log2(row["tpus"]) / 60])
    return np.array(found), np.array([row["time_minutes"] for row in known])
