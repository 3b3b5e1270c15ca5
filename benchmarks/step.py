"""What a whole training step costs, against `keras.Model.fit` and PyTorch.

    python -m benchmarks step [--rows lenet bert-small ...] [--rounds 3] [--json]

`lamb-keras bench step` is the same. A row is a net with its sizes (`benchmarks.rows`):
the same net by this project's compiled loop with LAMB, by `keras.Model.fit` with
Keras's and KerasHub's own layers and LAMB, and, where it is installed, by PyTorch with
AdamW (`torch.compile` on a GPU). Each is a process of its own, and they take turns, so
that a drifting machine slows all of them alike; quote the ratios.

FLOPs are those of the net's matrix products and convolutions, forward and backward, by
the formulas of `lamb_keras.planning.nets`; the share is of the device's peak in
bfloat16. Peak memory is the accelerator's, or what the process took of memory beyond
its imports, compiling included. What compiling takes is the first round less a later
one. Results so far, and what they say: STEP.md.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import metadata
from importlib.util import find_spec

import psutil

from benchmarks.rows import ROWS, Row, Size
from lamb_keras.experiments.types import did_you_mean
from lamb_keras.planning import machines
from lamb_keras.store import environment

OURS, FIT, TORCH = "lamb-keras", "model.fit", "PyTorch"
_MODULES = {OURS: "keras_steps.kit", FIT: "keras_steps.fit", TORCH: "torch_steps.loop"}
# The names that JAX and PyTorch have for devices, and a slice of such.
_DEVICES = {
    **{"NVIDIA H100 80GB HBM3": "h100-1", "NVIDIA H200": "h100-1"},
    **{"TPU v2": "v2-8", "TPU v3": "v3-8", "TPU v4": "v4-8", "TPU v5p": "v5p-8"},
    **{"TPU v5 lite": "v5e-1", "TPU v6 lite": "v6e-1", "TPU7x": "tpu7x-8"},
}


class StepError(Exception):
    """Something that cannot be measured, in one sentence."""


def contenders() -> list[str]:
    """The names of those that take turns here."""
    return [OURS, FIT, *([TORCH] if find_spec("torch") else [])]


def chosen(names: list[str] | None, on_cpu: bool) -> tuple[list[str], list[str]]:
    """(rows to measure, rows that a processor skips), all of them if none is named.

    Example:
        >>> chosen(["bert-large"], on_cpu=True)
        (['bert-large'], [])
        >>> chosen(None, on_cpu=True)[1][-1]
        'bert-large-512'
    """
    for name in names or ():
        if name not in ROWS:
            raise StepError(f"there is no row {name!r}{did_you_mean(name, ROWS)}")
    skipped = [name for name, row in ROWS.items() if on_cpu and row.slow]
    if names:
        return names, []
    return [name for name in ROWS if name not in skipped], skipped


def measure(row: Row, size: Size, rounds: int, processes=None) -> dict:
    """What a step of each contender takes.

    Args:
        row: of `ROWS`.
        size: its size on this device.
        rounds: turns that every contender takes.
        processes: a function to a `concurrent.futures.Executor` of one worker.

    Returns:
        A dict of contender to {"samples_per_second": those of every round, "median":
        of them, "compile_seconds", "peak_megabytes", "to_ours": its time in times of
        ours, the median of the rounds}; for one whose memory was not enough, {"error":
        a sentence} alone.
    """
    pools = {name: (processes or _process)() for name in contenders()}
    results, seconds = {}, {}
    try:
        for name, pool in pools.items():
            first = _asked(results, name, pool, _first, name, row, size)
            if first is not None:
                seconds[name] = [first]
        for _ in range(rounds):
            for name in list(seconds):
                took = _asked(results, name, pools[name], _round, name)
                if took is None:
                    del seconds[name]
                else:
                    seconds[name].append(took)
        for name, (first, *others) in seconds.items():
            speeds = [size.batch * size.steps / each for each in others]
            results[name] = {
                "samples_per_second": speeds,
                "median": statistics.median(speeds),
                "compile_seconds": max(0, first - statistics.median(others)),
                "peak_megabytes": pools[name].submit(_peak, name).result() / 1e6,
            }
            if OURS in seconds:
                pairs = zip(others, seconds[OURS][1:], strict=True)
                results[name]["to_ours"] = statistics.median(a / b for a, b in pairs)
    finally:
        for pool in pools.values():
            pool.shutdown()
    return results


def _asked(results, name, pool, function, *arguments):
    """What a contender answers; None, and its error among the results, if it cannot."""
    try:
        return pool.submit(function, *arguments).result()
    except (BrokenProcessPool, RuntimeError, MemoryError) as error:
        text = str(error).lower()
        if not isinstance(error, BrokenProcessPool | MemoryError) and not any(
            words in text for words in ("out of memory", "resource_exhausted")
        ):
            raise
        results[name] = {"error": "there was not enough memory for it"}
        return None


def share(flops_per_second: float, device: str) -> float | None:
    """Of a device's peak in bfloat16; None where that is not known.

    Example:
        >>> share(394.5e12, "TPU v5 lite"), share(1e12, "cpu")
        (2.002..., None)
    """
    if device not in _DEVICES:
        return None
    return flops_per_second / machines.find(_DEVICES[device]).peak


# In the process of a contender


_running = {}


def _environment():
    from benchmarks import keras_steps  # noqa: F401  (so it tells JAX's device)

    return environment.describe()


def _first(name, row, size):
    """Seconds of the first round."""
    before = psutil.Process().memory_info().rss
    module, function = _MODULES[name].split(".")
    module = importlib.import_module(f"benchmarks.{module}")
    run = getattr(module, function)(row, size)
    _running[name] = run, module.peak_bytes, before
    return _round(name)


def _round(name):
    run, *_ = _running[name]
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _peak(name):
    _, of_device, before = _running[name]
    unit = 1 if sys.platform == "darwin" else 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return of_device() or most - before


def _process():
    context = multiprocessing.get_context("forkserver")
    # Imported once for all of them.
    modules = "benchmarks.keras_steps", "benchmarks.torch_steps", "keras_hub"
    context.set_forkserver_preload(list(modules))
    return ProcessPoolExecutor(1, context)


# What is printed


def main(arguments=None, prog="python -m benchmarks step") -> int:
    """Measure as the command line says, print what came out, return the exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Time a training step against model.fit and PyTorch."
    )
    add = parser.add_argument
    rows = f"of {', '.join(ROWS)} (default: all that the device has patience for)"
    add("--rows", nargs="+", metavar="ROW", help=rows)
    rounds = "turns that everyone takes (default: %(default)s)"
    add("--rounds", type=int, default=3, metavar="N", help=rounds)
    add("--batch", type=int, metavar="N", help="samples a step, in place of a row's")
    add("--json", action="store_true", help="a line a row, with the environment")
    options = parser.parse_args(arguments)
    try:
        for name in ("rounds", "batch"):
            number = getattr(options, name)
            if number is not None and number < 1:
                raise StepError(f"--{name} is {number}, expected at least 1")
        report(options)
    except StepError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def report(options, processes=None):
    """Measure and print row by row, so that what was cut short has told its first."""
    # One does not keep the others from an accelerator's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with (processes or _process)() as pool:
        about = pool.submit(_environment).result()
    if TORCH in contenders():
        about["torch"] = metadata.version("torch")
    on_cpu = about["device"] == "cpu"
    names, skipped = chosen(options.rows, on_cpu)
    if not options.json:
        _print_header(about, options.rounds)
    for name in names:
        row = ROWS[name]
        size = row.cpu if on_cpu else row.accelerator
        size = size._replace(batch=options.batch or size.batch)
        found = measure(row, size, options.rounds, processes)
        for of_one in found.values():
            if "median" in of_one:
                of_one["flops_per_second"] = row.flops() * of_one["median"]
                of_one["share"] = share(of_one["flops_per_second"], about["device"])
        if options.json:
            told = {"row": name, **row._asdict(), "size": size._asdict()}
            told |= {"flops_per_sample": row.flops(), "environment": about}
            print(json.dumps({**told, "results": found}), flush=True)
        else:
            _print_row(name, size, found)
    if skipped and not options.json:
        print(f"A processor skips {', '.join(skipped)}; --rows ROW measures them.")


