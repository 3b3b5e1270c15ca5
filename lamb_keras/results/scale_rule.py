"""What a scale made of each table: the sizes of the paper's training and of ours.

A row a run that succeeded: `sizes` are pairs by name, the paper's and ours, and `notes`
what else there is to say. What a run did not record is None or a dash.
"""

import math
from collections.abc import Mapping, Sequence

from lamb_keras.results import paper
from lamb_keras.results.html import percent, span
from lamb_keras.results.runs import Run


def of_images(found: Sequence[Run]) -> list[dict]:
    """The rows of runs on images.

    The paper's steps are those that it tells, else as many as its epochs of its data
    set make.
    """
    return [_images(run) for run in found if run.succeeded and not _pretrains(run)]


def of_pretraining(found: Sequence[Run]) -> list[dict]:
    """The rows of runs that pre-train."""
    return [_two_stages(run) for run in found if run.succeeded and _pretrains(run)]


def learning_rate_factors(parameters: Mapping) -> list[float]:
    """What the published learning rates were multiplied by: for all, or each solver.

    Example:
        >>> factors = {"learning_rate_multiplier": {"lamb": 2.0}}
        >>> learning_rate_factors(factors | {"solvers": ["lamb", "lars"]})
        [2.0, 1.0]
    """
    multiplier = parameters.get("learning_rate_multiplier") or 1.0
    if not isinstance(multiplier, Mapping):
        return [multiplier]
    return [multiplier.get(s, 1.0) for s in parameters.get("solvers") or multiplier]


def _experiment(run):
    return paper.experiments().get(run.notebook, paper.Experiment(""))


def _pretrains(run):
    return bool(_experiment(run).sizes)


def _row(run, sizes, notes):
    data = _experiment(run).data, run.dataset.get("title")
    return {"run": run, "data": data, "sizes": sizes, "notes": notes}


def _images(run):
    steps, known = run.scraps.get("steps", []), _experiment(run)
    epochs, divisor = run.parameters.get("epochs"), run.parameters.get("epochs_divisor")
    published = [
        row.get("published_steps") or math.ceil(epochs * known.images / batch)
        for row in steps
        for batch in [row["batch_size"]]
    ]
    ours = [row["steps"] for row in steps]
    sizes = {
        "images a step": (
            [row["batch_size"] for row in steps],
            [row["images_per_step"] for row in steps],
        ),
        "steps": (published, ours),
        "epochs": (epochs, epochs and epochs / (divisor or 1)),
        "width": (known.width, run.parameters.get("width")),
    }
    per_step = any(t.get("weight_decay_form") == "per_step" for t in run.trials)
    factors = [
        row["published_steps"] / row["steps"]
        for row in steps
        if row.get("published_steps") and per_step
    ]
    return _row(
        run,
        sizes,
        {
            "warm-up": _warmup(steps, run.parameters.get("solvers") or []),
            "decay a step": f"× {span(factors)}" if factors else "–",
        },
    )


def _warmup(steps, solvers):
    """The part of our training with a rising rate; solvers with + have Goyal's."""
    plain = [solver for solver in solvers if not solver.endswith("+")]
    words = ["Goyal’s"] if len(plain) < len(solvers) else []
    fractions = [row["warmup_steps"] / row["steps"] for row in steps if plain]
    if fractions or not words:
        words.append(percent(fractions))
    return ", ".join(words)


def _two_stages(run):
    steps, parameters = run.scraps.get("steps", []), run.parameters

    def each(*names):
        return [row.get(name) for row in steps for name in names]

    # A batch is "65536/32768" where its two stages have different ones.
    batches = [int(b) for batch in each("batch_size") for b in str(batch).split("/")]
    sizes = {
        "sequences a step": (
            batches,
            each("sequences_per_step", "second_sequences_per_step"),
        ),
        "steps": (each("published_steps"), each("steps")),
    }
    for name, size in _experiment(run).sizes.items():
        heading = name.replace("sequence_lengths", "tokens of a sequence")
        sizes[heading] = size, parameters.get(name)
    second = [row["second_stage_steps"] / row["steps"] for row in steps]
    return _row(
        run,
        sizes,
        {
            "second stage": percent(second),
            "warm-up steps": span(each("warmup_steps")),
            "learning rate": f"× {span(learning_rate_factors(parameters))}",
        },
    )
