"""What the BERT notebook is asked to run: its parameters, checked, and its trials."""

import math
import re
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, WrapValidator
from pydantic_core import PydanticCustomError

from lamb_keras import schedules
from lamb_keras.experiments import types
from lamb_keras.experiments.schema import (
    PAPERS_TABLES,
    Experiment,
    WeightDecay,
    WeightDecayForm,
    check_shared,
    is_mixed,
    of_solver,
)
from lamb_keras.experiments.types import ParameterError, different, grid, one_of
from lamb_keras.names import SOLVERS

# The marks of a window: one before the question and one after either text.
SPECIAL_TOKENS = 3
# Where all text is generated, there must be some of each.
ARTICLES = ("articles", "question_articles", "dev_articles")


def _two_stages(value, whole):
    if not isinstance(value, str) or "/" not in value:
        return whole(value)
    sizes = re.fullmatch(r"\s*0*([1-9][0-9]*)\s*/\s*0*([1-9][0-9]*)\s*", value)
    if not sizes or sizes[1] == sizes[2]:
        raise PydanticCustomError("batches", "two different whole numbers around the /")
    return f"{sizes[1]}/{sizes[2]}"


# A number, or text such as 65536/32768, with one for each stage.
Batch = Annotated[types.Whole, WrapValidator(_two_stages)]
_two = Field(min_length=2, max_length=2)


class Trial(NamedTuple):
    """One pre-training: a solver with its numbers as the table has them, and a seed.

    The batch is a number, or the text "65536/32768" where the two stages have batches
    of their own. What its solver does not use is None.
    """

    solver: str
    batch_size: int | str
    learning_rate: float
    warmup_fraction: float
    weight_decay: float | None
    weight_decay_form: str | None
    rewarmup: bool | None  # of a mixed batch
    seed: int

    @property
    def is_mixed(self) -> bool:
        """Whether its two stages have batches of their own."""
        return is_mixed(self.batch_size)

    @property
    def stage_batches(self) -> list[int]:
        """The batch of the first stage and that of the second."""
        first, _, second = str(self.batch_size).partition("/")
        return [int(first), int(second or first)]

    def __str__(self):
        once = ", not again" if self.rewarmup is False else ""
        return (
            f"{self.solver} {self.learning_rate:g}, batch {self.batch_size}, "
            f"warm-up {self.warmup_fraction:g}{once}, seed {self.seed}"
        )


class Stage(NamedTuple):
    """One of the two parts of a pre-training: so many steps of equal micro-batches."""

    sequence_length: int  # in tokens
    sequences_per_step: int
    micro_batch: int
    steps: int

    @property
    def micro_batches(self) -> int:
        """How many micro-batches a step has."""
        return self.sequences_per_step // self.micro_batch


class PretrainingSteps(NamedTuple):
    """The steps of both stages of a pre-training, and those with a rising rate."""

    first: int
    second: int
    warmup: int
    second_warmup: int = 0  # of a mixed batch, where its second stage begins

    @property
    def total(self) -> int:
        """Of both stages."""
        return self.first + self.second


