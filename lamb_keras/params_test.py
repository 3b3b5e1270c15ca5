"""What the files in `params/` say, held against what the paper published."""

import math
import re

import pytest

from lamb_keras import parameters
from lamb_keras.batch import notebook, plan, values
from lamb_keras.results import paper

PROJECT = plan.Project.find()
SCALES = PROJECT.scales()
SWEEPS = range(9, 26)
IMAGENET = 1_281_167  # training images

# A setting's number for each column that names a row of a sweep.
COLUMNS = {
    "Learning Rate": "learning_rate",
    "learning rate": "learning_rate",
    "weight decay": "weight_decay",
    "L2 regularization": "l2_regularization",
}
L2_AS_PRINTED = {0.01: "default (0.01)", 0.0: "disable"}


def planned(table, scale):
    [run] = plan.plan(PROJECT, scale, PROJECT.root / "outputs", [str(table)])
    return run.parameters


def label(table, setting):
    """The name of a sweep's row by the numbers of a setting."""
    numbers = [setting[COLUMNS[key]] for key in paper.tables()[table].keys]
    if len(numbers) == 3:
        numbers[2] = L2_AS_PRINTED[numbers[2]]
    return ", ".join(map(str, numbers))


@pytest.mark.parametrize("table", PROJECT.tables())
def test_the_paper_side_of_a_table_is_valid_by_itself(table):
    said = plan.experiment(PROJECT, table)
    assert parameters.validate(said) == said


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("table", PROJECT.tables())
def test_every_table_can_be_planned_at_every_scale(table, scale):
    run = planned(table, scale)
    assert (run["table"], run["scale"]) == (table, scale)
    assert parameters.trials(run) >= len(run["solvers"])


def test_every_image_table_has_an_experiment():
    images = [n for each in parameters.NOTEBOOKS.values() for n in each.tables]
    assert PROJECT.tables() == sorted(images)
    for number in images:
        said = plan.experiment(PROJECT, number)
        assert paper.tables()[number].experiment == said["notebook"]


def test_what_a_scale_says_of_one_table_is_of_a_table_with_an_experiment():
    names = {PROJECT.table_file(table).name for table in PROJECT.tables()}
    for scale in SCALES:
        folder = PROJECT.scale_file(scale, "table").parent
        assert {path.name for path in folder.glob("table*")} <= names


@pytest.mark.parametrize("scale", SCALES)
def test_a_sweep_trains_exactly_the_published_rows_in_their_order(scale):
    rows = 0
    for table in SWEEPS:
        run = planned(table, scale)
        forms = run["weight_decay_form"]
        # Table 23 is run in the other form of weight decay once more.
        assert (table == 23) == isinstance(forms, list)
        for form in forms if isinstance(forms, list) else [forms]:
            settings = parameters.settings({**run, "weight_decay_form": form})
            labels = [label(table, setting) for setting in settings]
            assert labels == list(paper.tables()[table].labeled_rows())
        rows += len(labels)
    assert rows == 344


def test_the_sweeps_use_the_solver_their_title_names():
    for table in SWEEPS:
        [solver] = plan.experiment(PROJECT, table)["solvers"]
        title = paper.tables()[table].title
        assert solver.endswith("+") == ("Goyal" in title) == ("Default" not in title)
        name = solver.removesuffix("+")
        assert re.search(rf"\b{name}\b", title, re.IGNORECASE)


def test_weight_decay_is_per_step_where_the_paper_sweeps_it_and_then_rescaled():
    steps = math.ceil(90 * IMAGENET / 16384)
    for table in range(13, 26):
        said = plan.experiment(PROJECT, table)
        form = said["weight_decay_form"]
        assert (form[0] if table == 23 else form) == "per_step"
        assert said["published_steps"] == steps == 7038


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_has_one_divisor_of_batches_for_all_sweeps_and_keeps_the_epochs(scale):
    runs = [planned(table, scale) for table in SWEEPS]
    assert len({(run["batch_divisor"], run["epochs_divisor"]) for run in runs}) == 1
    assert {(run["batch_size"], run["epochs"]) for run in runs} == {(16384, 90)}


