"""Imports point one way, as docs/architecture.md draws them."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent
# Each part with the others that it may import: those above it in this list.
MAY_IMPORT = {
    "names": set(),
    "hosts": set(),
    "backend": {"hosts"},
    "cpu": set(),
    "own": set(),
    "deadline": set(),
    "schedules": set(),
    "keras_schedules": {"schedules", "backend"},
    "optimizers": {"names", "backend", "own"},
    "models": {"names", "backend"},
    "store": {"cpu"},
    "data": {"own", "store"},
    "experiments": {"names", "own", "schedules", "data"},
    "results": {"names", "store"},
    "planning": {"names", "experiments", "results"},
    "training": {
        *("names", "cpu", "own", "schedules", "optimizers", "models", "data"),
        *("deadline", "store", "experiments", "results"),
    },
    "batch": {
        *("names", "hosts", "cpu", "own", "deadline", "data", "store"),
        "experiments",
    },
    "parser": {"experiments", "batch"},
    "commands": {
        "hosts",
        "deadline",
        "data",
        "store",
        "experiments",
        "results",
        "planning",
        "batch",
    },
    "cli": {"hosts", "experiments", "batch", "parser", "commands"},
    "__main__": {"cli"},
}


def imported(part):
    """The parts that the modules of a part import, wherever in their code."""
    folder = PACKAGE / part
    paths = folder.rglob("*.py") if folder.is_dir() else [PACKAGE / f"{part}.py"]
    found = set()
    for path in paths:
        if path.name.endswith("_test.py") or path.name == "conftest.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            found |= {n.split(".")[1] for n in names if n.startswith("lamb_keras.")}
    return (found - {part}) & set(MAY_IMPORT)


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_stands_above_it(part):
    assert imported(part) <= MAY_IMPORT[part]


def test_the_parts_have_an_order():
    for number, (part, others) in enumerate(MAY_IMPORT.items()):
        assert others <= set(list(MAY_IMPORT)[:number]), part


def test_every_part_of_the_package_is_in_the_order():
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix in (".py", "")}
    tests = {name for name in there if name.endswith("_test")}
    assert there - tests - {"__init__", "__pycache__", "conftest"} == set(MAY_IMPORT)
