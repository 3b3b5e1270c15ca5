"""What a notebook says of its own parameters and code, without starting anything.

The file is plain JSON and its parameters cell plain assignments, so neither nbformat
nor Papermill, seconds to import, is needed to answer a misspelt name.
"""

import ast
import io
import json
import tokenize

from lamb_keras.batch import BatchError

PARAMETERS = "parameters"
# What has names of its own.
_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


def defaults(path, name):
    """The parameters of a notebook with their defaults, in the cell's order.

    The notebook, called by this name in an error, has one cell tagged `parameters`, of
    literals.
    """
    text = parameters_cell(path, name)
    found, line = {}, 1
    try:
        for statement in ast.parse(text).body:
            line = statement.lineno
            [(parameter, value)] = _assignment(statement)
            found[parameter] = ast.literal_eval(value)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", line)
        raise BatchError(
            f"{name}: line {line} of its parameters cell is not name = literal"
        ) from None
    return found


def parameters_cell(path, name):
    """The source of the one cell tagged `parameters`."""
    cells = [cell for cell in _code_cells(path, name) if PARAMETERS in tags(cell)]
    if not cells:
        raise BatchError(f"{name} has no cell tagged 'parameters'; tag one")
    if len(cells) > 1:
        raise BatchError(f"{name} has {len(cells)} cells tagged 'parameters', not one")
    return source(cells[0])


def comments(text):
    """The comment of each name that is assigned or annotated, beside it or above it.

    Example:
        >>> comments("epochs = 30  # over the images\\n# One each:\\nseeds = [0, 1]")
        {'epochs': 'over the images', 'seeds': 'One each:'}
    """
    found, above, name = {}, "", None
    for kind, token, *_ in tokenize.generate_tokens(io.StringIO(text).readline):
        if kind == tokenize.NAME and name is None:
            name = token
            found[name] = above
        elif kind == tokenize.COMMENT and name is None:
            above = token.strip("# ")
        elif kind == tokenize.COMMENT:
            found[name] = token.strip("# ")
        elif kind == tokenize.NEWLINE:
            above, name = "", None
    return found


def code(path, name):
    """The source of each code cell, in order; neither blank ones nor the parameters."""
    cells = _code_cells(path, name)
    sources = [source(cell) for cell in cells if PARAMETERS not in tags(cell)]
    return [text for text in sources if text.strip()]


def imports(path):
    """The import statements of a notebook, in order, each as one line of Python.

    Only those that are executed in any case, not those in a function or under an `if`.
    """
    found = []
    for text in code(path, str(path)):
        try:
            statements = ast.parse(text).body
        except (SyntaxError, ValueError):
            continue  # IPython's magic; its cell is for IPython alone to read
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                found.append(ast.unparse(statement))
    return found


def assigned(text):
    """Each name that Python source assigns, with the expression's source if it has one.

    What is assigned in another way, maybe not at all, has none.

    Example:
        >>> assigned('color = "#1f77b4"  # blue\\na, b = sizes = 1, 2\\nif a: b += 1')
        {'color': "'#1f77b4'", 'a': None, 'b': None, 'sizes': None}
    """
    found = {}
    for statement in ast.parse(text).body:
        found |= dict.fromkeys(_stored(statement))
        found |= {name: ast.unparse(value) for name, value in _assignment(statement)}
    return found


def _assignment(statement):
    """[(name, expression)] of a statement that gives one name a value, else []."""
    match statement:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            return [(name, value)]
    return []


def _stored(node):
    """The names that a statement stores; those within functions are no one else's."""
    if isinstance(node, _SCOPES):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    for child in ast.iter_child_nodes(node):
        yield from _stored(child)


def source(cell):
    """The text of a cell, which Jupyter writes as a list of lines, or as one text."""
    return "".join(map(str, cell.get("source") or ""))


def tags(cell):
    """The tags of a cell."""
    return cell.get("metadata", {}).get("tags", [])


def _code_cells(path, name):
    try:
        notebook = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BatchError(f"{name} is missing") from None
    except OSError as error:
        raise BatchError(f"{name} cannot be read: {error.strerror}") from None
    except ValueError:
        raise BatchError(f"{name} is not a notebook: it is not valid JSON") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise BatchError(f"{name} is not a notebook of format 4: it has no cells")
    cells = [cell for cell in notebook["cells"] if isinstance(cell, dict)]
    return [cell for cell in cells if cell.get("cell_type") == "code"]
