"""What a step of LeNet at the paper's batch costs, against plain Keras.

    python -m lamb_keras.benchmarks.lenet_step [--rounds 5] [--json]

The peer is the same net of `keras.layers.Conv2D` and `keras.layers.MaxPooling2D` under
`model.fit`; between the two stand the net's forms one by one, in the compiled epoch of
this project. All take turns in one process on the same random images (a step's cost
does not depend on what they show), so that a drifting machine slows all of them alike.
"""

import argparse
import dataclasses
import functools
import json
import statistics
import time

import jax
import keras
import numpy as np

from lamb_keras import models
from lamb_keras.data import Images, split
from lamb_keras.models.layers import BandedConv2D, BlockMaxPooling2D
from lamb_keras.results import environment
from lamb_keras.training import Experiment
from lamb_keras.training.program import Program, initial_weights

BATCH, STEPS = 1024, 4
PEER = "model.fit, Keras's layers"


def measure(rounds: int) -> dict:
    """Milliseconds a step of every form: the median of the rounds, and the ratio.

    Returns:
        A dict of form to {"milliseconds", "times_as_fast_as_fit"}.
    """
    images = _random_images()
    keras_layers = {
        "convolution": keras.layers.Conv2D,
        "pooling": keras.layers.MaxPooling2D,
    }
    ours = {"convolution": BandedConv2D, "pooling": BlockMaxPooling2D}
    forms = {
        PEER: _fit(images, **keras_layers),
        "our epoch, Keras's layers": _epoch(images, **keras_layers),
        "our epoch, banded convolution": _epoch(
            images, ours["convolution"], keras_layers["pooling"]
        ),
        "our epoch, block pooling": _epoch(
            images, keras_layers["convolution"], ours["pooling"]
        ),
        "our epoch, both (what is run)": _epoch(images, **ours),
    }

    seconds = {name: [] for name in forms}
    for _ in range(rounds):
        for name, run in forms.items():
            started = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - started) / STEPS)
    ratios = {
        name: [a / b for a, b in zip(seconds[PEER], of_form, strict=True)]
        for name, of_form in seconds.items()
    }
    return {
        name: {
            "milliseconds": 1000 * statistics.median(seconds[name]),
            "times_as_fast_as_fit": statistics.median(ratios[name]),
        }
        for name in forms
    }


def _random_images():
    rng = np.random.default_rng(0)
    count = BATCH * STEPS
    pixels = rng.integers(0, 256, (2 * count, 28, 28), "uint8")
    labels = np.arange(2 * count, dtype="uint8") % 10
    images = Images.from_pixels(
        (pixels, labels),
        (pixels[:100], labels[:100]),
        white=255,
        name="random",
        title="random pixels",
        stands_in_for=None,
        classes=10,
    )
    # Half is held out, so that as many images as the steps take are left.
    return split(images, 0.5)


def _fit(images, convolution, pooling):
    model = models.lenet((28, 28, 1), seed=0, convolution=convolution, pooling=pooling)
    model.compile(
        keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy(True)
    )
    rows = slice(0, BATCH * STEPS)

    def run():
        model.fit(
            images.train_images[rows],
            images.train_labels[rows],
            batch_size=BATCH,
            verbose=0,
        )

    run()
    return run


def _epoch(images, convolution, pooling):
    make_model = functools.partial(
        models.lenet, convolution=convolution, pooling=pooling
    )
    experiment = Experiment(
        notebook="lenet_mnist",
        table=7,
        scale="gpu",
        dataset="mnist",
        solvers=["adam"],
        learning_rates=[0.001],
        weight_decay=0.0,
        batch_size=BATCH,
        batch_divisor=1,
        epochs=1000,
        warmup_epochs=1,
        decay_power=1.0,
        seeds=[0],
        validation_fraction=0.5,
    )
    # Judging the held-out images is not part of a step: a few are enough here.
    few = {
        "validation_images": images.validation_images[:10],
        "validation_labels": images.validation_labels[:10],
    }
    part = dataclasses.replace(images, **few)
    program = Program(experiment, "adam", part, make_model)
    data = jax.device_put((images.train_images, images.train_labels, *few.values()))
    state = program.start([initial_weights(make_model((28, 28, 1), seed=0))])

    def run():
        nonlocal state
        state, report = program.run_epoch(state, [0.001], [0], 0, data)
        np.asarray(report.losses)

    run()
    return run


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="with the environment")
    options = parser.parse_args(arguments)
    results = measure(options.rounds)
    if options.json:
        told = {"environment": environment.describe(), "results": results}
        print(json.dumps(told, indent=1))
        return
    print(f"LeNet at batch {BATCH}, median of {options.rounds} rounds")
    for name, result in results.items():
        print(
            f"{name:32} {result['milliseconds']:7.1f} ms a step "
            f"{result['times_as_fast_as_fit']:5.2f} x as fast"
        )


if __name__ == "__main__":
    main()
