"""The processes that train together, one a host: which of them this is, and joining.

The variable LAMB_KERAS_HOSTS says it: "auto" where Cloud TPU's or SLURM's environment
does, else how many there are, where the first one listens, and which this is, such as
"2,10.0.0.2:8576,0". A kernel joins before JAX looks for its devices.
"""

import os
import socket
import time
from collections import Counter
from typing import NamedTuple

VARIABLE = "LAMB_KERAS_HOSTS"
PORT = 8576
# JAX's own choice on a TPU VM, where something else may listen (jax#35905).
_TAKEN = 8482
SECONDS_TO_MEET = 120
# After so many a host that says nothing is given up.
SECONDS_OF_SILENCE = 30
# How the sentence ends for hosts that never can train together.
UNEQUAL = "expected as many on every host"
# What JAX chooses by SLURM's job number, 4096 ports, are the last ones there are.
_FIRST_OF_SLURM = 61440


class HostsError(Exception):
    """Hosts that do not meet or do not agree, in one sentence."""


class Hosts(NamedTuple):
    """How many processes there are, where the first listens, and which this one is."""

    count: int
    coordinator: str
    index: int

    @classmethod
    def of(cls, text: str) -> "Hosts":
        """What the variable says.

        Example:
            >>> Hosts.of("2,10.0.0.2,0")
            Hosts(count=2, coordinator='10.0.0.2:8576', index=0)
        """
        if text == "auto":
            return _detected()
        count, _, rest = text.partition(",")
        address, _, index = rest.rpartition(",")
        if not (count.isdecimal() and index.isdecimal() and address):
            raise HostsError(
                f"{VARIABLE} is {text!r}, expected auto, or the number of hosts, the "
                "address of the first and this one's number: 2,10.0.0.2:8576,0"
            )
        if int(index) >= int(count):
            raise HostsError(
                f"the number of this host is {index}, expected 0 to {int(count) - 1}, "
                f"of {count} hosts"
            )
        if not address.rpartition(":")[2].isdecimal():
            address = f"{address}:{PORT}"
        return cls(int(count), address, int(index))

    @classmethod
    def of_options(cls, hosts, coordinator, host) -> "Hosts":
        """What options of a command say, else the environment; by default one alone."""
        # What kernels of a batch join is for the batch to say.
        named = os.environ.pop(VARIABLE, None)
        if (hosts, coordinator, host) == ("auto", None, None):
            named = "auto"
        elif {hosts, coordinator, host} != {None}:
            if None in (hosts, coordinator, host) or not hosts.isdecimal():
                raise HostsError(
                    "expected --hosts auto alone, or --hosts N --coordinator ADDRESS "
                    "--host K, with another K from 0 on each host"
                )
            named = f"{hosts},{coordinator},{host}"
        return cls.of(named) if named else cls(1, "", 0)

    def __str__(self):
        return f"{self.count},{self.coordinator},{self.index}"

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port where the first one listens."""
        host, _, port = self.coordinator.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def of_kernels(self) -> "Hosts":
        """Those of a batch's kernels, which meet at the port after the batch's own.

        SLURM's next job may have that one: its kernels meet 4096 ports below.
        """
        host, _, port = self.coordinator.rpartition(":")
        port = int(port) + (1 if int(port) < _FIRST_OF_SLURM else -4096)
        return self._replace(coordinator=f"{host}:{port}")

    def wait_for_first(self):
        """Returns when the first host, which may be about to, listens."""
        until = time.monotonic() + SECONDS_TO_MEET
        while True:
            try:
                return socket.create_connection(self.address, timeout=5).close()
            except OSError as error:
                reason = error.strerror or str(error)
            if time.monotonic() > until:
                raise HostsError(
                    f"host 0 did not answer at {self.coordinator} within "
                    f"{SECONDS_TO_MEET} s ({reason}): start the same line there, and "
                    "let this host reach that port"
                )
            time.sleep(0.5)


def join():
    """Makes this process one of those that `VARIABLE` names, if it names some.

    Raises:
        HostsError: where they do not come, or have not as many devices each.
    """
    if not (text := os.environ.get(VARIABLE)):
        return
    import jax

    if jax.distributed.is_initialized():
        return
    hosts = Hosts.of(text)
    if hosts.index:
        # JAX would say less, and on some systems abort.
        hosts.wait_for_first()
    # By itself JAX would take one GPU of a SLURM task, also where it has all of a node.
    alone = os.environ.get("SLURM_STEP_NUM_NODES") == str(hosts.count)
    try:
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.count,
            hosts.index,
            cluster_detection_method="deactivate" if alone else None,
            initialization_timeout=SECONDS_TO_MEET,
            heartbeat_timeout_seconds=SECONDS_OF_SILENCE,
        )
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise HostsError(
            f"the {hosts.count} hosts did not meet at {hosts.coordinator}: {reason}"
        ) from error
    devices = Counter(device.process_index for device in jax.devices())
    if len({*devices.values()}) > 1:
        each = ", ".join(f"{devices[n]} devices on host {n}" for n in sorted(devices))
        raise HostsError(f"there are {each}, {UNEQUAL}")


def _detected():
    # What `jax.distributed.initialize` does by itself, without saying what it found.
    from jax._src.clusters import ClusterEnv

    try:
        address, count, index, _ = ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, [], None, SECONDS_TO_MEET
        )
    except RuntimeError as error:
        raise HostsError(f"auto does not find the first host: {error}") from None
    if address is None:
        raise HostsError(
            "auto finds neither a Cloud TPU's environment nor SLURM's here; say "
            "--hosts N --coordinator ADDRESS --host K, another K on each host"
        )
    host, _, port = address.rpartition(":")
    return Hosts(count, f"{host}:{PORT if int(port) == _TAKEN else port}", index)
