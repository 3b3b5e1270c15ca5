"""Variables of one shape in one array: an update of few kernels, for one's own loops.

An update of LAMB is two kernels a variable at least. Where variables are small or many,
starting them takes a GPU longer than their work; those of a stack are started once.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np


class Packed:
    """The step of a `Lamb` or `Lars` on stacks of equal variables.

    Variables of one shape and dtype that are treated alike lie along the first axis of
    one array, and so do their moments and gradients; norms and trust ratios are those
    of the slices. This pays only where nothing is packed within the step: let the loss
    take `unpack(stacks)`, and differentiate with respect to the stacks. Save the plain
    form: `unpack` of the weights, `plain_state` of the optimizer's state.

    Args:
        optimizer: a built `Lamb` or `Lars`; it is not changed. Its arguments and the
            present values of its hyperparameters count.

    Raises:
        ValueError: where a step is not the same on stacks: with `clipnorm` (a limit for
            each variable), constraints, or variables overwritten by their gradients.

    Example:
        >>> from lamb_keras import Lamb
        >>> model = [keras.Variable([3.0, 4.0]), keras.Variable([6.0, 8.0])]
        >>> lamb = Lamb(learning_rate=0.1)
        >>> lamb.build(model)
        >>> packed = Packed(lamb)
        >>> weights, state = packed.pack([w.value for w in model]), packed.state()
        >>> [stack.shape for stack in weights]
        [(2, 2)]
        >>> def loss(stacks):
        ...     first, second = packed.unpack(stacks)
        ...     return jnp.sum(first + second)
        >>> weights, state = packed.apply(weights, jax.grad(loss)(weights), state)
        >>> first, second = packed.unpack(weights)
        >>> round(float(jnp.linalg.norm(first - jnp.array([3.0, 4.0]))), 4)
        0.5
    """

    def __init__(self, optimizer):
        variables = optimizer._trainable_variables
        _require_packable(optimizer, variables)
        self._plain = optimizer
        self._shapes = [tuple(v.shape) for v in variables]
        self._stacked = optimizer._stacked  # of scanned layers: they stay as they are
        groups = {}
        for i, variable in enumerate(variables):
            key = (
                self._shapes[i],
                variable.dtype,
                optimizer._decayed[i],
                optimizer._adapted[i],
                i if self._stacked[i] else None,
            )
            groups.setdefault(key, []).append(i)
        self._groups = list(groups.values())
        zeros = self.pack([np.zeros(shape, "float32") for shape in self._shapes])
        stacks = [
            keras.Variable(x, dtype=variables[i].dtype, name=f"stack_{n}")
            for n, (x, (i, *_)) in enumerate(zip(zeros, self._groups, strict=True))
        ]
        self.optimizer = type(optimizer).from_config(
            {
                **optimizer.get_config(),
                "exclude_from_weight_decay": None,
                "exclude_from_layer_adaptation": [],
                "stacked_variables": [""],
            }
        )
        for exclude, included in (
            (self.optimizer.exclude_from_weight_decay, optimizer._decayed),
            (self.optimizer.exclude_from_layer_adaptation, optimizer._adapted),
        ):
            pairs = zip(stacks, self._groups, strict=True)
            exclude([stack for stack, (i, *_) in pairs if not included[i]])
        self.optimizer.build(stacks)

        @jax.custom_vjp
        def unpack(stacks):
            return self._unpacked(stacks)

        # Differentiating the slices would add up as many whole stacks.
        unpack.defvjp(
            lambda stacks: (self._unpacked(stacks), None),
            lambda _, gradients: (self.pack(gradients),),
        )
        self._unpack = unpack

    def pack(self, arrays) -> list:
        """Stacks of arrays that belong to the variables, in their order.

        Of NumPy's arrays they are NumPy's, and nothing is compiled for them.
        """
        on_host = all(isinstance(array, np.ndarray) for array in arrays)
        stack = np.stack if on_host else jnp.stack
        return [
            arrays[group[0]]
            if self._stacked[group[0]]
            else stack([arrays[i].reshape(self._shapes[i] or (1,)) for i in group])
            for group in self._groups
        ]

    def unpack(self, stacks) -> list:
        """The arrays of the variables, in their order; its gradients are packed."""
        if all(isinstance(stack, np.ndarray) for stack in stacks):
            return self._unpacked(stacks)
        return self._unpack(list(stacks))

    def _unpacked(self, stacks):
        arrays = [None] * len(self._shapes)
        for stack, group in zip(stacks, self._groups, strict=True):
            for place, i in enumerate(group):
                whole = self._stacked[i]
                arrays[i] = stack if whole else stack[place].reshape(self._shapes[i])
        return arrays

    def apply(self, weights, gradients, state) -> tuple[list, list]:
        """(weights, state) after a step; weights and gradients are packed."""
        return self.optimizer.stateless_apply(state, gradients, weights)

    def state(self) -> list:
        """The values of the packed optimizer's variables at the optimizer's own."""
        return self.packed_state([v.value for v in self._plain.variables])

    def packed_state(self, values) -> list:
        """Values of the optimizer's variables as those of the packed optimizer's."""
        return self._translated(values, self._plain, self.optimizer, self.pack)

    def plain_state(self, values) -> list:
        """Values of the packed optimizer's variables as those of the optimizer's."""
        return self._translated(values, self.optimizer, self._plain, self._unpacked)

    def _translated(self, values, source, target, translate):
        """Values of one optimizer's variables as those of another's."""
        held = {id(v): x for v, x in zip(source.variables, values, strict=True)}
        found = {}
        for ours, theirs in zip(
            source.per_variable(), target.per_variable(), strict=True
        ):
            translated = translate([held.pop(id(v)) for v in ours])
            found.update((id(v), x) for v, x in zip(theirs, translated, strict=True))
        if source.track_trust_ratios:
            matrix = held.pop(id(source.record.variable))
            found[id(target.record.variable)] = matrix[:, self._columns(source)]
        # What is left, numbers of the whole optimizer, is the same on both sides.
        rest = iter(held.values())
        return [
            found[id(v)] if id(v) in found else next(rest) for v in target.variables
        ]

    def _columns(self, source):
        """Where each column of the other's record of trust ratios is in a source's."""
        columns = self._plain.record.columns
        numbers = np.arange(columns[-1].stop)
        packed = np.concatenate(
            [numbers[columns[i]] for group in self._groups for i in group]
        )
        return packed if source is self._plain else np.argsort(packed)


def _require_packable(optimizer, variables):
    if optimizer.clipnorm is not None:
        raise ValueError(
            f"clipnorm is {optimizer.clipnorm:g}, a limit for each variable, which is "
            "another one for stacks; use global_clipnorm or clipvalue."
        )
    for variable in variables:
        constrained = variable.constraint is not None
        if constrained or optimizer._overwrite_variable_with_gradient(variable):
            what = "constraint" if constrained else "gradient to be overwritten by"
            raise ValueError(
                f"{variable.path} has a {what}, which stacks cannot have; "
                "use the plain optimizer."
            )
