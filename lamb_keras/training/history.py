"""What is known of one trial, from its first epoch to its outcome."""

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np

from lamb_keras.experiments.image import Steps, Trial
from lamb_keras.training.step import Judgement


@dataclass
class History:
    """One trial: a value an epoch of what was measured, and what came of it.

    Attributes:
        trial: its setting and seed.
        layers: the paths of the model's trainable variables.
        steps: how long it trains.
        train_loss: the mean loss of an epoch's steps.
        validation_accuracy, validation_top5: of the held-out images, after each epoch.
        trust_ratios: of each layer at the end of an epoch, shape (3, layers).
        test_accuracy, test_top5: of the test images, once it has finished.
        diverged_at_step: the first step whose loss, or after which the loss, was beyond
            use; None for a trial that came through. The lists end there.
        compilations: programs compiled on its account.
    """

    trial: Trial
    layers: list[str]
    steps: Steps
    train_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    validation_top5: list[float] = field(default_factory=list)
    trust_ratios: list[np.ndarray] = field(default_factory=list)
    test_accuracy: float | None = None
    test_top5: float | None = None
    diverged_at_step: int | None = None
    seconds: float = 0.0
    compilations: int = 0

    @property
    def outcome(self) -> str:
        return "finished" if self.diverged_at_step is None else "diverged"

    def record(self, losses, last_step, diverged_at_step, judgement, count, ratios):
        """Adds an epoch, or finds that the trial diverged in it.

        Args:
            losses: of the steps that ended in it.
            last_step: the last step that it planned.
            diverged_at_step: the first step whose loss was beyond use, or 0.
            judgement: sums over `count` held-out images.
            ratios: shape (3, layers).
        """
        self.train_loss.append(float(np.mean(losses)) if len(losses) else math.nan)
        self.validation_accuracy.append(int(judgement.correct) / count)
        self.validation_top5.append(int(judgement.correct_top5) / count)
        self.trust_ratios.append(ratios)
        if diverged_at_step:
            self.diverged_at_step = int(diverged_at_step)
        elif not math.isfinite(judgement.loss):
            self.diverged_at_step = int(last_step)

    def finish(self, judgement: Judgement, count: int):
        """The verdict of the test images."""
        self.test_accuracy = int(judgement.correct) / count
        self.test_top5 = int(judgement.correct_top5) / count

    def summary(self) -> dict:
        """One line about the trial: what it was and what came of it."""
        finished = self.outcome == "finished"
        return {
            **self.trial._asdict(),
            "outcome": self.outcome,
            "diverged_at_step": self.diverged_at_step,
            "validation_accuracy": self.validation_accuracy[-1] if finished else None,
            "validation_top5": self.validation_top5[-1] if finished else None,
            "test_accuracy": self.test_accuracy,
            "test_top5": self.test_top5,
            "train_loss": self.train_loss[-1],
            "steps": self.steps.total,
            "seconds": self.seconds,
            "compilations": self.compilations,
        }

    def as_plain(self) -> dict:
        """All of it in what JSON can hold, nothing lost.

        JSON keeps a float to the last bit, NaN and infinity too; a float32 is one.
        """
        ratios = [[each.tolist(), str(each.dtype)] for each in self.trust_ratios]
        return {**dataclasses.asdict(self), "trust_ratios": ratios}

    @classmethod
    def of_plain(cls, told: dict) -> "History":
        """The history of which `told` is `as_plain`, also after a trip through JSON."""
        return cls(
            **told
            | {
                "trial": Trial(*told["trial"]),
                "steps": Steps(*told["steps"]),
                "trust_ratios": [
                    np.array(numbers, dtype) for numbers, dtype in told["trust_ratios"]
                ],
            }
        )
