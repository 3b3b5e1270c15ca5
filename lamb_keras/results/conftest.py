"""Real notebooks, executed by Papermill, for the tests of what runs leave behind."""

import json
import math
import random
import shutil
from pathlib import Path

import nbformat.v4
import papermill
import pytest
import yaml

from lamb_keras import experiments, stages
from lamb_keras.batch.papermill import unix_sockets
from lamb_keras.results import pretraining, statistics
from lamb_keras.store import scraps

# Five trials of two solvers, as a run would glue them; LAMB's second setting is better
# on held-out data, and one seed of Adam diverged.
TRIALS = """
from lamb_keras.store import environment, scraps
from lamb_keras.results import statistics

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
        with unix_sockets() as config:
            papermill.execute_notebook(
                str(path),
                str(path),
                progress_bar=False,
                request_save_on_cell_execute=False,
                config=config,
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


PROJECT = Path(__file__).parents[2]
BEST_RATE = {"momentum": 0.05, "adagrad": 0.3, "adam": 0.003, "adamw": 0.004}


def imitation(setting, seed):
    """A trial as a run would record it: plausible, and made up."""
    random.seed(repr((setting, seed)))
    solver = setting["solver"].removesuffix("+")
    away = math.log10(setting["learning_rate"] / BEST_RATE.get(solver, 0.02))
    decay = setting["weight_decay"] or 0
    erased = setting["weight_decay_form"] == "per_step" and decay >= 0.01
    accuracy = 0.1 + 0.87 * math.exp(-0.35 * away**2) * (not erased)
    accuracy = min(1, max(0, accuracy + random.gauss(0, 0.01)))
    diverged = away > 2.2
    return setting | {
        "seed": seed,
        "outcome": "diverged" if diverged else "finished",
        "diverged_at_step": 17 if diverged else None,
        "validation_accuracy": None if diverged else accuracy,
        "validation_top5": None if diverged else (1 + accuracy) / 2,
        "test_accuracy": None if diverged else accuracy - 0.005,
        "test_top5": None if diverged else (1 + accuracy) / 2,
        "train_loss": math.nan if diverged else 2.4 - 2 * accuracy,
        "steps": 320,
        "seconds": 0.8,
        "compilations": 0,
    }


def table_parameters(table, scale="laptop"):
    """The parameters of a table's run, as its YAML files say."""
    params = PROJECT / "params"
    merged = yaml.safe_load((params / f"tables/table{table:02d}.yaml").read_text())
    for name in (merged["notebook"], f"table{table:02d}"):
        path = params / "scales" / scale / f"{name}.yaml"
        merged |= yaml.safe_load(path.read_text()) if path.exists() else {}
    return merged


def imitated_trials(table):
    """Trials of all settings of a table."""
    of_table = table_parameters(table)
    return [
        imitation(setting, seed)
        for setting in experiments.settings(of_table)
        for seed in of_table["seeds"]
    ]


def imitated_scraps(table):
    """What the notebook of a table would glue."""
    of_table, trials = table_parameters(table), imitated_trials(table)
    batches = dict.fromkeys(trial["batch_size"] for trial in trials)
    return {
        "trials": trials,
        "cells": statistics.cells(trials, table),
        "dataset": {
            "name": "digits",
            "title": "Handwritten digits",
            "stands_in_for": "MNIST",
            "classes": 10,
            "train": 1150,
            "validation": 287,
            "test": 360,
        },
        "environment": {"device": "cpu", "cpu_count": 2, "python": "3.11.7"},
        "steps": [
            {
                "batch_size": batch,
                "images_per_step": batch // of_table["batch_divisor"],
                "steps": 360,
                "warmup_steps": 40,
                "published_steps": of_table.get("published_steps"),
            }
            for batch in batches
        ],
        "finished": True,
    }


def imitated_fine_tunings(table):
    """Trials of a table of BERT: of each setting, as many as are fine-tuned."""
    of_table, trials = table_parameters(table), []
    for setting in experiments.settings(of_table):
        setting = {name: v for name, v in setting.items() if name[:2] != "l2"}
        random.seed(repr(setting))
        lost = setting["solver"] == "lars" and setting["batch_size"] == 32768
        right = random.uniform(0.3, 0.5)
        for each in [None] if lost else of_table["finetuning_seeds"]:
            trials.append(
                setting
                | {
                    "seed": 0,
                    "finetuning_seed": each,
                    "outcome": "diverged" if lost else "finished",
                    "steps": 160,
                    "last_loss": math.nan if lost else 2.25,
                    "last_step": 17 if lost else 160,
                    "validation_loss": None if lost else 4 - 4 * right,
                    "validation_accuracy": None if lost else right,
                    "minutes": 0.2,
                    "f1": None if lost else 100 * right + random.gauss(0, 1),
                    "exact_match": None if lost else 90 * right,
                }
            )
    return trials


