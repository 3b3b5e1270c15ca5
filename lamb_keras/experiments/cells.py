"""What a notebook's cell of parameters sets, and Papermill's after it."""

import ast
import itertools
from collections.abc import Collection, Mapping, Sequence

from lamb_keras.experiments import types
from lamb_keras.experiments.types import ParameterError


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


def check_injected(names: Mapping) -> None:
    """Raises `ParameterError` for what Papermill sets and a notebook does not have.

    For notebooks of no experiment, which call it with `globals()`: Papermill, whose
    cell comes after that of parameters, only warns.
    """
    for before, source in itertools.pairwise(names.get("In", ())):
        known = _names(before)
        for name in _names(source) if source.startswith("# Parameters") else ():
            if name not in known:
                raise ParameterError(types.unknown(name, names.get(name), known))


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
