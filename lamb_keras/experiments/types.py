"""What a parameter's value may be: conversions to plain types that check on the way.

A kind is a function from what was written to what is meant. It raises `Wrong` for
anything else, with as much as it knows of how to mend that.
"""

import difflib
import math
import numbers
import re
import reprlib
from collections.abc import Mapping

from lamb_keras import stages


class Wrong(Exception):
    """A value that isn't what was expected.

    Attributes:
        value: what was received instead.
        cure: how to mend it, if that is known, as the end of a sentence.
        place: where in the parameter the value stands, such as "[lamb][1]".
    """

    def __init__(self, value, cure="", place=""):
        super().__init__(value)
        self.value, self.cure, self.place = value, cure, place


class WrongSolver(Wrong):
    """A mapping by solver that names one for which there is nothing to say."""


def text(value):
    """Any text but the empty one."""
    if not isinstance(value, str) or not value:
        raise Wrong(value)
    return str(value)


def boolean(value):
    """True or false."""
    if not isinstance(value, bool):
        raise Wrong(value)
    return value


def regular_expression(value):
    """A pattern that `re` can compile."""
    pattern = text(value)
    try:
        re.compile(pattern)
    except re.error as error:
        raise Wrong(value, f"; {error}") from None
    return pattern


def whole(minimum, maximum=math.inf):
    """A whole number from `minimum` to `maximum`.

    Example:
        >>> whole(1)(30)
        30
    """

    def convert(value):
        number = int(_number(value, numbers.Integral))
        if not minimum <= number <= maximum:
            raise Wrong(value)
        return number

    return convert


def real(allowed):
    """A finite number for which `allowed` is true.

    Example:
        >>> real(lambda number: number >= 0)(1)
        1.0
    """

    def convert(value):
        number = float(_number(value, numbers.Real))
        if not (math.isfinite(number) and allowed(number)):
            raise Wrong(value)
        return number

    return convert


def one_of(names):
    """One of some names; of another, the nearest one is the cure."""

    def convert(value):
        name = text(value)
        if name not in names:
            raise Wrong(value, did_you_mean(name, names))
        return name

    return convert


def optional(kind):
    """What `kind` may be, or None."""
    return lambda value: None if value is None else kind(value)


def several(kind, distinct=True, empty=False):
    """A list of what `kind` may be.

    Example:
        >>> several(whole(1), distinct=False)((3, 4, 6, 3))
        [3, 4, 6, 3]
    """

    def convert(values):
        if not isinstance(values, list | tuple):
            raise Wrong(values, _in_brackets(values))
        if not values and not empty:
            raise Wrong(values)
        converted = []
        for index, value in enumerate(values):
            converted.append(_at(index, kind, value))
            if distinct and converted[-1] in converted[:-1]:
                raise Wrong(value, "; it is there twice", f"[{index}]")
        return converted

    return convert


def pair(kind):
    """A list of two of what `kind` may be.

    Example:
        >>> pair(whole(1))((7037, 1562))
        [7037, 1562]
    """
    listed = several(kind, distinct=False)

    def convert(values):
        converted = listed(values)
        if len(converted) != 2:
            raise Wrong(values, f"; give two, not {len(converted)}")
        return converted

    return convert


def batch(value):
    """A whole number from 1 up, or text with two, one for each stage of a training.

    Example:
        >>> batch(512), batch("65536 / 32768")
        (512, '65536/32768')
    """
    if not isinstance(value, str):
        return whole(1)(value)
    parts = [part.strip() for part in value.split(stages.BETWEEN)]
    if len(parts) != 2 or not all(re.fullmatch("0*[1-9][0-9]*", p) for p in parts):
        raise Wrong(value, how_to_write_a_number(value))
    first, second = map(int, parts)
    if first == second:
        raise Wrong(value, f"; write {first}, which is for both stages")
    return f"{first}{stages.BETWEEN}{second}"


