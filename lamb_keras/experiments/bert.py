"""What the BERT notebook is asked to run: its parameters, checked, and its trials."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import NamedTuple

import numpy as np

from lamb_keras import experiments, schedules, stages
from lamb_keras.data import text_data
from lamb_keras.experiments import grids


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
    seed: int

    @property
    def setting(self) -> dict:
        """What tells it from trials of other settings: all but the seed."""
        return {name: v for name, v in self._asdict().items() if name != "seed"}

    def __str__(self):
        return (
            f"{self.solver} {self.learning_rate:g}, batch {self.batch_size}, "
            f"warm-up {self.warmup_fraction:g}, seed {self.seed}"
        )


class Stage(NamedTuple):
    """One of the two parts of a pre-training.

    A step takes `sequences_per_step` sequences of `sequence_length` tokens, in equal
    micro-batches of `micro_batch`.
    """

    sequence_length: int
    sequences_per_step: int
    micro_batch: int
    steps: int

    @property
    def micro_batches(self) -> int:
        """How many micro-batches a step has."""
        return self.sequences_per_step // self.micro_batch


@dataclass(frozen=True, kw_only=True)
class BertExperiment:
    """The parameters of the BERT experiment, under the names that its notebook uses.

    Those that the image experiments have too mean the same (`ImageExperiment`).

    Args:
        dataset, articles, question_articles, dev_articles, dev_fraction,
            validation_fraction, vocab_size, vocabulary: as of `data.library.open`.
        sequence_lengths: of the two stages, in tokens.
        layers, width, heads, dropout: of the net, as of `models.bert`.
        preset: of KerasHub, whose weights are fine-tuned in place of a pre-training.
        masking_rate: which part of the tokens is to be predicted.
        batch_size: sequences in a step at the paper's scale; a text for two of them.
        base_batch_size: the batch for which rates and warm-ups are given, maybe by
            solver; at others the rate goes with the square root of the batch, and the
            warm-up lasts as many steps. None: they are for every batch.
        warmup_fraction: a grid: of the steps, how many raise the learning rate.
        sequences: that the paper pre-trains on; steps are these over the batch.
        second_stage: which part of the steps is at the second sequence length.
        mixed_steps: the published steps of the two stages of the mixed batch.
        batch_divisor: how many times smaller a step is at this scale.
        steps_divisor: how many times fewer the steps are.
        learning_rate_multiplier: of the learning rates at this scale, maybe by solver.
        micro_batch_size: sequences computed at once; a larger batch adds up as many
            gradients as it takes.
        looks: how often a pre-training is looked at.
        finetuning_learning_rate, finetuning_batch_size, finetuning_epochs,
            finetuning_warmup: of the AdamW that fine-tunes on the questions.
        finetuning_seeds: of the answer head and the order of the questions; a
            fine-tuning each.
        document_stride, max_question_length: as of `data.squad.features`.

    Raises:
        lamb_keras.experiments.ParameterError: for a value of a wrong type or range.

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

    notebook: str = "bert_squad"
    table: int
    scale: str
    dataset: str = "encyclopedia"
    articles: int = 0
    question_articles: int = 0
    dev_articles: int = 0
    dev_fraction: float = 0.2
    validation_fraction: float = 0.05
    vocab_size: int = 1000
    vocabulary: str | None = None
    sequence_lengths: list[int]
    layers: int = 24
    width: int = 1024
    heads: int = 16
    dropout: float = 0.1
    preset: str | None = None
    dtype_policy: str = "float32"
    masking_rate: float = 0.15
    solvers: list[str]
    learning_rates: list | dict
    batch_size: int | str | list | dict
    base_batch_size: int | dict | None = None
    warmup_fraction: float | list | dict = 0.0
    decay_power: float = 1.0
    weight_decay: float | list | dict = 0.01
    weight_decay_form: str | list[str] = "times_learning_rate"
    exclude_from_weight_decay: list[str] = field(default_factory=list)
    global_clipnorm: float | None = None
    packed_update: bool = False
    sequences: int = 512_000_000
    second_stage: float = 0.1
    mixed_steps: list[int] = field(default_factory=lambda: [7037, 1562])
    batch_divisor: int = 1
    steps_divisor: float = 1.0
    learning_rate_multiplier: float | dict = 1.0
    micro_batch_size: int = 32
    looks: int = 10
    seeds: list[int] = field(default_factory=lambda: [0])
    finetuning_learning_rate: float = 3e-5
    finetuning_batch_size: int = 32
    finetuning_epochs: int = 2
    finetuning_warmup: float = 0.1
    finetuning_seeds: list[int] = field(default_factory=lambda: [0])
    document_stride: int = 128
    max_question_length: int = 64

    def __post_init__(self):
        given = {name: v for name, v in asdict(self).items() if v is not None}
        for name, value in experiments.validate(given).items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, names: Mapping) -> "BertExperiment":
        """The experiment whose parameters are among these names.

        A notebook calls it with `globals()`, after its cell of parameters.
        """
        known = [each.name for each in fields(cls)]
        return cls(**{name: names[name] for name in known if name in names})

    def open(self) -> text_data.TextDataset:
        """The text and the questions."""
        names = (
            "articles",
            "question_articles",
            "dev_articles",
            "dev_fraction",
            "validation_fraction",
            "vocab_size",
            "vocabulary",
        )
        return text_data.open(
            self.dataset, **{name: getattr(self, name) for name in names}
        )

    def trials(self) -> list[Trial]:
        """Every setting with every seed, in the order of the grids."""
        return [
            Trial(**{name: setting[name] for name in Trial._fields[:-1]}, seed=seed)
            for setting in experiments.settings(asdict(self))
            for seed in self.seeds
        ]

    def stages(self, trial: Trial) -> tuple[Stage, Stage]:
        """The two stages of a trial at this scale; the second may have no steps."""
        steps = self._steps(trial, self.steps_divisor)
        sizes = [
            batch // self.batch_divisor for batch in stages.batches(trial.batch_size)
        ]
        return tuple(
            Stage(length, size, min(self.micro_batch_size, size), count)
            for length, size, count in zip(
                self.sequence_lengths, sizes, (steps.first, steps.second), strict=True
            )
        )

    def warmup_steps(self, trial: Trial) -> int:
        """How many steps raise the learning rate, in both stages together."""
        steps = self._steps(trial, self.steps_divisor)
        return steps.warmup + steps.second_warmup

    def published_steps(self, trial: Trial) -> schedules.PretrainingSteps:
        """The paper's steps of a trial."""
        return self._steps(trial, 1.0)

    def peak_learning_rate(self, trial: Trial) -> float:
        """The greatest learning rate of the first stage, at this scale."""
        base = self._base(trial)
        batch, _ = stages.batches(trial.batch_size)
        return schedules.square_root_scaling(self._rate(trial), batch, base or batch)

    def learning_rates_by_step(self, trial: Trial) -> np.ndarray:
        """The learning rate of each step of both stages, shape (steps,), float32."""
        return schedules.pretraining_rates(
            trial.batch_size,
            self._rate(trial),
            self._steps(trial, self.steps_divisor),
            self._base(trial),
            self.decay_power,
        )

    def weight_decays_by_step(self, trial: Trial) -> np.ndarray:
        """What the solver is given as weight decay at each step, shape (steps,).

        For adamw the fraction of the weights that the step takes off, for lars and
        lamb their λ, for others 0.
        """
        rates = self.learning_rates_by_step(trial)
        decay = np.full(len(rates), trial.weight_decay or 0.0, "float32")
        by_rate = trial.weight_decay_form == "times_learning_rate"
        return decay * rates if by_rate else decay

    def _steps(self, trial, steps_divisor):
        return schedules.pretraining_steps(
            trial.batch_size,
            trial.warmup_fraction,
            self._base(trial),
            sequences=self.sequences,
            second_stage=self.second_stage,
            mixed_steps=self.mixed_steps,
            steps_divisor=steps_divisor,
        )

    def _base(self, trial):
        return grids.of_solver(self.base_batch_size, trial.solver)

    def _rate(self, trial):
        multiplier = grids.of_solver(self.learning_rate_multiplier, trial.solver)
        return trial.learning_rate * (multiplier or 1.0)
