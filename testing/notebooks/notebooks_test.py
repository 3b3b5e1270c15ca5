"""What every source notebook keeps to, so that reading one is reading a page."""

import ast
import json
import re
import statistics
from pathlib import Path

import nbformat
import papermill
import pytest

from lamb_keras import experiments

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What a kernel tells of its language; of these Python's version is the machine's.
LANGUAGE = {"codemirror_mode", "file_extension", "mimetype", "name"}
LANGUAGE |= {"nbconvert_exporter", "pygments_lexer", "version"}
PARAMETERIZED = [path for path in NOTEBOOKS if path.stem in experiments.NOTEBOOKS]


def cells(path, kind=None):
    found = json.loads(path.read_text())["cells"]
    return [cell for cell in found if kind in (None, cell["cell_type"])]


def source(cell):
    return "".join(cell["source"])


def code_lines(cell):
    return [line for line in source(cell).splitlines() if line.strip()]


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_every_experiment_has_its_notebook():
    assert {path.stem for path in PARAMETERIZED} == set(experiments.NOTEBOOKS)


@each_notebook
def test_a_source_notebook_holds_no_outputs(path):
    for cell in cells(path, "code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None


@each_notebook
def test_it_is_stored_as_jupyterlab_stores_it_and_not_rewritten_by_a_first_save(path):
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    assert path.read_text("utf-8") == nbformat.writes(notebook) + "\n"
    assert notebook.metadata.kernelspec.display_name == "Python 3 (ipykernel)"
    assert {*notebook.metadata.language_info} == LANGUAGE


@each_notebook
def test_it_refuses_a_name_that_papermill_only_warns_of(path):
    code = "\n".join(source(cell) for cell in cells(path, "code"))
    assert re.search(r"\.(of|check_injected)\(globals\(\)\)", code)


@each_notebook
def test_it_opens_with_its_claim_and_explains_every_cell_of_code(path):
    everything = cells(path)
    assert everything[0]["cell_type"] == "markdown"
    assert source(everything[0]).startswith("# ")
    for before, cell in zip(everything, everything[1:], strict=False):
        if cell["cell_type"] == "code" and not cell["metadata"]:
            explained = before["cell_type"] == "markdown"
            # Of the report, the claims come at once.
            assert explained or path.stem in ("lamb", "summary")


@each_notebook
def test_exactly_one_cell_is_tagged_and_it_holds_commented_literals(path):
    tagged = [cell for cell in cells(path) if cell["metadata"].get("tags")]
    assert [cell["metadata"]["tags"] for cell in tagged] == [["parameters"]]
    for statement in ast.parse(source(tagged[0])).body:
        assert isinstance(statement, ast.Assign)
        ast.literal_eval(statement.value)
    assert all("  # " in line for line in code_lines(tagged[0]))


@each_notebook
def test_cells_of_code_are_short(path):
    lengths = [
        len(code_lines(cell))
        for cell in cells(path, "code")
        # Parameters have a line each.
        if not cell["metadata"].get("tags")
    ]
    assert max(lengths) <= 18
    assert statistics.median(lengths) <= 8
    if path in PARAMETERIZED:
        assert sum(lengths) <= 60


@each_notebook
def test_code_that_belongs_in_the_package_is_not_in_a_notebook(path):
    code = "\n".join(source(cell) for cell in cells(path, "code"))
    assert not re.search(r"sys\.path|os\.environ|^[!%]", code, re.MULTILINE)
    if path.stem != "lamb":  # whose subject is the algorithm itself
        assert not re.search(r"^(def|class|for|while) ", code, re.MULTILINE)


@each_notebook
def test_it_ends_by_checking_what_could_be_false(path):
    last = [source(cell) for cell in cells(path, "code")][-2:]
    assert any(re.search(r"^assert ", code, re.MULTILINE) for code in last)


@each_notebook
def test_papermill_tells_the_help_text_of_every_parameter(path):
    told = papermill.inspect_notebook(str(path))
    assert told and all(parameter["help"] for parameter in told.values())


# What a notebook runs where nobody tells it otherwise: a table, of its grids no more
# than lines have room for, and no seeds for what is not compared.
DEFAULTS = {
    "bert_squad": ("4", ("batch_size", "seeds")),
    "lenet_mnist": ("7", ()),
    "davidnet_cifar10": ("6", ("learning_rates", "weight_decay", "l2_regularization")),
    "resnet50_imagenet": ("11", ("learning_rates",)),
}


@pytest.mark.parametrize("path", PARAMETERIZED, ids=lambda path: path.stem)
def test_the_defaults_are_those_of_the_laptop_scale(path):
    from lamb_keras.batch import plan

    table, shorter = DEFAULTS[path.stem]
    project = plan.Project.find(ROOT)
    run = plan.plan(project, "laptop", ROOT / "outputs", [table])[0]
    told = papermill.inspect_notebook(str(path))
    defaults = {name: ast.literal_eval(p["default"]) for name, p in told.items()}
    assert set(run.parameters) == set(defaults)
    for name, value in defaults.items():
        if name not in (*shorter, "confirmation_seeds"):
            assert run.parameters[name] == value, name
    experiments.validate(defaults)