def one_or_several(kind):
    """What `kind` may be, or a list of different such values.

    Example:
        >>> one_or_several(whole(1))(512), one_or_several(whole(1))([512, 1024])
        (512, [512, 1024])
    """
    listed = several(kind)
    return lambda value: (listed if isinstance(value, list | tuple) else kind)(value)


def by_solver(kind, otherwise, users, solvers, grid=True):
    """A mapping of solvers to one or several of what `kind` may be.

    Args:
        kind: of each value.
        otherwise: the kind of what is no mapping, and so is meant for all solvers.
        users: the solvers that use the parameter.
        solvers: all solvers that there are.
        grid: whether a solver may have several values.

    Example:
        >>> convert = by_solver(whole(1), whole(1), ["lars", "lamb"], ["adam"])
        >>> convert(3), convert({"lars": 3, "lamb": [4, 5]})
        (3, {'lars': 3, 'lamb': [4, 5]})
    """
    values = one_or_several(kind) if grid else kind

    def convert(value):
        if not isinstance(value, Mapping):
            return otherwise(value)
        if not value:
            raise Wrong(value)
        for solver in value:
            if solver in users:
                continue
            if solver in solvers:
                raise WrongSolver(solver, f"; leave {solver} out, which does not")
            raise WrongSolver(solver, did_you_mean(str(solver), users))
        return {solver: _at(solver, values, each) for solver, each in value.items()}

    return convert


def how_to_write_a_number(written):
    """The cure for a number that arrived as text, if it is one.

    Example:
        >>> how_to_write_a_number("1e-3")
        '; YAML reads 1e-3 as text, so write 0.001 or 1.0e-3'
    """
    try:
        number = float(written)
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    mantissa, has_exponent, exponent = written.strip().lower().partition("e")
    if not has_exponent:
        return f"; write {written.strip()} without quotes"
    # YAML 1.1 knows a float by its point and by the sign of its exponent.
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    exponent = exponent if exponent[0] in "+-" else f"+{exponent}"
    exact, plain = f"{mantissa}e{exponent}", repr(number)
    cure = exact if "e" in plain else f"{plain} or {exact}"
    return f"; YAML reads {written.strip()} as text, so write {cure}"


def did_you_mean(name, names):
    """The nearest of the names there are, or all of them.

    Example:
        >>> did_you_mean("LAMB", ["lars", "lamb"])
        '; did you mean lamb?'
        >>> did_you_mean("sgd", ["lars", "lamb"])
        '; there are: lars, lamb'
    """
    names = list(names)
    nearest = difflib.get_close_matches(name.lower(), names, n=1)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; there are: {', '.join(names)}"


def shown(value):
    """A value as a sentence has it, of bounded length and on one line.

    Example:
        >>> shown("1e-3"), shown(None), shown([])
        ("the text '1e-3'", 'empty', 'an empty list')
    """
    if isinstance(value, str):
        return f"the text {reprlib.repr(value)}"
    if value is None:
        return "empty"
    if isinstance(value, list | tuple) and not value:
        return "an empty list"
    if isinstance(value, Mapping) and not value:
        return "an empty mapping"
    return reprlib.repr(value)


def shown_name(name):
    """A name as a sentence has it: in quotes only if it is no name.

    Example:
        >>> shown_name("epochs"), shown_name("no name")
        ('epochs', "'no name'")
    """
    name = str(name)
    return name if name.removesuffix("+").isidentifier() else reprlib.repr(name)


def _number(value, kind):
    if isinstance(value, str):
        raise Wrong(value, how_to_write_a_number(value))
    if isinstance(value, bool) or not isinstance(value, kind):
        raise Wrong(value)
    return value


def _at(place, kind, value):
    """`kind` of a value that stands at a place inside the parameter."""
    try:
        return kind(value)
    except Wrong as wrong:
        inside = f"[{place}]{wrong.place}"
        raise Wrong(wrong.value, wrong.cure, inside) from None


def _in_brackets(value):
    return f"; write [{value}]" if isinstance(value, str | int | float) else ""
