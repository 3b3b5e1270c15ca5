"""The mean gradients of a step: over its micro-batches, and over devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lamb_keras.training.sharding import Sharding
from lamb_keras.training.step import State, Step


def mean_gradients(
    step: Step, accumulates: bool, sharding: Sharding | None
) -> Callable:
    """What finds the gradients of a step, to be compiled.

    A function of (state, number of the step, rows, constants, data) to (loss, new
    `non_trainable`, gradients), of which rows and data are what `Task.batch` takes.

    Where several devices share a step, its weights, which are split, are gathered once,
    and the gradients that come are split like them. Of a task that is computed
    `by_parts`, each device adds up those of its own part of the micro-batches, and they
    are sent once. Of others the compiler sees to it, whose means are over the batch of
    all devices: they are sent for every micro-batch.

    Args:
        step: whose gradients.
        accumulates: whether a step may have several micro-batches.
        sharding: of the devices; None for one.
    """
    if sharding and step.task.by_parts:
        return _by_parts(step, accumulates, sharding)

    def find(state, number, rows, constants, data):
        def gradients(state, row):
            return step.gradients(state, step.task.batch(row, data), constants)

        of_step = number, rows, constants.micro_batches
        if sharding is None:
            return _added_up(gradients, state, *of_step, accumulates)
        whole = jax.lax.with_sharding_constraint(state.weights, sharding.whole)
        state = state._replace(weights=whole)
        loss, non_trainable, found = _added_up(gradients, state, *of_step, accumulates)
        split = sharding.split(found, step.is_packed)
        return loss, non_trainable, jax.lax.with_sharding_constraint(found, split)

    return find


def _added_up(gradients, state, number, rows, micro_batches, accumulates):
    """`gradients` of (state, row), over the micro-batches of a step."""

    def micro_step(n, so_far):
        loss, non_trainable, total = so_far
        micro = row(rows, number * micro_batches + n)
        now = state._replace(non_trainable=non_trainable)
        more, non_trainable, some = gradients(now, micro)
        return loss + more, non_trainable, jax.tree.map(jnp.add, total, some)

    if not accumulates:
        return gradients(state, row(rows, number))
    zeros = [jnp.zeros_like(w) for w in state.weights]
    first = jnp.float32(0), state.non_trainable, zeros
    last = jax.lax.fori_loop(0, micro_batches, micro_step, first)
    loss, non_trainable, total = last
    return loss / micro_batches, non_trainable, [g / micro_batches for g in total]


def _by_parts(step, accumulates, sharding):
    task, size = step.task, sharding.size

    def find(state, number, rows, constants, data):
        weights = task.stack(step.model_weights(state.weights))
        places = [
            sharding.split(w, stacked)
            for w, stacked in zip(weights, task.stacked, strict=True)
        ]
        weights = jax.lax.with_sharding_constraint(weights, places)
        # To the task a device's part is one more micro-batch of the step.
        micro_batches = constants.micro_batches
        own = constants._replace(micro_batches=micro_batches * size)

        def gradients(state, row):
            loss = jax.value_and_grad(task.loss, has_aux=True)
            batch = task.batch(row, data)
            (loss, after), found = loss(*state[:2], batch, own)
            return loss, after, found

        def on_device(weights, non_trainable, number, rows):
            generators = [_of_device(state, sharding) for state in non_trainable]
            state = State(weights, generators, [])
            loss, drawn, found = _added_up(
                gradients, state, number, rows, micro_batches, accumulates
            )
            # All have drawn equally often.
            after = [
                state + (end - begin)
                for state, begin, end in zip(
                    non_trainable, generators, drawn, strict=True
                )
            ]
            sums = map(sharding.sum, [loss, *found], [sharding.whole, *places])
            loss, *found = [total / size for total in sums]
            return loss, after, found

        none = sharding.whole.spec
        of_rows = sharding.rows(rows, axis=1)
        specs = [place.spec for place in places]
        loss, non_trainable, found = jax.shard_map(
            on_device,
            mesh=sharding.mesh,
            in_specs=(none, none, none, jax.tree.map(lambda p: p.spec, of_rows)),
            out_specs=(none, none, specs),
            # Else the gradients would be summed over devices, at every micro-batch.
            check_vma=False,
        )(weights, state.non_trainable, number, rows)
        return loss, non_trainable, step.of_state(task.unstack(found))

    return find


def _of_device(state, sharding):
    """The state of a dropout's generator, as it is on this device alone."""
    key = jax.random.wrap_key_data(state)
    index = jax.lax.axis_index(sharding.axes)
    return jax.random.key_data(jax.random.fold_in(key, index))


def row(arrays, index):
    """One row of each array."""
    return jax.tree.map(
        lambda array: jax.lax.dynamic_index_in_dim(array, index, keepdims=False), arrays
    )
