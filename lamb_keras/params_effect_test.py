"""What a table's file names is used: another value trains something else.

Nothing is trained: what a training starts from is compared, with the value of the file
and with another one: the optimizer, the rate and decay of each step, the data, the
gradients of the loss.
"""

import functools
import json

import jax
import keras
import numpy as np
import pytest

from lamb_keras import experiments
from lamb_keras.batch import plan
from lamb_keras.data import Images
from lamb_keras.experiments import of_solver
from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.experiments.schema import GRIDS
from lamb_keras.names import DECAYING_SOLVERS, WEIGHT_DECAY_FORMS, base
from lamb_keras.optimizers import solvers
from lamb_keras.params_test import PROJECT, planned
from lamb_keras.training.classification import ImageTrials
from lamb_keras.training.step import initial_weights, optimizer

# Which run it is, and which of its trials are repeated.
OF_THE_RUN = {"notebook", "table", "solvers", "confirmation_seeds"}
USERS = {
    "weight_decay": DECAYING_SOLVERS,
    "exclude_from_weight_decay": DECAYING_SOLVERS,
    "weight_decay_form": ("adamw",),
    "published_steps": ("adamw",),
    "nesterov": ("momentum",),
}
OF_OTHER_SCHEDULES_THAN_GOYALS = {"warmup_epochs", "decay_power"}
# Another value than a file's, where half of it, or 5 for 0, is none.
OTHERS = {
    "seeds": lambda seeds: [seed + 1000 for seed in seeds],
    "augmentations": lambda names: names[:1],
    "weight_decay_form": lambda form: next(
        other for other in WEIGHT_DECAY_FORMS if other not in ([form], form, form[0])
    ),
    "exclude_from_weight_decay": lambda patterns: ["kernel$"],
    # A decay per step would be too strong for half of them.
    "epochs": lambda epochs: 2 * epochs,
}
OF_NOTHING = {"base_batch_size": 32768, "global_clipnorm": 1.0}


def is_used(name, solver, run):
    if name in OF_OTHER_SCHEDULES_THAN_GOYALS and solver.endswith("+"):
        return False
    if name == "rewarmup":
        return isinstance(of_solver(run["batch_size"], solver), str)
    return base(solver) in USERS.get(name, solvers.SOLVERS)


def other(name, value):
    """A valid value that is different, for every solver."""
    if isinstance(value, dict):
        return {solver: other(name, each) for solver, each in value.items()}
    if name in OTHERS:
        return OTHERS[name](value)
    if value is None:
        return OF_NOTHING[name]
    if isinstance(value, list):
        return [other(name, each) for each in value]
    if isinstance(value, bool):
        return not value
    if name == "batch_size":  # half of it may be less than one at a small scale
        if isinstance(value, int):
            return 2 * value
        return "/".join(str(2 * int(batch)) for batch in value.split("/"))
    return value // 2 if isinstance(value, int) and value else value / 2 or 5.0


def of_one_trial(run, solver):
    """The parameters of the first trial of a solver, without those it does not have."""
    found = {}
    for name, value in run.items():
        if isinstance(value, dict) and solver not in value:
            continue
        value = of_solver(value, solver)
        if isinstance(value, list) and name in {*GRIDS, *GRIDS.values(), "seeds"}:
            keeps_list = name in ("seeds", "learning_rates")
            value = value[:1] if keeps_list else value[0]
        found[name] = value
    return {**found, "solvers": [solver]}


@functools.cache
def images():
    rng = np.random.default_rng(0)
    train, test = (
        (rng.integers(0, 256, (n, 4, 4), "uint8"), np.arange(n) % 3) for n in (1440, 3)
    )
    about = {"name": "noise", "title": "Noise", "stands_in_for": None, "classes": 3}
    return Images.from_pixels(train, test, **about)


@functools.cache
def model(image_shape, classes, seed):
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Flatten(),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(classes),
    ]
    return keras.Sequential([keras.Input(image_shape), *layers])


def start_of_images(experiment):
    """The data, rates and decays of all steps, and the gradients of the first ones."""
    trials = ImageTrials(model, experiment, images())
    [trial] = experiment.trials()
    periods = [
        (each.inputs, each.constants, each.last_step)
        for each in trials.periods([trial], 0)
    ]
    step = trials.step(base(trial.solver))
    state = step.start(initial_weights(step.task.model))
    [inputs], constants, _ = periods[0]
    batch = step.task.batch(jax.tree.map(lambda x: x[0], inputs.micro), trials.resident)
    return periods, step.gradients(state, batch, constants)


def start_of_bert(experiment):
    """The steps of both stages, their rates and their decays."""
    [trial] = experiment.trials()
    return (
        experiment.stages(trial),
        experiment.learning_rates_by_step(trial),
        experiment.weight_decays_by_step(trial),
    )


def start(run, solver):
    """All that a training starts from, as text."""
    pretrains = experiments.NOTEBOOKS[run["notebook"]].pretrains
    kind, of = (
        (BertExperiment, start_of_bert)
        if pretrains
        else (ImageExperiment, start_of_images)
    )
    experiment = kind(**of_one_trial(run, solver))
    config = optimizer(experiment, solver).get_config()
    del config["name"]  # Keras numbers those it makes up.
    leaves = [
        np.asarray(leaf).tobytes().hex() for leaf in jax.tree.leaves(of(experiment))
    ]
    return json.dumps([config, leaves])


@pytest.mark.parametrize("table", PROJECT.tables())
def test_every_parameter_of_a_tables_file_is_used_by_each_solver_or_refused(table):
    said = plan.experiment(PROJECT, table)
    run = {**planned(table, "laptop"), **said}
    as_said = {solver: start(run, solver) for solver in run["solvers"]}
    for name in said.keys() - OF_THE_RUN:
        changed = {**run, name: other(name, said[name])}
        assert any(is_used(name, solver, run) for solver in run["solvers"]), name
        for solver in run["solvers"]:
            try:
                differs = start(changed, solver) != as_said[solver]
            except experiments.ParameterError as refusal:
                # So short a training decays too much: it is the steps that are used.
                differs = "of the weights, expected less than 1" in str(refusal)
            assert differs == is_used(name, solver, run), (name, solver)
            if not differs:
                with pytest.raises(experiments.ParameterError):
                    experiments.validate({name: {solver: said[name]}})
