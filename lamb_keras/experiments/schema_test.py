"""The cells of parameters in the notebooks, held against the schema."""

import inspect
import io
import json
import subprocess
import sys
import tokenize
from dataclasses import fields
from pathlib import Path

import pytest

from lamb_keras import experiments
from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.experiments.schema import Experiment, required

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# Where a notebook says in words of its own what it trains, and with what.
OWN_WORDS = {
    "lenet_mnist": ["solvers", "learning_rates", "weight_decay", "warmup_epochs"],
    "davidnet_cifar10": ["solvers", "published_steps"],
    "resnet50_imagenet": [],
    "bert_squad": ["solvers", "exclude_from_weight_decay"],
}


def comments(source):
    """The comment of each name that is assigned or annotated, beside it or above it."""
    found, above, name = {}, "", None
    for kind, text, *_ in tokenize.generate_tokens(io.StringIO(source).readline):
        if kind == tokenize.NAME and name is None:
            name = text
            found[name] = above
        elif kind == tokenize.COMMENT and name is None:
            above = text.strip("# ")
        elif kind == tokenize.COMMENT:
            found[name] = text.strip("# ")
        elif kind == tokenize.NEWLINE:
            above, name = "", None
    return found


def fields_of(experiment):
    """The source of an experiment's fields."""
    source = inspect.cleandoc(inspect.getsource(experiment).partition("class ")[2])
    body = source.partition('"""\n\n')[2].partition("\n\n    def ")[0]
    return inspect.cleandoc(body.partition("@property")[0].partition("def ")[0])


@pytest.mark.parametrize("name", experiments.NOTEBOOKS)
def test_a_notebooks_cell_has_the_names_types_and_comments_of_the_schema(name):
    pretrains = experiments.NOTEBOOKS[name].pretrains
    experiment = BertExperiment if pretrains else ImageExperiment
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    [cell] = [
        each for each in cells if "parameters" in each["metadata"].get("tags", [])
    ]
    source, given = "".join(cell["source"]), {}
    exec(source, {}, given)
    experiment(**given)
    assert {*required(experiment)} <= set(given)
    if pretrains:
        assert set(given) == {each.name for each in fields(experiment)}
    said = comments(fields_of(Experiment)) | comments(fields_of(experiment))
    said["dataset"] = experiments.NOTEBOOKS[name].datasets[0]
    for parameter, comment in comments(source).items():
        if parameter not in OWN_WORDS[name]:
            assert comment.startswith(said[parameter]), parameter


def test_planning_imports_neither_keras_nor_jax():
    code = (
        "import sys, lamb_keras.experiments; print({'keras', 'jax'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == "set()\n", run.stderr


def test_names_are_those_of_the_optimizers_and_augmentations():
    from lamb_keras.optimizers import adamw, solvers
    from lamb_keras.training import augmentation

    assert set(experiments.SOLVERS) == set(solvers.SOLVERS)
    assert experiments.WEIGHT_DECAY_FORMS == adamw.WEIGHT_DECAY_FORMS
    assert experiments.AUGMENTATIONS == augmentation.AUGMENTATIONS
