"""Runs for the tests of what runs leave behind: a real one, and plausible ones."""

import json
import math
import random
import re
import shutil
from html import unescape
from pathlib import Path

import nbformat.v4
import pytest
import yaml

from lamb_keras import experiments
from lamb_keras.names import base
from lamb_keras.results import pretraining, report, statistics
from lamb_keras.store import scraps

PROJECT = Path(__file__).parents[2]
BERT = (1, 2, 4, 8)
IMAGES = (3, 5, 6, 7, *range(9, 26))
BEST_RATE = {"momentum": 0.05, "adagrad": 0.3, "adam": 0.003, "adamw": 0.004}
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
scraps.glue("cells", statistics.cells(trials, 7))
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


def execute(path: Path, *cells: str, heading: str = "# A notebook") -> None:
    """Executes a notebook of the given code cells and leaves it at a path."""
    code = map(nbformat.v4.new_code_cell, cells)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(heading), *code]
    )
    try:
        report.run_cells(notebook, path.parent)
    finally:
        nbformat.write(notebook, path)


@pytest.fixture(scope="session")
def executed_run(tmp_path_factory):
    """The executed notebook of a tiny run of Table 7, as its notebook left it."""
    path = tmp_path_factory.mktemp("executed") / "lenet_mnist.ipynb"
    execute(path, TRIALS, FIGURE, heading="# LeNet on digits\n\n## Trials")
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
        cells = [nbformat.v4.new_markdown_cell("# An attempt")]
        notebook = nbformat.v4.new_notebook(cells=cells)
        nbformat.write(notebook, folder / "lenet_mnist.failed.ipynb")

    return leave


def table_parameters(table, scale="laptop"):
    """The parameters of a table's run, as its YAML files say."""
    params = PROJECT / "params"
    merged = yaml.safe_load((params / f"tables/table{table:02d}.yaml").read_text())
    for name in (merged["notebook"], f"table{table:02d}"):
        path = params / "scales" / scale / f"{name}.yaml"
        merged |= yaml.safe_load(path.read_text()) if path.exists() else {}
    return merged


def imitation(setting, seed):
    """A trial as a run would record it: plausible, and made up."""
    random.seed(repr((setting, seed)))
    solver = base(setting["solver"])
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


def imitated_trials(table):
    """Trials of all settings of a table on images."""
    of_table = table_parameters(table)
    return [
        imitation(setting, seed)
        for setting in experiments.settings(of_table)
        for seed in of_table["seeds"]
    ]


def imitated_fine_tunings(table):
    """Trials of a table of BERT: of each setting, as many as are fine-tuned."""
    of_table, trials = table_parameters(table), []
    for setting in experiments.settings(of_table):
        setting = {name: v for name, v in setting.items() if name[:2] != "l2"}
        random.seed(repr(setting))
        lost = setting["solver"] == "lars" and setting["batch_size"] == 32768
        right = random.uniform(0.3, 0.5)
        for each in [None] if lost else of_table["finetuning_seeds"]:
            metrics = {
                "last_loss": math.nan if lost else 2.25,
                "last_step": 17 if lost else 160,
                "validation_loss": None if lost else 4 - 4 * right,
                "validation_accuracy": None if lost else right,
                "f1": None if lost else 100 * right + random.gauss(0, 1),
                "exact_match": None if lost else 90 * right,
            }
            outcome = "diverged" if lost else "finished"
            seeds = {"seed": 0, "finetuning_seed": each}
            trial = {"outcome": outcome, "steps": 160, "minutes": 0.2}
            trials.append(setting | seeds | trial | metrics)
    return trials


def imitated_scraps(table):
    """What the notebook of a table would glue."""
    of_table, bert = table_parameters(table), table in BERT
    trials = imitated_fine_tunings(table) if bert else imitated_trials(table)
    batches = dict.fromkeys(trial["batch_size"] for trial in trials)
    steps = _pretraining_steps if bert else _steps
    data = ENCYCLOPEDIA if bert else DIGITS
    return {
        "trials": trials,
        "cells": (pretraining if bert else statistics).cells(trials, table),
        "environment": {"device": "cpu", "cpu_count": 2, "python": "3.11.7"},
        "steps": [{"batch_size": b} | steps(b, of_table) for b in batches],
        "finished": True,
    } | data