def _print_header(about, rounds):
    device = about["processor"] if about["device"] == "cpu" else about["device"]
    print(f"{device}, medians of {rounds} rounds (slowest to fastest)")
    print(
        f"{'row, samples a step':24}{'':12}{'samples/s':>10}{'':22}{'TFLOP/s':>8}"
        f"{'share':>7}{'peak':>10}{'compiled':>10}  time"
    )


def _print_row(name, size, found):
    begin = f"{name}, {size.batch}"
    for contender, of_one in found.items():
        if "error" in of_one:
            line = of_one["error"]
        else:
            speeds = of_one["samples_per_second"]
            spread = f"({min(speeds):,.1f} to {max(speeds):,.1f})"
            of_peak = of_one["share"]
            of_peak = "—" if of_peak is None else f"{of_peak:.0%}"
            line = (
                f"{of_one['median']:10,.1f}{spread:>22}"
                f"{of_one['flops_per_second'] / 1e12:8.3f}{of_peak:>7}"
                f"{of_one['peak_megabytes']:7,.0f} MB{of_one['compile_seconds']:8.1f} s"
                f"{of_one.get('to_ours', float('nan')):6.2f}"
            )
        print(f"{begin:24}{contender:12}{line}", flush=True)
        begin = ""


if __name__ == "__main__":
    sys.exit(main())
