"""The notebooks under plain Papermill, as people run them on machines of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from lamb_keras.results import paper
from lamb_keras.store import scraps

PROJECT = Path(__file__).parent.parent


def files(table, notebook, *more):
    paths = [f"tables/table{table:02d}", f"scales/laptop/{notebook}", *more]
    return [word for path in paths for word in ("-f", f"params/{path}.yaml")]


TABLE_7 = files(7, "lenet_mnist")


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
def test_a_sweep_runs_from_its_files(tmp_path):
    output = str(tmp_path / "x.ipynb")
    shorter = "{learning_rates: [0.001, 0.002]}"
    table = files(23, "resnet50_imagenet")
    done = run("notebooks/resnet50_imagenet.ipynb", output, *table, "-y", shorter)
    assert done.returncode == 0, done.stderr
    left = scraps.read(output)
    # Two rates, two decays; the other form of decay is run and is no row.
    assert [cell["row"] for cell in left["cells"]] == [
        f"{rate}, {decay}, disable"
        for decay in (0.01, 0.001)
        for rate in (0.001, 0.002)
    ]
    assert len(left["trials"]) == 8
    assert left["steps"][0]["published_steps"] == 7038
    assert set(scraps.pictures(output)) == {
        "examples",
        "sweep",
        "learning_curves",
        "weight_decay_forms",
    }


@pytest.mark.slow
def test_batches_of_several_sizes_run_from_their_files(tmp_path):
    output = str(tmp_path / "x.ipynb")
    shorter = "{batch_size: [512, 32768], epochs_divisor: 45}"
    table = files(5, "resnet50_imagenet", "scales/laptop/table05")
    done = run("notebooks/resnet50_imagenet.ipynb", output, *table, "-y", shorter)
    assert done.returncode == 0, done.stderr
    left = scraps.read(output)
    assert [cell["row"] for cell in left["cells"]] == ["512"] * 2 + ["32768"] * 2
    assert [row["images_per_step"] for row in left["steps"]] == [16, 1024]
    assert "trust_ratios" in scraps.pictures(output)


@pytest.mark.slow
def test_davidnet_runs_from_its_files(tmp_path):
    output = str(tmp_path / "x.ipynb")
    shorter = "{solvers: [momentum, lamb], seeds: [0, 1], epochs_divisor: 12}"
    table = files(6, "davidnet_cifar10", "scales/laptop/table06")
    done = run("notebooks/davidnet_cifar10.ipynb", output, *table, "-y", shorter)
    assert done.returncode == 0, done.stderr
    left = scraps.read(output)
    assert [cell["row"] for cell in left["cells"]] == ["momentum", "lamb"]
    assert len(left["trials"]) == 2 + 8 * 2


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
