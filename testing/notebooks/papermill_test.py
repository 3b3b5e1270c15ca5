"""The notebooks under plain Papermill, as people run them on machines of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from lamb_keras.store import scraps

PROJECT = Path(__file__).parents[2]
# What is run of a table, with a file of its own at the scale or not, and what is left:
# the rows of its cells, the number of its trials, and the pictures.
TABLES = {
    23: (
        "resnet50_imagenet",
        "{learning_rates: [0.001, 0.002], weight_decay: [0.01]}",
        # The other form of decay is run and is no row.
        (
            ["0.001, 0.01, disable", "0.002, 0.01, disable"],
            4,
            {"examples", "learning_curves", "sweep", "weight_decay_forms"},
        ),
    ),
    6: (
        "davidnet_cifar10",
        "{solvers: [momentum, lamb], seeds: [0, 1], epochs_divisor: 12}",
        (["momentum", "lamb"], 8 * 2 + 8 * 2, {"examples", "learning_curves"}),
    ),
    4: (
        "bert_squad",
        "{batch_size: [32768], seeds: [0], steps_divisor: 781.25, layers: 1, articles: "
        "80, question_articles: 12, dev_articles: 6, vocab_size: 300}",
        (
            ["32768", "LAMB, 32768", "LAMB, 32768", "LAMB"],
            1,
            {"pretraining_curves", "masked_language_model", "f1_by_batch"},
        ),
    ),
}


def run(notebook, output, *options):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar"]
    command += [f"notebooks/{notebook}.ipynb", str(output), *options]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def files(table):
    notebook, own = TABLES[table][0], f"scales/laptop/table{table:02d}"
    paths = [f"tables/table{table:02d}", f"scales/laptop/{notebook}", own]
    paths = [PROJECT / "params" / f"{path}.yaml" for path in paths]
    return [word for path in paths if path.exists() for word in ("-f", str(path))]


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_a_table_runs_from_its_files(tmp_path, table):
    notebook, shorter, (rows, trials, pictures) = TABLES[table]
    output = tmp_path / "x.ipynb"
    alone = ("-y", "{confirmation_seeds: []}")
    done = run(notebook, output, *files(table), "-y", shorter, *alone)
    assert done.returncode == 0, done.stderr
    assert "unknown parameter" not in done.stderr
    left = scraps.read(output)
    assert left["finished"] is True
    assert [cell["row"] for cell in left["cells"]] == rows
    assert trials in (None, len(left["trials"]))
    assert pictures <= set(scraps.pictures(output))


@pytest.mark.slow
def test_a_bad_value_that_papermill_lets_through_is_refused_by_the_notebook(tmp_path):
    bad = [*files(6), "-y", "{seeds: [0, 0]}"]
    done = run("davidnet_cifar10", tmp_path / "x.ipynb", *bad)
    assert done.returncode != 0
    assert "ParameterError: seeds[1] is 0" in done.stderr
