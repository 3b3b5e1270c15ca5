"""What a notebook says of its own parameters and code, without starting anything.

Its cell tagged `parameters` names what a run may set and the defaults. The file is
plain JSON and the cell plain assignments, so neither nbformat nor Papermill, seconds
to import, is needed to answer a misspelt name.
"""

import ast
import json

from lamb_keras.batch import BatchError


def defaults(path, name=None):
    """The parameters of a notebook with their defaults, in the cell's order.

    Args:
        path: the notebook file.
        name: what to call it in an error, its path by default.

    Example:
        >>> import pathlib, tempfile
        >>> source = "epochs = 30  # passes over the training images"
        >>> cell = {"cell_type": "code", "source": source}
        >>> cell["metadata"] = {"tags": ["parameters"]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "lenet_mnist.ipynb")
        ...     _ = file.write_text(json.dumps({"nbformat": 4, "cells": [cell]}))
        ...     defaults(file)
        {'epochs': 30}
    """
    name = name or str(path)
    cells = [cell for cell in _cells(path, name) if "parameters" in _tags(cell)]
    if not cells:
        raise BatchError(f"{name} has no cell tagged 'parameters'; tag one")
    if len(cells) > 1:
        raise BatchError(f"{name} has {len(cells)} cells tagged 'parameters', not one")
    try:
        return dict(map(_assignment, ast.parse(_source(cells[0])).body))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or error.args[-1]
        raise BatchError(
            f"{name}: line {line} of its parameters cell is not name = literal"
        ) from None


def code(path, name=None):
    """The source of each code cell, in order, but for the parameters cell.

    Blank cells are left out; Markdown is none of a notebook's code.

    Args:
        path: the notebook file.
        name: what to call it in an error, its path by default.

    Example:
        >>> import pathlib, tempfile
        >>> prose = {"cell_type": "markdown", "source": "Why."}
        >>> cell = {"cell_type": "code", "source": ["print(1)\\n", "print(2)"]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "lenet_mnist.ipynb")
        ...     _ = file.write_text(json.dumps({"cells": [prose, cell]}))
        ...     code(file)
        ['print(1)\\nprint(2)']
    """
    cells = _cells(path, name or str(path))
    sources = [
        _source(cell)
        for cell in cells
        if cell.get("cell_type") == "code" and "parameters" not in _tags(cell)
    ]
    return [source for source in sources if source.strip()]


def imports(path, name=None):
    """The import statements of a notebook, in order, each as one line of Python.

    Only those that are executed in any case, not those in a function or under an `if`.

    Args:
        path: the notebook file.
        name: what to call it in an error, its path by default.

    Example:
        >>> import pathlib, tempfile
        >>> cell = {"cell_type": "code", "source": "import keras\\nfrom math import e"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "lenet_mnist.ipynb")
        ...     _ = file.write_text(json.dumps({"cells": [cell]}))
        ...     imports(file)
        ['import keras', 'from math import e']
    """
    found = []
    for source in code(path, name):
        try:
            statements = ast.parse(source).body
        except (SyntaxError, ValueError):
            # IPython's magic; its cell is for IPython alone to read.
            continue
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                found.append(ast.unparse(statement))
    return found


def _cells(path, name):
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
    return [cell for cell in notebook["cells"] if isinstance(cell, dict)]


def _source(cell):
    # A line an entry, as Jupyter writes it, or the whole as one text.
    return "".join(map(str, cell.get("source") or ""))


def _tags(cell):
    if cell.get("cell_type") != "code":
        return []
    return cell.get("metadata", {}).get("tags", [])


def _assignment(statement):
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            pass
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            pass
        case _:
            raise ValueError("not an assignment", statement.lineno)
    try:
        return name, ast.literal_eval(value)
    except ValueError:
        raise ValueError("not a literal", statement.lineno) from None
