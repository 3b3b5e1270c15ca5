"""Slices of accelerators by their vendors' names, such as v5e-256 or h100-8."""

import functools
import math
from pathlib import Path
from typing import NamedTuple

import yaml

from lamb_keras.experiments.types import ParameterError, did_you_mean


class Machine(NamedTuple):
    """A slice, of chips that train together."""

    name: str
    family: str
    topology: str
    chips: int
    devices: int  # of JAX: a chip is one or two
    hosts: int
    memory: float  # bytes of a device
    peak: float  # FLOP/s of a device in bfloat16
    interconnect: float  # bytes/s that a chip can send


def find(name: str) -> Machine:
    """The slice of that name, or a `ParameterError` with the nearest.

    Example:
        >>> find("v3-2048")[:6]
        ('v3-2048', 'v3', '32x32', 1024, 2048, 256)
        >>> find("v5e-250")
        Traceback (most recent call last):
        lamb_keras...ParameterError: there is no slice v5e-250; the nearest is v5e-256
    """
    family, _, number = name.lower().partition("-")
    about = _families().get(family, {"slices": {}})
    topology = about["slices"].get(int(number) if number.isdecimal() else None)
    if topology is None:
        if about["slices"] and number.isdecimal():
            nearest = min(about["slices"], key=lambda known: abs(known - int(number)))
            cure = f"; the nearest is {family}-{nearest}"
        else:
            largest = {each: max(a["slices"]) for each, a in _families().items()}
            cure = did_you_mean(name, [f"{each}-{n}" for each, n in largest.items()])
        raise ParameterError(f"there is no slice {name}{cure}")
    chips, devices = math.prod(map(int, topology.split("x"))), about["devices"]
    hosts = 1 if chips <= about["alone"] else chips // about["per_host"]
    sent = about.get("network" if hosts > 1 else "", about["interconnect"])
    sizes = chips, chips * devices, hosts, about["memory"] * 2**30 / devices
    rates = about["teraflops"] * 1e12 / devices, sent * 1e9
    return Machine(f"{family}-{number}", family, topology, *sizes, *rates)


@functools.cache
def _families():
    return yaml.safe_load(Path(__file__).with_name("machines.yaml").read_text())
