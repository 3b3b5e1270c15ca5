"""What users bring, a solver or a data set, by the place of the function that makes it.

A place is `file.py:name`, or `package.module:name` of something installed. A file is
looked for in the working folder and in those above it: notebooks run in several.
"""

import hashlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Mapping
from modulefinder import ModuleFinder
from pathlib import Path

# The numbers of a solver that are inputs of the compiled program.
TUNED = ("learning_rate", "weight_decay")


class OwnError(ValueError):
    """What is wrong with something that a user brings, in one sentence."""


def is_place(text) -> bool:
    """Whether a text means a place and no name.

    Example:
        >>> is_place("mine.py:lion"), is_place("digits")
        (True, False)
    """
    return isinstance(text, str) and ":" in text


def name(place: str) -> str:
    """The name of the function at a place.

    Example:
        >>> name("folder/mine.py:lion")
        'lion'
    """
    return place.rpartition(":")[2]


def at(place: str, root: Path) -> str:
    """The place with the whole path of its file, if relative, in the folder `root`."""
    source, _, function = place.rpartition(":")
    return f"{root / source}:{function}" if _is_file(source) else place


def load(place: str) -> Callable:
    """The function at a place, of a file as it is now."""
    source, _, function = place.rpartition(":")
    if not function.isidentifier() or not source:
        raise OwnError(
            f"{place!r} is no place of a function; expected file.py:name or "
            "package.module:name"
        )
    path = _path(source) if _is_file(source) else None
    try:
        if path is None:
            module = pkgutil.resolve_name(f"{source}:")
        else:
            if str(path.parent) not in sys.path:
                sys.path.insert(0, str(path.parent))  # for its neighbours
            spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
    except Exception as error:
        raise OwnError(f"{source} cannot be imported: {_told(error)}") from error
    found = getattr(module, function, None)
    if not callable(found):
        functions = [
            each
            for each, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__
        ]
        there = f"there are: {', '.join(functions)}" if functions else "there is none"
        raise OwnError(f"{source} has no function {function}; {there}")
    return found


def call(function: Callable, place: str, **arguments):
    """What the function of a place returns; its own errors are an `OwnError`."""
    try:
        return function(**arguments)
    except Exception as error:
        given = ", ".join(arguments)
        raise OwnError(
            f"{place} fails, called as {name(place)}({given}): {_told(error)}"
        ) from error


def solver(place: str) -> dict:
    """A solver as `own_solvers` has it: its function, and the grid that it states.

    The function has an attribute `grid`, with a list of numbers for each argument.
    """
    grid = getattr(load(place), "grid", None)
    if not isinstance(grid, Mapping) or not {TUNED[0]} <= {*grid} <= {*TUNED}:
        raise OwnError(
            f"the grid of {place} is {grid!r}, expected a list for learning_rate and "
            f"maybe one for weight_decay; write {name(place)}.grid = "
            "{'learning_rate': [0.001, 0.01]}"
        )
    found = {"function": place}
    for number, values in grid.items():
        try:
            found[number] = [float(value) for value in values]
        except (TypeError, ValueError):
            raise OwnError(
                f"the grid of {place} has {number} {values!r}, expected a list of "
                "numbers, such as [0.001, 0.01]"
            ) from None
    return found


def places(parameters: Mapping) -> list[str]:
    """The places that a run with these parameters takes something from."""
    solvers = (parameters.get("own_solvers") or {}).values()
    dataset = parameters.get("dataset")
    found = [each if isinstance(each, str) else each["function"] for each in solvers]
    return found + [dataset] * is_place(dataset)


def files(place: str) -> dict[str, str]:
    """The SHA-256 of each file of code that a place is known to depend on, by name.

    Those are its file and those beside it that are imported; of something installed,
    all of the package that it is in.
    """
    source = place.rpartition(":")[0]
    if _is_file(source):
        path = _path(source)
        finder = ModuleFinder([str(path.parent)])
        try:
            finder.run_script(str(path))
        except SyntaxError:
            pass  # which is for `load` to tell
        imported = {Path(m.__file__) for m in finder.modules.values() if m.__file__}
        root, found = path.parent, {path, *imported}
    else:
        spec = importlib.util.find_spec(source.partition(".")[0])
        path = Path(spec.origin) if spec and spec.origin else _path(source)
        is_package = path.name == "__init__.py"
        root = path.parents[is_package]
        found = path.parent.rglob("*.py") if is_package else [path]
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(found)
    }


def _is_file(source):
    return source.endswith(".py") or "/" in source


def _path(source):
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (path := folder / Path(source).expanduser()).is_file():
            return path
    raise OwnError(f"there is no file {source}, neither in {here} nor in one above it")


def _told(error):
    """What an error says in its first line."""
    told = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {told}" if told else type(error).__name__
