"""What is known of a trial, from its first evaluation on, and of a whole sweep."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamb_keras.store import environment, scraps


@dataclass
class History:
    """One trial: what was measured on its way, and what came of it."""

    trial: Any  # its setting and seed
    layers: list[str]  # the paths of the model's trainable variables
    # Of each, in order: stage and step (counted over all stages), the train_loss (a
    # mean since the last) and metrics on held-out data. Those of a diverged trial end
    # with its divergence.
    evaluations: list[dict] = field(default_factory=list)
    # At each evaluation: (trust ratio, weight norm, update norm) x layer.
    ratios: list[list] = field(default_factory=list)
    test_metrics: dict[str, float] = field(default_factory=dict)  # once it has finished
    # Of a pre-training: seed, f1 and exact_match in percent, None where it diverged,
    # and the predictions by their questions' ids.
    finetunings: list[dict] = field(default_factory=list)
    last_loss: float = math.nan  # of the last step that was taken
    last_step: int = 0
    # The first step whose loss, or after which the held-out loss, was beyond use.
    diverged_at_step: int | None = None
    # Without compiling, evaluating and saving; its share, where trials run at once.
    training_seconds: float = 0.0
    seconds: float = 0.0
    compilations: int = 0  # programs compiled on its account
    late_compilations: int = 0  # those of them that should have been there
    at_once: int = 1  # how many trials trained at once, whose seconds are shared
    device: str = ""  # the kind of device that it trained on

    @property
    def outcome(self) -> str:
        return "finished" if self.diverged_at_step is None else "diverged"

    @property
    def last(self) -> dict:
        """The last evaluation; empty before the first."""
        return self.evaluations[-1] if self.evaluations else {}

    @property
    def held_out(self) -> dict:
        """The last evaluation of a trial that finished; of another one none."""
        return self.last if self.outcome == "finished" else {}

    def record(self, stage, step, losses, diverged_at_step, metrics, ratios):
        """Adds an evaluation, or finds that the trial diverged before it.

        `losses` are those of the steps since the last evaluation that were taken,
        `diverged_at_step` the first with a loss beyond use, or 0.
        """
        mean = float(np.mean(losses)) if len(losses) else math.nan
        row = {"stage": stage, "step": int(step), "train_loss": mean}
        row |= {f"validation_{name}": value for name, value in metrics.items()}
        self.evaluations.append(row)
        self.ratios.append(np.asarray(ratios).tolist())
        if diverged_at_step:
            self.diverged_at_step = int(diverged_at_step)
        elif not math.isfinite(metrics.get("loss", 0.0)):
            self.diverged_at_step = int(step)
        self.last_step = self.diverged_at_step or int(step)
        self.last_loss = float(losses[-1]) if len(losses) else self.last_loss

    def curve(self) -> list[dict]:
        """A row an evaluation: the trial, epoch (its number) and what was measured."""
        return [
            {**self.trial._asdict(), "epoch": epoch, **row}
            for epoch, row in enumerate(self.evaluations, 1)
        ]

    def trust_ratios(self) -> list[dict]:
        """A row an evaluation and layer; none for solvers without a trust ratio."""
        names = ("layer", "trust_ratio", "weight_norm", "update_norm")
        return [
            {"epoch": row["epoch"], "step": row["step"]}
            | dict(zip(names, (layer, *of_layer), strict=True))
            for row, ratios in zip(self.curve(), self.ratios, strict=True)
            for layer, *of_layer in zip(self.layers, *ratios, strict=False)
        ]

    def as_plain(self) -> dict:
        """All of it as JSON can hold it: that keeps a float to the last bit."""
        return dataclasses.asdict(self)

    @classmethod
    def of_plain(cls, plain: dict, trial) -> "History":
        """The trial's history of which `plain` is `as_plain`, read from JSON."""
        if tuple(plain["trial"]) != tuple(trial):
            raise ValueError(f"that is the history of {plain['trial']}, not of {trial}")
        return cls(**plain | {"trial": trial})


@dataclass
class Sweep:
    """All trials of an experiment, in its order, and then the confirmations."""

    histories: list[History]
    # A dict a trial, of BERT a trial and fine-tuning: what it was, what came of it, and
    # whether it is a `confirmation`, by one of the `confirmation_seeds`.
    trials: list[dict]
    steps: list[dict]  # the lengths of the trainings, a dict a batch size
    references: dict  # what BERT's trials are to be compared with
    seconds: float  # that it took, in earlier sessions too
    compile_seconds: float  # of these, those of compiling, summed over threads

    @property
    def late_compilations(self) -> int:
        """Programs compiled by trials that should have found theirs compiled."""
        return sum(history.late_compilations for history in self.histories)

    def __str__(self):
        lost = sum(history.outcome == "diverged" for history in self.histories)
        return (
            f"{len(self.histories)} trials in {self.seconds:.0f} s, {lost} diverged; "
            f"of these, {self.compile_seconds:.0f} s compiling, summed over threads."
        )

    def glue(self, experiment, data, **more):
        """Records in a notebook what the summary of all tables has to know of a run.

        And last, that it ran to its end.
        """
        # A sweep in several sittings may have been on several kinds.
        devices = dict.fromkeys(each.device for each in self.histories if each.device)
        known = {
            "parameters": dataclasses.asdict(experiment),
            "dataset": data.describe(),
            "environment": environment.describe()
            | ({"device": ", ".join(devices)} if devices else {}),
            "steps": self.steps,
            "trials": self.trials,
            **({"references": self.references} if self.references else {}),
            **more,
            "finished": True,
        }
        for name, value in known.items():
            scraps.glue(name, value)

    def of(self, **setting) -> list:
        """The trials whose fields have these values, in order.

        `sweep.of(solver="lamb", learning_rate=0.01)[0]` is that setting's first seed.
        """
        return [
            history.trial
            for history in self.histories
            if setting.items() <= history.trial._asdict().items()
        ]

    def curves(self, chosen: dict[str, dict] | None = None) -> list[dict]:
        """A row a trial and evaluation, as `History.curve` gives them.

        Args:
            chosen: solver to setting: of these trials alone. None: of all.
        """
        return [
            row
            for history in self.histories
            if chosen is None or _is_chosen(history.trial, chosen)
            for row in history.curve()
        ]

    def trust_ratios(self, trial) -> list[dict]:
        """A row an evaluation and layer: trust_ratio, weight_norm, update_norm.

        Empty for solvers that have no trust ratio.
        """
        (history,) = (each for each in self.histories if each.trial == trial)
        return history.trust_ratios()


def _is_chosen(trial, chosen):
    setting = chosen.get(trial.solver)
    return setting is not None and setting.items() <= trial._asdict().items()
