"""What `Lamb` and `Lars` share as Keras optimizers: everything but their formulas."""

import math
import re
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np

from lamb_keras.optimizers.trust_ratio import after, working_dtype


class TrustRatio(NamedTuple):
    """What the last step did to one variable."""

    trust_ratio: float
    weight_norm: float
    update_norm: float


class Hyperparameter:
    """A number of the update that can change without a new compilation.

    Reading the attribute gives a scalar variable of the optimizer; assigning a number
    to it sets that variable. It is float32 (float64 under that `floatx`), because
    β₂ = 0.999 is 1 in bfloat16.

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
        if optimizer is None:
            return self
        return optimizer._hyperparameters[self.name]

    def __set__(self, optimizer, value):
        if "_hyperparameters" not in vars(optimizer):
            return  # Keras's constructor sets its own None before there is anything.
        held = optimizer._hyperparameters
        current = held.get(self.name)
        if isinstance(current, keras.Variable):
            if value is None or _is_schedule(value):
                raise ValueError(
                    f"{self.name} was made a number and is given {value!r}: make a "
                    "new optimizer, since the update would have to be another program."
                )
            current.assign(self._checked(value))
        elif self.name in held and not _is_schedule(value) and value is not None:
            raise ValueError(
                f"{self.name} was made {current!r} and is given {value!r}: make the "
                f"optimizer with {self.name}=0.0 if it is to be set later."
            )
        elif self.optional and (value is None or _is_schedule(value)):
            held[self.name] = value
        else:
            held[self.name] = optimizer._add_scalar(self.name, self._checked(value))

    def _checked(self, value):
        if isinstance(value, (jax.core.Tracer, keras.Variable)):
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        in_range = number >= self.minimum and (
            self.below is None or number < self.below
        )
        if isinstance(value, (bool, str)) or not in_range or math.isinf(number):
            limit = "" if self.below is None else f" and less than {self.below}"
            raise ValueError(
                f"{self.name} is {value!r}; "
                f"expected a number of at least {self.minimum}{limit}."
            )
        return number


class LayerwiseOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer whose step is computed for all variables at once.

    Subclasses say which moments they keep (`_build_moments`) and what a step is
    (`_step`). This class adds, around that: the exclusions, hyperparameters as
    variables, the record of trust ratios, and the order of one real update, which is
    accumulate, clip, step, average (once per real update, unlike Keras's on JAX).
    """

    weight_decay = Hyperparameter(optional=True)

    def __init__(
        self,
        learning_rate,
        weight_decay,
        phi_bounds,
        trust_ratio_bounds,
        exclude_from_weight_decay,
        exclude_from_layer_adaptation,
        stacked_variables,
        moments_dtype,
        track_trust_ratios,
        **kwargs,
    ):
        if isinstance(learning_rate, (int, np.number)) and not isinstance(
            learning_rate, bool
        ):
            learning_rate = float(learning_rate)
        super().__init__(learning_rate=learning_rate, **kwargs)
        self._hyperparameters = {}
        self._widen_learning_rate(learning_rate)
        self.weight_decay = weight_decay
        self.phi_bounds = _bounds("phi_bounds", phi_bounds)
        self.trust_ratio_bounds = _bounds("trust_ratio_bounds", trust_ratio_bounds)
        self.moments_dtype = moments_dtype
        self.track_trust_ratios = track_trust_ratios
        self._patterns = {
            "exclude_from_weight_decay": exclude_from_weight_decay,
            "exclude_from_layer_adaptation": exclude_from_layer_adaptation,
            "stacked_variables": stacked_variables,
        }
        for name, patterns in self._patterns.items():
            self._patterns[name] = _patterns(name, patterns)
        # Variables excluded by identity: they cannot be written in a config.
        self._excluded_ids = {name: set() for name in self._patterns}

    def _widen_learning_rate(self, learning_rate):
        """Keeps the learning rate in float32 when `floatx` is a half precision."""
        variable = self._learning_rate
        if isinstance(variable, keras.Variable) and variable.dtype != _scalar_dtype():
            self._untrack_variable(variable)
            self._learning_rate = self._add_scalar("learning_rate", learning_rate)

    def _add_scalar(self, name, value):
        # Not `add_variable`: a constant initializer would round through `floatx`.
        with keras.name_scope(self.name):
            variable = keras.Variable(
                np.asarray(value, _scalar_dtype()),
                dtype=_scalar_dtype(),
                trainable=False,
                aggregation="only_first_replica",
                name=name,
            )
        self._track_variable(variable)
        return variable

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._moment_lists = []
        self._build_moments(variables)
        self._decayed = [
            not excluded
            for excluded in self._matches("exclude_from_weight_decay", variables)
        ]
        kind = "exclude_from_layer_adaptation"
        if self._patterns[kind] is None and not self._excluded_ids[kind]:
            self._adapted = list(self._decayed)
        else:
            self._adapted = [
                not excluded for excluded in self._matches(kind, variables)
            ]
        self._stacked = self._matches("stacked_variables", variables)
        for variable, stacked in zip(variables, self._stacked, strict=True):
            if stacked and len(variable.shape) < 2:
                raise ValueError(
                    f"stacked_variables matches {variable.path}, of shape "
                    f"{tuple(variable.shape)}; a stack of layers has two axes or more."
                )
        if self.track_trust_ratios:
            self._build_record(variables)

    def add_variable_from_reference(
        self, reference_variable, name=None, initializer="zeros"
    ):
        """State made after a variable: as Keras's, but float32 where that is half."""
        return self._add_like(
            reference_variable,
            name or "var",
            str(working_dtype(reference_variable.dtype)),
            initializer,
        )

    def _add_moments(self, variables, name):
        # None for a variable that is overwritten by its gradient (float8 scales).
        moments = [
            None
            if self._overwrite_variable_with_gradient(v)
            else self._add_like(
                v, name, self.moments_dtype or str(working_dtype(v.dtype))
            )
            for v in variables
        ]
        self._moment_lists.append(moments)
        return moments

    def per_variable(self):
        """The state that belongs to variables: lists with one variable for each.

        Moments, then sums of gradients and averages where there are any.
        """
        lists = list(self._moment_lists)
        if self.gradient_accumulation_steps:
            lists.append(self._accumulated_gradients)
        if self.use_ema:
            lists.append(self._model_variables_moving_average)
        return lists

    def _add_like(self, reference, name, dtype, initializer="zeros"):
        return self.add_variable(
            shape=reference.shape,
            dtype=dtype,
            initializer=initializer,
            layout=getattr(reference, "_layout", None),
            name=f"{reference.path.replace('/', '_')}_{name}",
        )

    # Exclusions

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Excludes variables from weight decay, before the optimizer is built.

        Args:
            var_list: variables, by identity. These are not part of `get_config`.
            var_names: regular expressions searched for in `variable.path` (Keras's
                own method searches `variable.name`).

        Raises:
            ValueError: when the optimizer is already built.
        """
        self._exclude("exclude_from_weight_decay", var_list, var_names)

    def exclude_from_layer_adaptation(self, var_list=None, var_names=None):
        """Gives variables a trust ratio of 1; arguments and errors as above."""
        self._exclude("exclude_from_layer_adaptation", var_list, var_names)

    def _exclude(self, kind, var_list, var_names):
        if self.built:
            raise ValueError(
                f"{kind}() was called after the optimizer was built: call it before "
                "the first step, or pass the list to the constructor."
            )
        self._excluded_ids[kind].update(id(variable) for variable in var_list or [])
        if var_names is not None:
            known = self._patterns[kind] or []
            self._patterns[kind] = known + _patterns(kind, var_names)

    def _matches(self, kind, variables):
        patterns = [re.compile(pattern) for pattern in self._patterns[kind] or []]
        for pattern in patterns:
            if not any(pattern.search(variable.path) for variable in variables):
                warnings.warn(
                    f"{kind} has the pattern {pattern.pattern!r}, which matches no "
                    f"variable; there are {', '.join(v.path for v in variables)}.",
                    stacklevel=4,
                )
        return [
            id(variable) in self._excluded_ids[kind]
            or any(pattern.search(variable.path) for pattern in patterns)
            for variable in variables
        ]

    def _layer_arguments(self, indices):
        return {
            "phi_bounds": self.phi_bounds,
            "trust_ratio_bounds": self.trust_ratio_bounds,
            "decayed": [self._decayed[i] for i in indices],
            "adapted": [self._adapted[i] for i in indices],
            "stacked": [self._stacked[i] for i in indices],
            "tracked": self.track_trust_ratios,
        }

    # One update

    def _current_weight_decay(self):
        """λ of this step: an array, or None."""
        weight_decay = self.weight_decay
        if _is_schedule(weight_decay):
            return weight_decay(self._iterations)
        return None if weight_decay is None else weight_decay.value

    def apply(self, grads, trainable_variables=None):
        # Before Keras unscales and clips: there a float16 gradient underflows, and
        # its norm overflows at 256.
        super().apply(
            [g if g is None else _widened(g) for g in grads], trainable_variables
        )

    def _backend_apply_gradients(self, grads, trainable_variables):
        # In place of Keras's, which decays the weights before the step, outside the
        # trust ratio, and computes the whole step at every micro-step.
        if not self.gradient_accumulation_steps:
            self._real_update(grads, trainable_variables)
            return

        accumulators = [
            self._accumulated_gradients[self._get_variable_index(v)]
            for v in trainable_variables
        ]

        def update():
            steps = self.gradient_accumulation_steps
            means = [
                (g + total) / steps
                for g, total in zip(grads, accumulators, strict=True)
            ]
            self._real_update(means, trainable_variables)
            self._assign_all(accumulators, map(jnp.zeros_like, grads))

        def accumulate():
            self._assign_all(
                accumulators,
                [g + total for g, total in zip(grads, accumulators, strict=True)],
            )

        self._either(
            (self._iterations + 1) % self.gradient_accumulation_steps == 0,
            update,
            accumulate,
        )

    def _either(self, condition, if_true, if_false):
        """Runs one of two functions that assign variables, and computes only that."""
        if not isinstance(condition, jax.core.Tracer):
            return if_true() if condition else if_false()
        variables = self._trainable_variables + self.variables

        def stateless(function):
            def run(values):
                mapping = list(zip(variables, values, strict=True))
                with keras.StatelessScope(state_mapping=mapping) as scope:
                    function()
                return [scope.get_current_value(v) for v in variables]

            return run

        values = jax.lax.cond(
            condition,
            stateless(if_true),
            stateless(if_false),
            [v.value for v in variables],
        )
        self._assign_all(variables, values)

    def _real_update(self, grads, trainable_variables):
        indices = [self._get_variable_index(v) for v in trainable_variables]
        step = self._step(trainable_variables, self._clip_gradients(grads), indices)
        if self.track_trust_ratios:
            self._record(step, indices)
        if self.use_ema:
            # Keras constrains after this; the average is of what will be used.
            for variable in trainable_variables:
                if variable.constraint is not None:
                    variable.assign(variable.constraint(variable))
            self._average()

    def _average(self):
        # Not Keras's own: it rounds the momentum to the variable's dtype, and 0.999
        # is 1 in bfloat16.
        momentum = jnp.where(self.iterations == 0, 0.0, self.ema_momentum)
        for variable, average in zip(
            self._trainable_variables, self._model_variables_moving_average, strict=True
        ):
            if average is not None:
                latest = _widened(variable.value)
                average.assign(momentum * average.value + (1 - momentum) * latest)
                if self.ema_overwrite_frequency is not None:
                    due = (self.iterations + 1) % self.ema_overwrite_frequency == 0
                    variable.assign(jnp.where(due, average.value, variable.value))

    def _overwrite_model_variables_with_average_value(self, trainable_variables):
        # Copies: Keras lets a variable and its average share one buffer, which the
        # next `fit` then donates twice, and fails.
        for variable in trainable_variables:
            index = self._get_variable_index(variable)
            average = self._model_variables_moving_average[index]
            if average is not None:
                variable.assign(jnp.copy(average.value))

    def _assign_all(self, variables, values):
        for variable, value in zip(variables, values, strict=True):
            self.assign(variable, value)

    # The record of trust ratios

    def _build_record(self, variables):
        """One float32 matrix: a row for each quantity, a column for each layer."""
        self._columns, end = [], 0
        for variable, stacked in zip(variables, self._stacked, strict=True):
            begin, end = end, end + (variable.shape[0] if stacked else 1)
            self._columns.append(slice(begin, end))
        self._trust_ratio_record = self.add_variable(
            shape=(len(TrustRatio._fields), end),
            initializer=keras.initializers.Constant(math.nan),
            dtype="float32",
            name="trust_ratios",
        )

    def _record(self, step, indices):
        before = self._trust_ratio_record.value
        rows = []
        quantities = after(
            step.weights, (step.trust_ratios, step.weight_norms, step.update_norms)
        )
        for row, quantity in enumerate(quantities):
            latest = dict(zip(indices, quantity, strict=True))
            # One array of all, not one change after another: that is a kernel each.
            rows += [
                jnp.ravel(latest[i]).astype(before.dtype)
                if i in latest
                else before[row, columns]
                for i, columns in enumerate(self._columns)
            ]
        record = jnp.concatenate(rows).reshape(before.shape)
        self.assign(self._trust_ratio_record, record)

    def trust_ratios(self):
        """The trust ratio, weight norm and update norm of each variable's last step.

        The weight norm is that of the weights before the step, the update norm ‖u‖ that
        of the update before the trust ratio and the learning rate.

        Returns:
            A dict from `variable.path` to a `TrustRatio` of floats (of arrays, one
            value a slice, for `stacked_variables`); NaN before the first step.

        Raises:
            ValueError: unless made with `track_trust_ratios=True` and built.

        Example:
            >>> import keras
            >>> from lamb_keras import Lamb
            >>> w = keras.Variable([3.0, 4.0], name="w")
            >>> lamb = Lamb(weight_decay=None, track_trust_ratios=True)
            >>> lamb.apply([keras.ops.array([1.0, 1.0])], [w])
            >>> round(lamb.trust_ratios()["w"].trust_ratio, 3)  # = ‖(3, 4)‖ / ‖(1, 1)‖
            3.536
        """
        if not self.track_trust_ratios or not self.built:
            raise ValueError(
                "There are no trust ratios to give: make the optimizer with "
                "track_trust_ratios=True and build it, by a first step for example."
            )
        record = np.asarray(self._trust_ratio_record.value)
        ratios = {}
        for i, variable in enumerate(self._trainable_variables):
            columns = record[:, self._columns[i]]
            ratios[variable.path] = TrustRatio(
                *(columns if self._stacked[i] else (float(row[0]) for row in columns))
            )
        return ratios

    # Serialization

    def _number(self, name):
        """The hyperparameter as the shortest decimal that is the same float32."""
        value = np.asarray(getattr(self, name).value)
        return float(str(value))

    def get_config(self):
        config = super().get_config()
        if isinstance(self._learning_rate, keras.Variable):
            config["learning_rate"] = self._number("_learning_rate")
        if _is_schedule(self.weight_decay):
            config["weight_decay"] = keras.optimizers.schedules.serialize(
                self.weight_decay
            )
        elif self.weight_decay is not None:
            config["weight_decay"] = self._number("weight_decay")
        return {
            **config,
            "phi_bounds": self.phi_bounds,
            "trust_ratio_bounds": self.trust_ratio_bounds,
            **self._patterns,
            "moments_dtype": self.moments_dtype,
            "track_trust_ratios": self.track_trust_ratios,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config.get("weight_decay"), dict):
            config["weight_decay"] = keras.optimizers.schedules.deserialize(
                config["weight_decay"], custom_objects=custom_objects
            )
        return super().from_config(config, custom_objects)


def flags(value, count):
    """One bool a variable, from one for all or one for each.

    Example:
        >>> flags(True, 3)
        [True, True, True]
    """
    if isinstance(value, (bool, np.bool_)):
        return [bool(value)] * count
    if len(value) != count:
        raise ValueError(
            f"There are {len(value)} flags for {count} variables; "
            "expected one bool, or one for each variable."
        )
    return list(value)


def _widened(x):
    x = jnp.asarray(x)
    return x.astype(working_dtype(x.dtype))


def _scalar_dtype():
    return str(working_dtype(keras.config.floatx()))


def _is_schedule(value):
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)


def _bounds(name, bounds):
    """A pair as a list, which survives JSON, or None."""
    if bounds is None:
        return None
    try:
        low, high = map(float, bounds)
    except (TypeError, ValueError):
        low = high = math.nan
    if not 0 <= low <= high:
        raise ValueError(
            f"{name} is {bounds!r}; expected None or a pair (lowest, highest) of "
            "numbers with 0 <= lowest <= highest."
        )
    return [low, high]


def _patterns(name, patterns):
    if patterns is None:
        return None
    if isinstance(patterns, str) or not isinstance(patterns, Sequence):
        raise ValueError(
            f"{name} is {patterns!r}; expected a list of regular expressions"
            + (f", such as [{patterns!r}]." if isinstance(patterns, str) else ".")
        )
    for pattern in patterns:
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
    return list(patterns)
