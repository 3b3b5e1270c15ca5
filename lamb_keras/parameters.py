"""The vocabulary of a run's parameters, and what is refused before anything starts.

Papermill only warns about a misspelt parameter and then runs the notebook at its
default; YAML 1.1 reads `1e-3` as text. So the command line checks every value here
before a kernel starts, and the notebook checks again, because plain Papermill and
JupyterLab skip the command line. Each refusal is one sentence: what was received,
what was expected, how to mend it.
"""

import difflib
import json
import math
import numbers
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

SOLVERS = ("momentum", "adagrad", "adam", "adamw", "lars", "lamb")


@dataclass(frozen=True)
class Notebook:
    """An experiment: the tables it can fill and the data sets it can train on."""

    tables: tuple[int, ...]
    datasets: tuple[str, ...]


NOTEBOOKS = {"lenet_mnist": Notebook(tables=(7,), datasets=("digits", "mnist"))}


class ParameterError(ValueError):
    """A parameter that no run may start with; its text is one sentence."""


class _Wrong(Exception):
    """A value that isn't what was expected, and how to mend it if that is known."""

    def __init__(self, value, cure="", index=None):
        super().__init__(value)
        self.value, self.cure, self.index = value, cure, index


@dataclass(frozen=True)
class Parameter:
    """What a parameter may be: a sentence for people and a conversion that checks.

    Example:
        >>> VOCABULARY["epochs"].expected
        'a whole number of at least 1'
        >>> VOCABULARY["learning_rates"].convert([1, 0.1])
        [1.0, 0.1]
    """

    expected: str
    convert: Callable
    # Where a parameter lists several values, there is a trial for each of them.
    multiplies_trials: bool = False


def _text(value):
    if not isinstance(value, str) or not value:
        raise _Wrong(value)
    return str(value)


def _number(value, kind):
    if isinstance(value, str):
        raise _Wrong(value, _how_to_write_a_number(value))
    if isinstance(value, bool) or not isinstance(value, kind):
        raise _Wrong(value)
    return value


def _whole(minimum, maximum=math.inf):
    def convert(value):
        number = int(_number(value, numbers.Integral))
        if not minimum <= number <= maximum:
            raise _Wrong(value)
        return number

    return convert


def _real(allowed):
    def convert(value):
        number = float(_number(value, numbers.Real))
        if not (math.isfinite(number) and allowed(number)):
            raise _Wrong(value)
        return number

    return convert


def _one_of(names):
    def convert(value):
        text = _text(value)
        if text not in names:
            raise _Wrong(value, _did_you_mean(text, names))
        return text

    return convert


def _several(convert_one):
    def convert(values):
        if not isinstance(values, list | tuple):
            raise _Wrong(values, _in_brackets(values))
        if not values:
            raise _Wrong(values)
        converted = []
        for index, value in enumerate(values):
            try:
                converted.append(convert_one(value))
            except _Wrong as wrong:
                raise _Wrong(wrong.value, wrong.cure, index) from None
            if converted[-1] in converted[:-1]:
                raise _Wrong(value, "; it is there twice", index)
        return converted

    return convert


def _in_brackets(value):
    return f"; write [{value}]" if isinstance(value, str | int | float) else ""


def _how_to_write_a_number(text):
    """The cure for a number that arrived as text, if it is one.

    Example:
        >>> _how_to_write_a_number("1e-3")
        '; YAML reads 1e-3 as text, so write 0.001 or 1.0e-3'
    """
    try:
        number = float(text)
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    mantissa, has_exponent, exponent = text.strip().lower().partition("e")
    if not has_exponent:
        return f"; write {text.strip()} without quotes"
    # YAML 1.1 knows a float by its point and by the sign of its exponent.
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    exponent = exponent if exponent[0] in "+-" else f"+{exponent}"
    exact, plain = f"{mantissa}e{exponent}", repr(number)
    written = exact if "e" in plain else f"{plain} or {exact}"
    return f"; YAML reads {text.strip()} as text, so write {written}"


def _did_you_mean(name, names):
    names = list(names)
    nearest = difflib.get_close_matches(name.lower(), names, n=1)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; there are: {', '.join(names)}"


