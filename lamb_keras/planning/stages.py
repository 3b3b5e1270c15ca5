"""The trainings of a run, as far as their cost goes: steps, batches, nets."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from lamb_keras.experiments import NOTEBOOKS
from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.experiments.schema import required
from lamb_keras.planning import nets
from lamb_keras.planning.nets import Net

# Shape, classes, images to train on.
DATASETS = {
    "digits": ((8, 8, 1), 10, 1_437),
    "mnist": ((28, 28, 1), 10, 60_000),
    "cifar10": ((32, 32, 3), 10, 50_000),
    "imagenet": ((224, 224, 3), 1000, 1_281_167),
}
# Read as a stream: a step is not split into micro-batches.
STREAMED = ("imagenet",)
# Of SQuAD v1.1, to train on; nearly all are one window of text.
QUESTIONS = 87_599
FINE_TUNING = "fine-tuning"
# Solvers that keep one moment of a weight; others keep two.
ONE_MOMENT = ("momentum", "adagrad", "lars")


class Stage(NamedTuple):
    """Trials alike in all that costs, or one part of each."""

    name: str
    batch: int | str  # the paper's
    trials: int
    steps: int  # of each trial
    examples: int  # of a step
    net: Net
    moments: int  # that the solver keeps of each weight
    micro_batch: int | None  # examples; None for any that divides those of a step

    @property
    def flops(self) -> float:
        """Of all its trials."""
        return self.trials * self.steps * self.examples * self.net.flops

    @property
    def state(self) -> float:
        """Bytes of weights and moments, which is also a checkpoint's size."""
        return 4 * self.net.parameters * (1 + self.moments)


def stages(parameters: Mapping) -> list[Stage]:
    """The stages of a run with these parameters; none where its net is not known.

    Evaluations are left out, which take a hundredth. Fine-tunings are counted as on
    SQuAD's training questions, whatever the data.

    Example:
        >>> [stage] = stages({"notebook": "lenet_mnist", "table": 7, "scale": "paper",
        ...     "dataset": "mnist", "solvers": ["lamb"], "learning_rates": [0.1, 0.2],
        ...     "batch_size": 1024, "epochs": 30, "seeds": [0, 1],
        ...     "validation_fraction": 0.1})
        >>> stage.trials, stage.steps, stage.examples, stage.moments
        (4, 1758, 1024, 2)
    """
    notebook = NOTEBOOKS.get(parameters.get("notebook"))
    if not notebook:
        return []
    kind = BertExperiment if notebook.pretrains else ImageExperiment
    if not parameters.keys() >= {*required(kind)}:
        return []
    experiment = kind.of(parameters)
    itemsize = 2 if experiment.dtype_policy == "mixed_bfloat16" else 4
    if notebook.pretrains:
        return _of_text(experiment, itemsize)
    if experiment.dataset not in DATASETS:
        return []
    return _of_images(experiment, itemsize)


def _of_text(experiment, itemsize):
    def net(length, predictions):
        sizes = (experiment.layers, experiment.width, experiment.heads)
        longest = experiment.sequence_lengths[1]
        sizes = (experiment.vocab_size, *sizes, longest, length, predictions)
        return nets.bert(*sizes, itemsize)

    found, trials = [], experiment.trials()
    for batch, alike in ({} if experiment.preset else _by_batch(trials)).items():
        for stage in experiment.stages(alike[0]):
            length = stage.sequence_length
            hidden = math.ceil(experiment.masking_rate * length)
            sizes = len(alike), stage.steps, stage.sequences_per_step
            about = net(length, hidden), _moments(alike)
            if stage.steps:
                name = f"{length} tokens"
                found.append(Stage(name, batch, *sizes, *about, None))
    # One more is of the net that was not trained, to compare with.
    tuned = (len(trials) + 1) * len(experiment.finetuning_seeds)
    examples = experiment.finetuning_batch_size
    steps = math.ceil(experiment.finetuning_epochs * QUESTIONS / examples)
    about = net(experiment.sequence_lengths[1], 0), 2, examples
    return [*found, Stage(FINE_TUNING, examples, tuned, steps, examples, *about)]


def _of_images(experiment, itemsize):
    shape, classes, images = DATASETS[experiment.dataset]
    if experiment.image_size:
        shape = (experiment.image_size, experiment.image_size, shape[2])
    images = experiment.training_images or images
    if experiment.notebook == "lenet_mnist":
        net = nets.lenet(shape, classes, itemsize)
    elif experiment.notebook == "davidnet_cifar10":
        net = nets.davidnet(shape, classes, experiment.width, itemsize)
    else:
        sizes = experiment.width, experiment.blocks
        net = nets.resnet50(shape, classes, *sizes, itemsize)
    found, (smallest, _) = [], experiment.micro_batches()
    for batch, alike in _by_batch(experiment.trials()).items():
        confirmed = len({trial.solver for trial in alike})
        count = len(alike) + confirmed * len(experiment.confirmation_seeds)
        steps = experiment.steps(alike[0], images)
        size = steps.images_per_step
        micro = size if experiment.dataset in STREAMED else smallest
        about = net, _moments(alike), micro
        found.append(Stage("images", batch, count, steps.total, size, *about))
    return found


def _by_batch(trials):
    found = {}
    for trial in trials:
        found.setdefault(trial.batch_size, []).append(trial)
    return found


def _moments(trials):
    names = {trial.solver.removesuffix("+") for trial in trials}
    return 1 if names <= {*ONE_MOMENT} else 2
