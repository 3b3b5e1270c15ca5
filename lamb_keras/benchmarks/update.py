"""What one update of LAMB costs, against Keras's and optax's, on the shapes of BERT.

    python -m lamb_keras.benchmarks.update [--model bert-small] [--rounds 9] [--json]

Only the update is timed, not a training step: gradients are given. All optimizers take
turns in one process with donated buffers, so that a drifting machine slows all of them
alike; quote the ratios. The floor is what reading and writing 10 words a parameter (two
passes over float32 weights, gradient and moments) takes at the bandwidth of a pass in
place, measured in the same rounds.
"""

import argparse
import json
import math
import statistics
import time

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax

from lamb_keras.optimizers import Lamb
from lamb_keras.results import environment

# Layers, width: Devlin et al., 2019, and the smaller sizes of Turc et al., 2019.
MODELS = {"bert-small": (4, 512), "bert-base": (12, 768), "bert-large": (24, 1024)}
WORDS_A_PARAMETER = 10
VOCABULARY, POSITIONS, SEGMENTS = 30522, 512, 2


def bert_shapes(layers: int, width: int) -> list[tuple]:
    """The shapes of BERT's variables, with the heads of its pre-training.

    Example:
        >>> shapes = bert_shapes(*MODELS["bert-large"])
        >>> len(shapes), sum(map(math.prod, shapes))
        (398, 336226108)
    """

    def dense(inputs, outputs):
        return [(inputs, outputs), (outputs,)]

    norm = [(width,), (width,)]
    layer = [
        *(4 * dense(width, width)),
        *norm,
        *dense(width, 4 * width),
        *dense(4 * width, width),
        *norm,
    ]
    return [
        *((rows, width) for rows in (VOCABULARY, POSITIONS, SEGMENTS)),
        *norm,
        *(layers * layer),
        *dense(width, width),  # the pooler
        *dense(width, width),  # the masked-word head, tied to the embeddings
        *norm,
        (VOCABULARY,),
        *dense(width, 2),  # the next-sentence head
    ]


def measure(model: str, rounds: int) -> dict:
    """Milliseconds of an update, and its ratio to that of Keras's and of optax's LAMB.

    Returns:
        A dict of optimizer to {"milliseconds", "to_keras_lamb", "to_optax_lamb"}, the
        medians of the rounds; "floor" is among them.
    """
    rng = np.random.default_rng(0)
    shapes = bert_shapes(*MODELS[model])
    weights = [0.02 * rng.standard_normal(shape, "float32") for shape in shapes]
    gradients = [jnp.asarray(1e-3 * rng.standard_normal(s, "float32")) for s in shapes]
    options = {"learning_rate": 1e-3, "weight_decay": 0.01}
    runs = {
        "lamb_keras.Lamb": _keras(Lamb(**options), weights, gradients),
        "the same, ratios tracked": _keras(
            Lamb(**options, track_trust_ratios=True), weights, gradients
        ),
        "keras.optimizers.Lamb": _keras(
            keras.optimizers.Lamb(**options), weights, gradients
        ),
        "optax.lamb": _optax(optax.lamb(**options), weights, gradients),
        "keras.optimizers.AdamW": _keras(
            keras.optimizers.AdamW(**options), weights, gradients
        ),
        "floor": _floor(sum(map(math.prod, shapes))),
    }
    seconds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name].append(run())
    return {
        name: {
            "milliseconds": 1000 * statistics.median(of_one),
            "to_keras_lamb": _ratio(of_one, seconds["keras.optimizers.Lamb"]),
            "to_optax_lamb": _ratio(of_one, seconds["optax.lamb"]),
        }
        for name, of_one in seconds.items()
    }


def _ratio(ours, theirs):
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _keras(optimizer, weights, gradients):
    variables = [keras.Variable(w) for w in weights]
    optimizer.build(variables)
    state = [v.value for v in variables], [v.value for v in optimizer.variables]

    def update(weights, optimizer_variables, gradients):
        return optimizer.stateless_apply(optimizer_variables, gradients, weights)

    return _timed(update, state, gradients)


def _optax(optimizer, weights, gradients):
    weights = [jnp.asarray(w) for w in weights]

    def update(weights, state, gradients):
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    return _timed(update, (weights, optimizer.init(weights)), gradients)


def _timed(update, state, gradients):
    """A function that makes one update and returns its seconds; compiled already."""
    compiled = jax.jit(update, donate_argnums=(0, 1))
    # Copies, since what is donated is gone.
    state = jax.block_until_ready(compiled(*jax.tree.map(jnp.copy, state), gradients))

    def run():
        nonlocal state
        started = time.perf_counter()
        state = jax.block_until_ready(compiled(*state, gradients))
        return time.perf_counter() - started

    return run


def _floor(parameters):
    """Seconds of the floor's traffic, from a pass that reads and writes every word."""
    # In place: fresh memory costs page faults, which no update here pays either.
    add_one = jax.jit(lambda x: x + 1, donate_argnums=0)
    words = add_one(jnp.zeros(parameters, "float32")).block_until_ready()

    def run():
        nonlocal words
        started = time.perf_counter()
        words = add_one(words).block_until_ready()
        return (time.perf_counter() - started) * WORDS_A_PARAMETER / 2

    return run


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="bert-small")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="with the environment")
    options = parser.parse_args(arguments)
    results = measure(options.model, options.rounds)
    if options.json:
        told = {"environment": environment.describe(), "results": results}
        print(json.dumps(told, indent=1))
        return
    print(f"{options.model}, median of {options.rounds} rounds")
    for name, result in results.items():
        print(
            f"{name:26} {result['milliseconds']:8.1f} ms "
            f"{result['to_keras_lamb']:6.2f} x keras.optimizers.Lamb "
            f"{result['to_optax_lamb']:6.2f} x optax.lamb"
        )


if __name__ == "__main__":
    main()
