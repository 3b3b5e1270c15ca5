"""A user's solver as training takes it: a Keras optimizer, or an optax transformation.

Its function is called with a learning rate and, if its grid has one, a weight decay;
both are then replaced at every step of the one compiled program.
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import keras
import numpy as np

from lamb_keras import own
from lamb_keras.own import OwnError

# Exact in binary, and nobody's own.
_NUMBERS = {"learning_rate": 0.0625, "weight_decay": 0.03125}


class Transformation:
    """An optax transformation, with as much of a Keras optimizer as `Step` uses.

    The weights that it sees are a dictionary by their variables' paths, so that masks
    may go by name. It is made anew in each step, of that step's numbers.
    """

    def __init__(self, function: Callable, solver: Mapping):
        self._function, self._place = function, solver["function"]
        self._tuned = [number for number in own.TUNED if number in solver]

    def get_config(self) -> dict:
        return {"function": self._place}

    def build(self, variables):
        self._paths = [variable.path for variable in variables]
        if len({*self._paths}) < len(self._paths):
            raise OwnError(
                "two weights of the net have one path, expected a path for each, for "
                f"{self._place} sees them by path; name the net's layers differently"
            )
        weights = self._tree(variable.value for variable in variables)
        state = self._made(_NUMBERS.values()).init(weights)
        leaves, self._structure = jax.tree.flatten(state)
        self.variables = [SimpleNamespace(value=jnp.asarray(leaf)) for leaf in leaves]

    def step(self, state, gradients, weights, *numbers) -> tuple[list, list]:
        """As `solvers.step`."""
        before = self._structure.unflatten(state)
        weights = self._tree(weights)
        gradients = self._tree(gradients)
        updates, after = self._made(numbers).update(gradients, before, weights)
        after = [
            jnp.asarray(new, old.dtype)
            for new, old in zip(jax.tree.leaves(after), state, strict=True)
        ]
        moved = [
            jnp.asarray(weights[path] + updates[path], weights[path].dtype)
            for path in self._paths
        ]
        return moved, after

    def _made(self, numbers):
        given = dict(zip(own.TUNED, numbers, strict=True))
        given = {name: given[name] for name in self._tuned}
        return own.call(self._function, self._place, **given)

    def _tree(self, values):
        return dict(zip(self._paths, values, strict=True))


def optimizer(solver: Mapping):
    """A new optimizer of a user's solver, to be built and stepped as the paper's.

    Args:
        solver: of `own_solvers`, as `lamb_keras.own.solver` returns it.

    Raises:
        OwnError: where the function returns something else, or something whose numbers
            a step could not replace.
    """
    place = solver["function"]
    function = own.load(place)
    first, second = (
        own.call(
            function,
            place,
            **{n: value * by for n, value in _NUMBERS.items() if n in solver},
        )
        for by in (1, 2)
    )
    if isinstance(first, keras.optimizers.Optimizer):
        _check_keras(place, solver, first, second)
        return first
    if not (hasattr(first, "init") and hasattr(first, "update")):
        raise OwnError(
            f"{place} returns {type(first).__name__}, expected a Keras optimizer or an "
            "optax transformation"
        )
    made = Transformation(function, solver)
    _check_optax(place, made, first, second)
    return made


def tried(place: str) -> dict:
    """A solver as `lamb_keras.own.solver` returns it, made once."""
    solver = own.solver(place)
    optimizer(solver)
    return solver


def _check_keras(place, solver, first, second):
    for number, expected in _NUMBERS.items():
        value = getattr(first, number)
        if number not in solver and not value:
            continue  # it has no weight decay
        if number not in solver:
            raise OwnError(
                f"{place} has a weight_decay of {float(value):g}, which its grid does "
                "not state; take it as an argument, and give its list in the grid"
            )
        is_schedule = number == "learning_rate" and not isinstance(
            value, keras.Variable
        )
        if value is None or is_schedule or float(value) != expected:
            what = value if value is None else f"{float(value):g}"
            raise OwnError(
                f"{place} is given {number} {expected:g} and its optimizer has "
                f"{'a schedule' if is_schedule else what}, expected the number as it "
                "is given: schedules and factors are the table's"
            )
    before, after = first.get_config(), second.get_config()
    for setting in before.keys() - {*own.TUNED, "name"}:
        if before[setting] != after[setting]:
            raise OwnError(
                f"{place} derives {setting} from the numbers of its grid, which a "
                "Keras optimizer can't do anew in each step; make it an optax "
                "transformation, or a constant"
            )


def _check_optax(place, made, first, second):
    weights = SimpleNamespace(path="kernel", value=jnp.ones((2, 3)))
    states = [
        jax.tree.leaves(each.init({"kernel": weights.value}))
        for each in (first, second)
    ]
    if not all(map(np.array_equal, *states)):
        raise OwnError(
            f"{place} keeps the numbers of its grid in its state, as "
            "optax.inject_hyperparams does; leave that out, for it is called anew in "
            "each step"
        )
    made.build([weights])
    state = [leaf.value for leaf in made.variables]
    try:
        jax.eval_shape(made.step, state, [weights.value], [weights.value], 0.1, 0.1)
    except Exception as error:
        told = str(error).partition("\n")[0]
        raise OwnError(f"{place} cannot be compiled: {told}") from error
