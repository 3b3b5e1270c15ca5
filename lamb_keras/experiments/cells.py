"""What a notebook's cells of parameters have set, known to the kernel that ran them.

Papermill only warns of a name that no parameter has, JupyterLab not even that. A kernel
is not told which cell is tagged, but IPython keeps the source of all that it ran.
"""

import ast
from collections.abc import Collection, Sequence

# What Papermill writes above the parameters that it was given.
INJECTED = "# Parameters"


def assigned(executed: Sequence[str], required: Collection[str]) -> list[str]:
    """The names that the cell of parameters and Papermill's after it set, in order.

    The cell of parameters is the last one that sets half of the required ones or more,
    Papermill's the last one with its heading. A cell that was mended and run again has
    an earlier version among those executed, which is not looked at. Names that begin
    with an underscore are a notebook's own.

    Example:
        >>> cells = ["epochs = 3\\nseeds = [0]", "# Parameters\\nepoch = 3", "x = 5"]
        >>> assigned(cells, {"epochs", "seeds"})
        ['epochs', 'seeds', 'epoch']
    """
    given, injected = [], []
    for source in executed:
        names = _names(source)
        if source.lstrip().startswith(INJECTED):
            injected = names
        elif 2 * len({*names} & {*required}) >= len(required):
            given, injected = names, []
    return [name for name in (*given, *injected) if not name.startswith("_")]


def _names(source):
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):
        return []
    targets = []
    for statement in statements:
        match statement:
            case ast.Assign():
                targets += statement.targets
            case ast.AnnAssign():
                targets.append(statement.target)
    nodes = (node for target in targets for node in ast.walk(target))
    return [n.id for n in nodes if isinstance(n, ast.Name)]
