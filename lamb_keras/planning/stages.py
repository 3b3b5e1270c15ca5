"""The trainings of a run as far as their cost goes: steps, batches, nets."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from lamb_keras import experiments
from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.names import base
from lamb_keras.planning import nets

# Pixels a side, channels, classes, images to train on.
DATASETS = {
    "digits": (8, 1, 10, 1_437),
    "mnist": (28, 1, 10, 60_000),
    "cifar10": (32, 3, 10, 50_000),
    "imagenet": (224, 3, 1000, 1_281_167),
}
# Of SQuAD v1.1, to train on; nearly all are one window of text.
QUESTIONS = 87_599
FINE_TUNING = "fine-tuning"
# Solvers that keep one moment of a weight; others keep two.
ONE_MOMENT = {"momentum", "adagrad", "lars"}


class Stage(NamedTuple):
    """Trials alike in all that costs, or one part of each."""

    batch: int | str  # the paper's
    name: str
    trials: int
    steps: int  # of each trial
    examples: int  # of a step
    net: nets.Net
    moments: int  # of each weight
    micro_batch: int | None = None  # examples; None for any that divides a step's

    @property
    def flops(self) -> float:
        """Of all its trials."""
        return self.trials * self.steps * self.examples * self.net.flops

    @property
    def state(self) -> float:
        """Bytes of weights and moments, which is a checkpoint's size."""
        return 4 * self.net.parameters * (1 + self.moments)


def stages(parameters: Mapping) -> list[Stage]:
    """The stages of a run with these parameters; none where its net is not known.

    Evaluations are left out, and fine-tunings are as on SQuAD's questions.

    Example:
        >>> [stage] = stages({"notebook": "lenet_mnist", "table": 7, "scale": "paper",
        ...     "dataset": "mnist", "solvers": ["lamb"], "learning_rates": [0.1, 0.2],
        ...     "batch_size": 1024, "epochs": 30, "seeds": [0, 1],
        ...     "validation_fraction": 0.1})
        >>> stage.trials, stage.steps, stage.examples
        (4, 1758, 1024)
    """
    if not (kind := experiments.kind(parameters)):
        return []
    experiment, alike = kind.of(parameters), {}
    for trial in experiment.trials():
        alike.setdefault(trial.batch_size, []).append(trial)
    of_text = kind is BertExperiment
    if not of_text and (
        experiment.dataset not in DATASETS
        or (experiment.width is None and experiment.notebook != "lenet_mnist")
    ):
        return []
    itemsize = 2 if experiment.dtype_policy == "mixed_bfloat16" else 4
    of_kind = _of_text if of_text else _of_images
    return of_kind(experiment, alike, itemsize)


def _of_text(experiment, alike, itemsize):
    found, longest = [], experiment.sequence_lengths[1]
    sizes = experiment.vocab_size, experiment.layers, experiment.width
    sizes += experiment.heads, longest
    for batch, trials in {} if experiment.preset else alike.items():
        for length, size, _, steps in experiment.stages(trials[0]):
            hidden = math.ceil(experiment.masking_rate * length)
            net = nets.bert(*sizes, length, hidden, itemsize)
            about = f"{length} tokens", len(trials), steps, size, net, _moments(trials)
            found += [Stage(batch, *about)] if steps else []
    # One more is of the net that was not trained, to compare with.
    trials = (1 + sum(map(len, alike.values()))) * len(experiment.finetuning_seeds)
    net = nets.bert(*sizes, longest, 0, itemsize)
    size = experiment.finetuning_batch_size
    steps = math.ceil(experiment.finetuning_epochs * QUESTIONS / size)
    return [*found, Stage(size, FINE_TUNING, trials, steps, size, net, 2, size)]


def _of_images(experiment, alike, itemsize):
    size, *about, images = DATASETS[experiment.dataset]
    images = experiment.training_images or images
    about = experiment.image_size or size, *about
    if experiment.notebook == "lenet_mnist":
        net = nets.lenet(*about, itemsize)
    elif experiment.notebook == "davidnet_cifar10":
        net = nets.davidnet(*about, experiment.width, itemsize)
    else:
        net = nets.resnet50(*about, experiment.width, experiment.blocks, itemsize)
    found, (smallest, _) = [], experiment.micro_batches()
    for batch, trials in alike.items():
        solvers = {trial.solver for trial in trials}
        count = len(trials) + len(solvers) * len(experiment.confirmation_seeds)
        size, _, steps = experiment.steps(trials[0], images)
        # A step of what is read as a stream is not split.
        micro = size if experiment.dataset == "imagenet" else smallest
        of_step = steps, size, net, _moments(trials), micro
        found.append(Stage(batch, "images", count, *of_step))
    return found


def _moments(trials):
    return 1 if {base(t.solver) for t in trials} <= ONE_MOMENT else 2
