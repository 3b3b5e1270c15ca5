"""The plan as people read it."""

from collections.abc import Iterable, Iterator

from lamb_keras.planning import estimates
from lamb_keras.planning.machines import Machine
from lamb_keras.planning.stages import QUESTIONS, stages
from lamb_keras.results import paper

_HEADER = "batch stage trials steps FLOP chips micro state work fits sent hours".split()
_LEGEND = f"""\
Estimates; nothing was compiled.
micro: examples that a device computes at once x how often in a step, the most that fits
(a run takes its micro_batch_size); chips: that share a step
state: GB a device of its part of weights and moments; work: of what a step has besides,
weights as it computes, gradients, activations
fits: whether both are within 90 % of a device's memory; sent: GB of its collectives
FLOP: of the net's matrix products and convolutions, without evaluations
fine-tuning: as on SQuAD's {QUESTIONS:,} training questions"""


def lines(runs: Iterable, machine: Machine, utilization: float | None) -> Iterator[str]:
    """A plan: the slice, the stages of each run, all together, how it was made.

    `runs` are `PlannedRun`s; `utilization` is of the chips' peak, None for the one
    fitted to Table 1.
    """
    fitted, cost = estimates.fit()
    used, total, hours = utilization or fitted, 0, 0
    per_chip, is_papers = machine.devices / machine.chips, machine.family == "v3"
    yield (
        f"{machine.name}: {machine.chips:,} chips ({machine.topology}) of "
        f"{per_chip * machine.peak / 1e12:,.0f} TFLOP/s, hosts: {machine.hosts:,}, "
        f"devices: {machine.devices:,} of {machine.memory / 2**30:.3g} GiB"
    )
    for run in runs:
        found, rows, notes = stages(run.parameters), [_HEADER], {}
        if not found:
            yield f"\n{run.name}: not estimated, its net or data are not the paper's"
            continue
        yield (
            f"\n{run.name}: {found[0].net.parameters:,} parameters, "
            f"a checkpoint of {_gigabytes(max(stage.state for stage in found))} GB"
        )
        for stage in found:
            told, size = estimates.estimate(stage, machine, used), stage.examples
            about = stage.batch, stage.name, f"{stage.trials:,}", f"{stage.steps:,}"
            row = [*map(str, about), f"{stage.flops:.2g}", *7 * "-"]
            total += stage.flops
            if told:
                hours += told.hours * told.fits
                micro = f"{told.micro_batch}x{told.micro_batches}"
                work = told.gradients + told.activations
                memory = map(_gigabytes, (told.state, work))
                fits = "yes" if told.fits else "no", _gigabytes(told.sent)
                row[5:] = f"{told.chips:,}", micro, *memory, *fits, _short(told.hours)
            else:
                nearest = max(round(size / machine.devices), 1) * machine.devices
                notes[size] = (
                    f"batch {stage.batch}: {machine.devices:,} devices can't share "
                    f"{size:,} examples alike; the nearest that they can is {nearest:,}"
                )
            rows.append(row)
        yield from (*_aligned(rows), *notes.values())
    model = f"of the peak and {1000 * cost:.1f} ms x log2(chips) a step"
    other = "of the peak in bfloat16 and what is sent at the interconnect's peak"
    days = _short(estimates.device_days(total))
    yield f"\nall: {total:.2g} FLOP, {days} days of an H100; {_short(hours)} hours here"
    yield f"(of what fits, at {used:.1%} {model if is_papers else other})"
    yield _LEGEND
    if is_papers:
        yield "\nTable 1, each row on its own slice of v3: minutes of pre-training"
        yield from _aligned(_of_the_paper())
        yield f"model: {fitted:.1%} {model}, both fitted to these rows;"
        yield "left out: the error of a fit to the other rows alone"


def _of_the_paper():
    yield ["solver", "batch", "chips", "published", "model", "error", "left out"]
    for row, told in zip(paper.tables()[1].rows, estimates.minutes(), strict=True):
        published, *models = told
        errors = [f"{100 * (model / published - 1):+.1f} %" for model in models]
        about = map(str, (row["solver"], row["batch_size"], row["tpus"]))
        yield [*about, f"{published:.1f}", f"{models[0]:.1f}", *errors]


def _aligned(rows):
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.rjust, row, widths))


def _gigabytes(size):
    return _short(size / 1e9)


def _short(number):
    if 0 < number < 0.01:
        return "<0.01"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
