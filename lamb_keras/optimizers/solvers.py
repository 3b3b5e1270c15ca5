"""The solvers by the names of the paper's rows, their settings and where from."""

import keras

from lamb_keras.optimizers.lamb import Lamb
from lamb_keras.optimizers.lars import Lars

# TensorFlow 1's Adam, which the paper's baselines used, has epsilon 1e-8; Keras's
# default is 1e-7. Both add it to √v before bias correction ("epsilon hat").
_ADAM_EPSILON = 1e-8


def _momentum(weight_decay):
    return keras.optimizers.SGD(learning_rate=0.0, momentum=0.9)


def _adagrad(weight_decay):
    # TensorFlow 1's initial accumulator, which is Keras's too.
    return keras.optimizers.Adagrad(learning_rate=0.0, initial_accumulator_value=0.1)


def _adam(weight_decay):
    return keras.optimizers.Adam(learning_rate=0.0, epsilon=_ADAM_EPSILON)


def _adamw(weight_decay):
    # Keras's form: learning_rate · weight_decay · w is subtracted.
    return keras.optimizers.AdamW(
        learning_rate=0.0, weight_decay=weight_decay, epsilon=_ADAM_EPSILON
    )


def _lars(weight_decay):
    # Algorithm 1 of the paper.
    return Lars(learning_rate=0.0, weight_decay=weight_decay, variant="momentum")


def _lamb(weight_decay):
    # Algorithm 2 of version 5, φ the identity, nothing excluded.
    return Lamb(learning_rate=0.0, weight_decay=weight_decay, track_trust_ratios=True)


SOLVERS = {
    "momentum": _momentum,
    "adagrad": _adagrad,
    "adam": _adam,
    "adamw": _adamw,
    "lars": _lars,
    "lamb": _lamb,
}


def solver(name, weight_decay):
    """A new optimizer for a row of the paper, its learning rate still to be set.

    Args:
        name: one of `SOLVERS`: momentum, adagrad, adam, adamw, lars, lamb.
        weight_decay: λ of those that have one: adamw, lars and lamb.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> solver("adamw", weight_decay=0.01).weight_decay
        0.01
    """
    if name not in SOLVERS:
        raise ValueError(
            f"There is no solver {name!r}; expected one of {', '.join(SOLVERS)}."
        )
    return SOLVERS[name](weight_decay)
