"""The plan as people read it."""

from collections.abc import Iterable, Iterator

from lamb_keras.planning import time_model
from lamb_keras.planning.estimates import device_days, estimate
from lamb_keras.planning.machines import Machine
from lamb_keras.planning.stages import stages

_HEADER = (
    "batch stage trials steps chips micro state activ. fits sent FLOP hours".split()
)
_LEGEND = """\
Estimates; nothing was compiled.
micro: examples that a device computes at once x how often in a step, the most that fits
state: GB a device of weights, moments, gradients; activ.: of activations at once
fits: whether both are within 90 % of a device's memory; sent: GB a chip sends in a step
FLOP: of the net's matrix products and convolutions, without evaluations
fine-tuning: as on SQuAD's 87,599 training questions"""


def lines(runs: Iterable, machine: Machine, utilization: float | None) -> Iterator[str]:
    """The lines of a plan: the slice, each run's stages, all together, how it was made.

    Args:
        runs: `PlannedRun`s.
        machine: from `machines.find`.
        utilization: of the chips' peak; None for the one fitted to Table 1.
    """
    used = utilization or time_model.fit().utilization
    share = machine.devices // machine.chips
    yield (
        f"{machine.name}: {_count(machine.chips, 'chip')} ({machine.topology}) of "
        f"{machine.peak / 1e12:,.0f} TFLOP/s on {_count(machine.hosts, 'host')}, "
        f"{_count(machine.devices, 'device')} of {machine.memory / 2**30:.3g} GiB"
    )
    flops = hours = 0
    for run in runs:
        found = stages(run.parameters)
        yield ""
        if not found:
            yield f"{run.name}: not estimated, its net or its data are not the paper's"
            continue
        net, state = found[0].net, max(stage.state for stage in found)
        yield (
            f"{run.name}: {net.parameters:,} parameters, "
            f"a checkpoint of {_gigabytes(state)} GB"
        )
        rows, refused = [_HEADER], {}
        for stage in found:
            about = (
                f"{stage.batch}",
                stage.name,
                f"{stage.trials:,}",
                f"{stage.steps:,}",
            )
            told, flops = estimate(stage, machine, used), flops + stage.flops
            if told is None:
                refused[stage.examples] = stage.batch
                rows.append([*about, *6 * "-", f"{stage.flops:.2g}", "-"])
                continue
            hours += told.hours * told.fits
            rows.append(
                [
                    *about,
                    f"{-(-told.devices // share):,}",
                    f"{told.micro_batch}x{told.micro_batches}",
                    *map(_gigabytes, (told.state, told.activations)),
                    "yes" if told.fits else "no",
                    _gigabytes(told.sent),
                    f"{stage.flops:.2g}",
                    _short(told.hours),
                ]
            )
        yield from _aligned(rows)
        for examples, batch in refused.items():
            yield (
                f"batch {batch}: {_count(machine.devices, 'device')} cannot share "
                f"{examples:,} examples alike; the nearest that they can is "
                f"{max(round(examples / machine.devices), 1) * machine.devices:,}"
            )
    yield ""
    fitted = machine.family == time_model.FAMILY
    cost = (
        f"{1000 * time_model.fit().cost:.0f} ms x log2(chips) a step, as fitted below"
    )
    yield (
        f"all: {flops:.2g} FLOP, {device_days(flops):,.1f} days of an H100; "
        f"{_short(hours)} hours of {machine.name} for what fits:"
    )
    yield (
        f"{used:.0%} of the peak in bfloat16, and "
        f"{cost if fitted else 'what is sent at the rate published of the interconnect'}"
    )
    yield from _LEGEND.splitlines()
    if fitted:
        yield from _of_the_paper()


def _of_the_paper():
    """Table 1's published minutes beside those of the time model."""
    model = time_model.fit()
    rows = ["solver batch chips published model error left-out".split()]
    for row in time_model.rows():
        errors = (row.fitted / row.published - 1, row.left_out / row.published - 1)
        rows.append(
            [
                *map(str, row[:3]),
                f"{row.published:.1f}",
                f"{row.fitted:.1f}",
                *(f"{100 * error:+.1f} %" for error in errors),
            ]
        )
    yield ""
    yield "Table 1, every row on its own slice of v3: minutes of pre-training"
    yield from _aligned(rows)
    yield (
        f"model: {model.utilization:.1%} of the peak and {1000 * model.cost:.1f} ms x "
        "log2(chips) a step, two constants fitted to"
    )
    yield "these rows; left-out: the error of a fit to the other rows alone"


def _aligned(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(cell.rjust(width) for cell, width in cells)


def _gigabytes(size):
    return _short(size / 1e9)


def _short(number):
    if 0 < number < 0.01:
        return "<0.01"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _count(number, name):
    return f"{number:,} {name}{'s' * (number != 1)}"
