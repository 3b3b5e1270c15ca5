"""What one update of LAMB costs, against Keras's and optax's, on real models' shapes.

    python -m benchmarks.update [--model bert-small] [--rounds 9] [--torch] [--json]
    python -m benchmarks.update --compiled-for h200 [--model bert-large] [--json]

`lamb-keras bench update` is the same.

Only the update is timed, not a training step: gradients are given. All optimizers take
turns in one process with donated buffers, so that a drifting machine slows all of them
alike; quote the ratios. The floor is what reading and writing 10 words a parameter (two
passes over float32 weights, gradient and moments) takes at the bandwidth of a pass in
place, measured in the same rounds.

An accelerator is given several updates at once, as a training loop gives it its steps.
What starting them costs is in the time nevertheless, and is most of it where variables
are many and small; so on a GPU the profiler also tells how long the kernels alone take.

Kernels, bytes a parameter, compile time and peak memory (arguments, results and
temporary arrays) are of the compiled program. With `--compiled-for` nothing is run: see
`benchmarks.accelerators`. What was tried and lost is told in UPDATE.md.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from benchmarks import accelerators
from benchmarks.contenders import updates
from benchmarks.shapes import MODELS, model_shapes
from benchmarks.traffic import traffic
from lamb_keras.store import environment

WORDS_A_PARAMETER = 10
# Updates that an accelerator is given at once.
_QUEUED = 20


class BenchError(Exception):
    """Something the benchmark cannot be run with, in one sentence."""


def measure(model: str, rounds: int, torch: bool = False) -> dict:
    """Milliseconds of an update, its ratios to others, and what compiling it tells.

    Args:
        model: one of `MODELS`.
        rounds: turns that every optimizer takes.
        torch: time PyTorch's too, see `benchmarks.foreach`.

    Returns:
        A dict of optimizer to {"milliseconds", "to_keras_lamb", "to_optax_lamb",
        "to_floor"}, the medians of the rounds, with what `compiled_for` tells, and on a
        GPU "kernel_milliseconds" and "kernels_to_floor", without the time between
        kernels; "floor" is among them, with bytes a parameter only.

    Raises:
        BenchError: where there is not enough memory for all optimizers at once, or no
            PyTorch for the device that JAX uses.
    """
    shapes = model_shapes(model)
    parameters = sum(map(math.prod, shapes))
    _check_memory(model, parameters)
    peers = _torch_peers() if torch else {}
    rng = np.random.default_rng(0)
    weights = [0.02 * rng.standard_normal(shape, "float32") for shape in shapes]
    gradients = [jnp.asarray(1e-3 * rng.standard_normal(s, "float32")) for s in shapes]
    runs, told = {}, {}
    for name, build in updates().items():
        update = build(weights, gradients)
        compiled, told[name] = _compiled(_compile, update, parameters)
        runs[name] = _run(compiled, update)
    for name, peer in peers.items():
        runs[name], told[name] = peer(weights, gradients), {}
    runs["floor"] = _floor(parameters)
    told["floor"] = {"bytes_a_parameter": 4 * WORDS_A_PARAMETER}
    seconds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name].append(run())
    floor = statistics.median(seconds["floor"])
    if jax.default_backend() == "gpu":
        for name in runs.keys() - {"floor"}:
            of_kernels = _kernel_seconds(runs[name]) / _QUEUED
            told[name]["kernel_milliseconds"] = 1000 * of_kernels
            told[name]["kernels_to_floor"] = of_kernels / floor
    return {
        name: {
            "milliseconds": 1000 * statistics.median(of_one),
            "to_keras_lamb": _ratio(of_one, seconds["keras.optimizers.Lamb"]),
            "to_optax_lamb": _ratio(of_one, seconds["optax.lamb"]),
            "to_floor": _ratio(of_one, seconds["floor"]),
            **told[name],
        }
        for name, of_one in seconds.items()
    }


def verdict(measured: dict) -> str:
    """What `measure` found of the claim that ours is the fastest LAMB, in words.

    Ours is the faster of the plain and the packed form.

    Example:
        >>> plain = {"milliseconds": 2.0, "to_keras_lamb": 0.5, "to_optax_lamb": 1.25}
        >>> packed = {"milliseconds": 3.0, "to_keras_lamb": 0.7, "to_optax_lamb": 2.0}
        >>> words = verdict({"lamb_keras.Lamb": plain, "same, packed": packed})
        >>> words.split(". ")[1]
        'The second counts against the claim.'
    """
    plain, packed = measured["lamb_keras.Lamb"], measured["same, packed"]
    ours, form = plain, "Ours"
    if packed["milliseconds"] < plain["milliseconds"]:
        ours, form = packed, "Ours, packed,"
    keras, optax = ours["to_keras_lamb"], ours["to_optax_lamb"]
    words = (
        f"{form} took {keras:.2f} times as long as Keras's LAMB and {optax:.2f} times "
        "as long as optax's."
    )
    slower = (keras >= 1, optax >= 1)
    words += {
        (False, False): "",
        (True, False): " The first counts against the claim.",
        (False, True): " The second counts against the claim.",
        (True, True): " Both count against the claim.",
    }[slower]
    if ours is packed:
        words += (
            f" In the plain form it took {plain['to_keras_lamb']:.2f} and "
            f"{plain['to_optax_lamb']:.2f} times as long as they."
        )
    return words


def compiled_for(target: str, model: str, names=None) -> dict:
    """What compiling the updates for an accelerator tells.

    Args:
        target: one of `accelerators.TARGETS`.
        model: one of `MODELS`.
        names: of `updates()`; None is all of them.

    Returns:
        A dict of optimizer to {"kernels", "scalar_kernels" (those among them that read
        and write nothing but single numbers), "bytes_a_parameter", "compile_seconds",
        "peak_megabytes", "temporary_megabytes"}.

    Raises:
        BenchError: where the compiler is not installed.
    """
    if not accelerators.is_installed(target):
        raise BenchError(
            f"the compiler for {target} is not installed: make compilers, and put "
            "PYTHONPATH=.venv/compilers before this command"
        )
    return compiled_shapes(target, model_shapes(model), names)


def compiled_shapes(target: str, shapes: list[tuple], names=None) -> dict:
    """`compiled_for`, of any shapes."""
    accelerators.use_no_device()
    told = {}
    for name in names or updates():
        # One at a time: variables of the large models take gigabytes.
        weights = [np.zeros(shape, "float32") for shape in shapes]
        update = updates()[name](weights, weights)

        def compile_it(*update):
            return accelerators.compile_for(target, *update, donate_argnums=(0, 1))

        told[name] = _compiled(compile_it, update, sum(map(math.prod, shapes)))[1]
    return told


def _compile(function, *arguments):
    return jax.jit(function, donate_argnums=(0, 1)).lower(*arguments).compile()


def _compiled(compiler, update, parameters):
    """The compiled update, and what it tells."""
    started = time.perf_counter()
    compiled = compiler(*update)
    seconds = time.perf_counter() - started
    memory = compiled.memory_analysis()
    peak = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    counted = traffic(compiled.as_text())
    return compiled, {
        "kernels": counted.kernels,
        "scalar_kernels": counted.scalar_kernels,
        "bytes_a_parameter": counted.bytes / parameters,
        "compile_seconds": seconds,
        "peak_megabytes": peak / 1e6,
        "temporary_megabytes": memory.temp_size_in_bytes / 1e6,
    }


def _run(compiled, update):
    """A function that makes updates and returns the seconds of one."""
    # Copies, since what is donated is gone.
    weights, state = jax.tree.map(jnp.copy, (update.weights, update.state))
    state = jax.block_until_ready(compiled(weights, state, update.gradients))

    def call():
        nonlocal state
        state = compiled(*state, update.gradients)

    return _timed(call, lambda: jax.block_until_ready(state))


def _torch_peers():
    """PyTorch's optimizers: name to a function from (weights, gradients) to a run."""
    try:
        from benchmarks import foreach
    except ImportError:
        raise BenchError("--torch needs PyTorch: pip install torch") from None
    backend = jax.default_backend()
    device = foreach.device(backend)
    if device is None:
        raise BenchError(f"JAX uses a {backend}, and this PyTorch has none")

    def peer(optimizer):
        def build(weights, gradients):
            made = optimizer(weights, [np.asarray(g) for g in gradients], device)
            made.step()
            return _timed(made.step, lambda: foreach.wait(device))

        return build

    return {
        "torch, LAMB of foreach": peer(foreach.Lamb),
        "torch.optim.AdamW, fused": peer(foreach.AdamW),
    }


