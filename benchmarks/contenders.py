"""The optimizers whose updates are compared, each as a pure function."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import keras
import numpy as np
import optax

from lamb_keras.optimizers import Lamb, Packed


class Update(NamedTuple):
    """An optimizer's update as a pure function, and what it is given."""

    function: Any  # (weights, state, gradients) -> (weights, state)
    weights: Any
    state: Any
    gradients: Any


def updates() -> dict:
    """The optimizers: name to a function from (weights, gradients) to an `Update`."""
    options = {"learning_rate": 1e-3, "weight_decay": 0.01}
    watched = {"track_trust_ratios": True, "exclude_from_weight_decay": ["vector"]}
    return {
        "lamb_keras.Lamb": _keras(lambda: Lamb(**options)),
        "same, tracking, exclusions": _keras(lambda: Lamb(**options, **watched)),
        "same, packed": _packed(lambda: Lamb(**options)),
        "keras.optimizers.Lamb": _keras(lambda: keras.optimizers.Lamb(**options)),
        "optax.lamb": _optax(optax.lamb(**options)),
        "keras.optimizers.AdamW": _keras(lambda: keras.optimizers.AdamW(**options)),
        "optax.adamw": _optax(optax.adamw(**options)),
    }


def _variables(weights):
    """Keras's variables; vectors, biases and the like, are told by their names."""
    kinds = ["vector" if np.ndim(w) < 2 else "matrix" for w in weights]
    return [
        keras.Variable(w, name=f"{kind}_{i}")
        for i, (w, kind) in enumerate(zip(weights, kinds, strict=True))
    ]


def _keras(make):
    def build(weights, gradients):
        optimizer, variables = make(), _variables(weights)
        optimizer.build(variables)

        def update(weights, state, gradients):
            return optimizer.stateless_apply(state, gradients, weights)

        weights, state = (
            [v.value for v in each] for each in (variables, optimizer.variables)
        )
        return Update(update, weights, state, gradients)

    return build


def _packed(make):
    def build(weights, gradients):
        optimizer = make()
        optimizer.build(_variables(weights))
        packed = Packed(optimizer)

        def update(weights, state, gradients):
            return packed.apply(weights, gradients, state)

        weights, gradients = packed.pack(weights), packed.pack(gradients)
        return Update(update, weights, packed.state(), gradients)

    return build


def _optax(optimizer):
    def build(weights, gradients):
        def update(weights, state, gradients):
            updates, state = optimizer.update(gradients, state, weights)
            return optax.apply_updates(weights, updates), state

        weights = [jnp.asarray(w) for w in weights]
        return Update(update, weights, optimizer.init(weights), gradients)

    return build
