"""The names that parameters have as values."""

from dataclasses import dataclass

from lamb_keras.names import DECAYING_SOLVERS, SOLVERS

# A trailing "+" adds Goyal's learning-rate recipe.
SOLVERS_AND_GOYALS = (*SOLVERS, *(f"{name}+" for name in SOLVERS))
# The solvers that use what not all of them do, of the parameters with a value for each.
_USERS = {"weight_decay": DECAYING_SOLVERS, "weight_decay_form": ("adamw",)}

AUGMENTATIONS = ("crop", "flip", "cutout")
DTYPE_POLICIES = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class Notebook:
    """An experiment: the tables it can fill and the data sets it can train on.

    Attributes:
        pretrains: whether it pre-trains in two stages and then fine-tunes.
    """

    tables: tuple[int, ...]
    datasets: tuple[str, ...]
    pretrains: bool = False


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
    """Whether a solver, with or without a "+", uses a parameter.

    Example:
        >>> uses("adamw+", "weight_decay"), uses("adam+", "weight_decay")
        (True, False)
    """
    return solver.removesuffix("+") in _USERS.get(parameter, SOLVERS)
