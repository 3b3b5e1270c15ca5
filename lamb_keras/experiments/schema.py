"""The parameters that all experiments share, and the trials that they ask for.

A parameter is a field of an experiment: here, in `ImageExperiment` or `BertExperiment`
stand its name, type, range, default and comment, which its notebooks' cells have too.
"""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from typing import ClassVar

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, TypeAdapter

from lamb_keras import own, schedules
from lamb_keras.experiments import types
from lamb_keras.experiments.cells import assigned
from lamb_keras.experiments.own import OwnSolvers, with_grids
from lamb_keras.experiments.types import ParameterError, different, one_of
from lamb_keras.names import (
    DECAYING_SOLVERS,
    SOLVERS,
    SOLVERS_AND_GOYALS,
    WEIGHT_DECAY_FORMS,
    base,
)

# The solvers that use what not all of them do, of the parameters with a value for each.
_USERS = {"weight_decay": DECAYING_SOLVERS, "weight_decay_form": ("adamw",)}

PAPERS_TABLES = 25  # further ones are of notebooks of a user's own

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
    return base(solver) in _USERS.get(parameter, SOLVERS)


LearningRates = types.by_solver(
    types.one_or_several(PositiveFloat), different(PositiveFloat)
)
_decaying = [name for name in SOLVERS_AND_GOYALS if uses(name, "weight_decay")]
WeightDecay = types.grid(NonNegativeFloat, _decaying)
WeightDecayForm = types.one_or_several(one_of(WEIGHT_DECAY_FORMS))


@cache
def parameters(experiment: type) -> Mapping[str, TypeAdapter]:
    """The validators of an experiment's parameters, by name."""
    return {each.name: types.adapter(each.type) for each in fields(experiment)}


def required(experiment: type) -> list[str]:
    """The names of the parameters without a default."""
    every = fields(experiment)
    return [f.name for f in every if f.default is f.default_factory is MISSING]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The parameters of an experiment, checked one by one and together.

    Raises:
        ParameterError: for what no training can do, in one sentence.
    """

    Trial: ClassVar[type]  # a named tuple of the numbers of a setting, and a seed

    notebook: types.Name  # the experiment
    table: types.Whole  # the number of the paper's table
    scale: types.Text  # laptop, evening, gpu or paper: how large the same table is run
    dataset: types.Text  # one of those of the notebook, or file.py:function
    # the precision of the net, or mixed_bfloat16
    dtype_policy: one_of(["float32", "mixed_bfloat16"]) = "float32"
    # momentum, adagrad, adam, adamw, lars, lamb; + adds Goyal's recipe
    solvers: different(one_of(SOLVERS_AND_GOYALS))
    # rows of your own, {name: "file.py:function"}: docs/your-own.md
    own_solvers: OwnSolvers = field(default_factory=dict)
    learning_rates: LearningRates  # a list for all solvers, or {solver: list}
    # of adamw, lars and lamb: a number, a list or {solver: list}
    weight_decay: WeightDecay = 0.0
    weight_decay_form: WeightDecayForm = "per_step"  # of adamw
    # nor adapted by LAMB and LARS
    exclude_from_weight_decay: different(types.Pattern, 0) = field(default_factory=list)
    # the longest gradient that is taken as it is, maybe by solver
    global_clipnorm: types.by_solver(PositiveFloat | None) = None
    # whether LAMB and LARS update equal variables at once
    packed_update: bool = False
    learning_rate_multiplier: types.by_solver(PositiveFloat) = 1.0  # at this scale
    batch_divisor: types.Whole = 1  # a step takes batch_size // batch_divisor
    decay_power: NonNegativeFloat = 1.0  # of the polynomial decay that follows
    seeds: types.Seeds  # of weights
    # with these each solver's chosen setting is trained once more
    confirmation_seeds: types.different(types.Seed, 0) = field(default_factory=list)
    validation_fraction: types.Part  # of the training images, held out to choose by

    def __post_init__(self):
        adapters = parameters(type(self))
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None or each.default is not None:
                value = types.check(each.name, adapters[each.name], value)
            if each.name == "own_solvers":
                value = with_grids(value)
                value = types.check(each.name, adapters[each.name], value)
            object.__setattr__(self, each.name, value)
        if known := {*self.seeds} & {*self.confirmation_seeds}:
            raise ParameterError(
                f"confirmation_seeds has {min(known)}, which is one of seeds, expected "
                "seeds that had no part in the choice; choose others",
                ["confirmation_seeds", "seeds"],
            )
        check_together(vars(self))
        self._check_together()

    @classmethod
    def of(cls, names: Mapping, own: Collection[str] = ()):
        """The experiment whose parameters are among these names.

        A notebook calls it with `globals()`, after its cell of parameters. Of what that
        cell sets, or Papermill's, all must be parameters, but for the notebook's `own`:
        Papermill only warns of other names, JupyterLab not even that. A kernel is not
        told which cell is tagged, but IPython keeps the source of all that it ran.
        """
        needed, known = required(cls), [*parameters(cls), *own]
        for name in assigned(names.get("In", ()), needed):
            if name not in known:
                raise ParameterError(types.unknown(name, names.get(name), known))
        for name in needed:
            if name not in names:
                raise ParameterError(f"{name} is missing; add it to the parameters")
        return cls(**{name: names[name] for name in parameters(cls) if name in names})

    @property
    def rows(self) -> list[str]:
        """The solvers, the user's own last."""
        return [*self.solvers, *self.own_solvers]

    def trials(self) -> list:
        """Every setting with every seed, in the order of the grids.

        Without those of `confirmation_seeds`, whose setting is chosen among these.
        """
        names = self.Trial._fields[:-1]
        return [
            self.Trial(*(each[name] for name in names), seed)
            for each in settings(asdict(self))
            for seed in self.seeds
        ]

    def _peak(self, trial, batch_size):
        """The greatest learning rate at this scale and at a batch of the paper."""
        multiplier = of_solver(self.learning_rate_multiplier, trial.solver) or 1.0
        base_batch_size = of_solver(self.base_batch_size, trial.solver)
        rate = trial.learning_rate * multiplier
        return schedules.square_root_scaling(rate, batch_size, base_batch_size)

    def weight_decays_by_step(self, trial, *steps) -> np.ndarray:
        """What the solver is given as weight decay at each step, shape (steps,).

        For adamw the fraction of the weights that the step takes off, for lars and
        lamb their λ, for others 0.
        """
        rates = self.learning_rates_by_step(trial, *steps)
        decay = trial.weight_decay or 0.0
        if trial.weight_decay_form == "times_learning_rate":
            return decay * rates
        return np.full(len(rates), decay, "float32")

    def check_devices(self, devices: int):
        """Raises `ParameterError` for batches that so many devices cannot share."""


