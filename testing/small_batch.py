"""Small batches with trials that are kept, for the tests of what may come between."""

import json

from testing.tiny_project import cell, make_project

NOTEBOOK = "resnet50_imagenet"
PARAMETERS = """
notebook = "resnet50_imagenet"
table = 9
scale = "laptop"
dataset = "digits"
solvers = ["momentum", "lamb"]
own_solvers = {}
learning_rates = [0.01, 0.02]
batch_size = 16
epochs = 1
seeds = [0, 1]
validation_fraction = 0.2
"""
TRIALS = 8
# A solver and a data set that are not the kit's, and what has a table take them.
BROUGHT = """
import optax
from sklearn.datasets import load_digits

def nadam(learning_rate):
    return optax.nadam(learning_rate)

nadam.grid = {"learning_rate": [0.01, 0.02]}

def load():
    digits = load_digits()
    pixels, labels = (15 * digits.images).astype("uint8"), digits.target
    return (pixels[:1440], labels[:1440]), (pixels[1440:], labels[1440:])
"""
TAKEN = """
solvers: [lamb]
own_solvers: {nadam: "brought.py:nadam"}
dataset: brought.py:load
"""
TRAIN = """
import keras

from lamb_keras import data, training
from lamb_keras.experiments.image import ImageExperiment

def net(image_shape, classes, seed=None):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input(image_shape), keras.layers.Flatten(name="flat")]
    return keras.Sequential([*layers, keras.layers.Dense(classes, name="logits")])

images = data.split(data.load(dataset), validation_fraction)
sweep = training.sweep(ImageExperiment.of(globals()), images, net)
assert sweep.late_compilations == 0
"""
GLUE = """
import hashlib
import json

from lamb_keras.store import scraps

scraps.glue("trials", sweep.trials)
curves = json.dumps(sweep.curves()).encode()
scraps.glue("curves", hashlib.sha256(curves).hexdigest())
scraps.glue("finished", True)
"""
REAL = [TRAIN, GLUE]

# What stands for training where many starts are to be cheap: a long way to a number of
# which each bit tells, by neither Keras nor JAX. Trials are kept and told of as those
# of `training` are.
STAND_IN = """
import json
import os
import pathlib

from lamb_keras.store import events, atomic

folder = pathlib.Path(os.environ["LAMB_KERAS_TRIALS"])
folder.mkdir(parents=True, exist_ok=True)
trials = [(solver, rate, seed)
          for solver in solvers for rate in learning_rates for seed in seeds]
files = [folder / f"{number}.json" for number in range(len(trials))]
done = sum(file.exists() for file in files)
events.emit("trials planned", total=len(trials), done=done)
for file, (solver, rate, seed) in zip(files, trials):
    if not file.exists():
        x = (len(solver) + rate + seed) / 10
        for step in range(300_000):
            x = 3.99 * x * (1 - x)
        atomic.write(file, json.dumps({"solver": solver, "x": x.hex()}))
        done += 1
        label = f"{solver} {rate} {seed}"
        events.emit("trial finished", total=len(trials), done=done, label=label)
found = [json.loads(file.read_bytes()) for file in files]
"""
# As `scraps.glue`, without the seconds that Scrapbook's imports take.
GLUE_FOUND = """
for name, data in {"trials": found, "finished": True}.items():
    scrap = {"name": name, "data": data, "encoder": "json", "version": 1}
    display({"application/scrapbook.scrap.json+json": scrap}, raw=True, metadata={
        "scrapbook": {"name": name, "data": True, "display": False}})
"""
IMITATED = [STAND_IN, GLUE_FOUND]

# The command line without the report, which has its own tests.
RUN = """
import sys
from lamb_keras import cli
from lamb_keras.results import report
report.render = lambda output, *_: output
sys.exit(cli.main(["run", *sys.argv[1:]]))
"""


def make_small_batch(root, monkeypatch, tables, code=REAL, epochs=60):
    """A project with one notebook for several tables, which differ in a rate.

    Where it really trains, its solver and data set are brought.

    Args:
        root: its folder.
        monkeypatch: Pytest's.
        tables: their numbers, of those that the notebook is for.
        code: the notebook's cells, `REAL` or `IMITATED`.
        epochs: how long each trial is.
    """
    made = make_project(root, monkeypatch)
    cells = [cell(PARAMETERS, "parameters"), *map(cell, code)]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    made.project.notebook(NOTEBOOK).write_text(json.dumps(notebook))
    made.project.scale_file("laptop", NOTEBOOK).write_text("scale: laptop\n")
    if code is REAL:
        (root / "brought.py").write_text(BROUGHT)
    for table in tables:
        made.project.table_file(table).write_text(
            f"notebook: {NOTEBOOK}\ntable: {table}\nepochs: {epochs}\n"
            f"learning_rates: [0.01, 0.0{table}5]\n{TAKEN * (code is REAL)}"
        )
    return made


def numbers(run):
    """What the run found, without what the moment decides."""
    trials = [dict(trial) for trial in run.scraps["trials"]]
    for trial in trials:
        trial.pop("seconds", None)
        trial.pop("compilations", None)
    return json.dumps([trials, run.scraps.get("curves")])
