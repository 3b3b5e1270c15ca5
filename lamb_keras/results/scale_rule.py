"""How a scale was made: the sizes of the paper's training and of ours, the rates."""

import math
from collections.abc import Mapping, Sequence

from lamb_keras.results import paper
from lamb_keras.results.runs import Run
from lamb_keras.results.wording import percent, span


def rows(found: Sequence[Run]) -> tuple[list[dict], list[dict]]:
    """A row a run that succeeded: of those on images, and of those that pre-train.

    `rates` are what published rates were multiplied by, `sizes` pairs by name, the
    paper's and ours, and `notes` what else there is to say. What a run did not record
    is None or a dash.
    """
    rows = [], []
    for run in found:
        if run.succeeded:
            known = paper.experiments().get(run.notebook, paper.Experiment(""))
            sizes, notes = (_two_stages if known.sizes else _images)(run, known)
            row = {"run": run, "rates": _rates(run), "sizes": sizes, "notes": notes}
            row["data"] = known.data, run.dataset.get("title")
            rows[bool(known.sizes)].append(row)
    return rows


def _rates(run):
    """What a run's published rates were multiplied by, in words."""
    given = run.parameters.get("learning_rate_multiplier") or 1.0
    solvers = run.parameters.get("solvers") or ()
    told = {}
    for solver in solvers:
        used = given.get(solver, 1.0) if isinstance(given, Mapping) else given
        told.setdefault(f"× {used:.4g}", []).append(solver)
    if len(told) < 2:
        return next(iter(told), "–")
    return "; ".join(f"{', '.join(names)} {used}" for used, names in told.items())


def _images(run, known):
    steps = run.scraps.get("steps", [])
    epochs, divisor = run.parameters.get("epochs"), run.parameters.get("epochs_divisor")
    # A run's `published_steps` is that of one batch, whichever a row of it is of.
    images = (epochs or 0) * (known.images or 0)
    published = [math.ceil(images / row["batch_size"]) or None for row in steps]
    sizes = {
        "images a step": [
            [row[name] for row in steps] for name in ("batch_size", "images_per_step")
        ],
        "steps": (published, [row["steps"] for row in steps]),
        "epochs": (epochs, epochs and epochs / (divisor or 1)),
        "width": (known.width, run.parameters.get("width")),
    }
    told = [row for row in steps if row.get("published_steps")]
    factors = [row["published_steps"] / row["steps"] for row in told]
    per_step = any(t.get("weight_decay_form") == "per_step" for t in run.trials)
    decay = f"× {span(factors)}" if factors and per_step else "–"
    # Solvers with + have Goyal's warm-up.
    goyals = {solver.endswith("+") for solver in run.parameters.get("solvers") or ()}
    warmup = ["Goyal’s"] if True in goyals else []
    if steps and goyals != {True} or not warmup:
        warmup.append(percent([row["warmup_steps"] / row["steps"] for row in steps]))
    return sizes, {"warm-up": ", ".join(warmup), "decay a step": decay}


def _two_stages(run, known):
    steps, parameters = run.scraps.get("steps", []), run.parameters

    def each(*names):
        return [row.get(name) for row in steps for name in names]

    # A batch is "65536/32768" where its two stages have different ones.
    batches = [int(b) for batch in each("batch_size") for b in str(batch).split("/")]
    ours = each("sequences_per_step", "second_sequences_per_step")
    sizes = {
        "sequences a step": (batches, ours),
        "steps": (each("published_steps"), each("steps")),
    }
    for name, size in known.sizes.items():
        heading = name.replace("sequence_lengths", "tokens of a sequence")
        sizes[heading] = size, parameters.get(name)
    second = percent([row["second_stage_steps"] / row["steps"] for row in steps])
    return sizes, {"second stage": second, "warm-up steps": span(each("warmup_steps"))}
