"""What an image notebook is asked to run: its parameters, checked, and its trials."""

import math
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat

from lamb_keras import schedules
from lamb_keras.experiments import types
from lamb_keras.experiments.schema import Experiment, check_shared
from lamb_keras.experiments.types import ParameterError, different, grid, one_of

AUGMENTATIONS = ("crop", "flip", "cutout")  # in the order in which they are applied


class Trial(NamedTuple):
    """A solver with its numbers as the table has them, and a seed.

    What its solver does not use is None.
    """

    solver: str
    batch_size: int
    learning_rate: float
    weight_decay: float | None
    weight_decay_form: str | None
    l2_regularization: float
    seed: int

    def __str__(self):
        decay = "" if self.weight_decay is None else f", decay {self.weight_decay:g}"
        if self.weight_decay_form == "times_learning_rate":
            decay += " times learning rate"
        l2 = f", L2 {self.l2_regularization:g}" if self.l2_regularization else ""
        return (
            f"{self.solver} {self.learning_rate:g}, batch {self.batch_size}"
            f"{decay}{l2}, seed {self.seed}"
        )


class Steps(NamedTuple):
    """The lengths of a training, in steps, and the images of one."""

    images_per_step: int
    warmup: int
    total: int


@dataclass(frozen=True, kw_only=True)
class ImageExperiment(Experiment):
    """The parameters of an image experiment, under the names that notebooks use.

    At batches other than `base_batch_size` the rate goes with the square root of the
    batch, and the warm-up lasts as many steps. AdamW's decay `per_step` is multiplied
    by `published_steps` over ours, so that decay × steps is kept.

    Example:
        >>> experiment = ImageExperiment(
        ...     notebook="lenet_mnist", table=7, scale="laptop", dataset="digits",
        ...     solvers=["adam", "lamb"], learning_rates=[0.001, 0.01],
        ...     weight_decay=0.01, batch_size=1024, batch_divisor=16, epochs=30,
        ...     warmup_epochs=1, seeds=[0, 1, 2], validation_fraction=0.1)
        >>> trials = experiment.trials()
        >>> len(trials), str(trials[0])
        (12, 'adam 0.001, batch 1024, seed 0')
        >>> experiment.steps(trials[0], images=1437)
        Steps(images_per_step=64, warmup=22, total=674)
    """

    Trial = Trial

    # pixels a side that pictures are shrunk to; None: as they are
    image_size: types.Whole | None = None
    # so many training images, the same in all trials; None: all
    training_images: types.Whole | None = None
    # channels of the net's first stage; the paper's 64
    width: types.Whole = None
    # of each stage; the paper's [3, 4, 6, 3]
    blocks: Annotated[list[types.Whole], Field(min_length=1)] = None
    # the paper's: a decay per step grows as the training shrinks
    published_steps: types.Whole | None = None
    # half of this times the sum of squared weights, in the loss
    l2_regularization: grid(NonNegativeFloat) = 0.0
    # the part of a label that is spread over all classes
    label_smoothing: types.Fraction = 0.0
    nesterov: bool = False  # whether momentum is Nesterov's
    batch_size: grid(types.Whole)  # the paper's
    # the batch that rates and warm-up are for; others by the rule
    base_batch_size: types.Whole | None = None
    epochs: types.Whole  # the paper's passes over the training images
    epochs_divisor: types.Divisor = 1.0  # this scale trains epochs / epochs_divisor
    warmup_epochs: NonNegativeFloat = 0.0  # of epochs, with a rising learning rate
    # of crop, flip, cutout
    augmentations: different(one_of(AUGMENTATIONS), 0) = field(default_factory=list)

    @property
    def periods(self) -> int:
        """How often a training is evaluated: after each of its epochs."""
        return math.ceil(self.epochs / self.epochs_divisor)

    def steps(self, trial: Trial, images: int) -> Steps:
        """The steps of a trial on a training set of so many images.

        Its epochs are one stream of shuffled images, of which a step may span two:
        ImageNet's 90 epochs are 7,038 steps of 16,384. Images that are held out count.
        """
        per_step = trial.batch_size // self.batch_divisor
        if per_step > images:
            raise ParameterError(
                f"batch_size {trial.batch_size} / batch_divisor {self.batch_divisor} "
                f"is {per_step} images a step, but {self.dataset} has {images} to "
                "train on: raise batch_divisor."
            )
        total = math.ceil(self.epochs / self.epochs_divisor * images / per_step)
        warmup = round(total * self._warmup_epochs(trial.batch_size) / self.epochs)
        # However short the training, a step after the warm-up remains.
        return Steps(per_step, min(warmup, total - 1), total)

    def micro_batches(self) -> tuple[int, int]:
        """The smallest step's images, and how many times as many the largest has."""
        sizes = self._images_per_step()
        return sizes[0], sizes[-1] // sizes[0]

    def peak_learning_rate(self, trial: Trial) -> float:
        """The greatest learning rate, at this scale."""
        return self._peak(trial, trial.batch_size)

    def learning_rates_by_step(self, trial: Trial, steps: Steps) -> np.ndarray:
        """The learning rate of each step, shape (total,), float32."""
        peak = self.peak_learning_rate(trial)
        step = np.arange(steps.total)
        if trial.solver.endswith("+"):
            fraction = schedules.goyal(step, steps.total)
        else:
            fraction = schedules.warmup_polynomial_decay(
                step, steps.warmup, steps.total, self.decay_power
            )
        return np.asarray(peak * fraction, "float32")

    def weight_decays_by_step(self, trial: Trial, steps: Steps) -> np.ndarray:
        if trial.weight_decay_form == "per_step":
            # A shorter training is given a stronger decay per step.
            factor = (self.published_steps or steps.total) / steps.total
            decay = trial.weight_decay * factor
            if decay >= 1:
                raise ParameterError(
                    f"weight_decay {trial.weight_decay:g} per step, times "
                    f"published_steps {self.published_steps} over our {steps.total} "
                    f"steps, is {decay:.3g} of the weights, expected less than 1: "
                    "train longer (a smaller epochs_divisor or a larger batch_divisor)."
                )
            trial = trial._replace(weight_decay=decay)
        return super().weight_decays_by_step(trial, steps)

    def _check_together(self):
        batches = sorted({trial.batch_size for trial in self.trials()})
        smallest, *larger = self._images_per_step()
        if not smallest:
            raise ParameterError(
                f"batch_divisor is {self.batch_divisor} and batch_size {batches[0]}, "
                "which leaves no image in a step; choose a smaller batch_divisor",
                ["batch_divisor", "batch_size"],
            )
        largest = (larger or [smallest])[-1]
        if self.training_images and largest > self.training_images:
            raise ParameterError(
                f"training_images is {self.training_images} and batch_size "
                f"{batches[-1]} / batch_divisor {self.batch_divisor} makes steps of "
                f"{largest}; choose more images or a larger batch_divisor",
                ["training_images", "batch_divisor"],
            )
        if odd := [size for size in larger if size % smallest]:
            raise ParameterError(
                f"batch_size {batches} gives steps of {smallest} and {odd[0]} images, "
                "expected multiples of the smallest, of which a step is made; "
                "choose batch sizes that are",
                ["batch_size", "batch_divisor"],
            )
        if self.epochs_divisor > self.epochs:
            raise ParameterError(
                f"epochs_divisor is {self.epochs_divisor:g} and epochs {self.epochs}, "
                "which leaves less than one epoch of training; choose a smaller "
                "epochs_divisor",
                ["epochs_divisor", "epochs"],
            )
        if (warmup := self._warmup_epochs(batches[-1])) >= self.epochs:
            given = f" at batch_size {batches[-1]}" if self.base_batch_size else ""
            raise ParameterError(
                f"warmup_epochs is {warmup:g}{given} and epochs {self.epochs}, which "
                "leaves nothing after the warm-up; choose fewer warmup_epochs",
                ["warmup_epochs", "epochs"],
            )

    def check_devices(self, devices):
        # Of the smallest batch, the micro-batch of all, the others are multiples.
        size, batch = (
            self._images_per_step()[0],
            min(t.batch_size for t in self.trials()),
        )
        what = f"batch_size {batch} / batch_divisor {self.batch_divisor}"
        check_shared(f"{what} is {size} images a step", size, devices)

    def _images_per_step(self):
        return sorted({t.batch_size // self.batch_divisor for t in self.trials()})

    def _warmup_epochs(self, batch_size):
        return schedules.linear_epoch_warmup(
            self.warmup_epochs, batch_size, self.base_batch_size
        )
