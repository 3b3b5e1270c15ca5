"""How a batch lies on the devices that share it.

JAX's compiler splits the one step of a task by where its inputs lie: a mean over the
batch, batch statistics too, is one over all devices.
"""

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lamb_keras.training import compilations

_AXIS = "batch"


class Sharding:
    """Places on all devices of all processes.

    `Sharding.of_all()` is None where there is one device, on which everything lies.

    Attributes:
        size: how many devices.
        whole: the place of an array that every device has, such as weights.
    """

    def __init__(self):
        devices = (len(jax.devices()),)
        self._mesh = jax.make_mesh(devices, (_AXIS,), (AxisType.Auto,))
        self.size = self._mesh.size
        self.whole = NamedSharding(self._mesh, PartitionSpec())

    @classmethod
    def of_all(cls) -> "Sharding | None":
        return cls() if len(jax.devices()) > 1 else None

    def replicated(self, tree):
        """Arrays of which every device has the whole."""
        return jax.tree.map(lambda array: placed(array, self.whole), tree)

    def share(self, tree, axis: int):
        """Arrays that every process has, whose rows along that axis devices share.

        Every device has the whole of those that have no such rows, or a number of them
        that cannot be shared alike.
        """

        def place(array):
            rows = array.shape[axis] if array.ndim > axis else 1
            return placed(array, self.whole if rows % self.size else self._along(axis))

        return jax.tree.map(place, tree)

    def own_rows(self, array: np.ndarray, axis: int) -> jax.Array:
        """A batch of which this process has its equal part of the rows."""
        shape = list(array.shape)
        shape[axis] *= jax.process_count()
        return jax.make_array_from_process_local_data(
            self._along(axis), array, tuple(shape)
        )

    def _along(self, axis):
        return NamedSharding(self._mesh, PartitionSpec(*[None] * axis, _AXIS))


def placed(array, place) -> jax.Array:
    """An array that every process has, at a place on the devices of all."""
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
        place = NamedSharding(array.sharding.mesh, PartitionSpec())
        with compilations.expected():
            return jax.jit(lambda array: array, out_shardings=place)(array)

    return jax.tree.map(gathered, tree)


def chunk(rows: int, sharding: Sharding | None) -> int:
    """So many rows of an evaluation, or a few more, that all devices share alike."""
    return rows if sharding is None else -(-rows // sharding.size) * sharding.size


def to_all(arrays, sharding: Sharding | None):
    """Arrays of which all devices have the whole, or the only one."""
    return sharding.replicated(arrays) if sharding else jax.device_put(arrays)


def to_evaluate(batches: list, sharding: Sharding | None) -> list:
    """The batches on all devices, which share the rows of each, or on the only one."""
    return sharding.share(batches, axis=0) if sharding else jax.device_put(batches)
