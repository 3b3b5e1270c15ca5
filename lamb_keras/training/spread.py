"""A training step on many devices: each takes its part of every batch.

JAX's compiler splits the one step of `lamb_keras.training.step`, so that what is a mean
over the batch there, batch statistics too, is one over all devices here, and what is a
norm of a layer is that of the whole layer.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lamb_keras.training.step import Judgement, State, Step, initial_weights

_AXIS = "batch"


class Needs(NamedTuple):
    """What one step takes of each device, as the compiler counts it."""

    devices: int
    images_per_device: int
    flops: float
    state_bytes: int  # weights, statistics and what the solver keeps
    # All at once: the state, the images and what the step keeps in between.
    peak_bytes: int


class SpreadStep:
    """A step compiled for several devices.

    Attributes:
        state, plain_state: of `jax.ShapeDtypeStruct`: what is trained, and its plain
            form, each array with its place.

    Args:
        step: a solver's step on a model.
        mesh: of one axis; `every_device()` if left out.
        split_weights: whether each device keeps only its part of the weights and of
            what the solver holds for them, and is given the rest for the time of a
            step ("fully sharded data parallel"). Else each has all of them.
    """

    def __init__(
        self, step: Step, mesh: Mesh | None = None, *, split_weights: bool = False
    ):
        self.step = step
        self.mesh = mesh or every_device()
        self._whole = NamedSharding(self.mesh, PartitionSpec())
        self._rows = NamedSharding(self.mesh, PartitionSpec(_AXIS))
        place = self._split if split_weights else lambda array: self._whole
        begin = step.start(initial_weights(step.model))

        def placed(state):
            places = State(
                weights=[place(array) for array in state.weights],
                others=[self._whole for _ in state.others],
                optimizer=[place(array) for array in state.optimizer],
            )
            described = jax.tree.map(
                lambda array, place: jax.ShapeDtypeStruct(
                    array.shape, array.dtype, sharding=place
                ),
                state,
                places,
            )
            return places, described

        places, self.state = placed(begin)
        plain_places, self.plain_state = placed(jax.eval_shape(step.plain, begin))
        self._plain = jax.jit(step.plain, out_shardings=plain_places)
        self._own = jax.jit(step.own, out_shardings=places)
        self._update = jax.jit(
            self._traced_update,
            donate_argnums=0,
            out_shardings=(places, self._whole),
        )
        self._judge = jax.jit(self._traced_judge, out_shardings=self._whole)
        self._ratios = jax.jit(step.trust_ratios, out_shardings=self._whole)

    def start(self) -> State:
        """The state before the first step: the model's weights, on the devices."""
        begin = self.step.start(initial_weights(self.step.model))
        # `device_put` compares what the processes have, and finds NaN unlike NaN.
        return jax.tree.map(
            lambda array, leaf: jax.make_array_from_callback(
                array.shape, leaf.sharding, array.__getitem__
            ),
            begin,
            self.state,
        )

    def plain(self, state) -> State:
        """A state with an array a variable, as checkpoints have it."""
        return self._plain(state) if self.step.packs else state

    def own(self, plain) -> State:
        """A plain state in the form that the step trains."""
        return self._own(plain) if self.step.packs else plain

    def put(self, batch) -> tuple:
        """This process's part of a batch, (images, labels), as part of the whole one.

        The devices must be able to share it alike.
        """
        return tuple(
            jax.make_array_from_process_local_data(self._rows, array) for array in batch
        )

    def update(self, state, batch, seed, number, learning_rate, weight_decay, l2):
        """(state, loss) after a step on what `put` returned; the old state is gone.

        Args:
            seed, number: of the trial and of the step: they give its random numbers.
            learning_rate, weight_decay, l2: as of a `Step`.
        """
        return self._update(
            state, *batch, seed, number, learning_rate, weight_decay, l2
        )

    def judge(self, state, batches) -> tuple[Judgement, int]:
        """The sums over all batches, and over how many images. -1 labels padding.

        Args:
            state: after any step.
            batches: yields this process's parts.
        """
        parts = []
        for batch in batches:
            parts.append(self._judge(state, *self.put(batch)))
            # So that no more than two batches lie on the devices.
            jax.block_until_ready(parts[-2:-1])
        judgement, count = jax.tree.map(lambda *sums: sum(map(float, sums)), *parts)
        return judgement, int(count)

    def trust_ratios(self, state):
        """As of a `Step`."""
        return self._ratios(state)

    def needs(self, batch_size: int, image_shape) -> Needs:
        """What a step on such a batch takes of each device. It is compiled, not run.

        Counted for the kind of device that JAX runs on. On a CPU with
        `XLA_FLAGS=--xla_force_host_platform_device_count=256` it is a first estimate
        for 256 accelerators: these lay out and fuse in ways of their own.

        Args:
            batch_size: of the step, over all devices.
            image_shape: (height, width, channels) of the images, which are uint8.
        """
        images, labels = (
            jax.ShapeDtypeStruct((batch_size, *shape), dtype, sharding=self._rows)
            for shape, dtype in ((image_shape, "uint8"), ((), "int32"))
        )
        numbers = [jnp.uint32(0), jnp.int32(0), *[jnp.float32(0)] * 3]
        compiled = self._update.lower(self.state, images, labels, *numbers).compile()
        memory = compiled.memory_analysis()
        return Needs(
            devices=self.mesh.size,
            images_per_device=batch_size // self.mesh.size,
            flops=compiled.cost_analysis()["flops"],
            state_bytes=sum(map(_bytes_of_one_part, jax.tree.leaves(self.state))),
            peak_bytes=memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes
            + memory.temp_size_in_bytes,
        )

    def _split(self, array):
        """Along its longest side that the devices can share, if there is one."""
        sides = [
            (length, -side)
            for side, length in enumerate(array.shape)
            if length % self.mesh.size == 0
        ]
        if not sides:
            return self._whole
        side = -max(sides)[1]
        return NamedSharding(self.mesh, PartitionSpec(*[None] * side, _AXIS))

    def _traced_update(
        self, state, images, labels, seed, number, learning_rate, weight_decay, l2
    ):
        key = jax.random.fold_in(jax.random.key(seed), number)
        # Left to itself, the compiler may split a convolution by its filters.
        weights = jax.lax.with_sharding_constraint(state.weights, self._whole)
        loss, others, gradients = self.step.gradients(
            state._replace(weights=weights), images, labels, key, l2
        )
        state = state._replace(others=others)
        return self.step.apply(state, gradients, learning_rate, weight_decay), loss

    def _traced_judge(self, state, images, labels):
        judged = self.step.judge(state.weights, state.others, images, labels)
        return judged, jnp.sum(labels >= 0)


def every_device() -> Mesh:
    """All devices of all processes in a row.

    Example:
        >>> every_device().size == len(jax.devices())
        True
    """
    return jax.make_mesh((len(jax.devices()),), (_AXIS,), (AxisType.Auto,))


def _bytes_of_one_part(leaf):
    part = leaf.sharding.shard_shape(leaf.shape)
    return math.prod(part) * leaf.dtype.itemsize
