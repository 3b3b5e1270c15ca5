"""How a training lies on the devices that share it.

Each has a part of every batch, and a part of the weights and of the optimizer's state.
"""

import functools
import math

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lamb_keras.training import compilations

# Arrays of fewer numbers stay whole: splitting them spares next to nothing.
_LEAST = 64


class Sharding:
    """Places on all devices of all processes.

    `Sharding.of_all()` is None where there is one device, on which everything lies. The
    mesh has an axis for each prime factor of their number: so 2,048 devices split a
    matrix of 30,522 x 1,024 too, of which neither side has as many parts.

    Args:
        devices: those that share; by default all.

    Attributes:
        size: how many devices.
        axes: the names of the mesh's axes.
        whole: the place of an array that every device has.
        platform: such as "cpu" or "tpu".
    """

    def __init__(self, devices=None):
        number = len(devices or jax.devices())
        line = jax.make_mesh((number,), ("all",), (AxisType.Auto,), devices=devices)
        sizes = _primes(number) or [1]
        self.axes = tuple(f"axis_{n}" for n in range(len(sizes)))
        kinds = (AxisType.Auto,) * len(sizes)
        self.mesh = Mesh(line.devices.reshape(sizes), self.axes, axis_types=kinds)
        self.size, self.platform = number, line.devices.flat[0].platform
        self.whole = NamedSharding(self.mesh, PartitionSpec())

    @classmethod
    def of_all(cls) -> "Sharding | None":
        return cls() if len(jax.devices()) > 1 else None

    def replicated(self, tree):
        """Arrays of which every device has the whole."""
        return placed(tree, jax.tree.map(lambda _: self.whole, tree))

    def share(self, tree, axis: int):
        """Arrays that every process has, whose rows along that axis devices share.

        As far as their number divides that of the rows: some devices may have the same
        part, and all have the whole of those that have no such rows.
        """
        return placed(tree, self.rows(tree, axis))

    def rows(self, tree, axis: int):
        """The places of arrays whose rows along that axis devices share, as `share`."""

        def place(array):
            if array.ndim <= axis:
                return self.whole
            return self._along(axis, array.shape[axis])

        return jax.tree.map(place, tree)

    def own_rows(self, array: np.ndarray, axis: int) -> jax.Array:
        """A batch of which this process has its equal part of the rows."""
        shape = list(array.shape)
        shape[axis] *= jax.process_count()
        return jax.make_array_from_process_local_data(
            self._along(axis, shape[axis]), array, tuple(shape)
        )

    def split(self, tree, stacked: bool = False):
        """The places of arrays of which devices have equal parts.

        Sides are split as far as the mesh's axes divide them, longest first; of
        `stacked` arrays not the first. An array of less than 64 numbers, or a stack of
        such, stays whole.
        """

        def place(array):
            sides, parts = range(stacked, array.ndim), [()] * array.ndim
            if math.prod(array.shape[stacked:]) < _LEAST:
                return self.whole
            for side in sorted(sides, key=lambda side: -array.shape[side]):
                free = [axis for axis in self.axes if axis not in sum(parts, ())]
                parts[side] = self._dividing(array.shape[side], free)
            return NamedSharding(self.mesh, PartitionSpec(*(p or None for p in parts)))

        return jax.tree.map(place, tree)

    def sum(self, array, place: NamedSharding):
        """On a device, in `jax.shard_map`: its part of the sum of all devices' arrays.

        The side that is split most is scattered first: other sums are over less then.
        """
        # A tuple of one axis is in a spec as that axis.
        parts = [
            (side, axes if isinstance(axes, tuple) else (axes,))
            for side, axes in enumerate(place.spec)
            if axes
        ]
        for side, axes in sorted(parts, key=lambda part: -len(part[1])):
            array = jax.lax.psum_scatter(
                array, axes, scatter_dimension=side, tiled=True
            )
        rest = set(self.axes).difference(*(axes for _, axes in parts))
        return jax.lax.psum(array, tuple(rest)) if rest else array

    def _along(self, axis, length):
        parts = self._dividing(length, self.axes) or None
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, parts))

    def _dividing(self, length, axes):
        """Those of the mesh's axes that a side of this length is split by."""
        found = ()
        for axis in axes:
            if length % self.mesh.shape[axis] == 0:
                length //= self.mesh.shape[axis]
                found += (axis,)
        return found


def placed(tree, places):
    """Arrays at their places; every process has them."""
    return jax.tree.map(_placed, tree, places)


def _placed(array, place):
    # `device_put` compares what the processes have, and finds NaN unlike NaN.
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, place, array.__getitem__)


def whole(tree):
    """The arrays, of which every device then has the whole, however they were split.

    All processes must ask for them; what lies on one device stays there.
    """

    def gathered(array):
        if not isinstance(array, jax.Array) or array.is_fully_replicated:
            return array
        with compilations.expected():
            return _gather(array.sharding.mesh)(array)

    return jax.tree.map(gathered, tree)


@functools.cache
def _gather(mesh):
    """One function for all arrays: JAX compiles it for each shape once."""
    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))


def _primes(number):
    """The prime factors, such as [2, 2, 3] of 12."""
    least = next((p for p in range(2, number + 1) if number % p == 0), None)
    return [least, *_primes(number // least)] if least else []


def chunk(rows: int, sharding: Sharding | None) -> int:
    """So many rows of an evaluation, or a few more, that all devices share alike."""
    return rows if sharding is None else -(-rows // sharding.size) * sharding.size


def to_all(arrays, sharding: Sharding | None):
    """Arrays of which all devices have the whole, or the only one."""
    return sharding.replicated(arrays) if sharding else jax.device_put(arrays)


def to_evaluate(batches: list, sharding: Sharding | None) -> list:
    """The batches on all devices, which share the rows of each, or on the only one."""
    return sharding.share(batches, axis=0) if sharding else jax.device_put(batches)
