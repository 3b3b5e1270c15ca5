"""The parameters that all experiments share.

A parameter is a field of an experiment: here, in `ImageExperiment` or `BertExperiment`
stand its name, type, range, default and comment, which its notebooks' cells have too.
"""

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, TypeAdapter

from lamb_keras.experiments import types
from lamb_keras.experiments.grids import NOTEBOOKS, SOLVERS_AND_GOYALS, settings, uses
from lamb_keras.experiments.types import ParameterError, different, one_of
from lamb_keras.names import WEIGHT_DECAY_FORMS

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


@property
def setting(trial) -> dict:
    """What tells a trial from those of other settings: all but the seed."""
    return {name: v for name, v in trial._asdict().items() if name != "seed"}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The parameters of an experiment, checked one by one and together.

    Raises:
        ParameterError: for what no training can do, in one sentence.
    """

    Trial: ClassVar[type]  # a named tuple of the numbers of a setting, and a seed

    notebook: one_of(NOTEBOOKS)  # the experiment
    table: Annotated[int, Field(ge=1, le=25)]  # the number of the paper's table
    scale: types.Text  # laptop, evening, gpu or paper: how large the same table is run
    dataset: types.Text  # one of those of the notebook
    # the precision of the net, or mixed_bfloat16
    dtype_policy: one_of(["float32", "mixed_bfloat16"]) = "float32"
    # momentum, adagrad, adam, adamw, lars, lamb; + adds Goyal's recipe
    solvers: different(one_of(SOLVERS_AND_GOYALS))
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

    def _check_together(self):
        """Raises `ParameterError` for what is possible alone but not together."""


def check_together(given: Mapping) -> None:
    """Raises `ParameterError` for what fits no experiment, of what is given."""
    notebook, table, dataset = map(given.get, ("notebook", "table", "dataset"))
    if notebook and table and table not in (tables := NOTEBOOKS[notebook].tables):
        raise ParameterError(
            f"{notebook} does not fill table {table}, expected "
            f"{', '.join(map(str, tables))}",
            ["table", "notebook"],
        )
    possible = [NOTEBOOKS[notebook]] if notebook else NOTEBOOKS.values()
    datasets = list(dict.fromkeys(name for each in possible for name in each.datasets))
    if dataset and dataset not in datasets:
        cure = types.did_you_mean(dataset, datasets)
        raise ParameterError(
            f"unknown dataset {types.shown(dataset)}{cure}", ["dataset"]
        )
    for name, mapping in given.items():
        of_solvers = isinstance(mapping, dict) and set(mapping) <= {*SOLVERS_AND_GOYALS}
        for solver in given.get("solvers", ()) if of_solvers else ():
            if uses(solver, name) and solver not in mapping:
                raise ParameterError(
                    f"{name} is set for {', '.join(mapping)}, expected {solver} as "
                    f"well, which is one of the solvers; add {solver}: and its values",
                    [name, "solvers"],
                )
    clipped = given.get("global_clipnorm")
    for row in given.get("solvers", ()) if isinstance(clipped, dict) else ():
        base = row.removesuffix("+")
        if base in given["solvers"] and clipped[base] != clipped[row]:
            raise ParameterError(
                f"global_clipnorm is set for {base} and {row} to different values, "
                "expected one for both, which differ in the learning rate alone; "
                "run them apart",
                ["global_clipnorm", "solvers"],
            )


def assigned(executed: Sequence[str], required: Collection[str]) -> list[str]:
    """The names that the cell of parameters and Papermill's after it set, in order.

    The cell of parameters is the last one that sets half of the required ones or more,
    Papermill's the last one with its heading. A cell that was mended and run again has
    an earlier version among those executed, which does not count. Names that begin with
    an underscore are a notebook's own.

    Example:
        >>> cells = ["epochs = 3\\nseeds = [0]", "# Parameters\\nepoch = 3", "x = 5"]
        >>> assigned(cells, {"epochs", "seeds"})
        ['epochs', 'seeds', 'epoch']
    """
    given, injected = [], []
    for source in executed:
        names = _names(source)
        if source.lstrip().startswith("# Parameters"):
            injected = names
        elif 2 * len({*names} & {*required}) >= len(required):
            given, injected = names, []
    return [name for name in (*given, *injected) if not name.startswith("_")]


def _names(source):
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):
        return []
    return [
        node.id
        for statement in statements
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in getattr(statement, "targets", None) or [statement.target]
        for node in ast.walk(target)
        if isinstance(node, ast.Name)
    ]
