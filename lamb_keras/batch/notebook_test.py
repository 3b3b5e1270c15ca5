import json

import papermill
import pytest

from lamb_keras.batch import BatchError
from lamb_keras.batch.notebook import code, defaults, imports
from testing.tiny_project import PARAMETERS, cell


@pytest.fixture
def read(tmp_path):
    def read(*cells):
        path = tmp_path / "x.ipynb"
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {"nbformat": 4, "nbformat_minor": 4, "cells": cells}
        metadata = {"kernelspec": kernel}
        path.write_text(json.dumps({**notebook, "metadata": metadata}))
        return defaults(path, "notebooks/x.ipynb")

    return read


def test_defaults_are_the_literals_of_the_parameters_cell_in_its_order(read):
    source = """
    # a comment of its own
    rates = [
        0.1,  # the largest
        1e-3,
    ]
    decay: float = -0.5
    name = None
    """
    found = read(cell("import os"), cell(source, "parameters"), cell("x = 3"))
    assert list(found.items()) == [
        ("rates", [0.1, 0.001]),
        ("decay", -0.5),
        ("name", None),
    ]


def test_papermill_finds_the_same_parameters(read, tmp_path):
    found = read(cell(PARAMETERS, "parameters"))
    inspected = papermill.inspect_notebook(str(tmp_path / "x.ipynb"))
    assert list(found) == list(inspected)


def refused(read, *cells):
    with pytest.raises(BatchError) as caught:
        read(*cells)
    assert str(caught.value).startswith("notebooks/x.ipynb")
    return str(caught.value)


def test_a_notebook_without_a_parameters_cell_is_refused(read):
    assert "no cell tagged 'parameters'" in refused(read, cell("epochs = 1"))
    text = {"cell_type": "markdown", "metadata": {"tags": ["parameters"]}, "source": ""}
    assert "no cell tagged 'parameters'" in refused(read, text)


def test_a_notebook_with_two_parameters_cells_is_refused(read):
    two = [cell("a = 1", "parameters"), cell("b = 1", "parameters")]
    assert "2 cells tagged" in refused(read, *two)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a = 1\nimport os", 2),
        ("a = b", 1),
        ("a = 1 +", 1),
        ("a = b = 1", 1),
        ("a: int", 1),
        ("a = 1\n\nx.y = 1", 3),
        ("a = __import__('os').system('true')", 1),
    ],
)
def test_a_parameters_cell_with_more_than_literals_is_refused(read, source, line):
    sentence = refused(read, cell(source, "parameters"))
    assert f"line {line} of its parameters cell is not name = literal" in sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[]", "it has no cells"),
        (b'{"nbformat": 3, "worksheets": []}', "it has no cells"),
    ],
)
def test_a_file_that_is_no_notebook_is_refused(tmp_path, content, sentence):
    path = tmp_path / "x.ipynb"
    path.write_bytes(content)
    with pytest.raises(BatchError, match=f"x.ipynb is not a notebook.*{sentence}"):
        defaults(path, "x.ipynb")


def test_the_code_is_that_of_the_code_cells_but_for_the_parameters(read, tmp_path):
    read(
        cell("a = 1", "parameters"),
        cell("b = 2\n\nc = 3"),
        {"cell_type": "markdown", "metadata": {}, "source": "d = 4"},
        {"cell_type": "code", "source": ["e = 5\n", "f = 6"]},
        cell(" \n"),
        {"cell_type": "code", "source": None},
        {"cell_type": "code"},
    )
    assert code(tmp_path / "x.ipynb", "x.ipynb") == ["b = 2\n\nc = 3", "e = 5\nf = 6"]


def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(BatchError, match="^notebooks/x.ipynb is missing$"):
        defaults(tmp_path / "x.ipynb", "notebooks/x.ipynb")


def test_imports_are_those_that_are_executed_in_any_case(tmp_path):
    source = "import a.b as c, d\nif c:\n    import e\ndef f():\n    import g\n"
    cells = [cell("%magic\nimport h"), cell(source), cell("from i import (\n  j,\n)")]
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    assert imports(path) == ["import a.b as c, d", "from i import j"]
