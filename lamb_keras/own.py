"""What users bring, a solver or a data set, by the place of the function that makes it.

A place is `file.py:name`, or `package.module:name` of something installed. A file is
looked for in the working folder and in those above it: notebooks run in several.
"""

import ast
import contextlib
import hashlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
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


def load(place: str) -> Callable:
    """The function at a place, of a file as it is now.

    Raises:
        OwnError: for no place, no file, no such function, or what fails to be imported.
    """
    source, function = _split(place)
    path = _path(source) if _is_file(source) else None
    try:
        module = pkgutil.resolve_name(f"{source}:") if path is None else _run(path)
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

    Raises:
        OwnError: as `load`, and for another grid.
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


def files(place: str, folder: Path | None = None) -> dict[str, str]:
    """The SHA-256 of the code that a place is known to depend on, by name.

    That is of its file and of those beside it that are imported, each by its path; of
    something installed one of all of the package that it is in. A relative path begins
    in `folder`, by default the working one, or in one above it.
    """
    source, _ = _split(place)
    if _is_file(source):
        path = _path(source, folder)
        found, _ = _read(path)
        beside = Path(source).parent
        return {
            (beside / file.relative_to(path.parent)).as_posix(): _hash(content)
            for file, content in sorted(found.items())
        }
    name = source.partition(".")[0]
    spec = importlib.util.find_spec(name)
    if not spec or not spec.origin or not (path := Path(spec.origin)).is_file():
        raise OwnError(f"{source} cannot be imported: there is no module {name}")
    is_package = path.name == "__init__.py"
    code = sorted(path.parent.rglob("*.py")) if is_package else [path]
    hashes = [
        f"{file.relative_to(path.parent)} {_hash(file.read_bytes())}" for file in code
    ]
    return {name: _hash("\n".join(hashes).encode())}


def versions(place: str, folder: Path | None = None) -> dict[str, str]:
    """The versions of what is installed that a place is of, or that its files import.

    Of what is installed under the name by which it is imported.
    """
    source, _ = _split(place)
    modules = {source.partition(".")[0]}
    if _is_file(source):
        _, modules = _read(_path(source, folder))
    found = {}
    for module in sorted(modules):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[module] = metadata.version(module)
    return found


def _split(place):
    source, _, function = place.rpartition(":")
    if not function.isidentifier() or not source:
        raise OwnError(
            f"{place!r} is no place of a function; expected file.py:name or "
            "package.module:name"
        )
    return source, function


def _run(path):
    """The module of a file, with what it imports from beside it, as they are now."""
    folder = str(path.parent)
    sys.path[:] = [folder, *(other for other in sys.path if other != folder)]
    importlib.invalidate_caches()
    beside = {file.relative_to(folder).parts[0] for file in _read(path)[0]}
    beside = {name.removesuffix(".py") for name in beside}
    for module in [*sys.modules]:
        # Another file may have had a neighbour of that name.
        if module.partition(".")[0] in beside:
            del sys.modules[module]
    spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read(path):
    """A file and those beside it that it imports, and what modules are from elsewhere.

    Of a folder beside it, imports may be of any file.
    """
    found, elsewhere, waiting = {}, set(), [path]
    while waiting:
        if (file := waiting.pop()) in found:
            continue
        found[file] = content = file.read_bytes()
        for name in _imported(content) - {"lamb_keras"}:
            beside = path.with_name(f"{name}.py")
            there = (
                [beside] if beside.is_file() else [*path.with_name(name).rglob("*.py")]
            )
            waiting += there
            elsewhere |= set() if there else {name}
    return found, elsewhere


def _imported(content):
    """The first names of the modules that code imports by their whole names."""
    names = set()
    with contextlib.suppress(SyntaxError, ValueError):  # which are for `load` to tell
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module)
    return {name.partition(".")[0] for name in names}


def _is_file(source):
    return source.endswith(".py") or "/" in source


def _path(source, folder=None):
    here = folder or Path.cwd()
    for folder in (here, *here.parents):
        if (path := folder / Path(source).expanduser()).is_file():
            return path
    raise OwnError(f"there is no file {source}, neither in {here} nor in one above it")


def _hash(content):
    return hashlib.sha256(content).hexdigest()


def _told(error):
    """What an error says in its first line."""
    told = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {told}" if told else type(error).__name__
