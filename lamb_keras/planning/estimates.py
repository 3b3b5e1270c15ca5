"""What stages of runs take on a slice: memory, traffic, hours.

A step of F FLOPs takes n chips of a peak p F / (n p u) seconds and a cost: on the
machines that the paper trained on c log₂ n, else what its collectives send at the rate
that is published. The utilization u and c are fitted to Table 1.
"""

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lamb_keras.planning.machines import Machine, find
from lamb_keras.planning.stages import FINE_TUNING, Stage, stages
from lamb_keras.results import paper

USABLE = 0.9  # of a device's memory
# Arrays of the gradients' size in a step that devices share, as compiled
# (docs/planning.md): of a micro-batch, their sums, and those around what is sent.
GRADIENTS = 4


class Estimate(NamedTuple):
    """What a stage takes; memory is a device's, in bytes."""

    chips: int  # that share a step
    micro_batch: int  # examples that a device computes at once
    micro_batches: int  # in a step
    state: float  # its part of weights and moments
    gradients: float  # and all weights as it computes, while a step lasts
    activations: float
    fits: bool
    sent: float  # bytes of a step's collectives
    hours: float


def estimate(stage: Stage, machine: Machine, utilization: float) -> Estimate | None:
    """What a stage takes; None where the devices can't share its batch alike.

    Where it may choose, the micro-batch is the largest that fits. Of a fine-tuning's
    batch that they can't share alike, several devices compute the same part.
    """
    net, devices = stage.net, machine.devices
    if stage.examples % devices:
        if stage.name != FINE_TUNING:
            return None
        devices = math.gcd(stage.examples, devices)
    chips = math.ceil(devices * machine.chips / machine.devices)
    parts, share = machine.devices, stage.examples // devices
    state, copy = stage.state / parts, net.itemsize * net.parameters
    gradients = copy + 4 * net.parameters * (GRADIENTS if parts > 1 else 1)
    room = USABLE * machine.memory - state - gradients
    micro = math.ceil((stage.micro_batch or 0) / devices)
    if not micro:
        most = max(1, min(share, int(room / net.activations)))
        micro = max(n for n in range(1, most + 1) if share % n == 0)
    # Weights are gathered, and gradients all-reduced, which sends them twice.
    reduced = 4 * net.parameters * (1 if net.by_parts else share // micro)
    reduced *= devices > 1
    sent = (parts > 1) * copy + reduced
    cost = (sent + reduced) * (1 - 1 / machine.chips) / machine.interconnect
    if machine.family == "v3":
        cost = fit()[1] * math.log2(chips)
    step = stage.examples * net.flops / (devices * machine.peak * utilization) + cost
    activations = micro * net.activations
    memory = state, gradients, activations, activations <= room
    hours = stage.trials * stage.steps * step / 3600
    return Estimate(chips, micro, share // micro, *memory, sent, hours)


def large(runs: Iterable) -> str:
    """What runs take, as a sentence begins with it; "" below a day of an H100."""
    flops = sum(stage.flops for run in runs for stage in stages(run.parameters))
    if device_days(flops) <= 1:
        return ""
    return (
        f"what is to be run takes {flops:.2g} FLOP, {device_days(flops):,.0f} days of "
        f"an H100 at {fit()[0]:.0%} of its peak"
    )


def device_days(flops: float) -> float:
    """Days in which an H100 computes them, utilized as the paper's chips were."""
    return flops / (fit()[0] * find("h100-1").peak * 24 * 60 * 60)


def fit(without: int | None = None) -> tuple[float, float]:
    """(u, c in seconds) of the least sum of squares of relative errors in Table 1.

    Example:
        >>> u, c = fit()  # of nine trainings
        >>> f"{u:.2f} of the peak, {1000 * c:.0f} ms"
        '0.38 of the peak, 17 ms'
    """
    rows = [row for number, row in enumerate(_trainings()) if number != without]
    relative = np.array([row[:2] for row in rows]) / [[row[2]] for row in rows]
    inverse, cost = np.linalg.lstsq(relative, np.ones(len(rows)), rcond=None)[0]
    return 1 / float(inverse), float(cost)


def minutes() -> list[tuple[float, float, float]]:
    """Of Table 1's trainings: published, by the fit, by one to the other rows alone."""
    found = []
    for number, (at_peak, of_cost, published) in enumerate(_trainings()):
        models = fit(), fit(without=number)
        found.append((published, *(at_peak / u + of_cost * c for u, c in models)))
    return found


@functools.cache
def _trainings():
    """Of each row of Table 1 minutes at the peak, those of c = 1 s, those published."""
    found, peak = [], 2 * find("v3-8").peak
    for row in paper.tables()[1].rows:
        parameters = {
            **{"notebook": "bert_squad", "table": 1, "scale": "paper", "seeds": [0]},
            **{"dataset": "wikipedia", "vocab_size": 30522, "solvers": ["lamb"]},
            **{"learning_rates": [1.0], "batch_size": row["batch_size"]},
            **{"validation_fraction": 0.1, **paper.experiments()["bert_squad"].sizes},
        }
        *pretraining, _ = stages(parameters)
        seconds = sum(stage.flops for stage in pretraining) / peak / row["tpus"]
        costs = sum(stage.steps for stage in pretraining) * math.log2(row["tpus"])
        found.append((seconds / 60, costs / 60, row["time_minutes"]))
    return found
