"""What `Lamb` and `Lars` share as Keras optimizers: everything but their formulas."""

import jax
import jax.numpy as jnp
import keras
import numpy as np

from lamb_keras.optimizers import arguments
from lamb_keras.optimizers.arguments import Hyperparameter, is_schedule
from lamb_keras.optimizers.record import Record
from lamb_keras.optimizers.trust_ratio import widened, working_dtype


class LayerwiseOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer whose step is computed for all variables at once.

    A subclass gives the formula: `update`, from weights, gradients and moments to a
    `LambStep` or the like, with the names of its `moments`, of its `numbers` and of the
    `choices` that it takes besides. This class adds, around it: the exclusions,
    hyperparameters as variables, the record of trust ratios, and the order of one real
    update, which is accumulate, clip, step, average (once per real update, unlike
    Keras's on JAX).
    """

    weight_decay = Hyperparameter(optional=True)

    def __init__(
        self,
        learning_rate,
        *,
        weight_decay,
        phi_bounds=None,
        trust_ratio_bounds=None,
        exclude_from_weight_decay=None,
        exclude_from_layer_adaptation=None,
        stacked_variables=None,
        moments_dtype=None,
        track_trust_ratios=False,
        **kwargs,
    ):
        if not callable(learning_rate):  # as schedules are
            learning_rate = arguments.number("learning_rate", learning_rate)
        super().__init__(learning_rate=learning_rate, **kwargs)
        held = self._learning_rate
        if isinstance(held, keras.Variable) and held.dtype != arguments.scalar_dtype():
            # Keras rounded it to a `floatx` of half precision.
            self._untrack_variable(held)
            self._learning_rate = arguments.scalar_variable(
                self, "learning_rate", learning_rate
            )
        self._hyperparameters = {}
        self.weight_decay = weight_decay
        self.phi_bounds = arguments.bounds("phi_bounds", phi_bounds)
        self.trust_ratio_bounds = arguments.bounds(
            "trust_ratio_bounds", trust_ratio_bounds
        )
        self.moments_dtype = moments_dtype
        self.track_trust_ratios = track_trust_ratios
        patterns = {
            "exclude_from_weight_decay": exclude_from_weight_decay,
            "exclude_from_layer_adaptation": exclude_from_layer_adaptation,
            "stacked_variables": stacked_variables,
        }
        self._patterns = {
            name: arguments.patterns(name, value) for name, value in patterns.items()
        }
        # Variables excluded by identity: they cannot be written in a config.
        self._excluded_ids = {name: set() for name in patterns}

    @keras.optimizers.Optimizer.learning_rate.setter
    def learning_rate(self, value):
        if isinstance(value, (int, float, np.number)):
            value = arguments.number("learning_rate", value)
        keras.optimizers.Optimizer.learning_rate.fset(self, value)

    # State

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        # None for a variable that is overwritten by its gradient (float8 scales).
        self._moments = [
            [
                None
                if self._overwrite_variable_with_gradient(v)
                else self._add_like(v, name, self.moments_dtype)
                for v in variables
            ]
            for name in self.moments
        ]
        self._decayed = self._not_excluded("exclude_from_weight_decay", variables)
        kind = "exclude_from_layer_adaptation"
        if self._patterns[kind] is None and not self._excluded_ids[kind]:
            self._adapted = list(self._decayed)
        else:
            self._adapted = self._not_excluded(kind, variables)
        self._stacked = self._matches("stacked_variables", variables)
        for variable, stacked in zip(variables, self._stacked, strict=True):
            if stacked and len(variable.shape) < 2:
                raise ValueError(
                    f"stacked_variables matches {variable.path}, of shape "
                    f"{tuple(variable.shape)}; a stack of layers has two axes or more."
                )
        if self.track_trust_ratios:
            self.record = Record(self, variables, self._stacked)

    def add_variable_from_reference(
        self, reference_variable, name=None, initializer="zeros"
    ):
        """State made after a variable: as Keras's, but float32 where that is half."""
        return self._add_like(reference_variable, name or "var", None, initializer)

    def _add_like(self, reference, name, dtype, initializer="zeros"):
        return self.add_variable(
            shape=reference.shape,
            dtype=dtype or str(working_dtype(reference.dtype)),
            initializer=initializer,
            layout=getattr(reference, "_layout", None),
            name=f"{reference.path.replace('/', '_')}_{name}",
        )

    def per_variable(self):
        """The state that belongs to variables: lists with one variable for each.

        Moments, then sums of gradients and averages where there are any.
        """
        lists = list(self._moments)
        if self.gradient_accumulation_steps:
            lists.append(self._accumulated_gradients)
        if self.use_ema:
            lists.append(self._model_variables_moving_average)
        return lists

    # Exclusions

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Exclude variables from weight decay, before the optimizer is built.

        Args:
            var_list: variables, by identity. These are not part of `get_config`.
            var_names: regular expressions searched for in `variable.path` (Keras's
                own method searches `variable.name`).

        Raises:
            ValueError: when the optimizer is already built.
        """
        self._exclude("exclude_from_weight_decay", var_list, var_names)

    def exclude_from_layer_adaptation(self, var_list=None, var_names=None):
        """Give variables a trust ratio of 1; arguments and errors as above."""
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
            self._patterns[kind] = known + arguments.patterns(kind, var_names)

    def _matches(self, kind, variables):
        found = arguments.matches(kind, self._patterns[kind], variables)
        return [
            id(variable) in self._excluded_ids[kind] or matched
            for variable, matched in zip(variables, found, strict=True)
        ]

    def _not_excluded(self, kind, variables):
        return [not excluded for excluded in self._matches(kind, variables)]

    # One update

    def apply(self, grads, trainable_variables=None):
        # Before Keras unscales and clips: there a float16 gradient underflows, and
        # its norm overflows at 256.
        super().apply(
            [g if g is None else widened(g) for g in grads], trainable_variables
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
        steps = self.gradient_accumulation_steps

        def update():
            means = [
                (g + total) / steps
                for g, total in zip(grads, accumulators, strict=True)
            ]
            self._real_update(means, trainable_variables)
            self._assign_all(accumulators, map(jnp.zeros_like, grads))

        def accumulate():
            sums = [g + total for g, total in zip(grads, accumulators, strict=True)]
            self._assign_all(accumulators, sums)

        self._either((self._iterations + 1) % steps == 0, update, accumulate)

    def _either(self, condition, if_true, if_false):
        """Run one of two functions that assign variables, and compute only that."""
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
        grads = self._clip_gradients(grads)
        indices = [self._get_variable_index(v) for v in trainable_variables]
        moments = [[of_all[i] for i in indices] for of_all in self._moments]
        decay = self.weight_decay
        if is_schedule(decay):
            decay = decay(self._iterations)
        elif decay is not None:
            decay = decay.value
        step = self.update(
            [w.value for w in trainable_variables],
            grads,
            *([m.value for m in of_all] for of_all in moments),
            learning_rate=self.learning_rate,
            weight_decay=decay,
            **{name: getattr(self, name).value for name in self.numbers},
            **{name: getattr(self, name) for name in self.choices},
            phi_bounds=self.phi_bounds,
            trust_ratio_bounds=self.trust_ratio_bounds,
            decayed=[self._decayed[i] for i in indices],
            adapted=[self._adapted[i] for i in indices],
            stacked=[self._stacked[i] for i in indices],
            tracked=self.track_trust_ratios,
        )
        for of_all, values in zip(moments, step[1:], strict=False):
            self._assign_all(of_all, values)
        self._assign_all(trainable_variables, step.weights)
        if self.track_trust_ratios:
            self.record.assign(self, step, indices)
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
                latest = widened(variable.value)
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
        return self.record.trust_ratios(self._trainable_variables)

    # Serialization

    def get_config(self):
        config = super().get_config()
        if isinstance(self._learning_rate, keras.Variable):
            config["learning_rate"] = _shortest(self._learning_rate)
        if is_schedule(self.weight_decay):
            config["weight_decay"] = keras.optimizers.schedules.serialize(
                self.weight_decay
            )
        elif self.weight_decay is not None:
            config["weight_decay"] = _shortest(self.weight_decay)
        return {
            **config,
            **{name: _shortest(getattr(self, name)) for name in self.numbers},
            **{name: getattr(self, name) for name in self.choices},
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


def _shortest(variable):
    """A number as the shortest decimal that is the same float32."""
    return float(str(np.asarray(variable.value)))
