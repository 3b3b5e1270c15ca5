"""What a scale made of each table: the sizes of the paper's training and of ours."""

import math
from collections.abc import Iterable, Mapping, Sequence

from lamb_keras import stages
from lamb_keras.experiments import NOTEBOOKS
from lamb_keras.results import paper
from lamb_keras.results.runs import Run

PER_STEP = "per_step"


def sizes(found: Sequence[Run]) -> list[dict]:
    """A row a run that succeeded: each size as a pair, the paper's and ours.

    What a run did not record is None. The paper's steps are those that it tells, else
    as many as its epochs of its data set make. Runs that pre-train have sizes of their
    own (`of_pretraining`).

    Example:
        >>> sizes([])
        []
    """
    return [_row(run) for run in found if run.succeeded and not _pretrains(run)]


def of_pretraining(found: Sequence[Run]) -> list[dict]:
    """The same of each run that pre-trains and succeeded: a row of other sizes.

    Example:
        >>> of_pretraining([])
        []
    """
    return [_two_stages(run) for run in found if run.succeeded and _pretrains(run)]


def _pretrains(run):
    notebook = NOTEBOOKS.get(run.notebook)
    return notebook is not None and notebook.pretrains


def _two_stages(run):
    told, known = run.scraps.get("steps") or [], paper.experiments()[run.notebook]
    batches = [size for row in told for size in stages.batches(row["batch_size"])]
    return {
        "run": run,
        "data": (known.data, run.dataset.get("title")),
        "sequences_a_step": (
            batches,
            [
                row.get(name)
                for row in told
                for name in ("sequences_per_step", "second_sequences_per_step")
            ],
        ),
        "steps": (
            [row.get("published_steps") for row in told],
            [row["steps"] for row in told],
        ),
        "second_stage": [
            row["second_stage_steps"] / row["steps"]
            for row in told
            if "second_stage_steps" in row
        ],
        "warmup_steps": [row["warmup_steps"] for row in told],
        "sizes": [
            (size, run.parameters.get(name)) for name, size in known.sizes.items()
        ],
        "rate": _factors(run.parameters),
    }


def _factors(parameters):
    """The factors of the learning rates as a list: one for all, or of each solver."""
    multiplier = parameters.get("learning_rate_multiplier")
    if isinstance(multiplier, Mapping):
        solvers = parameters.get("solvers") or multiplier
        return [multiplier.get(solver, 1.0) for solver in solvers]
    return [1.0 if multiplier is None else multiplier]


def _row(run):
    told, parameters = run.scraps.get("steps") or [], run.parameters
    known = paper.experiments().get(run.notebook, paper.Experiment(""))
    epochs = parameters.get("epochs")
    divisor = parameters.get("epochs_divisor") or 1
    batches = _list(parameters.get("batch_size"))
    by_batch = {row["batch_size"]: row for row in told}
    return {
        "run": run,
        "data": (known.data, run.dataset.get("title")),
        "images_a_step": (batches, _images_a_step(batches, by_batch, parameters)),
        "steps": (
            [_published_steps(batch, by_batch, epochs, known) for batch in batches],
            [row["steps"] for row in told],
        ),
        "epochs": (epochs, epochs / divisor if epochs else None),
        "warmup": _warmup(told, parameters),
        "decay_factor": _decay_factor(told, run.scraps.get("trials", ())),
        "width": (known.width, parameters.get("width")),
    }


def _images_a_step(batches, by_batch, parameters):
    divisor = parameters.get("batch_divisor") or 1
    return [
        by_batch[batch]["images_per_step"] if batch in by_batch else batch // divisor
        for batch in batches
    ]


def _published_steps(batch, by_batch, epochs, known):
    told = by_batch.get(batch, {}).get("published_steps")
    if told or not (epochs and known.images):
        return told
    return math.ceil(epochs * known.images / batch)


def _warmup(told, parameters):
    """The part of training with a rising rate, of ours; those with + have Goyal's."""
    solvers = parameters.get("solvers") or []
    goyal = any(solver.endswith("+") for solver in solvers)
    others = not all(solver.endswith("+") for solver in solvers)
    fractions = [row["warmup_steps"] / row["steps"] for row in told] if others else []
    return {"goyal": goyal, "fractions": fractions}


def _decay_factor(told, trials: Iterable[dict]):
    """What a decay per step was multiplied by; None where no trial had one."""
    if not any(trial.get("weight_decay_form") == PER_STEP for trial in trials):
        return None
    rows = [row for row in told if row.get("published_steps")]
    return [row["published_steps"] / row["steps"] for row in rows] or None


def _list(value):
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
