"""What one update of LAMB costs, against Keras's and optax's, on real models' shapes.

    lamb-keras bench update [--model bert-small] [--rounds 9] [--json]

Only the update is timed, not a training step: gradients are given. All optimizers take
turns in one process with donated buffers, so that a drifting machine slows all of them
alike; quote the ratios. The floor is what reading and writing 10 words a parameter (two
passes over float32 weights, gradient and moments) takes at the bandwidth of a pass in
place, measured in the same rounds.

Compile time and peak memory (arguments, results and temporary arrays) are of the
compiled program.

On a CPU much of the time goes into temporary arrays: XLA keeps every u (4 bytes a
parameter), and fresh memory costs page faults, 3 ns a number where a pass over memory
at hand costs 0.2 to 1. What was tried against that and was no faster, in prototypes on
BERT-Small and 2 shared cores, in times of Keras's LAMB: norms by rows behind a barrier
1.06 to 1.17, u computed again behind a barrier 1.7 to 1.9 (ε and λw are then kept at
full size), a loop over blocks of 4,096 to 131,072 numbers 2.0 to 2.6, sums of slices
1.4 to 2.3. What did help: ‖u‖² by a reduction whose own body squares, over the middle
axis of (rows, 8, 64), with u computed again for the step: 0.55 (5 rounds). The
optimizers do not do so yet.
"""

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
BERTS = {"bert-small": (4, 512), "bert-base": (12, 768), "bert-large": (24, 1024)}
MODELS = [*BERTS, "resnet50"]
WORDS_A_PARAMETER = 10
VOCABULARY, POSITIONS, SEGMENTS = 30522, 512, 2


def model_shapes(model: str) -> list[tuple]:
    """The shapes of a model's trainable variables.

    Example:
        >>> sum(map(math.prod, model_shapes("resnet50")))
        25557032
    """
    if model in BERTS:
        return bert_shapes(*BERTS[model])
    from lamb_keras.models import resnet50

    net = resnet50((224, 224, 3))
    return [tuple(v.shape) for v in net.trainable_variables]


def bert_shapes(layers: int, width: int) -> list[tuple]:
    """The shapes of BERT's variables, with the heads of its pre-training.

    Example:
        >>> shapes = bert_shapes(*BERTS["bert-large"])
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
    """Milliseconds of an update, its ratios to others, and what compiling it tells.

    Returns:
        A dict of optimizer to {"milliseconds", "to_keras_lamb", "to_optax_lamb",
        "to_floor"}, the medians of the rounds, with "compile_seconds" and
        "peak_megabytes"; "floor" is among them, without these two.
    """
    rng = np.random.default_rng(0)
    shapes = model_shapes(model)
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
        "optax.adamw": _optax(optax.adamw(**options), weights, gradients),
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
            "to_floor": _ratio(of_one, seconds["floor"]),
            **getattr(runs[name], "compiled", {}),
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
    started = time.perf_counter()
    compiled = jax.jit(update, donate_argnums=(0, 1)).lower(*state, gradients).compile()
    seconds = time.perf_counter() - started
    memory = compiled.memory_analysis()
    peak = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    # Copies, since what is donated is gone.
    state = jax.block_until_ready(compiled(*jax.tree.map(jnp.copy, state), gradients))

    def run():
        nonlocal state
        started = time.perf_counter()
        state = jax.block_until_ready(compiled(*state, gradients))
        return time.perf_counter() - started

    run.compiled = {"compile_seconds": seconds, "peak_megabytes": peak / 1e6}
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


def report(model: str, rounds: int, as_json: bool = False):
    """Measures and prints, as a table or as JSON with the environment."""
    results = measure(model, rounds)
    if as_json:
        told = {"environment": environment.describe(), "results": results}
        print(json.dumps(told, indent=1))
        return
    print(f"{model}, median of {rounds} rounds; ratios to")
    print(f"{'':26} {'':11}  keras Lamb  optax.lamb   floor   compiled       peak")
    for name, result in results.items():
        line = (
            f"{name:26} {result['milliseconds']:8.1f} ms"
            f" {result['to_keras_lamb']:11.2f} {result['to_optax_lamb']:11.2f}"
            f" {result['to_floor']:7.2f}"
        )
        if "compile_seconds" in result:
            line += f" {result['compile_seconds']:8.1f} s"
            line += f" {result['peak_megabytes']:7.0f} MB"
        print(line)
