"""The names: of experiments, of solvers, and of parameters with what each may be."""

from collections.abc import Callable
from dataclasses import dataclass

from lamb_keras.experiments.types import (
    batch,
    boolean,
    by_solver,
    one_of,
    one_or_several,
    optional,
    pair,
    real,
    regular_expression,
    several,
    text,
    whole,
)
from lamb_keras.names import DECAYING_SOLVERS, SOLVERS, WEIGHT_DECAY_FORMS

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
        tables=(1, 2, 4, 8),
        datasets=("encyclopedia", "books", "wikipedia"),
        pretrains=True,
    ),
    "lenet_mnist": Notebook(tables=(7,), datasets=("digits", "mnist")),
    "davidnet_cifar10": Notebook(tables=(6,), datasets=("digits", "cifar10")),
    "resnet50_imagenet": Notebook(
        tables=(3, 5, *range(9, 26)), datasets=("digits", "cifar10", "imagenet")
    ),
}


@dataclass(frozen=True)
class Parameter:
    """What a parameter may be: a sentence for people and a conversion that checks.

    Attributes:
        expected: the sentence.
        convert: the conversion, one of `kinds`.
        solvers: those that use it, each also with a "+".

    Example:
        >>> VOCABULARY["epochs"].expected
        'a whole number of at least 1'
        >>> VOCABULARY["learning_rates"].convert([1, 0.1])
        [1.0, 0.1]
    """

    expected: str
    convert: Callable
    solvers: tuple[str, ...] = SOLVERS

    def used_by(self, solver: str) -> bool:
        """Whether a solver, with or without a "+", uses this.

        Example:
            >>> VOCABULARY["weight_decay"].used_by("adamw+")
            True
            >>> VOCABULARY["weight_decay"].used_by("adam+")
            False
        """
        return solver.removesuffix("+") in self.solvers


def with_goyal(solvers):
    """The names of solvers, and once more with the "+" of the Goyal recipe."""
    return [*solvers, *(f"{name}+" for name in solvers)]


def _grid(kind, otherwise, solvers=SOLVERS):
    return by_solver(kind, otherwise, with_goyal(solvers), with_goyal(SOLVERS))


def _each(kind):
    every = with_goyal(SOLVERS)
    return by_solver(kind, kind, every, every, grid=False)


_positive = real(lambda number: number > 0)
_not_negative = real(lambda number: number >= 0)
_fraction = real(lambda number: 0 <= number < 1)
_between = real(lambda number: 0 < number < 1)
# What NumPy and JAX both take as a seed.
_seeds = several(whole(0, 2**32 - 1))