def _timed(call, wait):
    """A function that calls, waits, and returns the seconds of one call."""
    count = 1 if jax.default_backend() == "cpu" else _QUEUED

    def run():
        wait()
        started = time.perf_counter()
        for _ in range(count):
            call()
        wait()
        return (time.perf_counter() - started) / count

    return run


def _kernel_seconds(run):
    """How long a GPU's kernels of a run take, without the time between them."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        (path,) = Path(folder).rglob("*.xplane.pb")
        planes = jax.profiler.ProfileData.from_file(str(path)).planes
        return sum(
            event.duration_ns / 1e9
            for plane in planes
            if plane.name.startswith("/device:GPU")
            for line in plane.lines
            if line.name.startswith("Stream")
            for event in line.events
        )


def _ratio(ours, theirs):
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _floor(parameters):
    """Seconds of the floor's traffic, from a pass that reads and writes every word."""
    # In place: fresh memory costs page faults, which no update here pays either.
    add_one = jax.jit(lambda x: x + 1, donate_argnums=0)
    words = add_one(jnp.zeros(parameters, "float32")).block_until_ready()

    def call():
        nonlocal words
        words = add_one(words)

    run = _timed(call, lambda: words.block_until_ready())
    return lambda: run() * WORDS_A_PARAMETER / 2


