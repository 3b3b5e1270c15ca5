"""What the stages of runs take on a slice: memory, traffic, hours."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from lamb_keras.planning import time_model
from lamb_keras.planning.machines import Machine, find
from lamb_keras.planning.stages import FINE_TUNING, Stage, stages

# Of a device's memory.
USABLE = 0.9
# What libtpu's compiler holds of BERT-Large's activations, over what nets.py counts: by
# it a core of v3 takes 8.4 GiB for 16 sequences of 128 tokens, a v5e 15.5 for 32.
COMPILED = 1.25
_DAY = 24 * 60 * 60


class Estimate(NamedTuple):
    """What a stage takes; memory and traffic are a device's, in bytes."""

    devices: int  # that share a step
    micro_batch: int  # examples that a device computes at once
    micro_batches: int  # in a step
    state: float  # weights, moments, gradients, and the weights as it computes
    activations: float
    fits: bool
    sent: float  # by the collectives of a step
    hours: float


def estimate(stage: Stage, machine: Machine, utilization: float) -> Estimate | None:
    """What a stage takes, or None where the devices can't share its batch alike.

    The micro-batch is the largest that fits. Of a fine-tuning's small batch, which
    many devices cannot share, each computes the whole.

    Example:
        >>> from lamb_keras.planning import nets
        >>> net = nets.bert(30522, 24, 1024, 16, 512, 128, 20, itemsize=2)
        >>> stage = Stage("128 tokens", 32768, 1, 14063, 32768, net, 2, None)
        >>> found = estimate(stage, find("v5e-256"), utilization=0.4)
        >>> found.micro_batch, found.micro_batches, round(found.hours, 1)
        (16, 8, 1.6)
    """
    devices, net = machine.devices, stage.net
    if stage.examples % devices:
        if stage.name != FINE_TUNING:
            return None
        devices = 1
    weights = 4 * net.parameters
    state = stage.state / devices + weights + net.itemsize * net.parameters
    room, share = USABLE * machine.memory - state, stage.examples // devices
    of_example = COMPILED * net.activations
    if stage.micro_batch:
        micro = math.ceil(stage.micro_batch / devices)
    else:
        most = max(1, min(share, int(room / of_example)))
        micro = max(n for n in range(1, most + 1) if share % n == 0)
    chips = math.ceil(devices * machine.chips / machine.devices)
    sent = (weights + net.itemsize * net.parameters) * (chips - 1) / chips
    waiting = sent / machine.interconnect
    if machine.family == time_model.FAMILY:
        waiting = time_model.fit().cost * math.log2(chips)
    rate = utilization * machine.peak * machine.chips / machine.devices * devices
    step = stage.examples * net.flops / rate + waiting
    return Estimate(
        devices,
        micro,
        share // micro,
        state,
        micro * of_example,
        micro * of_example <= room,
        sent,
        stage.trials * stage.steps * step / 3600,
    )


def device_days(flops: float) -> float:
    """Days in which an H100 computes them, utilized as the paper's chips were."""
    return flops / (time_model.fit().utilization * find("h100-1").peak * _DAY)


def large(runs: Iterable) -> str:
    """What runs take, as a sentence begins with it; "" below a day of an H100."""
    flops = sum(stage.flops for run in runs for stage in stages(run.parameters))
    if device_days(flops) <= 1:
        return ""
    return (
        f"what is to be run takes {flops:.2g} FLOP, {device_days(flops):,.0f} days of "
        f"an H100 at {time_model.fit().utilization:.0%} of its peak"
    )