def check_shared(what: str, size: int, devices: int):
    """Raises `ParameterError` where devices cannot share a step, `what`, alike.

    Example:
        >>> check_shared("batch_size 512 / batch_divisor 43 is 11 images a step", 11, 4)
        Traceback (most recent call last):
        lamb_keras...ParameterError: batch_size 512 / batch_divisor 43 is 11 images a \
step, which 4 devices cannot share alike; the nearest that they can is 8 or 12
    """
    below = size - size % devices
    if below != size:
        nearest = f"{below} or {below + devices}" if below else f"{devices}"
        raise ParameterError(
            f"{what}, which {devices} devices cannot share alike; the nearest that "
            f"they can is {nearest}",
            ["batch_divisor", "batch_size"],
        )


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
        for solver in [
            *(parameters.get("solvers") or [None]),
            *(parameters.get("own_solvers") or ()),
        ]
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


def count_trials(parameters: Mapping) -> int:
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

    One of the user's own has LAMB's, or the first where LAMB has none.

    Example:
        >>> of_solver({"adamw": 512, "lamb": 32768}, "lamb"), of_solver(None, "lamb")
        (32768, None)
    """
    if not isinstance(value, Mapping):
        return value
    if solver not in (None, *SOLVERS_AND_GOYALS):
        return value.get("lamb", next(iter(value.values())))
    return value.get(solver)


def _values(parameters, name, solver):
    """What a solver is to try of one grid."""
    value = of_solver(parameters.get(name), solver)
    if brought := (parameters.get("own_solvers") or {}).get(solver):
        own_grid = dict.fromkeys(("weight_decay_form", "l2_regularization")) | {
            "learning_rates": brought["learning_rate"],
            "weight_decay": brought.get("weight_decay"),
        }
        value = own_grid.get(name, value)
    elif solver is not None and not uses(solver, name):
        value = None
    if value is None:
        return [0.0 if name == "l2_regularization" else None]
    return value if isinstance(value, list | tuple) else [value]


def check_together(given: Mapping) -> None:
    """Raises `ParameterError` for what fits no experiment, of what is given."""
    notebook, table, dataset = map(given.get, ("notebook", "table", "dataset"))
    known = NOTEBOOKS.get(notebook)
    if known and table and table not in known.tables:
        raise ParameterError(
            f"{notebook} does not fill table {table}, expected "
            f"{', '.join(map(str, known.tables))}",
            ["table", "notebook"],
        )
    if notebook and not known and (table or 0) <= PAPERS_TABLES:
        raise ParameterError(
            f"notebook is {types.shown(notebook)}, expected a known name"
            f"{types.did_you_mean(notebook, NOTEBOOKS)}",
            ["notebook"],
        )
    possible = [known] if known else NOTEBOOKS.values()
    datasets = list(dict.fromkeys(name for each in possible for name in each.datasets))
    by_name = dataset and not own.is_place(dataset)
    if by_name and dataset not in datasets and (known or not notebook):
        cure = types.did_you_mean(dataset, datasets)
        raise ParameterError(
            f"unknown dataset {types.shown(dataset)}{cure}", ["dataset"]
        )
    for name, mapping in given.items():
        of_solvers = isinstance(mapping, dict) and name != "own_solvers"
        of_solvers = of_solvers and set(mapping) <= {*SOLVERS_AND_GOYALS}
        for solver in given.get("solvers", ()) if of_solvers else ():
            if uses(solver, name) and solver not in mapping:
                raise ParameterError(
                    f"{name} is set for {', '.join(mapping)}, expected {solver} as "
                    f"well, which is one of the solvers; add {solver}: and its values",
                    [name, "solvers"],
                )
    clipped = given.get("global_clipnorm")
    for row in given.get("solvers", ()) if isinstance(clipped, dict) else ():
        plain = base(row)
        if plain in given["solvers"] and clipped[plain] != clipped[row]:
            raise ParameterError(
                f"global_clipnorm is set for {plain} and {row} to different values, "
                "expected one for both, which differ in the learning rate alone; "
                "run them apart",
                ["global_clipnorm", "solvers"],
            )
