"""The solvers that a user brings, as a parameter: their functions and grids."""

from collections.abc import Mapping
from typing import NotRequired

from pydantic import ConfigDict, NonNegativeFloat, PositiveFloat
from typing_extensions import TypedDict  # pydantic asks for this one

from lamb_keras import own
from lamb_keras.experiments import types
from lamb_keras.experiments.types import ParameterError, different
from lamb_keras.names import SOLVERS


class OwnSolver(TypedDict):
    """The place of a solver's function, and what is tried of each of its arguments."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    function: types.Text
    learning_rate: different(PositiveFloat)
    weight_decay: NotRequired[different(NonNegativeFloat)]


OwnSolvers = dict[types.Name, types.either(dict, OwnSolver, types.Text)]


def with_grids(own_solvers: Mapping) -> dict:
    """The user's solvers, with their grids where they are named by place alone."""
    for name in own_solvers:
        if name in SOLVERS:
            raise ParameterError(
                f"own_solvers has {name}, which is one of the paper's; choose another "
                "name for yours",
                ["own_solvers"],
            )
    try:
        return {
            name: own.solver(solver) if isinstance(solver, str) else solver
            for name, solver in own_solvers.items()
        }
    except own.OwnError as error:
        raise ParameterError(str(error), ["own_solvers"]) from error