def _check_memory(model, parameters):
    # Weights, two moments and, while starting, weights again; and both gradients.
    needed = 4 * parameters * (4 * len(updates()) + 2)
    there = psutil.virtual_memory().available
    if jax.default_backend() == "cpu" and needed > there:
        raise BenchError(
            f"{model} needs {needed / 1e9:.0f} GB of memory for all optimizers at once "
            f"and {there / 1e9:.0f} GB are free; choose a smaller --model"
        )


def main(arguments=None, prog="python -m benchmarks.update") -> int:
    """Measure as the command line says, print what came out, return the exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Time one update of LAMB against Keras's and optax's."
    )
    add = parser.add_argument
    add("--model", choices=MODELS, default="bert-small", help="default: %(default)s")
    rounds = "turns that every optimizer takes (default: %(default)s)"
    add("--rounds", type=int, default=9, metavar="N", help=rounds)
    add(
        "--compiled-for",
        choices=list(accelerators.TARGETS),
        help="compile for an accelerator that need not be there, and run nothing",
    )
    add("--torch", action="store_true", help="time PyTorch's foreach functions too")
    add("--json", action="store_true", help="as JSON, with the environment")
    options = parser.parse_args(arguments)
    try:
        if options.rounds < 1:
            raise BenchError(f"--rounds is {options.rounds}, expected at least 1")
        if options.torch and options.compiled_for:
            raise BenchError(
                "--torch times, and --compiled-for runs nothing; leave one of them out"
            )
        report(
            options.model,
            options.rounds,
            options.json,
            options.compiled_for,
            options.torch,
        )
    except BenchError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def report(model, rounds, as_json=False, target=None, torch=False):
    """Measure, or compile for a target, and print a table or JSON."""
    results = compiled_for(target, model) if target else measure(model, rounds, torch)
    if as_json:
        told = {"environment": environment.describe(), "results": results}
        print(json.dumps(told, indent=1))
        return
    if target:
        print(f"{model}, compiled for {target}")
    else:
        print(f"{model}, median of {rounds} rounds; ratios to")
    show(results)


def show(results: dict):
    """Prints what `measure` or `compiled_for` gave as a table."""
    timed = any("milliseconds" in result for result in results.values())
    on_gpu = any("kernels_to_floor" in result for result in results.values())
    ratios = f"{'':11}  keras Lamb  optax.lamb   floor" if timed else ""
    alone = "  kernels alone" if on_gpu else ""
    print(f"{'':26}{ratios}{alone} kernels  B/param  compiled      peak")
    for name, result in results.items():
        line = f"{name:26}{_times(result)}"
        if on_gpu:
            found = result.get("kernels_to_floor")
            line += f"{'' if found is None else format(found, '.2f'):>15}"
        print(f"{line}{_program(result)}".rstrip())


def _times(result):
    if "milliseconds" not in result:
        return ""
    return (
        f"{result['milliseconds']:9.2f} ms {result['to_keras_lamb']:10.2f}"
        f" {result['to_optax_lamb']:11.2f} {result['to_floor']:7.2f}"
    )


def _program(result):
    if "bytes_a_parameter" not in result:
        return ""
    if "kernels" not in result:
        return f"{'':8} {result['bytes_a_parameter']:8.1f}"
    return (
        f"{result['kernels']:8} {result['bytes_a_parameter']:8.1f}"
        f" {result['compile_seconds']:7.1f} s {result['peak_megabytes']:6.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
