import inspect
import json
from dataclasses import fields
from pathlib import Path

import nbformat
import papermill
import pytest

from lamb_keras import experiments
from lamb_keras.batch.notebook import comments
from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.experiments.cells import assigned
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.experiments.schema import (
    SOLVERS,
    Experiment,
    required,
)
from lamb_keras.experiments.validation_test import TABLE_7

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# Where a notebook says in words of its own what it trains, and with what.
OWN_WORDS = {
    "lenet_mnist": ["solvers", "learning_rates", "weight_decay", "warmup_epochs"],
    "davidnet_cifar10": ["solvers", "published_steps"],
    "resnet50_imagenet": [],
    "bert_squad": ["solvers"],
}


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


def test_names_are_those_of_the_optimizers():
    from lamb_keras.optimizers import solvers

    assert set(SOLVERS) == set(solvers.SOLVERS)


# What a kernel has run

GIVEN = "\n".join(f"{name} = {value!r}" for name, value in TABLE_7.items())
RENAMED = GIVEN.replace("batch_divisor", "batch_division")


def of(*executed, **more):
    """The experiment of a kernel that has run these cells."""
    names = {}
    for source in executed:
        exec(source, names)
    return ImageExperiment.of({**names, "In": ["", *executed]}, **more)


def refusal(*executed):
    with pytest.raises(ParameterError) as caught:
        of(*executed)
    return str(caught.value)


def test_a_name_that_no_parameter_has_is_refused_in_either_cell():
    assert of(GIVEN, "import math\nx = 3", "# Parameters\nepochs = 3").epochs == 3
    assert refusal(RENAMED) == (
        "unknown parameter batch_division; did you mean batch_divisor?"
    )
    assert "weight_decy; did you mean weight_decay?" in refusal(
        GIVEN, "# Parameters\nepochs = 3\nweight_decy = 0.5"
    )
    assert "epochs is 0, expected a" in refusal(GIVEN, "# Parameters\nepochs = 0")
    # Where what was injected has most parameters, too, the notebook's own cell counts.
    assert "batch_division" in refusal(RENAMED, f"# Parameters\n{GIVEN}")


def test_a_cell_that_was_mended_and_run_again_is_fine():
    wrong, right = "# Parameters\nepoch = 3", "# Parameters\nepochs = 3"
    assert of(RENAMED, GIVEN).batch_divisor == 16
    assert of(GIVEN, wrong, right).epochs == 3
    assert of(wrong, GIVEN).epochs == 30
    # What one tries beside them is one's own.
    assert of(GIVEN, "epochs = 3\nrates = [0.1]").epochs == 3
    # But what was fine and then changed is not.
    assert "batch_division" in refusal(GIVEN, RENAMED)
    assert "epoch" in refusal(GIVEN, right, wrong)


def test_a_notebook_may_have_parameters_of_its_own():
    noisy = f"{GIVEN}\nnoise: float = 0.1\n_half, _all = 8, 16"
    assert "unknown parameter noise" in refusal(noisy)
    assert of(noisy, own=["noise"]).batch_divisor == 16


def test_a_missing_parameter_is_named():
    without = GIVEN.replace("scale = 'laptop'\n", "")
    assert refusal(without) == "scale is missing; add it to the parameters"


def test_what_is_not_python_has_no_names():
    assert assigned(["%time x = (", "x = 3; y, z = 1, 2"], {"x"}) == ["x", "y", "z"]


def test_plain_papermill_stops_with_one_sentence(tmp_path):
    make = "from lamb_keras.experiments.image import ImageExperiment"
    cells = [nbformat.v4.new_code_cell(GIVEN, metadata={"tags": ["parameters"]})]
    cells += map(nbformat.v4.new_code_cell, [make, "ImageExperiment.of(globals())"])
    notebook = nbformat.v4.new_notebook(cells=cells)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["kernelspec"] = kernel
    nbformat.write(notebook, tmp_path / "in.ipynb")
    paths = str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb")
    given = {"epoch": 3, "weight_decy": 0.5}
    with pytest.raises(papermill.PapermillExecutionError, match="mean epochs?"):
        papermill.execute_notebook(*paths, given, progress_bar=False)
    left = json.loads(Path(paths[1]).read_text())["cells"][-1]["outputs"]
    [traceback] = [output["traceback"] for output in left if "traceback" in output]
    assert traceback == [
        "ParameterError: unknown parameter epoch; did you mean epochs?"
    ]


def test_seeds_that_chose_a_setting_do_not_confirm_it():
    names = json.loads((NOTEBOOKS / "lenet_mnist.ipynb").read_text())["cells"]
    given = {}
    exec("".join(names[1]["source"]), {}, given)
    with pytest.raises(experiments.ParameterError) as caught:
        ImageExperiment(**given | {"seeds": [0, 3], "confirmation_seeds": [7, 3, 8]})
    assert str(caught.value) == (
        "confirmation_seeds has 3, which is one of seeds, expected seeds that had no "
        "part in the choice; choose others"
    )


def test_what_papermill_sets_beyond_a_notebooks_own_names_is_refused():
    cells = ["rounds = 5\ntorch = False", "# Parameters\nround = 3\n", "x = 1"]
    with pytest.raises(ParameterError, match="parameter round; did you mean rounds?"):
        experiments.check_injected({"In": ["", *cells]})
    experiments.check_injected({"In": ["", cells[0], "# Parameters\nrounds = 3"]})
    experiments.check_injected({"In": ["", cells[0], cells[2]]})