def test_the_default_solvers_of_the_sweeps_have_a_constant_rate():
    for table in (9, 11, *range(13, 21)):
        said = plan.experiment(PROJECT, table)
        assert (said["warmup_epochs"], said["decay_power"]) == (0, 0)


def test_table_5_has_the_published_rates_and_warmups_and_always_782_warmup_steps():
    from lamb_keras.training.experiment import Experiment

    experiment = Experiment(**planned(5, "paper"))
    published = paper.tables()[5].labeled_rows()
    trials = experiment.trials()
    assert [str(trial.batch_size) for trial in trials] == list(published)
    lengths = {}
    for trial, row in zip(trials, published.values(), strict=True):
        steps = experiment.steps(trial, IMAGENET)
        rates = experiment.learning_rates_by_step(trial, steps)
        assert rates.max() == pytest.approx(row["learning_rate"], rel=1e-6)
        assert steps.warmup == 782
        epochs = steps.warmup / steps.total * experiment.epochs
        assert epochs == pytest.approx(row["warmup_epochs"], rel=1e-3)
        lengths[trial.batch_size] = steps.total
    assert (lengths[16384], lengths[32768]) == (7038, 3519)


@pytest.mark.parametrize("scale", SCALES)
def test_table_3_adds_momentum_at_goyals_rate_and_the_lamb_of_table_5(scale):
    run = planned(3, scale)
    momentum, lamb = parameters.settings(run)
    per_step = run["batch_size"] // run["batch_divisor"]
    assert (momentum["solver"], lamb["solver"]) == ("momentum+", "lamb")
    assert momentum["learning_rate"] == pytest.approx(0.1 * per_step / 256)
    assert momentum["l2_regularization"] == 0.0001
    published = paper.tables()[5].labeled_rows()["16384"]
    assert lamb["learning_rate"] == published["learning_rate"]
    assert run["warmup_epochs"] == published["warmup_epochs"]
    of_table_5 = planned(5, scale)
    for name in ("weight_decay", "exclude_from_weight_decay", "global_clipnorm"):
        assert run[name] == of_table_5[name]
    assert run["decay_power"] == of_table_5["decay_power"]


def test_table_6_tries_the_whole_grid_of_the_appendix_at_the_papers_scale():
    run = planned(6, "paper")
    assert run["solvers"] == list(paper.tables()[6].labeled_rows())
    tried = {name: [] for name in run["solvers"]}
    for setting in parameters.settings(run):
        tried[setting["solver"]].append(setting)
    counts = {name: len(settings) for name, settings in tried.items()}
    # AdamW has five weight decays for each of the 34 rates.
    assert counts == {
        "adagrad": 34,
        "adam": 34,
        "adamw": 170,
        "momentum": 1,
        "lamb": 34,
    }
    [momentum] = tried["momentum"]
    assert (momentum["learning_rate"], momentum["l2_regularization"]) == (0.4, 0.0005)


@pytest.mark.parametrize("scale", SCALES)
def test_table_6_tries_the_same_published_rates_for_all_but_momentum(scale):
    rates = dict(planned(6, scale)["learning_rates"])
    del rates["momentum"]
    assert len(set(map(tuple, rates.values()))) == 1
    appendix = planned(6, "paper")["learning_rates"]["lamb"]
    assert set(rates["lamb"]) <= set(appendix)


@pytest.mark.parametrize("scale", SCALES)
def test_the_files_of_table_7_say_all_that_its_notebook_takes(scale):
    said = plan.experiment(PROJECT, 7)
    smaller = values.read_file(PROJECT.scale_file(scale, said["notebook"]))
    assert not set(said) & set(smaller)
    path = PROJECT.notebook(said["notebook"])
    assert {*said, *smaller} == set(notebook.defaults(path))
