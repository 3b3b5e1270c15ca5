"""What arguments of the optimizers may be, and the sentence that refuses others."""

import math
import re
import warnings
from collections.abc import Sequence

import jax
import keras
import numpy as np

from lamb_keras.optimizers.trust_ratio import working_dtype


def require_choice(**arguments):
    """Check that each argument, given as (value, choices), is one of its choices."""
    for name, (value, choices) in arguments.items():
        if value not in choices:
            expected = ", ".join(map(repr, choices))
            raise ValueError(f"{name} is {value!r}; expected one of {expected}.")


def number(name, value, minimum=0.0, below=None):
    """A finite number of at least `minimum`, and less than `below` if that is given."""
    try:
        converted = float(value)
    except (TypeError, ValueError):
        converted = math.nan
    in_range = minimum <= converted < (math.inf if below is None else below)
    if isinstance(value, (bool, str)) or not in_range:
        limit = "" if below is None else f" and less than {below}"
        raise ValueError(
            f"{name} is {value!r}; expected a number of at least {minimum}{limit}."
        )
    return converted


def bounds(name, value):
    """A pair as a list, which survives JSON, or None."""
    if value is None:
        return None
    try:
        low, high = map(float, value)
    except (TypeError, ValueError):
        low = high = math.nan
    if not 0 <= low <= high:
        raise ValueError(
            f"{name} is {value!r}; expected None or a pair (lowest, highest) of "
            "numbers with 0 <= lowest <= highest."
        )
    return [low, high]


def patterns(name, value):
    """A list of regular expressions as text, which survives JSON, or None."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        cure = f", such as [{value!r}]" if isinstance(value, str) else ""
        raise ValueError(
            f"{name} is {value!r}; expected a list of regular expressions{cure}."
        )
    for pattern in value:
        if not isinstance(pattern, str):
            raise ValueError(
                f"{name} has {pattern!r}; expected regular expressions as text, which "
                "can be written in a config."
            )
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"{name} has {pattern!r}, which is no regular expression: {error}."
            ) from None
    return list(value)


def matches(name, expressions, variables):
    """Which variables' paths one of the regular expressions is found in.

    One that is found in none is a mistake, and a warning says so.
    """
    for expression in expressions or ():
        if not any(re.search(expression, variable.path) for variable in variables):
            warnings.warn(
                f"{name} has the pattern {expression!r}, which matches no variable; "
                f"there are {', '.join(v.path for v in variables)}.",
                stacklevel=4,
            )
    return [
        any(re.search(each, variable.path) for each in expressions or ())
        for variable in variables
    ]


def is_schedule(value):
    """Whether it is a number that Keras computes from the step."""
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)


def scalar_dtype():
    """The dtype of an optimizer's numbers: float32, or float64 under that `floatx`."""
    return str(working_dtype(keras.config.floatx()))


class Hyperparameter:
    """A number of the update that can change without a new compilation.

    Reading the attribute gives a scalar variable of the optimizer; assigning a number
    to it sets that variable. It is float32 at least: β₂ = 0.999 is 1 in bfloat16.

    Args:
        minimum: the smallest value allowed.
        below: the value must be less than this; None for no limit.
        optional: whether None (no such term in the update) and a
            `LearningRateSchedule` are allowed too.
    """

    def __init__(self, minimum=0.0, below=None, optional=False):
        self.minimum = minimum
        self.below = below
        self.optional = optional

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, optimizer, owner=None):
        return self if optimizer is None else optimizer._hyperparameters[self.name]

    def __set__(self, optimizer, value):
        if "_hyperparameters" not in vars(optimizer):
            return  # Keras's constructor sets its own None before there is anything.
        held = optimizer._hyperparameters
        current = held.get(self.name)
        no_number = value is None or is_schedule(value)
        if isinstance(current, keras.Variable):
            if no_number:
                raise ValueError(
                    f"{self.name} was made a number and is given {value!r}: make a "
                    "new optimizer, since the update would have to be another program."
                )
            current.assign(self._checked(value))
        elif self.name in held and not no_number:
            raise ValueError(
                f"{self.name} was made {current!r} and is given {value!r}: make the "
                f"optimizer with {self.name}=0.0 if it is to be set later."
            )
        elif self.optional and no_number:
            held[self.name] = value
        else:
            held[self.name] = scalar_variable(
                optimizer, self.name, self._checked(value)
            )

    def _checked(self, value):
        if isinstance(value, (jax.core.Tracer, keras.Variable)):
            return value
        return number(self.name, value, self.minimum, self.below)


def scalar_variable(optimizer, name, value):
    """A new variable of an optimizer that holds one number."""
    # Not `add_variable`: a constant initializer would round through `floatx`.
    with keras.name_scope(optimizer.name):
        variable = keras.Variable(
            np.asarray(value, scalar_dtype()),
            dtype=scalar_dtype(),
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )
    optimizer._track_variable(variable)
    return variable
