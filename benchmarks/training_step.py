"""What a training step costs in several ways, taking turns in one process."""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np

from lamb_keras.data import Images, split
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.store import environment
from lamb_keras.training.classification import ImageTrials
from lamb_keras.training.trainer import start

# What a step costs does not depend on the numbers that are left open here.
adam_experiment = functools.partial(
    ImageExperiment,
    scale="laptop",
    solvers=["adam"],
    learning_rates=[0.001],
    batch_divisor=1,
    epochs=1,
    seeds=[0],
    validation_fraction=0.5,
)


def random_images(shape: tuple, count: int):
    """A split of random images, of which so many are to train on and few held out."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count + 10, *shape), "uint8")
    labels = np.arange(count + 10, dtype="uint8") % 10
    images = Images.from_pixels(
        (pixels, labels),
        (pixels[:10], labels[:10]),
        white=255,
        name="random",
        title="random pixels",
        stands_in_for=None,
        classes=10,
    )
    return split(images, 10 / (count + 10))


def fit(images, batch: int, model) -> Callable[[], int]:
    """A function that runs one epoch of `model.fit`, and gives its number of steps."""
    model.compile(
        keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy(True)
    )
    pixels = np.asarray(images.normalize(images.train_images))

    def run():
        model.fit(pixels, images.train_labels, batch_size=batch, verbose=0)
        return -(-len(pixels) // batch)

    run()
    return run


def epoch(experiment: ImageExperiment, images, model) -> Callable[[], int]:
    """A function that runs one compiled epoch, and gives its number of steps."""

    def make_model(*_, seed):
        return model

    trials = ImageTrials(make_model, experiment, images)
    [trial] = experiment.trials()
    [period] = trials.periods([trial], 0)
    [inputs] = period.inputs
    progress = start(trials.step(trial.solver), [trials.initial(trial.seed)])

    def run():
        nonlocal progress
        progress, losses, _ = period.program(
            progress, inputs, period.constants, trials.resident
        )
        np.asarray(losses)
        return int(inputs.steps)

    run()
    return run


def compare(forms: dict[str, Callable[[], int]], rounds: int) -> dict:
    """Milliseconds a step of every form: the median of the rounds.

    `forms` are functions, by name, that run some steps and give their number; the first
    is what `times_as_fast_as_fit` compares with.
    """
    seconds = {name: [] for name in forms}
    for _ in range(rounds):
        for name, run in forms.items():
            started = time.perf_counter()
            steps = run()
            seconds[name].append((time.perf_counter() - started) / steps)
    peer = next(iter(seconds.values()))
    return {
        name: {
            "milliseconds": 1000 * statistics.median(each),
            "times_as_fast_as_fit": statistics.median(
                a / b for a, b in zip(peer, each, strict=True)
            ),
        }
        for name, each in seconds.items()
    }


def main(what: str, make_forms: Callable[[], dict], description: str, arguments=None):
    """The command line of such a benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="with the environment")
    options = parser.parse_args(arguments)
    results = compare(make_forms(), options.rounds)
    if options.json:
        content = {"environment": environment.describe(), "results": results}
        print(json.dumps(content, indent=1))
        return
    print(f"{what}, median of {options.rounds} rounds")
    for name, result in results.items():
        print(
            f"{name:32} {result['milliseconds']:7.1f} ms a step "
            f"{result['times_as_fast_as_fit']:5.2f} x as fast"
        )
