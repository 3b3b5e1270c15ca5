"""What a training step of the scale `paper` is on a slice of TPUs, by their compiler.

The package's own programs are compiled for it on a machine that has none, and nothing
is run: `make compilers`, and PYTHONPATH=.venv/compilers before the command.
"""

import argparse
import math
import re
import sys
import time
from typing import NamedTuple

import jax
import numpy as np

from benchmarks import accelerators
from benchmarks.shapes import VOCABULARY
from lamb_keras import models
from lamb_keras.batch import plan
from lamb_keras.data.images import imagenet
from lamb_keras.data.text.wordpiece import SPECIALS, Vocabulary
from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.models.layers import CHANNELS_LAST
from lamb_keras.models.precision import dtype_policy
from lamb_keras.planning import machines
from lamb_keras.training.classification import Classification
from lamb_keras.training.masked_lm import Batch, MaskedLM
from lamb_keras.training.sharding import Sharding
from lamb_keras.training.step import Constants, Step, initial_weights, optimizer
from lamb_keras.training.trainer import PeriodInputs, Program, Progress

_COLLECTIVES = {
    *("all-gather", "all-reduce", "all-to-all", "collective-permute"),
    "reduce-scatter",
}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(
    r"^\s*(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*?)\)(.*)$"
)
_CALLED = re.compile(r"\b(body|condition|calls|to_apply)=%?([\w.-]+)")
_NAME = re.compile(r"%([\w.-]+)")
_ARRAY = re.compile(r"\b[a-z]+(\d+)\w*\[([\d,]*)\]")
# The nets, and the arguments of `bert` and `resnet50`.
_STEPS = {
    "bert-128": ("BERT-Large, 32,768 x 128 tokens, 16 at once", 1, 16),
    "bert-512": ("BERT-Large, 32,768 x 512 tokens, 4 at once", 2, 4),
    "resnet50-16384": ("ResNet-50, 16,384 images", 16384),
    "resnet50-32768": ("ResNet-50, 32,768 images", 32768),
}
_HEADER = ("slice", "step of LAMB", "state, MiB", "of part", "memory", "sent, MB")
_HEADER += ("in loop, MB", "compiled, s")
_ROW = "| {} | {} | {} | {} | {} | {} | {} | {} |"


class Collective(NamedTuple):
    """One of a program's, in so many loops within one another."""

    kind: str
    bytes: int  # of the larger of what goes in and what comes out, on a device
    loops: int


def bert(machine, stage: int, micro_batch: int, layers=24, settings=()):
    """(Program, its arguments) of a stage of Table 4's LAMB at 32,768."""
    settings = [f"micro_batch_size={micro_batch}", f"layers={layers}", *settings]
    experiment = BertExperiment.of(_parameters(4, settings))
    trial = next(t for t in experiment.trials() if t.batch_size == 32768)
    sharding, steps = _sharding(machine), 2
    with dtype_policy(experiment.dtype_policy):
        model = models.pretraining(
            models.bert(
                VOCABULARY,
                layers=layers,
                width=experiment.width,
                heads=experiment.heads,
                sequence_length=max(experiment.sequence_lengths),
                dropout=experiment.dropout,
                seed=0,
            ),
            seed=0,
        )
    tokens = [*SPECIALS, *(f"token{n}" for n in range(VOCABULARY - len(SPECIALS)))]
    rate, vocabulary = experiment.masking_rate, Vocabulary(tuple(tokens))
    task = MaskedLM(model, vocabulary, rate, models.Scanned(model))
    step = Step(task, optimizer(experiment, "lamb"), experiment.packed_update)
    about = experiment.stages(trial, sharding.size)[stage - 1]
    rows = steps * about.micro_batches, about.micro_batch
    tokens = *rows, about.sequence_length
    shapes = Batch(
        *(jax.ShapeDtypeStruct(tokens, dtype) for dtype in ("uint16", "int8", "bool")),
        *(jax.ShapeDtypeStruct(rows, dtype) for dtype in ("bool", "int32")),
        jax.ShapeDtypeStruct(rows[:1], "float32"),
    )
    return _arguments(Program(step, 1, True, sharding), step, sharding, shapes, steps)


def resnet50(machine, batch: int):
    """(Program, its arguments) of ResNet-50 as it trains by LAMB on streamed images."""
    experiment = ImageExperiment.of(_parameters(5, [f"batch_size=[{batch}]"]))
    sharding = _sharding(machine)
    with dtype_policy(experiment.dtype_policy):
        model = models.resnet50((224, 224, 3), 1000, seed=0, form=CHANNELS_LAST)
    smoothing = experiment.label_smoothing
    task = Classification(model, imagenet.normalize, (), smoothing)
    step = Step(task, optimizer(experiment, "lamb"), experiment.packed_update)
    shapes = (
        jax.ShapeDtypeStruct((1, batch, 224, 224, 3), "uint8"),
        jax.ShapeDtypeStruct((1, batch), "int32"),
        jax.ShapeDtypeStruct((1,), "int32"),
    )
    return _arguments(Program(step, 1, False, sharding), step, sharding, shapes, 1)


