"""The tests of this folder reject every wrong LAMB and LARS.

Some mutants are written down in `mutants.yaml`, with the test that has to fail; others
are made of the formulas, by changing one operation after another. Each is loaded beside
the real package.
"""

import ast
import itertools
import re
import sys
import types
from pathlib import Path
from typing import NamedTuple

import keras
import pytest
import yaml

from lamb_keras import optimizers
from lamb_keras.optimizers import (
    lamb_test,
    lars_test,
    layerwise_test,
    trust_ratio_logger_test,
    trust_ratio_test,
)

HERE = Path(__file__).parent
# In the order in which they import each other, with what the package exports of them.
MODULES = {
    "trust_ratio": ["trust_ratio"],
    "two_passes": [],
    "arguments": [],
    "presets": [],
    "record": [],
    "layerwise": [],
    "lamb": ["Lamb", "lamb_update", "reference_step"],
    "lars": ["Lars", "lars_update"],
    "trust_ratio_logger": ["TrustRatioLogger"],
}
TESTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": test
    for module in (
        lamb_test,
        lars_test,
        layerwise_test,
        trust_ratio_logger_test,
        trust_ratio_test,
    )
    for name, test in vars(module).items()
}


class Mutant(NamedTuple):
    """A module's source with something wrong in it."""

    module: str
    name: str
    source: str
    caught_by: list  # one of these tests, which take the package under test as `kit`


def source_of(module):
    return (HERE / f"{module}.py").read_text()


def written_down():
    for test, mutants in yaml.safe_load((HERE / "mutants.yaml").read_text()).items():
        for module, name, was, becomes in mutants:
            source = source_of(module)
            assert source.count(was) == 1, (
                f"{module}, {name}: {was!r} is not there once"
            )
            yield Mutant(module, name, source.replace(was, becomes), [TESTS[test]])


class ChangeOne(ast.NodeTransformer):
    """Changes the n-th place of a function's arithmetic that can be changed."""

    SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
    DROPPED = ("root", "square", "expm1", "log1p")

    def __init__(self, function, place):
        self.function, self.left, self.inside, self.name = function, place, False, None

    def visit_FunctionDef(self, node):
        outside = self.inside
        self.inside = outside or node.name == self.function
        node = self.generic_visit(node)
        self.inside = outside
        return node

    def visit_BinOp(self, node):
        other = ast.BinOp(
            node.left, self.SWAPPED.get(type(node.op), ast.Add)(), node.right
        )
        for changed in (other, node.left, node.right):
            if self.is_it():
                return self.change(node, changed)
        return self.generic_visit(node)

    def visit_Call(self, node):
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        if name in self.DROPPED and self.is_it():
            return self.change(node, node.args[0])
        return self.generic_visit(node)

    def is_it(self):
        self.left -= self.inside
        return self.inside and self.left == -1

    def change(self, node, changed):
        self.name = f"{ast.unparse(node)} becomes {ast.unparse(changed)}"
        return changed


FORM = lars_test.test_each_form_is_its_reference_at_rates_that_change
PRESET = lamb_test.test_a_preset_computes_what_its_implementation_computes
FAST = lamb_test.test_the_fast_form_is_the_reference_step
RATIO = trust_ratio_test.test_a_ratio_is_of_norms_and_1_where_one_is_zero
FORMULAS = {
    ("lamb", "_first_pass"): [FAST, PRESET],
    ("lamb", "_second_pass"): [FAST],
    ("lamb", "_update"): [FAST],
    ("lamb", "_one_minus_power"): [FAST],
    ("lamb", "rate"): [FAST],
    ("lars", "_first_pass"): [FORM],
    ("lars", "_second_pass"): [FORM],
    ("lars", "_direction"): [FORM],
    ("lars", "rate"): [FORM],
    ("trust_ratio", "trust_ratio"): [RATIO],
}


def made_of_formulas():
    for (module, function), tests in FORMULAS.items():
        for place in itertools.count():
            change = ChangeOne(function, place)
            tree = ast.fix_missing_locations(change.visit(ast.parse(source_of(module))))
            if change.name is None:
                break
            yield Mutant(module, f"{function}: {change.name}", ast.unparse(tree), tests)


def load(name, sources):
    """The optimizers' modules, some of other sources, under a name of their own."""
    package = types.ModuleType("mutant_" + re.sub("[^a-z]", "_", name.lower()))
    package.__path__ = []
    loaded = {package.__name__: package}
    try:
        sys.modules.update(loaded)
        for module, exports in MODULES.items():
            source = sources.get(module) or source_of(module)
            # Keras keeps one class a name; the real ones have to stay registered.
            source = re.sub(
                r"register_keras_serializable\(package=['\"]lamb_keras['\"]\)",
                f"register_keras_serializable(package={package.__name__!r})",
                source,
            ).replace("lamb_keras.optimizers", package.__name__)
            copy = types.ModuleType(f"{package.__name__}.{module}")
            sys.modules[copy.__name__] = loaded[copy.__name__] = copy
            setattr(package, module, copy)
            exec(compile(source, f"{module}.py of {name}", "exec"), vars(copy))
            for export in exports:
                setattr(package, export, getattr(copy, export))
    finally:
        for each in loaded:
            sys.modules.pop(each, None)
    return package


def run(test, kit):
    """Runs a test of the suite on `kit`, with all its parameters."""
    marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
    choices = []
    for mark in marks:
        names, rows = mark.args
        names = [name.strip() for name in names.split(",")]
        rows = rows if len(names) > 1 else [[row] for row in rows]
        choices.append([dict(zip(names, row, strict=True)) for row in rows])
    for chosen in itertools.product(*choices):
        test(**{name: value for row in chosen for name, value in row.items()}, kit=kit)


MUTANTS = [*written_down(), *made_of_formulas()]


@pytest.fixture(scope="module")
def unmutated():
    return load("nothing changed", {})


@pytest.mark.parametrize(
    "test",
    dict.fromkeys(test for mutant in MUTANTS for test in mutant.caught_by),
    ids=lambda test: test.__name__,
)
def test_the_real_source_loaded_as_mutants_are_passes(test, unmutated):
    run(test, unmutated)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.module}: {m.name}")
def test_a_wrong_optimizer_is_rejected(mutant):
    kit = load(mutant.name, {mutant.module: mutant.source})
    # An assertion has to fail: to crash would say little about the tests.
    with pytest.raises(AssertionError):
        for test in mutant.caught_by:
            run(test, kit)


def test_mutants_leave_the_real_optimizers_registered():
    registered = keras.saving.get_registered_object("lamb_keras>Lamb")
    assert registered is optimizers.Lamb
