"""The notebooks under plain Papermill, as people run them on machines of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from lamb_keras.results import paper, scraps

PROJECT = Path(__file__).parent.parent
TABLE_7 = [
    "-f",
    "params/tables/table07.yaml",
    "-f",
    "params/scales/laptop/lenet_mnist.yaml",
]


def run(notebook, output, *options):
    return subprocess.run(
        [sys.executable, "-m", "papermill", "--no-progress-bar", notebook, output]
        + list(options),
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_table_runs_from_its_two_files(tmp_path):
    output = str(tmp_path / "x.ipynb")
    shorter = (
        "{solvers: [adam, lamb], learning_rates: [0.01], seeds: [0, 1], epochs: 3}"
    )
    done = run("notebooks/lenet_mnist.ipynb", output, *TABLE_7, "-y", shorter)
    assert done.returncode == 0, done.stderr
    assert "unknown parameter" not in done.stderr
    left = scraps.read(output)
    assert left["finished"] is True
    assert left["dataset"]["stands_in_for"] == "MNIST"
    assert [cell["row"] for cell in left["cells"]] == ["adam", "lamb"]
    rows = {cell.row for cell in paper.tables()[7].cells()}
    assert {cell["row"] for cell in left["cells"]} <= rows
    assert len(left["trials"]) == 4
    assert set(scraps.pictures(output)) == {
        "examples",
        "accuracy_by_learning_rate",
        "learning_curves",
        "trust_ratios",
    }


@pytest.mark.slow
def test_a_bad_value_that_papermill_lets_through_is_refused_by_the_notebook(tmp_path):
    output = str(tmp_path / "x.ipynb")
    done = run("notebooks/lenet_mnist.ipynb", output, *TABLE_7, "-y", "{seeds: [0, 0]}")
    assert done.returncode != 0
    assert "ParameterError: seeds[1] is 0" in done.stderr


@pytest.mark.slow
def test_the_algorithm_on_a_page_runs(tmp_path):
    output = str(tmp_path / "lamb.ipynb")
    done = run("notebooks/lamb.ipynb", output)
    assert done.returncode == 0, done.stderr
    agreement = scraps.read(output)["agreement"]
    assert max(agreement["lamb_keras.Lamb"]) < 2e-5
    # The departure that the page tells of grows with weight decay.
    assert agreement["keras.optimizers.Lamb"] == sorted(
        agreement["keras.optimizers.Lamb"]
    )
