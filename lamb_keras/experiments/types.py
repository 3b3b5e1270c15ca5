"""The types of parameters, and the one sentence by which a value is refused.

The types are pydantic's, checked strictly: YAML 1.1 reads `1e-3` as text, and text is
no number.
"""

import difflib
import math
import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Annotated

import pydantic
import yaml
from pydantic import AfterValidator, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from lamb_keras.names import SOLVERS_AND_GOYALS, base

# What was expected, for pydantic's types of errors; our own say it themselves.
_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "too_short": "a length of at least {min_length}",
    "too_long": "a length of at most {max_length}",
    "greater_than": "a {whole}number above {gt:g}",
    "greater_than_equal": "a {whole}number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a {whole}number of at most {le}",
    "invalid-json-value": "text, a number or a list",
    "string_pattern_mismatch": "a name of letters, digits and _",
    "missing": "a value",
    "extra_forbidden": "no such entry",
}
_TAGS = ("first", "second")  # of the types in `either`


class ParameterError(ValueError):
    """A parameter that no run may start with; its text is one sentence.

    Attributes:
        names: of the parameters that could be mended, the likeliest first.
    """

    def __init__(self, sentence: str, names: Iterable[str] = ()):
        super().__init__(sentence)
        self.names = list(names)

    def _render_traceback_(self):
        # IPython shows this in place of thirty lines of frames.
        return [f"{type(self).__name__}: {self}"]


def adapter(kind) -> TypeAdapter:
    """The strict validator of a type, built when it is first used."""
    config = pydantic.ConfigDict(strict=True, allow_inf_nan=False, defer_build=True)
    return TypeAdapter(kind, config=config)


def check(name: str, kind: TypeAdapter, value):
    """The value in its plain type, or a `ParameterError`.

    Example:
        >>> check("epochs", adapter(Annotated[int, Field(ge=1)]), 0)
        Traceback (most recent call last):
        lamb_keras...ParameterError: epochs is 0, expected a whole number of at least 1
    """
    try:
        return kind.validate_python(_plain(value))
    except pydantic.ValidationError as error:
        wrong = error.errors()[0]
    place, received, told = wrong["loc"], wrong["input"], wrong.get("ctx", {})
    if "index" in told:
        place, received = (*place, told["index"]), received[told["index"]]
    whole = "whole " * any(isinstance(told.get(each), int) for each in ("ge", "le"))
    template = _EXPECTED.get(wrong["type"])
    expected = template.format(**told, whole=whole) if template else wrong["msg"]
    cure = _how_to_write_a_number(received)
    if "names" in told:
        cure = did_you_mean(str(received), told["names"])
    elif wrong["type"] == "list_type":
        is_plain = isinstance(received, int | float) or _name(received) == received
        cure = f"; write [{received}]" if is_plain else ""
    if "[key]" in place and wrong["type"] == "string_pattern_mismatch":
        received = f"{name} has {shown(received)}"
    elif "[key]" in place:
        if received in SOLVERS_AND_GOYALS:
            cure = f"; leave {received} out, which does not"
        received = f"{name} is set for {_name(received)}"
        expected = "solvers that use it"
    else:
        inside = "".join(f"[{part}]" for part in place if part not in _TAGS)
        received = f"{name}{inside} is {shown(received)}"
    raise ParameterError(f"{received}, expected {expected}{cure}", [name])


def one_of(names: Iterable[str]):
    """One of some names."""

    def check_name(name):
        if name not in names:
            raise PydanticCustomError("name", "a known name", {"names": list(names)})
        return name

    return Annotated[str, AfterValidator(check_name)]


def different(item, minimum: int = 1):
    """A list of different items."""

    def check_different(values):
        for index, value in enumerate(values):
            if value in values[:index]:
                raise PydanticCustomError("twice", "no value twice", {"index": index})
        return values

    validator = AfterValidator(check_different)
    return Annotated[list[item], Field(min_length=minimum), validator]


def one_or_several(item):
    """One item, or a list of different ones."""
    return either(list, different(item), item)


def by_solver(item, otherwise=None, users: Iterable[str] = SOLVERS_AND_GOYALS):
    """A mapping of the solvers that use it to items, or what is meant for all."""
    mapping = Annotated[dict[one_of(users), item], Field(min_length=1)]
    return either(dict, mapping, otherwise or item)


def grid(item, users: Iterable[str] = SOLVERS_AND_GOYALS):
    """One item, a list of different ones, or these by solver."""
    return by_solver(one_or_several(item), users=users)


def either(kind, first, second):
    """The first type for what is of a kind, else the second."""
    # A discriminated union has the errors of the type that is meant alone.
    return Annotated[
        Annotated[first, pydantic.Tag(_TAGS[0])]
        | Annotated[second, pydantic.Tag(_TAGS[1])],
        pydantic.Discriminator(lambda value: _TAGS[not isinstance(value, kind)]),
    ]


def _check_pattern(pattern):
    try:
        re.compile(pattern)
    except re.error as error:
        expected = f"a regular expression; {error}"
        raise PydanticCustomError("pattern", expected) from None
    return pattern


Whole = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Pattern = Annotated[Text, AfterValidator(_check_pattern)]
Divisor = Annotated[float, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]  # may be nothing, and not all
Part = Annotated[float, Field(gt=0, lt=1)]
# What NumPy and JAX both take as a seed.
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Seeds = different(Seed)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The nearest of the names there are, or all of them, as the end of a sentence.

    Example:
        >>> did_you_mean("LAMB", ["lars", "lamb"])
        '; did you mean lamb?'
        >>> did_you_mean("sgd", ["lars", "lamb"])
        '; there are: lars, lamb'
    """
    nearest = difflib.get_close_matches(name.lower(), names, n=1)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; there are: {', '.join(names)}"


def unknown(name: str, value, known: Iterable[str]) -> str:
    """The refusal of a name that no parameter has."""
    cure = _how_to_write_a_number(value)
    also = f" (and{cure.removeprefix(';')})" if cure else ""
    return f"unknown parameter {_name(name)}{did_you_mean(str(name), known)}{also}"


def shown(value) -> str:
    """A value as a sentence has it, of bounded length and on one line."""
    if isinstance(value, str):
        return f"the text {reprlib.repr(value)}"
    empty = {"None": "empty", "[]": "an empty list", "{}": "an empty mapping"}
    return empty.get(reprlib.repr(value)) or reprlib.repr(value)


def _name(name):
    """A name as a sentence has it: in quotes only if it is no name."""
    name = str(name)
    is_plain = base(name).isidentifier() and len(name) < 50
    return name if is_plain else reprlib.repr(name)


def _how_to_write_a_number(written):
    """The cure for a number that arrived as text, or nothing.

    Example:
        >>> _how_to_write_a_number("1e-3")
        '; YAML reads 1e-3 as text, so write 0.001'
    """
    try:
        number = float(written) if isinstance(written, str) else math.nan
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    if not isinstance(yaml.safe_load(written), str):
        return f"; write {written.strip()} without quotes"
    plain = yaml.safe_dump(number).split()[0]
    return f"; YAML reads {written.strip()} as text, so write {plain}"


def _plain(value):
    """Lists for tuples and arrays, numbers for NumPy's, dictionaries for mappings."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    is_list = isinstance(value, list | tuple)
    return [_plain(each) for each in value] if is_list else value