def _parameters(table, settings):
    project = plan.Project.find()
    return plan.plan(project, "paper", "outputs", [str(table)], settings)[0].parameters


def _sharding(machine):
    topology = f"{machine.family}:{machine.topology}"
    return Sharding(accelerators.tpus(topology))


def _arguments(program, step, sharding, rows, steps):
    state = step.start(initial_weights(step.task.model))
    progress = Progress(state, np.int32(0))
    numbers = (np.zeros(steps, dtype) for dtype in ("int32", "float32", "float32"))
    inputs = PeriodInputs(rows, *numbers, np.int32(steps))
    whole = jax.tree.map(lambda _: sharding.whole, (inputs, Constants()))
    where = whole[0]._replace(micro=sharding.rows(rows, axis=1)), whole[1]
    described = jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
        (progress, inputs, Constants()),
        (sharding.split(progress, step.is_packed), *where),
    )
    return program, (*described, ())


def compiled_for(machine, program, arguments) -> dict:
    """What compiling a program tells: of one device, in bytes; seconds."""
    started = time.perf_counter()
    program.compile(*arguments)
    seconds = time.perf_counter() - started
    memory = program.compiled.memory_analysis()
    taken = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    state = jax.tree.leaves(arguments[0])
    parts = [(x.sharding.shard_shape(x.shape), x.dtype.itemsize) for x in state]
    whole = sum(math.prod(x.shape) * x.dtype.itemsize for x in state)
    part = sum(math.prod(shape) * size for shape, size in parts)
    return {
        "compile_seconds": seconds,
        "of_memory": taken / machine.memory,
        "state": part,
        # A device's state over the whole one's equal part.
        "of_part": part * machine.devices / whole,
        "collectives": collectives(program.compiled.as_text()),
    }


def collectives(program: str) -> list[Collective]:
    """The collectives of a compiled program's text.

    Example:
        >>> program = [
        ...     "%body (x: f32[8]) -> f32[8] {",
        ...     "  %x = f32[8]{0} parameter(0)",
        ...     "  ROOT %y = f32[2]{0} reduce-scatter(%x), to_apply=%add",
        ...     "}",
        ...     "ENTRY %main (x: f32[8]) -> f32[8] {",
        ...     "  ROOT %z = f32[8]{0} while(%x), condition=%less, body=%body",
        ...     "}",
        ... ]
        >>> collectives(chr(10).join(program))
        [Collective(kind='reduce-scatter', bytes=32, loops=1)]
    """
    entry, name, found, callers, sizes = None, None, [], {}, {}
    for line in program.splitlines():
        if computation := _COMPUTATION.match(line):
            name, sizes = computation[2], {}
            entry = name if computation[1] else entry
        elif instruction := _INSTRUCTION.match(line):
            result, arrays, operation, operands, rest = instruction.groups()
            sizes[result] = _bytes(arrays)
            for role, called in _CALLED.findall(rest):
                callers.setdefault(called, []).append((name, role == "body"))
            if operation.removesuffix("-start") in _COLLECTIVES:
                given = sum(sizes.get(each, 0) for each in _NAME.findall(operands))
                found.append((name, operation, max(sizes[result], given)))

    def loops(name):
        if name == entry:
            return 0
        return max((loops(by) + body for by, body in callers.get(name, ())), default=0)

    return [Collective(kind, size, loops(name)) for name, kind, size in found]


def _bytes(text):
    return sum(
        math.prod(int(n) for n in shape.split(",") if n) * int(bits) // 8
        for bits, shape in _ARRAY.findall(text)
    )


def main(arguments=None, prog="python -m benchmarks.pod") -> int:
    """Compile as the command line says, print what came out, return the exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Compile training steps of the scale paper for TPUs."
    )
    add = parser.add_argument
    add("--on", default="v5e-256", metavar="SLICE", help="default: %(default)s")
    add("--step", choices=list(_STEPS), help="default: all, one after another")
    options = parser.parse_args(arguments)
    try:
        machine = machines.find(options.on)
    except ParameterError as error:
        parser.error(str(error))
    if machine.family == "h100" or not accelerators.is_installed("v5e"):
        parser.error(
            "a slice of TPUs is compiled for by libtpu: make compilers, and put "
            "PYTHONPATH=.venv/compilers before this command"
        )
    accelerators.use_no_device()
    print(_ROW.format(*_HEADER))
    for name in [options.step] if options.step else _STEPS:
        title, *of_step = _STEPS[name]
        make = bert if name.startswith("bert") else resnet50
        told = compiled_for(machine, *make(machine, *of_step))
        sent = told["collectives"]
        # Of BERT's steps the loop around micro-batches is the second.
        inner = [each.bytes for each in sent if each.loops > 1]
        print(
            _ROW.format(
                machine.name,
                title,
                f"{told['state'] / 2**20:.2f}",
                f"{told['of_part']:.3f}",
                f"{told['of_memory']:.0%}",
                f"{sum(each.bytes for each in sent) / 1e6:,.0f}",
                f"{max(inner, default=0) / 1e6:.1f}",
                f"{told['compile_seconds']:.0f}",
            ),
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
