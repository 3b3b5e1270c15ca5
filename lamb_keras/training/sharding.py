"""How a batch lies on the devices that share it.

JAX's compiler splits the one step of a task by where its inputs lie: a mean over the
batch, batch statistics too, is one over all devices.
"""

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

_AXIS = "batch"


class Sharding:
    """Places on all devices of all processes.

    Attributes:
        size: how many devices.
        whole: the place of an array that every device has, such as weights.
    """

    def __init__(self):
        devices = (len(jax.devices()),)
        self._mesh = jax.make_mesh(devices, (_AXIS,), (AxisType.Auto,))
        self.size = self._mesh.size
        self.whole = NamedSharding(self._mesh, PartitionSpec())

    def replicated(self, tree):
        """Arrays of which every device has the whole."""
        return jax.tree.map(lambda array: _placed(array, self.whole), tree)

    def rows(self, array: np.ndarray, axis: int) -> jax.Array:
        """A batch that every process has, whose rows lie along that axis."""
        return _placed(array, self._along(axis))

    def own_rows(self, array: np.ndarray, axis: int) -> jax.Array:
        """A batch of which this process has its equal part of the rows."""
        shape = list(array.shape)
        shape[axis] *= jax.process_count()
        return jax.make_array_from_process_local_data(
            self._along(axis), array, tuple(shape)
        )

    def _along(self, axis):
        return NamedSharding(self._mesh, PartitionSpec(*[None] * axis, _AXIS))


def _placed(array, place):
    # `device_put` compares what the processes have, and finds NaN unlike NaN.
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, place, array.__getitem__)