DIGITS = {
    "dataset": {
        "name": "digits",
        "title": "Handwritten digits",
        "stands_in_for": "MNIST",
        "classes": 10,
        "train": 1150,
        "validation": 287,
        "test": 360,
    }
}
ENCYCLOPEDIA = {
    "dataset": {
        "name": "encyclopedia",
        "title": "a generated encyclopedia of 1,500 articles, with questions",
        "stands_in_for": "Wikipedia, books and SQuAD v1.1",
        "fingerprint": "0f",
        "documents": 1425,
        "dev_questions": 270,
    },
    "references": {
        "unigram_entropy": 5.5,
        "questions": {"train": 900, "dev": 270},
        "untrained": {"f1": 3.0, "exact_match": 0.0},
        "without_pretraining": [
            {"finetuning_seed": n, "f1": 20.0 + n, "exact_match": 9.0} for n in range(3)
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
}


def _steps(batch, of_table):
    return {
        "images_per_step": batch // of_table["batch_divisor"],
        "steps": 360,
        "warmup_steps": 40,
        "published_steps": of_table.get("published_steps"),
    }


def _pretraining_steps(batch, of_table):
    first, second = (int(size) for size in f"{batch}/{batch}".split("/")[:2])
    published = 8599 if first != second else 512 * 1_000_000 // first
    ours = round(published / of_table["steps_divisor"])
    return {
        "sequences_per_step": first // of_table["batch_divisor"],
        "second_sequences_per_step": second // of_table["batch_divisor"],
        "steps": ours,
        "second_stage_steps": ours // 10,
        "warmup_steps": round(3125 / of_table["steps_divisor"]),
        "published_steps": published,
    }


def leave_run(folder, table, pictures=None, record=None, **changes):
    """Writes an executed notebook and its record, as a run of the table leaves them.

    `changes` are to the scraps; a cell glues each, one more each picture.
    """
    of_table = table_parameters(table)
    place = folder / f"table{table:02d}"
    place.mkdir(parents=True, exist_ok=True)
    outputs = [_scrap(*each) for each in (imitated_scraps(table) | changes).items()]
    outputs += [_picture(*each) for each in (pictures or {}).items()]
    cells = [nbformat.v4.new_code_cell("...", outputs=[output]) for output in outputs]
    heading = nbformat.v4.new_markdown_cell(f"# Table {table}\n\n## Trials")
    notebook = nbformat.v4.new_notebook(cells=[heading, *cells])
    nbformat.write(notebook, place / f"{of_table['notebook']}.ipynb")
    about = RECORD | {
        "run": f"table{table:02d}/{of_table['notebook']}",
        "notebook": of_table["notebook"],
        "table": table,
        "parameters": of_table,
        "overrides": {},
    }
    about |= record or {}
    (place / f"{of_table['notebook']}.json").write_text(json.dumps(about))


def _scrap(name, value):
    about = {"name": name, "data": scraps.encode(value), "encoder": "json"}
    return nbformat.v4.new_output(
        "display_data",
        data={"application/scrapbook.scrap.json+json": about | {"version": 1}},
        metadata={"scrapbook": {"name": name, "data": True, "display": False}},
    )


def _picture(name, png):
    about = {"scrapbook": {"name": name, "data": False, "display": True}}
    return nbformat.v4.new_output(
        "display_data",
        data={"image/png": png},
        metadata=about | {"image/png": {"width": 800, "alt": f"The {name}."}},
    )


@pytest.fixture(scope="session")
def imitated_table():
    """A function that makes up the trials of a table."""
    return imitated_trials


@pytest.fixture(scope="session")
def imitated(tmp_path_factory):
    """The folder of a scale with a made-up run of every image table."""
    folder = tmp_path_factory.mktemp("imitated") / "laptop"
    for table in IMAGES:
        leave_run(folder, table)
    return folder


@pytest.fixture(scope="session")
def imitated_bert(tmp_path_factory):
    """The folder of a scale with a made-up run of every table of BERT."""
    folder = tmp_path_factory.mktemp("imitated_bert") / "laptop"
    for table in BERT:
        leave_run(folder, table)
    return folder


def text_of(html):
    """The words of a page, as a reader sees them."""
    words = re.sub(r"<[^>]*>", " ", html)
    return " ".join(unescape(words).split()).replace(" .", ".").replace(" ,", ",")
