"""Slices of accelerators by their vendors' names, such as v5e-256 or h100-8."""

import functools
import math
from pathlib import Path
from typing import NamedTuple

import yaml

from lamb_keras.experiments.types import ParameterError, did_you_mean


class Machine(NamedTuple):
    """A slice: chips that train together; rates are of a chip, a second."""

    name: str
    family: str
    topology: str
    chips: int
    devices: int  # of JAX, of which a chip has one or two
    hosts: int
    memory: float  # bytes of a device
    peak: float  # FLOP in bfloat16
    interconnect: float  # bytes sent


def find(name: str) -> Machine:
    """The slice of that name, or a `ParameterError` with the nearest.

    Example:
        >>> machine = find("v3-2048")
        >>> machine.topology, machine.chips, machine.devices, machine.hosts
        ('32x32', 1024, 2048, 256)
        >>> find("v5e-250")
        Traceback (most recent call last):
        lamb_keras...ParameterError: there is no slice v5e-250; the nearest is v5e-256
    """
    families = _families()
    family, _, number = name.lower().partition("-")
    slices = families.get(family, {}).get("slices", {})
    if not (number.isdecimal() and int(number) in slices):
        names = [f"{each}-{max(about['slices'])}" for each, about in families.items()]
        cure = did_you_mean(name, names)
        if slices and number.isdecimal():
            nearest = min(slices, key=lambda known: abs(known - int(number)))
            cure = f"; the nearest is {family}-{nearest}"
        raise ParameterError(f"there is no slice {name}{cure}", ["on"])
    about, topology = families[family], slices[int(number)]
    chips = math.prod(map(int, topology.split("x")))
    hosts = 1 if chips <= about["alone"] else chips // about["per_host"]
    sent = about.get("network" if hosts > 1 else "", about["interconnect"])
    return Machine(
        f"{family}-{number}",
        family,
        topology,
        chips,
        chips * about["devices"],
        hosts,
        about["memory"] * 2**30 / about["devices"],
        about["teraflops"] * 1e12,
        sent * 1e9,
    )


@functools.cache
def _families():
    path = Path(__file__).with_name("machines.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))