VOCABULARY = {
    "notebook": Parameter("an experiment", _one_of(NOTEBOOKS)),
    "table": Parameter("the number of a table, 1 to 25", _whole(1, 25)),
    "scale": Parameter("the name of a scale, such as laptop", _text),
    "dataset": Parameter("the name of a data set", _text),
    "solvers": Parameter(
        "a list of different solvers", _several(_one_of(SOLVERS)), True
    ),
    "learning_rates": Parameter(
        "a list of different numbers above 0",
        _several(_real(lambda number: number > 0)),
        True,
    ),
    "weight_decay": Parameter(
        "a number of at least 0", _real(lambda number: number >= 0)
    ),
    "batch_size": Parameter("a whole number of at least 1", _whole(1)),
    "batch_divisor": Parameter("a whole number of at least 1", _whole(1)),
    "epochs": Parameter("a whole number of at least 1", _whole(1)),
    "warmup_epochs": Parameter(
        "a number of at least 0", _real(lambda number: number >= 0)
    ),
    "decay_power": Parameter("a number above 0", _real(lambda number: number > 0)),
    "seeds": Parameter(
        "a list of different whole numbers from 0 to 4294967295",
        # What NumPy and JAX both take as a seed.
        _several(_whole(0, 2**32 - 1)),
        True,
    ),
    "validation_fraction": Parameter(
        "a number between 0 and 1", _real(lambda number: 0 < number < 1)
    ),
}


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
        >>> validate({"epochs": 30, "learning_rates": [0.001, 1]})
        {'epochs': 30, 'learning_rates': [0.001, 1.0]}
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
        except _Wrong as wrong:
            place = name if wrong.index is None else f"{name}[{wrong.index}]"
            received = f"{place} is {_shown(wrong.value)}"
            sentence = f"{received}, expected {parameter.expected}{wrong.cure}"
            raise _error(source, name, sentence) from None
    for names, sentence in _contradictions(valid):
        # The last word is the command line's, so that is where to mend it.
        said = [name for name in names if source.get(name) == "--set"]
        raise _error(source, (said or names)[0], sentence)
    return valid


def trials(parameters: Mapping) -> int:
    """How many trials a run with these parameters trains.

    Example:
        >>> trials({"solvers": ["adam", "lamb"], "seeds": [0, 1, 2], "epochs": 30})
        6
    """
    return math.prod(
        len(value)
        for name, value in parameters.items()
        if name in VOCABULARY and VOCABULARY[name].multiplies_trials
    )


def _like(default):
    """The check of a parameter that only its notebook knows: its default's type."""
    kind = type(default)

    def convert(value):
        if kind is float:
            return _real(lambda number: True)(value)
        if default is not None and type(value) is not kind:
            cure = _how_to_write_a_number(value) if isinstance(value, str) else ""
            raise _Wrong(value, cure)
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            # YAML has dates and sets, a notebook's parameters cell has neither.
            raise _Wrong(value) from None
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
    sentence = f"unknown parameter {_name(name)}{_did_you_mean(str(name), known)}"
    for text in value if isinstance(value, list | tuple) else [value]:
        cure = _how_to_write_a_number(text) if isinstance(text, str) else ""
        if cure:
            return sentence + f" (and{cure.removeprefix(';')})"
    return sentence


def _contradictions(valid):
    """What is possible alone but not together: the names, and a sentence."""
    notebook = valid.get("notebook")
    if notebook and valid.get("table"):
        tables = NOTEBOOKS[notebook].tables
        if valid["table"] not in tables:
            expected = ", ".join(map(str, tables))
            sentence = f"{notebook} does not fill table {valid['table']}"
            yield ["table", "notebook"], f"{sentence}, expected {expected}"
    if valid.get("dataset"):
        experiments = [NOTEBOOKS[notebook]] if notebook else NOTEBOOKS.values()
        datasets = [name for each in experiments for name in each.datasets]
        if valid["dataset"] not in datasets:
            cure = _did_you_mean(valid["dataset"], datasets)
            yield ["dataset"], f"unknown dataset {_shown(valid['dataset'])}{cure}"
    if valid.get("batch_divisor", 1) > valid.get("batch_size", math.inf):
        yield (
            ["batch_divisor", "batch_size"],
            f"batch_divisor is {valid['batch_divisor']} and batch_size "
            f"{valid['batch_size']}, which leaves no image in a step; "
            "choose a smaller batch_divisor",
        )
    if valid.get("warmup_epochs", 0) >= valid.get("epochs", math.inf):
        yield (
            ["warmup_epochs", "epochs"],
            f"warmup_epochs is {valid['warmup_epochs']:g} and epochs "
            f"{valid['epochs']}, which leaves nothing after the warm-up; "
            "choose fewer warmup_epochs",
        )


def _error(source, name, sentence):
    where = f"{source[name]}: " if source.get(name) else ""
    return ParameterError(where + sentence)


def _shown(value):
    if isinstance(value, str):
        return f"the text {reprlib.repr(value)}"
    if value is None:
        return "empty"
    if isinstance(value, list | tuple) and not value:
        return "an empty list"
    return reprlib.repr(value)


def _name(name):
    text = str(name)
    return text if text.isidentifier() else reprlib.repr(text)
