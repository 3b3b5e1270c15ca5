"""What parameters name, and what a run's parameters make it train."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from lamb_keras.names import DECAYING_SOLVERS, SOLVERS

# A trailing "+" adds Goyal's learning-rate recipe.
SOLVERS_AND_GOYALS = (*SOLVERS, *(f"{name}+" for name in SOLVERS))
# The solvers that use what not all of them do, of the parameters with a value for each.
_USERS = {"weight_decay": DECAYING_SOLVERS, "weight_decay_form": ("adamw",)}

# The parameters that may be grids, outermost first, by the name of one of their values.
GRIDS = {
    "batch_size": "batch_size",
    "weight_decay_form": "weight_decay_form",
    "l2_regularization": "l2_regularization",
    "weight_decay": "weight_decay",
    "warmup_fraction": "warmup_fraction",
    "rewarmup": "rewarmup",
    "learning_rate": "learning_rates",
}


@dataclass(frozen=True)
class Notebook:
    """An experiment: the tables it can fill and the data sets it can train on."""

    tables: tuple[int, ...]
    datasets: tuple[str, ...]
    pretrains: bool = False  # in two stages, and then fine-tunes


NOTEBOOKS = {
    "bert_squad": Notebook(
        (1, 2, 4, 8), ("encyclopedia", "books", "wikipedia"), pretrains=True
    ),
    "lenet_mnist": Notebook((7,), ("digits", "mnist")),
    "davidnet_cifar10": Notebook((6,), ("digits", "cifar10")),
    "resnet50_imagenet": Notebook(
        (3, 5, *range(9, 26)), ("digits", "cifar10", "imagenet")
    ),
}


def uses(solver: str, parameter: str) -> bool:
    """Whether a solver, with or without a "+", uses a parameter."""
    return solver.removesuffix("+") in _USERS.get(parameter, SOLVERS)


def settings(parameters: Mapping) -> list[dict]:
    """Every setting that a run with these parameters trains, in the order of its grids.

    A setting is a solver with its numbers as the table has them; a trial is a setting
    with a seed. What the solver does not use, or the parameters do not say, is None,
    so that no setting is there twice; no L2 regularization is 0. Only an experiment
    that has a `warmup_fraction` or a `rewarmup` has one in its settings, the latter of
    a mixed batch alone.

    Example:
        >>> grids = {"learning_rates": [0.1, 0.2], "weight_decay": {"lamb": [0, 1]}}
        >>> for setting in settings({"solvers": ["adam", "lamb"], **grids}):
        ...     solver, *_, weight_decay, learning_rate = setting.values()
        ...     print(solver, weight_decay, learning_rate)
        adam None 0.1
        adam None 0.2
        lamb 0 0.1
        lamb 0 0.2
        lamb 1 0.1
        lamb 1 0.2
    """
    of_bert = {"warmup_fraction", "rewarmup"} - set(parameters)
    grids = {name: of for name, of in GRIDS.items() if name not in of_bert}
    found = [
        {"solver": solver, **dict(zip(grids, values, strict=True))}
        for solver in parameters.get("solvers") or [None]
        for values in itertools.product(
            *(_values(parameters, name, solver) for name in grids.values())
        )
    ]
    for setting in found:
        if "rewarmup" in setting and not is_mixed(setting["batch_size"]):
            setting["rewarmup"] = None
    return [setting for i, setting in enumerate(found) if setting not in found[:i]]


def is_mixed(batch_size) -> bool:
    """Whether a batch is text such as "65536/32768", with a number for each stage."""
    return isinstance(batch_size, str)


def trials(parameters: Mapping) -> int:
    """How many trials a run with these parameters trains.

    Of a run that fine-tunes what it pre-trained, each fine-tuning is a trial.
    """
    every = settings(parameters)
    tuned = {(setting["solver"], setting["batch_size"]) for setting in every}
    confirmed = len(tuned) * len(parameters.get("confirmation_seeds") or ())
    seeds, finetunings = (
        len(parameters.get(name) or [None]) for name in ("seeds", "finetuning_seeds")
    )
    return (len(every) * seeds + confirmed) * finetunings


def of_solver(value, solver: str):
    """A solver's value of a parameter that may be set by solver.

    Example:
        >>> of_solver({"adamw": 512, "lamb": 32768}, "lamb"), of_solver(None, "lamb")
        (32768, None)
    """
    return value.get(solver) if isinstance(value, Mapping) else value


def _values(parameters, name, solver):
    """What a solver is to try of one grid."""
    value = of_solver(parameters.get(name), solver)
    if value is None or (solver is not None and not uses(solver, name)):
        return [0.0 if name == "l2_regularization" else None]
    return value if isinstance(value, list | tuple) else [value]
