"""The solvers by the names of the paper's rows, their settings, and a step of one.

Where Keras's optimizers compute something else than TensorFlow 1's, which the paper's
baselines ran on, it is said beside the setting.
"""

import contextlib

import jax.numpy as jnp
import keras

from lamb_keras.names import DECAYING_SOLVERS, base
from lamb_keras.optimizers.adamw import AdamW
from lamb_keras.optimizers.lamb import Lamb
from lamb_keras.optimizers.lars import Lars
from lamb_keras.optimizers.own import Transformation

# TensorFlow 1's epsilon; Keras's default is 1e-7. Both add it to √v before bias
# correction ("epsilon hat").
_ADAM_EPSILON = 1e-8


def _momentum(**settings):
    # Keras's m ← 0.9m - ηg holds the rates of past steps, TensorFlow 1's m ← 0.9m + g,
    # w ← w - ηm applies today's to past gradients: equal as long as η does not change.
    return keras.optimizers.SGD(0.0, momentum=0.9, **settings)


def _adagrad(**settings):
    # TensorFlow 1 has no epsilon and starts the sum of squares at 0.1. The sum never
    # being less, nothing is divided by 0 without an epsilon.
    return keras.optimizers.Adagrad(
        0.0, initial_accumulator_value=0.1, epsilon=0.0, **settings
    )


def _adam(**settings):
    return keras.optimizers.Adam(0.0, epsilon=_ADAM_EPSILON, **settings)


def _adamw(**settings):
    return AdamW(0.0, weight_decay=0.0, epsilon=_ADAM_EPSILON, **settings)


def _lars(**settings):
    # Algorithm 1 of the paper.
    return Lars(0.0, weight_decay=0.0, variant="momentum", **settings)


def _lamb(**settings):
    # Algorithm 2 of version 5, φ the identity.
    return Lamb(0.0, weight_decay=0.0, **settings)


SOLVERS = {
    "momentum": _momentum,
    "adagrad": _adagrad,
    "adam": _adam,
    "adamw": _adamw,
    "lars": _lars,
    "lamb": _lamb,
}


def solver(
    name: str,
    *,
    nesterov=False,
    exclude_from_weight_decay=(),
    global_clipnorm=None,
    track_trust_ratios=True,
) -> keras.optimizers.Optimizer:
    """A new optimizer for a row of the paper.

    Its learning rate and weight decay are 0: `step` is given them.

    Args:
        name: one of `SOLVERS`.
        nesterov: of momentum: whether it is Nesterov's.
        exclude_from_weight_decay: of adamw, lars and lamb: regular expressions searched
            for in variable paths, of the variables without decay; lars and lamb give
            them no trust ratio either.
        global_clipnorm: the longest gradient that is taken as it is, or None; a longer
            one, all variables' together, is shortened to it.
        track_trust_ratios: of lars and lamb: whether they are recorded.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> solver("momentum", nesterov=True).nesterov
        True
    """
    if name not in SOLVERS:
        expected = ", ".join(SOLVERS)
        cure = f"; write {base(name)!r}" if base(name) in SOLVERS else ""
        raise ValueError(
            f"There is no solver {name!r}; expected one of {expected}{cure}."
        )
    settings = {"global_clipnorm": global_clipnorm}
    if name == "momentum":
        settings["nesterov"] = nesterov
    if name in DECAYING_SOLVERS:
        settings["exclude_from_weight_decay"] = list(exclude_from_weight_decay)
    if name in ("lars", "lamb"):
        settings["track_trust_ratios"] = track_trust_ratios
    return SOLVERS[name](**settings)


def step(
    optimizer, state, gradients, weights, learning_rate, weight_decay
) -> tuple[list, list]:
    """One step of a built optimizer as a pure function, for `jit`, `scan` and `vmap`.

    Args:
        optimizer: from `solver` or `own.optimizer`, built on the weights' variables.
            It is not changed.
        state: the values of `optimizer.variables`.
        gradients, weights: arrays, one a variable.
        learning_rate: a number or traced scalar.
        weight_decay: likewise. For lars and lamb their λ; for adamw the fraction of the
            weights that this step takes off (λ, or learning_rate · λ for Keras's form);
            others have no use for it.

    Returns:
        (weights, state) after the step.

    Example:
        >>> w = keras.Variable([1.0, 2.0])
        >>> adamw = solver("adamw")
        >>> adamw.build([w])
        >>> state = [variable.value for variable in adamw.variables]
        >>> weights, state = step(adamw, state, [w * 0], [w.value], 0.1, 0.5)
        >>> weights[0].tolist()
        [0.5, 1.0]
    """
    if isinstance(optimizer, Transformation):
        return optimizer.step(state, gradients, weights, learning_rate, weight_decay)
    given = {id(optimizer.learning_rate): learning_rate}
    if isinstance(optimizer.weight_decay, keras.Variable):
        given[id(optimizer.weight_decay)] = weight_decay
    state = [
        jnp.asarray(given[id(variable)], value.dtype)
        if id(variable) in given
        else value
        for variable, value in zip(optimizer.variables, state, strict=True)
    ]
    with _weight_decay_attribute(optimizer, weight_decay):
        return optimizer.stateless_apply(state, gradients, weights)


@contextlib.contextmanager
def _weight_decay_attribute(optimizer, weight_decay):
    """Keras's own optimizers with this decay, which they have as an attribute."""
    before = optimizer.weight_decay
    if before is None or isinstance(before, keras.Variable):
        yield
        return
    optimizer.weight_decay = weight_decay
    try:
        yield
    finally:
        optimizer.weight_decay = before