@dataclass(frozen=True, kw_only=True)
class BertExperiment(Experiment):
    """The parameters of the BERT experiment, under the names that its notebook uses.

    The paper trains on 512,000,000 `sequences`: 1,000,000 steps of 512, or 15,625 of
    32,768. The first nine tenths of the steps, the first stage, have short sequences,
    the others long ones; one warm-up and one decay are over both.

    Only the mixed batch, "65536/32768", has a batch for each stage. Its `mixed_steps`
    are published and are not quite the rule's. The paper gives neither its rates nor
    its warm-ups: each stage has those of Table 4's rule at its batch.

    Example:
        >>> experiment = BertExperiment(table=4, scale="paper", dataset="wikipedia",
        ...     solvers=["lamb"],
        ...     learning_rates=[0.005], warmup_fraction=0.2, base_batch_size=32768,
        ...     batch_size=[512, 32768], sequence_lengths=[128, 512])
        >>> [[stage.steps for stage in experiment.stages(trial)]
        ...  for trial in experiment.trials()]
        [[900000, 100000], [14063, 1562]]
        >>> [experiment.peak_learning_rate(trial) for trial in experiment.trials()]
        [0.000625, 0.005]
    """

    Trial = Trial

    notebook: types.Name = "bert_squad"  # the experiment
    # encyclopedia (generated), books, wikipedia, file.py:function
    dataset: types.Text = "encyclopedia"
    # generated ones to pre-train on; with text files, those added
    articles: NonNegativeInt = 0
    # generated ones with questions to fine-tune on, likewise
    question_articles: NonNegativeInt = 0
    # generated ones with questions to judge by, likewise
    dev_articles: NonNegativeInt = 0
    # of a real file's articles, to judge by where it has no dev file
    dev_fraction: types.Part = 0.2
    # of the text, held out to watch and to choose by
    validation_fraction: types.Part = 0.05
    vocab_size: Annotated[int, Field(ge=30)] = 1000  # word pieces; BERT's 30,522
    # the path of a vocab.txt; None: word pieces trained on the text
    vocabulary: types.Text | None = None
    # tokens in the two stages; the paper's [128, 512]
    sequence_lengths: Annotated[list[Annotated[int, Field(ge=16)]], _two]
    layers: types.Whole = 24  # of the net; BERT-Large's 24
    width: types.Whole = 1024  # of a layer; BERT-Large's 1,024
    heads: types.Whole = 16  # of attention, which share the width; BERT-Large's 16
    # the part of activations that training leaves out; BERT's 0.1
    dropout: types.Fraction = 0.1
    # of KerasHub, such as bert_large_en_uncased: fine-tuned, not trained
    preset: types.Text | None = None
    masking_rate: types.Part = 0.15  # the part of the tokens that is to be predicted
    solvers: different(one_of(SOLVERS))  # without "+": Goyal's recipe is ResNet's
    weight_decay: WeightDecay = 0.01  # of adamw, lars and lamb
    weight_decay_form: WeightDecayForm = "times_learning_rate"  # of adamw
    batch_size: grid(Batch)  # the paper's; "65536/32768" has one for each stage
    # the batch that rates and warm-up are for, maybe by solver
    base_batch_size: types.by_solver(types.Whole | None) = None
    # of the steps, with a rising rate: a number, list or by solver
    warmup_fraction: grid(types.Fraction) = 0.0
    # whether a mixed batch's second stage has a warm-up of its own
    rewarmup: types.one_or_several(bool) = True
    # that the paper trains on: 1,000,000 steps of 512
    sequences: types.Whole = 512_000_000
    # the part of the steps with the longer sequences
    second_stage: types.Fraction = 0.1
    # the paper's, of the two stages of the mixed batch
    mixed_steps: Annotated[list[types.Whole], _two] = field(
        default_factory=[7037, 1562].copy
    )
    steps_divisor: types.Divisor = 1.0  # how many times fewer steps than the paper's
    # sequences of a device at once; gradients of more are added up
    micro_batch_size: types.Whole = 32
    # at the held-out loss during a pre-training
    looks: Annotated[int, Field(ge=2)] = 10
    # of weights, order and masks; one pre-training each
    seeds: types.Seeds = field(default_factory=[0].copy)
    # the peak; of AdamW as Devlin et al. use it
    finetuning_learning_rate: PositiveFloat = 3e-5
    finetuning_batch_size: types.Whole = 32  # windows of text with a question in a step
    finetuning_epochs: types.Whole = 2  # passes over the training questions
    finetuning_warmup: types.Fraction = 0.1  # of the steps, with a rising rate
    # of the answer head and the order; one fine-tuning each
    finetuning_seeds: types.Seeds = field(default_factory=[0].copy)
    document_stride: types.Whole = 128  # tokens from one window of a text to the next
    max_question_length: types.Whole = 64  # tokens of a question that are kept

    def open(self):
        """The text and the questions: a `lamb_keras.data.text_data.TextDataset`."""
        from lamb_keras.data import text_data

        options = {name: getattr(self, name) for name in text_data.OPTIONS}
        return text_data.open(self.dataset, **options)

    def stages(self, trial: Trial, devices: int = 1) -> tuple[Stage, Stage]:
        """The two stages of a trial at this scale; the second may have no steps.

        So many devices share every micro-batch.
        """
        steps = self._steps(trial, self.steps_divisor)
        sizes = [batch // self.batch_divisor for batch in trial.stage_batches]
        both = zip(self.sequence_lengths, sizes, steps[:2], strict=True)
        return tuple(
            Stage(length, size, min(self.micro_batch_size * devices, size), count)
            for length, size, count in both
        )

    def warmup_steps(self, trial: Trial) -> int:
        """How many steps raise the learning rate, in both stages together."""
        steps = self._steps(trial, self.steps_divisor)
        return steps.warmup + steps.second_warmup

    def published_steps(self, trial: Trial) -> PretrainingSteps:
        """The paper's steps of a trial."""
        return self._steps(trial, 1.0)

    def peak_learning_rate(self, trial: Trial) -> float:
        """The greatest learning rate of the first stage, at this scale."""
        return self._peak(trial, trial.stage_batches[0])

    def learning_rates_by_step(self, trial: Trial) -> np.ndarray:
        """The learning rate of each step of both stages, shape (steps,), float32."""
        steps = self._steps(trial, self.steps_divisor)
        step = np.arange(steps.total)
        first, second = (self._peak(trial, batch) for batch in trial.stage_batches)
        if trial.is_mixed:
            lengths = (steps.warmup, steps.first, steps.second_warmup, steps.second)
            fraction = schedules.two_stages_with_rewarmup(
                step, *lengths, second / first, self.decay_power
            )
        else:
            fraction = schedules.warmup_polynomial_decay(
                step, steps.warmup, steps.total, self.decay_power
            )
        return np.asarray(first * fraction, "float32")

    def _steps(self, trial, steps_divisor):
        of_first, of_second = self._warmups(trial)
        total = self.sequences / trial.stage_batches[0] / steps_divisor
        # However short a training or a stage, a step after its warm-up remains.
        if not trial.is_mixed:
            whole = max(round(total), 1)
            # A part that should be whole, such as 0.29 of 100, loses none to a float's
            # last digit; any other is cut down.
            second = math.floor(round(whole * self.second_stage, 9))
            warmup = min(round(of_first * total), whole - 1)
            return PretrainingSteps(whole - second, second, warmup)
        first, second = (max(round(n / steps_divisor), 1) for n in self.mixed_steps)
        warmup = min(round(of_first * total), first - 1)
        again = second if trial.rewarmup else 0
        second_warmup = min(round(of_second * again), second - 1)
        return PretrainingSteps(first, second, warmup, second_warmup)

    def _warmups(self, trial):
        """The parts of a training at either stage's batch that have a rising rate."""
        base = of_solver(self.base_batch_size, trial.solver)
        return [
            schedules.linear_epoch_warmup(trial.warmup_fraction, batch, base)
            for batch in trial.stage_batches
        ]

    def _check_together(self):
        if self.table > PAPERS_TABLES:
            raise ParameterError(
                f"table is {self.table}, and BERT's trials make cells of the paper's "
                "tables alone, expected one of 1 to 25; copy a notebook of images",
                ["table"],
            )
        if self.width % self.heads:
            raise ParameterError(
                f"width is {self.width} and heads {self.heads}, expected a multiple of "
                "heads, which share it; choose another of the two",
                ["width", "heads"],
            )
        first, second = self.sequence_lengths
        if second < first:
            raise ParameterError(
                f"sequence_lengths is [{first}, {second}], expected the second stage's "
                f"at least as long as the first's; write [{second}, {first}]",
                ["sequence_lengths"],
            )
        for name in ARTICLES:
            if self.dataset == "encyclopedia" and not getattr(self, name):
                raise ParameterError(
                    f"{name} is 0, expected at least 1 where all text is generated",
                    [name, "dataset"],
                )
        room = second - SPECIAL_TOKENS - self.max_question_length
        if room < self.document_stride:
            raise ParameterError(
                f"document_stride is {self.document_stride}, expected at most the "
                f"{room} tokens of text that a window of {second} holds beside a "
                f"question of {self.max_question_length} and {SPECIAL_TOKENS} marks; "
                "lower document_stride or max_question_length",
                ["document_stride", "max_question_length", "sequence_lengths"],
            )
        mixed = {t.batch_size: t for t in self.trials() if t.is_mixed}
        if len(mixed) > 1:
            raise ParameterError(
                f"batch_size has {' and '.join(mixed)}, expected one mixed batch at "
                "most, whose steps mixed_steps are; run the other one by itself",
                ["batch_size", "mixed_steps"],
            )
        for trial in self.trials():
            self._check(trial)
            self._check_micro_batches(trial)

    def check_devices(self, devices):
        for trial in () if self.preset else self.trials():
            for batch, stage in zip(
                trial.stage_batches, self.stages(trial), strict=True
            ):
                size = stage.sequences_per_step
                what = f"batch_size {batch} / batch_divisor {self.batch_divisor} is"
                check_shared(f"{what} {size} sequences a step", size, devices)
            self._check_micro_batches(trial, devices)

    def _check_micro_batches(self, trial, devices=1):
        micro = self.micro_batch_size
        for batch in trial.stage_batches:
            size = batch // self.batch_divisor
            here = size // devices
            if here > micro and here % micro:
                of = f" for each of {devices} devices" if devices > 1 else ""
                fitting = max(n for n in range(1, micro) if here % n == 0)
                raise ParameterError(
                    f"micro_batch_size is {micro} and a step of batch_size {batch} has "
                    f"{here} sequences{of}, expected a multiple of it, or no more than "
                    f"it; choose a micro_batch_size that divides them, such as "
                    f"{fitting}",
                    ["micro_batch_size", "batch_divisor", "batch_size"],
                )

    def _check(self, trial):
        parts = self._warmups(trial)
        for batch, part in zip(trial.stage_batches, parts, strict=True):
            size = batch // self.batch_divisor
            if not size:
                raise ParameterError(
                    f"batch_divisor is {self.batch_divisor} and batch_size {batch}, "
                    "which leaves no sequence in a step; choose a smaller "
                    "batch_divisor",
                    ["batch_divisor", "batch_size"],
                )
            if part >= 1:
                base = of_solver(self.base_batch_size, trial.solver)
                given = f" for base_batch_size {base}" if base else ""
                raise ParameterError(
                    f"warmup_fraction is {trial.warmup_fraction:g}{given}, which is "
                    f"{part:g} of the steps at batch_size {batch} and leaves nothing "
                    "after the warm-up; choose a smaller warmup_fraction",
                    ["warmup_fraction", "base_batch_size", "batch_size"],
                )
        steps, batch = self._steps(trial, self.steps_divisor), trial.batch_size
        if self.second_stage and not steps.second:
            raise ParameterError(
                f"steps_divisor is {self.steps_divisor:g}, which leaves {steps.total} "
                f"steps at batch_size {batch} and none of them to the second stage; "
                "choose a smaller steps_divisor",
                ["steps_divisor", "second_stage"],
            )
        if self.looks > steps.total:
            raise ParameterError(
                f"looks is {self.looks}, expected at most the {steps.total} steps at "
                f"batch_size {batch}; choose fewer looks",
                ["looks", "steps_divisor"],
            )
