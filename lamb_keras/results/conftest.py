"""Real notebooks, executed by Papermill, for the tests of what runs leave behind."""

import json
import shutil
from pathlib import Path

import nbformat.v4
import papermill
import pytest
from traitlets.config import Config

# Five trials of two solvers, as a run would glue them; LAMB's second setting is better
# on held-out data, and one seed of Adam diverged.
TRIALS = """
from lamb_keras.results import environment, scraps, statistics

def trial(solver, rate, seed, validation, test, outcome="finished"):
    return dict(solver=solver, learning_rate=rate, seed=seed, outcome=outcome,
                validation_accuracy=validation, test_accuracy=test)

nan = float("nan")
trials = [
    trial("adam", 0.01, 0, 0.90, 0.91),
    trial("adam", 0.1, 0, nan, nan, "diverged"),
    trial("lamb", 0.001, 0, 0.80, 0.99),
    trial("lamb", 0.01, 0, 0.95, 0.96),
    trial("lamb", 0.01, 1, 0.95, 0.98),
]
scraps.glue("trials", trials)
scraps.glue("cells", statistics.cells(trials, 7, "mean_accuracy_5_runs"))
scraps.glue("dataset", dict(name="digits", title="Handwritten digits",
    stands_in_for="MNIST", fingerprint="0f", train=1293, validation=144, test=360))
scraps.glue("environment", environment.describe() | {"device": "cpu"})
"""
FIGURE = """
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(2, 1))
scraps.glue_figure("curves", figure, alt="Curves of nothing.")
scraps.glue("finished", True)
"""
RECORD = {
    "run": "table07/lenet_mnist",
    "notebook": "lenet_mnist",
    "table": 7,
    "scale": "laptop",
    "status": "succeeded",
    "reason": None,
    "parameters": {"epochs": 3, "dataset": "<script>alert('digits')</script>"},
    "overrides": {"epochs": 3},
    "started": "2026-11-23T17:40:00+00:00",
    "seconds": 61.2,
    "commit": "abc1234",
}


@pytest.fixture(scope="session")
def execute():
    """Executes a notebook of the given code cells and leaves it at a path."""

    def run(path: Path, cells: list[str], heading: str | None = None) -> None:
        markdown = [nbformat.v4.new_markdown_cell(heading)] if heading else []
        notebook = nbformat.v4.new_notebook(
            cells=[*markdown, *map(nbformat.v4.new_code_cell, cells)],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, path)
        papermill.execute_notebook(
            str(path),
            str(path),
            progress_bar=False,
            request_save_on_cell_execute=False,
            config=Config({"KernelManager": {"transport": "ipc"}}),
        )

    return run


@pytest.fixture(scope="session")
def executed_run(execute, tmp_path_factory):
    """The executed notebook of a tiny run of Table 7, as its notebook left it."""
    path = tmp_path_factory.mktemp("executed") / "lenet_mnist.ipynb"
    execute(path, [TRIALS, FIGURE], heading="# LeNet on digits\n\n## Trials")
    return path


@pytest.fixture
def outputs(executed_run, tmp_path):
    """An outputs folder with that run, recorded as succeeded."""
    folder = tmp_path / "outputs" / "laptop" / "table07"
    folder.mkdir(parents=True)
    shutil.copy(executed_run, folder / "lenet_mnist.ipynb")
    (folder / "lenet_mnist.json").write_text(json.dumps(RECORD))
    return tmp_path / "outputs"


@pytest.fixture
def fail(outputs):
    """Leaves a failed attempt beside the run, with the given changes to its record."""

    def leave(**changes):
        folder = outputs / "laptop" / "table07"
        record = RECORD | {"status": "failed", "reason": "the kernel died."} | changes
        (folder / "lenet_mnist.failed.json").write_text(json.dumps(record))
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_markdown_cell("# An attempt")]
        )
        nbformat.write(notebook, folder / "lenet_mnist.failed.ipynb")

    return leave
