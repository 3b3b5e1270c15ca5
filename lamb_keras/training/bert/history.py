"""What is known of one pre-training and of the fine-tunings from it."""

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np

from lamb_keras.experiments.bert import Stage, Trial


@dataclass
class Look:
    """What was seen of a pre-training at one moment.

    Attributes:
        stage: 1 or 2.
        step: that had been done, counted over both stages.
        train_loss: the mean of the steps since the last look.
        validation_loss: of the masked language model on held-out text, in nats a
            predicted token.
        validation_accuracy: which part of these tokens it has right.
        trust_ratios: of each variable in the last step, shape (3, variables).
    """

    stage: int
    step: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    trust_ratios: np.ndarray


@dataclass
class FineTuning:
    """One fine-tuning and what the dev questions say of it.

    Attributes:
        seed: of the answer head and the order of the questions.
        f1, exact_match: in percent; None where it diverged.
        predictions: the answer to each dev question, by its id.
    """

    seed: int
    f1: float | None
    exact_match: float | None
    predictions: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass
class History:
    """One trial, from its first look to the answers of its fine-tunings.

    Attributes:
        trial: its setting and seed.
        layers: the paths of the model's trainable variables.
        stages: the lengths of its two stages.
        peak_learning_rate: of its first stage, at this scale.
        looks: in order; none of a trial whose weights were given.
        last_loss, last_step: of the last step that was taken.
        finetunings: in the order of their seeds; none where pre-training diverged.
        diverged_at_step: the first step whose loss was beyond use; None for a trial
            that came through.
        pretraining_seconds: of the pre-training alone: without compiling, and without
            the looks; its share, where trials run at once.
        compilations: programs compiled on its account.
    """

    trial: Trial
    layers: list[str]
    stages: list[Stage]
    peak_learning_rate: float
    looks: list[Look] = field(default_factory=list)
    last_loss: float = math.nan
    last_step: int = 0
    finetunings: list[FineTuning] = field(default_factory=list)
    diverged_at_step: int | None = None
    pretraining_seconds: float = 0.0
    seconds: float = 0.0
    compilations: int = 0

    @property
    def outcome(self) -> str:
        return "finished" if self.diverged_at_step is None else "diverged"

    def record(self, stage, step, losses, diverged_at_step, judged, ratios):
        """Adds a look, or finds that the trial diverged before it.

        Args:
            stage: 1 or 2.
            step: the last one that was planned before this look.
            losses: of the steps since the last look that were taken.
            diverged_at_step: the first step whose loss was beyond use, or 0.
            judged: (loss, accuracy) on held-out text.
            ratios: shape (3, variables).
        """
        loss, accuracy = map(float, judged)
        if len(losses):
            self.last_loss = float(losses[-1])
        mean = float(np.mean(losses)) if len(losses) else math.nan
        self.looks.append(Look(stage, int(step), mean, loss, accuracy, ratios))
        if diverged_at_step:
            self.diverged_at_step = int(diverged_at_step)
        elif not math.isfinite(loss):
            self.diverged_at_step = int(step)
        self.last_step = self.diverged_at_step or int(step)

    def summaries(self) -> list[dict]:
        """A line for each fine-tuning: what the trial was and what came of it."""
        finished = self.outcome == "finished"
        last = self.looks[-1] if self.looks else None
        about = {
            **self.trial._asdict(),
            "outcome": self.outcome,
            "diverged_at_step": self.diverged_at_step,
            "steps": sum(stage.steps for stage in self.stages),
            "peak_learning_rate": self.peak_learning_rate,
            "train_loss": last and last.train_loss,
            "last_loss": self.last_loss,
            "last_step": self.last_step,
            "validation_loss": last.validation_loss if last and finished else None,
            "validation_accuracy": (
                last.validation_accuracy if last and finished else None
            ),
            "minutes": self.pretraining_seconds / 60,
            "seconds": self.seconds,
            "compilations": self.compilations,
        }
        none = FineTuning(seed=None, f1=None, exact_match=None)
        return [
            {
                **about,
                "outcome": (
                    "diverged" if finished and tuned.f1 is None else about["outcome"]
                ),
                "finetuning_seed": tuned.seed,
                "f1": tuned.f1,
                "exact_match": tuned.exact_match,
            }
            for tuned in self.finetunings or [none]
        ]

    def as_plain(self) -> dict:
        """All of it in what JSON can hold, nothing lost."""
        looks = [
            dataclasses.asdict(look) | {"trust_ratios": _plain(look.trust_ratios)}
            for look in self.looks
        ]
        return {**dataclasses.asdict(self), "looks": looks}

    @classmethod
    def of_plain(cls, told: dict) -> "History":
        """The history of which `told` is `as_plain`, also after a trip through JSON."""
        looks = [
            Look(**look | {"trust_ratios": np.array(*look["trust_ratios"])})
            for look in told["looks"]
        ]
        return cls(
            **told
            | {
                "trial": Trial(*told["trial"]),
                "stages": [Stage(*stage) for stage in told["stages"]],
                "looks": looks,
                "finetunings": [FineTuning(**tuned) for tuned in told["finetunings"]],
            }
        )


def _plain(array):
    """The numbers and their type: JSON keeps a float to the last bit."""
    array = np.asarray(array)
    return [array.tolist(), str(array.dtype)]
