"""Contradictions among the parameters of an experiment that pre-trains BERT.

Each check yields the names that contradict each other, the first to be mended first,
and a sentence. What the parameters do not say is not checked: a file may say a part.
"""

import itertools
from collections.abc import Mapping

from lamb_keras import stages
from lamb_keras.experiments.grids import of_solver, settings
from lamb_keras.experiments.types import shown

# The marks of a window: one before the question and one after either text.
SPECIAL_TOKENS = 3
GENERATED = "encyclopedia"
ARTICLES = {
    "articles": "to pre-train on",
    "question_articles": "with questions to fine-tune on",
    "dev_articles": "with questions to judge by",
}


def contradictions(valid):
    """Those of a run that pre-trains."""
    yield from _of_model(valid)
    yield from _of_text(valid)
    yield from _of_windows(valid)
    yield from _of_batches(valid)


def only_of_pretraining(valid):
    """Batches that a run of one stage cannot have: of two stages, or by solver."""
    batch, notebook = valid.get("batch_size"), valid.get("notebook")
    batches = batch if isinstance(batch, list) else [batch]
    odd = next((b for b in batches if isinstance(b, str | Mapping)), None)
    if odd is not None:
        yield (
            ["batch_size", "notebook"],
            f"batch_size is {shown(odd)}, expected whole numbers of at least 1 for all "
            f"solvers, since {notebook} trains in one stage; write one or a list",
        )
    if isinstance(base := valid.get("base_batch_size"), Mapping):
        yield (
            ["base_batch_size", "notebook"],
            f"base_batch_size is {shown(base)}, expected one whole number for all "
            f"solvers of {notebook}, or null; write one",
        )


def _of_model(valid):
    width, heads = valid.get("width"), valid.get("heads")
    if width and heads and width % heads:
        yield (
            ["width", "heads"],
            f"width is {width} and heads {heads}, expected a multiple of heads, which "
            "share it; choose another of the two",
        )
    first, second = valid.get("sequence_lengths", (0, 0))
    if second < first:
        yield (
            ["sequence_lengths"],
            f"sequence_lengths is [{first}, {second}], expected the second stage's at "
            f"least as long as the first's; write [{second}, {first}]",
        )


def _of_text(valid):
    if valid.get("dataset") != GENERATED:
        return
    for name, purpose in ARTICLES.items():
        if valid.get(name) == 0:
            yield (
                [name, "dataset"],
                f"{name} is 0, expected at least 1 where the whole text is generated: "
                f"these are its articles {purpose}; raise {name}",
            )


def _of_windows(valid):
    names = ("sequence_lengths", "document_stride", "max_question_length")
    if any(name not in valid for name in names):
        return
    (_, length), stride, question = (valid[name] for name in names)
    room = length - SPECIAL_TOKENS - question
    if room < stride:
        yield (
            ["document_stride", "max_question_length", "sequence_lengths"],
            f"document_stride is {stride}, expected at most the {room} tokens of text "
            f"that a window of {length} holds beside a question of {question} and "
            f"{SPECIAL_TOKENS} marks; lower document_stride or max_question_length",
        )


def _of_batches(valid):
    if "batch_size" not in valid:
        return
    every = [setting for setting in settings(valid) if setting["batch_size"]]
    batches = list(dict.fromkeys(setting["batch_size"] for setting in every))
    yield from _of_sizes(valid, batches)
    yield from _of_steps(valid, batches)
    yield from _of_warmups(valid, every)


def _of_sizes(valid, batches):
    divisor, micro = valid.get("batch_divisor", 1), valid.get("micro_batch_size", 1)
    for batch in _distinct(batches):
        size = batch // divisor
        if not size:
            yield (
                ["batch_divisor", "batch_size"],
                f"batch_divisor is {divisor} and batch_size {batch}, which leaves no "
                "sequence in a step; choose a smaller batch_divisor",
            )
        elif size > micro and size % micro:
            yield (
                ["micro_batch_size", "batch_divisor", "batch_size"],
                f"micro_batch_size is {micro} and a step of batch_size {batch} has "
                f"{size} sequences, expected a multiple of it, or no more than it; "
                "choose a micro_batch_size that divides them",
            )


def _of_steps(valid, batches):
    mixed = [batch for batch in batches if stages.is_mixed(batch)]
    if len(mixed) > 1:
        yield (
            ["batch_size", "mixed_steps"],
            f"batch_size has {' and '.join(mixed)}, expected one mixed batch at most, "
            "whose steps mixed_steps are; run the other one by itself",
        )
    lengths = {batch: _steps(valid, batch) for batch in batches}
    for batch, steps in lengths.items():
        if valid.get("second_stage") and not steps.second:
            yield (
                ["steps_divisor", "second_stage"],
                f"steps_divisor is {valid.get('steps_divisor', 1.0):g}, which leaves "
                f"{steps.total} steps at batch_size {batch} and none of them to the "
                "second stage; choose a smaller steps_divisor",
            )
    shortest = min(lengths, key=lambda batch: lengths[batch].total, default=None)
    if shortest and valid.get("looks", 0) > (total := lengths[shortest].total):
        yield (
            ["looks", "steps_divisor"],
            f"looks is {valid['looks']}, expected at most the {total} steps at "
            f"batch_size {shortest}; choose fewer looks",
        )


def _of_warmups(valid, every):
    for setting in every:
        batch, fraction = setting["batch_size"], setting.get("warmup_fraction") or 0.0
        base = of_solver(valid.get("base_batch_size"), setting["solver"])
        for size in stages.batches(batch):
            part = fraction * size / (base or size)
            if part >= 1:
                given = f" for base_batch_size {base}" if base else ""
                yield (
                    ["warmup_fraction", "base_batch_size", "batch_size"],
                    f"warmup_fraction is {fraction:g}{given}, which is {part:g} of the "
                    f"steps at batch_size {size} and leaves nothing after the warm-up; "
                    "choose a smaller warmup_fraction",
                )


def _steps(valid, batch):
    """The lengths of a pre-training without warm-up; of what is not said, the paper's.

    Where a single step is left, both stages share it.
    """
    names = ("sequences", "second_stage", "mixed_steps", "steps_divisor")
    given = {name: valid[name] for name in names if name in valid}
    return stages.pretraining_steps(batch, 0.0, **given)


def _distinct(batches):
    return dict.fromkeys(itertools.chain.from_iterable(map(stages.batches, batches)))
