"""The parameters that all experiments share, and the types of all parameters.

A parameter is a field of an experiment: here, in `ImageExperiment` or `BertExperiment`
stand its name, type, range, default and comment, which its notebooks' cells have too.
"""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, TypeAdapter

from lamb_keras.experiments import types
from lamb_keras.experiments.cells import assigned
from lamb_keras.experiments.grids import settings
from lamb_keras.experiments.names import (
    DTYPE_POLICIES,
    NOTEBOOKS,
    SOLVERS_AND_GOYALS,
    uses,
)
from lamb_keras.experiments.types import (
    ParameterError,
    Part,
    Seeds,
    Text,
    Whole,
    different,
)
from lamb_keras.names import WEIGHT_DECAY_FORMS

_rates = different(PositiveFloat)
LearningRates = types.by_solver(types.one_or_several(PositiveFloat), _rates)
_decaying = [name for name in SOLVERS_AND_GOYALS if uses(name, "weight_decay")]
WeightDecay = types.grid(NonNegativeFloat, _decaying)
WeightDecayForm = types.one_or_several(types.one_of(WEIGHT_DECAY_FORMS))


@cache
def parameters(experiment: type) -> Mapping[str, TypeAdapter]:
    """The validators of an experiment's parameters, by name."""
    return {each.name: types.adapter(each.type) for each in fields(experiment)}


def is_required(parameter) -> bool:
    """Whether a field has no default."""
    return parameter.default is parameter.default_factory is MISSING


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The parameters of an experiment, checked one by one and together.

    Raises:
        ParameterError: for what no training can do, in one sentence.
    """

    Trial: ClassVar[type]  # a named tuple of the numbers of a setting, and a seed

    notebook: types.one_of(NOTEBOOKS)  # the experiment
    table: Annotated[int, Field(ge=1, le=25)]  # the number of the paper's table
    scale: Text  # laptop, gpu or paper: how large the same table is run
    dataset: Text  # one of those of the notebook
    # the precision of the net, or mixed_bfloat16
    dtype_policy: types.one_of(DTYPE_POLICIES) = "float32"
    # momentum, adagrad, adam, adamw, lars, lamb; + adds Goyal's recipe
    solvers: different(types.one_of(SOLVERS_AND_GOYALS))
    learning_rates: LearningRates  # a list for all solvers, or {solver: list}
    # of adamw, lars and lamb: a number, a list or {solver: list}
    weight_decay: WeightDecay = 0.0
    weight_decay_form: WeightDecayForm = "per_step"  # of adamw
    # in LAMB and LARS, nor adapted
    exclude_from_weight_decay: different(types.Pattern, 0) = field(default_factory=list)
    # the longest gradient that LAMB and LARS take as it is
    global_clipnorm: PositiveFloat | None = None
    # whether LAMB and LARS update equal variables at once
    packed_update: bool = False
    batch_divisor: Whole = 1  # a step takes batch_size // batch_divisor
    decay_power: NonNegativeFloat = 1.0  # of the polynomial decay that follows
    seeds: Seeds  # of weights
    validation_fraction: Part  # of the training images, held out to choose by

    def __post_init__(self):
        for each in fields(self):
            value, adapter = getattr(self, each.name), parameters(type(self))[each.name]
            if value is not None or each.default is not None:
                value = types.check(each.name, adapter, value)
            object.__setattr__(self, each.name, value)
        check_together(vars(self))
        self._check_together()

    @classmethod
    def of(cls, names: Mapping, own: Collection[str] = ()):
        """The experiment whose parameters are among these names.

        A notebook calls it with `globals()`, after its cell of parameters. Of what that
        cell sets, or Papermill's, all must be parameters, but for the notebook's `own`.
        """
        needed = [each.name for each in fields(cls) if is_required(each)]
        known = [*parameters(cls), *own]
        for name in assigned(names.get("In", ()), needed):
            if name not in known:
                raise ParameterError(types.unknown(name, names.get(name), known))
        for name in needed:
            if name not in names:
                raise ParameterError(f"{name} is missing; add it to the parameters")
        return cls(**{name: names[name] for name in parameters(cls) if name in names})

    def trials(self) -> list:
        """Every setting with every seed, in the order of the grids."""
        names = self.Trial._fields[:-1]
        return [
            self.Trial(*(setting[name] for name in names), seed)
            for setting in settings(asdict(self))
            for seed in self.seeds
        ]

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
