"""The check of a run's parameters, one by one and together."""

import json
import math
from collections.abc import Iterable, Mapping

from lamb_keras.experiments import pretraining
from lamb_keras.experiments.grids import GRIDS
from lamb_keras.experiments.schema import NOTEBOOKS, VOCABULARY, Parameter
from lamb_keras.experiments.types import (
    Wrong,
    WrongSolver,
    did_you_mean,
    how_to_write_a_number,
    real,
    shown,
    shown_name,
)

# What may be set by solver, and then must be for each solver that uses it.
BY_SOLVER = (*GRIDS.values(), "base_batch_size", "learning_rate_multiplier")


class ParameterError(ValueError):
    """A parameter that no run may start with; its text is one sentence."""


def validate(
    parameters: Mapping,
    known: Iterable[str] | None = None,
    source: Mapping[str, str] | None = None,
) -> dict:
    """The parameters in their plain types, or a `ParameterError` of one sentence.

    Args:
        parameters: name to value.
        known: the names that this notebook accepts, all of `VOCABULARY` by default;
            given as a mapping of names to defaults, a name outside the vocabulary
            must keep the type of its default.
        source: where a value came from, by name ("--set", a YAML file), so that the
            sentence can say where to mend it.

    Example:
        >>> validate({"epochs": 30, "learning_rates": {"lamb": [0.001, 1]}})
        {'epochs': 30, 'learning_rates': {'lamb': [0.001, 1.0]}}
        >>> try:
        ...     validate({"seed": [0]})
        ... except ParameterError as error:
        ...     print(error)
        unknown parameter seed; did you mean seeds?
    """
    source = source or {}
    known = VOCABULARY if known is None else known
    defaults = known if isinstance(known, Mapping) and known is not VOCABULARY else {}
    for name in parameters:
        if name not in known:
            raise _error(source, name, _unknown(name, parameters[name], known))
    valid = {}
    for name, value in parameters.items():
        parameter = VOCABULARY.get(name) or _like(defaults.get(name))
        try:
            valid[name] = parameter.convert(value)
        except Wrong as wrong:
            sentence = _sentence(name, parameter, wrong)
            raise _error(source, name, sentence) from None
    for names, sentence in _contradictions(valid):
        # The last word is the command line's, so that is where to mend it.
        said = [name for name in names if source.get(name) == "--set"]
        raise _error(source, (said or names)[0], sentence)
    return valid


def _sentence(name, parameter, wrong):
    if isinstance(wrong, WrongSolver):
        received = f"{name} is set for {shown_name(wrong.value)}"
        return f"{received}, expected solvers that use it{wrong.cure}"
    received = f"{name}{wrong.place} is {shown(wrong.value)}"
    return f"{received}, expected {parameter.expected}{wrong.cure}"


def _like(default):
    """The check of a parameter that only its notebook knows: its default's type."""
    kind = type(default)

    def convert(value):
        if kind is float:
            return real(lambda number: True)(value)
        if default is not None and type(value) is not kind:
            cure = how_to_write_a_number(value) if isinstance(value, str) else ""
            raise Wrong(value, cure)
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            # YAML has dates and sets, a notebook's parameters cell has neither.
            raise Wrong(value) from None
        return value

    names = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        type(None): "text, a number or a list",
    }
    return Parameter(names.get(kind, f"a {kind.__name__}"), convert)


def _unknown(name, value, known):
    sentence = f"unknown parameter {shown_name(name)}{did_you_mean(str(name), known)}"
    for text in value if isinstance(value, list | tuple) else [value]:
        cure = how_to_write_a_number(text) if isinstance(text, str) else ""
        if cure:
            return sentence + f" (and{cure.removeprefix(';')})"
    return sentence


def _contradictions(valid):
    """What is possible alone but not together: the names, and a sentence."""
    yield from _of_notebook(valid)
    notebook = NOTEBOOKS.get(valid.get("notebook"))
    pretrains = notebook is not None and notebook.pretrains
    if notebook and not pretrains:
        yield from pretraining.only_of_pretraining(valid)
    yield from _of_grids(valid)
    yield from pretraining.contradictions(valid) if pretrains else _of_lengths(valid)


def _of_notebook(valid):
    notebook = valid.get("notebook")
    if notebook and valid.get("table"):
        tables = NOTEBOOKS[notebook].tables
        if valid["table"] not in tables:
            expected = ", ".join(map(str, tables))
            sentence = f"{notebook} does not fill table {valid['table']}"
            yield ["table", "notebook"], f"{sentence}, expected {expected}"
    if valid.get("dataset"):
        experiments = [NOTEBOOKS[notebook]] if notebook else NOTEBOOKS.values()
        datasets = dict.fromkeys(name for each in experiments for name in each.datasets)
        if valid["dataset"] not in datasets:
            cure = did_you_mean(valid["dataset"], datasets)
            yield ["dataset"], f"unknown dataset {shown(valid['dataset'])}{cure}"


def _of_grids(valid):
    for name in BY_SOLVER:
        grid = valid.get(name)
        if not isinstance(grid, Mapping):
            continue
        for solver in valid.get("solvers", ()):
            if VOCABULARY[name].used_by(solver) and solver not in grid:
                yield (
                    [name, "solvers"],
                    f"{name} is set for {', '.join(grid)}, expected {solver} as well, "
                    f"which is one of the solvers; add {solver}: and its values",
                )


def _of_lengths(valid):
    batches = valid.get("batch_size", math.inf)
    batches = batches if isinstance(batches, list) else [batches]
    if not all(isinstance(batch, int | float) for batch in batches):
        # Of an experiment not told; those of one stage have no such batches.
        return
    if valid.get("batch_divisor", 1) > min(batches):
        yield (
            ["batch_divisor", "batch_size"],
            f"batch_divisor is {valid['batch_divisor']} and batch_size "
            f"{min(batches)}, which leaves no image in a step; "
            "choose a smaller batch_divisor",
        )
        return
    if len(batches) > 1:
        sizes = sorted(batch // valid.get("batch_divisor", 1) for batch in batches)
        odd = [size for size in sizes if size % sizes[0]]
        if odd:
            yield (
                ["batch_size", "batch_divisor"],
                f"batch_size {batches} gives steps of {sizes[0]} and {odd[0]} images, "
                "expected multiples of the smallest, of which a step is made; "
                "choose batch sizes that are",
            )
    epochs = valid.get("epochs", math.inf)
    if valid.get("epochs_divisor", 1) > epochs:
        yield (
            ["epochs_divisor", "epochs"],
            f"epochs_divisor is {valid['epochs_divisor']:g} and epochs {epochs}, "
            "which leaves less than one epoch of training; "
            "choose a smaller epochs_divisor",
        )
    warmup, given = valid.get("warmup_epochs", 0), ""
    if valid.get("base_batch_size") and max(batches) < math.inf:
        warmup *= max(batches) / valid["base_batch_size"]
        given = f" at batch_size {max(batches)}"
    if warmup >= epochs:
        yield (
            ["warmup_epochs", "epochs"],
            f"warmup_epochs is {warmup:g}{given} and epochs "
            f"{epochs}, which leaves nothing after the warm-up; "
            "choose fewer warmup_epochs",
        )


def _error(source, name, sentence):
    where = f"{source[name]}: " if source.get(name) else ""
    return ParameterError(where + sentence)