def imitated_bert_scraps(table):
    """What the notebook of a table of BERT would glue."""
    of_table, trials = table_parameters(table), imitated_fine_tunings(table)
    batches = dict.fromkeys(trial["batch_size"] for trial in trials)
    lengths = {
        batch: stages.pretraining_steps(
            batch, 0.2, 32768, steps_divisor=of_table["steps_divisor"]
        )
        for batch in batches
    }
    return {
        "trials": trials,
        "cells": pretraining.cells(trials, table),
        "references": {
            "unigram_entropy": 5.5,
            "questions": {"train": 900, "dev": 270},
            "untrained": {"f1": 3.0, "exact_match": 0.0},
            "without_pretraining": [
                {"finetuning_seed": n, "f1": 20.0 + n, "exact_match": 9.0}
                for n in range(3)
            ],
        },
        "answers": [
            {
                "question": "Who painted <b>it</b>?",
                "context": "Ada painted it.",
                "answers": ["Ada", "Ada"],
                "predicted": answer,
                "f1": f1,
            }
            for answer, f1 in (("Ada", 100.0), ("", 0.0))
        ],
        "dataset": {
            "name": "encyclopedia",
            "title": "a generated encyclopedia of 1,500 articles, with questions",
            "stands_in_for": "Wikipedia, books and SQuAD v1.1",
            "fingerprint": "0f",
            "documents": 1425,
            "dev_questions": 270,
        },
        "environment": {"device": "cpu", "cpu_count": 2, "python": "3.11.7"},
        "steps": [
            {
                "batch_size": batch,
                "sequences_per_step": sizes[0] // of_table["batch_divisor"],
                "second_sequences_per_step": sizes[1] // of_table["batch_divisor"],
                "steps": lengths[batch].total,
                "second_stage_steps": lengths[batch].second,
                "warmup_steps": lengths[batch].warmup,
                "published_steps": stages.pretraining_steps(batch, 0.2, 32768).total,
            }
            for batch in batches
            for sizes in [stages.batches(batch)]
        ],
        "finished": True,
    }


def leave_run(folder, table, pictures=None, **changes):
    """Writes an executed notebook and its record, as a run of the table leaves them."""
    of_table = table_parameters(table)
    place = folder / f"table{table:02d}"
    place.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_markdown_cell(f"# Table {table}\n\n## Trials")]
    bert = of_table["notebook"] == "bert_squad"
    glued = imitated_bert_scraps(table) if bert else imitated_scraps(table)
    for name, value in (glued | changes).items():
        cells.append(_scrap_cell(name, value))
    for name, png in (pictures or {}).items():
        cells.append(_picture_cell(name, png))
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.write(notebook, place / f"{of_table['notebook']}.ipynb")
    record = RECORD | {
        "run": f"table{table:02d}/{of_table['notebook']}",
        "notebook": of_table["notebook"],
        "table": table,
        "parameters": of_table,
        "overrides": {},
    }
    (place / f"{of_table['notebook']}.json").write_text(json.dumps(record))


def _scrap_cell(name, value):
    about = {
        "name": name,
        "data": scraps.encode(value),
        "encoder": "json",
        "version": 1,
    }
    output = nbformat.v4.new_output(
        "display_data",
        data={"application/scrapbook.scrap.json+json": about},
        metadata={"scrapbook": {"name": name, "data": True, "display": False}},
    )
    return nbformat.v4.new_code_cell(f"scraps.glue({name!r}, ...)", outputs=[output])


def _picture_cell(name, png):
    about = {"scrapbook": {"name": name, "data": False, "display": True}}
    output = nbformat.v4.new_output(
        "display_data",
        data={"image/png": png},
        metadata=about | {"image/png": {"width": 800, "alt": f"The {name}."}},
    )
    return nbformat.v4.new_code_cell("scraps.glue_figure(...)", outputs=[output])


@pytest.fixture(scope="session")
def imitated_table():
    """A function that makes up the trials of a table."""
    return imitated_trials


@pytest.fixture(scope="session")
def imitated(tmp_path_factory):
    """The folder of a scale with a made-up run of every image table."""
    folder = tmp_path_factory.mktemp("imitated") / "laptop"
    for table in (3, 5, 6, 7, *range(9, 26)):
        leave_run(folder, table)
    return folder


@pytest.fixture(scope="session")
def imitated_bert(tmp_path_factory):
    """The folder of a scale with a made-up run of every table of BERT."""
    folder = tmp_path_factory.mktemp("imitated_bert") / "laptop"
    for table in experiments.NOTEBOOKS["bert_squad"].tables:
        leave_run(folder, table)
    return folder