VOCABULARY = {
    "notebook": Parameter("an experiment", one_of(NOTEBOOKS)),
    "table": Parameter("the number of a table, 1 to 25", whole(1, 25)),
    "scale": Parameter("the name of a scale, such as laptop", text),
    "dataset": Parameter("the name of a data set", text),
    "solvers": Parameter(
        "a list of different solvers", several(one_of(with_goyal(SOLVERS)))
    ),
    "learning_rates": Parameter(
        "a list of different numbers above 0, or such lists by solver",
        _grid(_positive, several(_positive)),
    ),
    "weight_decay": Parameter(
        "a number of at least 0, a list of different ones, or these by solver",
        _grid(_not_negative, one_or_several(_not_negative), DECAYING_SOLVERS),
        solvers=DECAYING_SOLVERS,
    ),
    "weight_decay_form": Parameter(
        "per_step, times_learning_rate or a list of both",
        one_or_several(one_of(WEIGHT_DECAY_FORMS)),
        solvers=("adamw",),
    ),
    "published_steps": Parameter(
        "a whole number of at least 1, or null", optional(whole(1))
    ),
    "l2_regularization": Parameter(
        "a number of at least 0, a list of different ones, or these by solver",
        _grid(_not_negative, one_or_several(_not_negative)),
    ),
    "label_smoothing": Parameter("a number of at least 0 and below 1", _fraction),
    "batch_size": Parameter(
        "a whole number of at least 1, two with a / between them for two stages, a "
        "list of different ones, or these by solver",
        _grid(batch, one_or_several(batch)),
    ),
    "base_batch_size": Parameter(
        "a whole number of at least 1, or null, or these by solver",
        _each(optional(whole(1))),
    ),
    "batch_divisor": Parameter("a whole number of at least 1", whole(1)),
    "epochs": Parameter("a whole number of at least 1", whole(1)),
    "epochs_divisor": Parameter(
        "a number of at least 1", real(lambda number: number >= 1)
    ),
    "warmup_epochs": Parameter("a number of at least 0", _not_negative),
    "decay_power": Parameter("a number of at least 0", _not_negative),
    "nesterov": Parameter("true or false", boolean, solvers=("momentum",)),
    "exclude_from_weight_decay": Parameter(
        "a list of different regular expressions",
        several(regular_expression, empty=True),
        solvers=("lars", "lamb"),
    ),
    "global_clipnorm": Parameter(
        "a number above 0, or null", optional(_positive), solvers=("lars", "lamb")
    ),
    "packed_update": Parameter("true or false", boolean, solvers=("lars", "lamb")),
    "augmentations": Parameter(
        f"a list of different ones of {', '.join(AUGMENTATIONS)}",
        several(one_of(AUGMENTATIONS), empty=True),
    ),
    "width": Parameter("a whole number of at least 1", whole(1)),
    "blocks": Parameter(
        "a list of whole numbers of at least 1", several(whole(1), distinct=False)
    ),
    "dtype_policy": Parameter("the name of a precision", one_of(DTYPE_POLICIES)),
    "seeds": Parameter(
        "a list of different whole numbers from 0 to 4294967295", _seeds
    ),
    "validation_fraction": Parameter("a number between 0 and 1", _between),
}

# Those of an experiment that pre-trains and fine-tunes.
VOCABULARY |= {
    "articles": Parameter("a whole number of at least 0", whole(0)),
    "question_articles": Parameter("a whole number of at least 0", whole(0)),
    "dev_articles": Parameter("a whole number of at least 0", whole(0)),
    "dev_fraction": Parameter("a number between 0 and 1", _between),
    "vocab_size": Parameter("a whole number of at least 30", whole(30)),
    "vocabulary": Parameter("the path of a vocab.txt, or null", optional(text)),
    "sequence_lengths": Parameter(
        "a list of two whole numbers of at least 16", pair(whole(16))
    ),
    "layers": Parameter("a whole number of at least 1", whole(1)),
    "heads": Parameter("a whole number of at least 1", whole(1)),
    "dropout": Parameter("a number of at least 0 and below 1", _fraction),
    "preset": Parameter("the name of a KerasHub preset, or null", optional(text)),
    "masking_rate": Parameter("a number between 0 and 1", _between),
    "learning_rate_multiplier": Parameter(
        "a number above 0, or such numbers by solver", _each(_positive)
    ),
    "warmup_fraction": Parameter(
        "a number of at least 0 and below 1, a list of different ones, or these by "
        "solver",
        _grid(_fraction, one_or_several(_fraction)),
    ),
    "sequences": Parameter("a whole number of at least 1", whole(1)),
    "second_stage": Parameter("a number of at least 0 and below 1", _fraction),
    "mixed_steps": Parameter(
        "a list of two whole numbers of at least 1", pair(whole(1))
    ),
    "steps_divisor": Parameter(
        "a number of at least 1", real(lambda number: number >= 1)
    ),
    "micro_batch_size": Parameter("a whole number of at least 1", whole(1)),
    "looks": Parameter("a whole number of at least 2", whole(2)),
    "finetuning_learning_rate": Parameter("a number above 0", _positive),
    "finetuning_batch_size": Parameter("a whole number of at least 1", whole(1)),
    "finetuning_epochs": Parameter("a whole number of at least 1", whole(1)),
    "finetuning_warmup": Parameter("a number of at least 0 and below 1", _fraction),
    "finetuning_seeds": Parameter(
        "a list of different whole numbers from 0 to 4294967295", _seeds
    ),
    "document_stride": Parameter("a whole number of at least 1", whole(1)),
    "max_question_length": Parameter("a whole number of at least 1", whole(1)),
}
