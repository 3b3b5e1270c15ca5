"""What a notebook is asked to run: its parameters, checked, and its trials."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import NamedTuple

import numpy as np

from lamb_keras import experiments, schedules


class Trial(NamedTuple):
    """One training run: a solver with its numbers as the table has them, and a seed.

    What its solver does not use is None.
    """

    solver: str
    batch_size: int
    learning_rate: float
    weight_decay: float | None
    weight_decay_form: str | None
    l2_regularization: float
    seed: int

    @property
    def setting(self) -> dict:
        """What tells it from trials of other settings: all but the seed."""
        return {name: v for name, v in self._asdict().items() if name != "seed"}

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
class ImageExperiment:
    """The parameters of an image experiment, under the names that notebooks use.

    Args:
        notebook: the experiment; a table made for another notebook is refused.
        table: the number of the paper's table that this fills.
        scale: laptop, gpu or paper.
        dataset: a name that `lamb_keras.data.load` knows.
        solvers: the paper's names; a trailing "+" adds Goyal's learning-rate recipe.
        learning_rates: a grid: a list, or a list for each solver.
        batch_size: images in a step at the paper's scale, or several such numbers.
        epochs: passes over the training images at the paper's scale.
        seeds: of the initial weights, the order of the images and their augmentation;
            a trial each.
        validation_fraction: of the training images, held out to choose by.
        batch_divisor: how many times smaller a step is at this scale.
        epochs_divisor: how many times shorter the training is at this scale.
        base_batch_size: the batch for which `learning_rates` and `warmup_epochs` are
            given; at others the rate goes with the square root of the batch, and the
            warm-up lasts as many steps. None: they are for every batch.
        warmup_epochs: of `epochs`, how many raise the learning rate.
        decay_power: of the polynomial decay that follows; 0 for a constant rate.
        weight_decay: a grid: of the solvers that have one (adamw, lars, lamb).
        weight_decay_form: of adamw: "per_step" takes `weight_decay` of the weights off
            at each step, as TensorFlow 1 did, "times_learning_rate" that times the
            learning rate, as Keras does; or both, as a list.
        published_steps: of the paper's training. A decay per step is multiplied by
            this over our steps, so that decay × steps is kept. None: it is as given.
        l2_regularization: a grid: ½ · this · Σ w² is added to the loss, over all
            weights but those of normalization layers.
        label_smoothing: the part of a label that is spread over all classes.
        nesterov: whether momentum is Nesterov's.
        exclude_from_weight_decay: patterns of variable paths that LAMB and LARS
            neither decay nor adapt.
        global_clipnorm: the longest gradient that LAMB and LARS take as it is.
        packed_update: whether LAMB and LARS update variables of one shape at once, in
            far fewer kernels: see `lamb_keras.optimizers.Packed`.
        augmentations: of the training images: crop, flip, cutout.
        width, blocks: of the model, for models that have them.
        dtype_policy: Keras's name of the precision the model computes in.

    Raises:
        lamb_keras.experiments.ParameterError: for a value of a wrong type or range.

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

    notebook: str
    table: int
    scale: str
    dataset: str
    solvers: list[str]
    learning_rates: list | dict
    batch_size: int | list[int]
    epochs: int
    seeds: list[int]
    validation_fraction: float
    batch_divisor: int = 1
    epochs_divisor: float = 1.0
    base_batch_size: int | None = None
    warmup_epochs: float = 0.0
    decay_power: float = 1.0
    weight_decay: float | list | dict = 0.0
    weight_decay_form: str | list[str] = "per_step"
    published_steps: int | None = None
    l2_regularization: float | list | dict = 0.0
    label_smoothing: float = 0.0
    nesterov: bool = False
    exclude_from_weight_decay: list[str] = field(default_factory=list)
    global_clipnorm: float | None = None
    packed_update: bool = False
    augmentations: list[str] = field(default_factory=list)
    width: int | None = None
    blocks: list[int] | None = None
    dtype_policy: str = "float32"

    def __post_init__(self):
        given = {name: v for name, v in asdict(self).items() if v is not None}
        for name, value in experiments.validate(given).items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, names: Mapping) -> "ImageExperiment":
        """The experiment whose parameters are among these names.

        A notebook calls it with `globals()`, after its cell of parameters.
        """
        known = [each.name for each in fields(cls)]
        return cls(**{name: names[name] for name in known if name in names})

    def trials(self) -> list[Trial]:
        """Every setting with every seed, in the order of the grids."""
        return [
            Trial(**setting, seed=seed)
            for setting in experiments.settings(asdict(self))
            for seed in self.seeds
        ]

    @property
    def periods(self) -> int:
        """How often a training is looked at: after each of its epochs."""
        return math.ceil(self.epochs / self.epochs_divisor)

    def steps(self, trial: Trial, images: int) -> Steps:
        """The steps of a trial on a training set of so many images.

        Its epochs are one stream of shuffled images, of which a step may take some
        from the end of one and some from the start of the next: ImageNet's 90 epochs
        are 7,038 steps of 16,384. The last step is filled up from one more epoch.
        Images that are held out count too: the others are shown more often then.

        Raises:
            lamb_keras.experiments.ParameterError: when not even one batch fits.
        """
        per_step = trial.batch_size // self.batch_divisor
        if per_step > images:
            raise experiments.ParameterError(
                f"batch_size {trial.batch_size} / batch_divisor {self.batch_divisor} "
                f"is {per_step} images a step, but {self.dataset} has {images} to "
                "train on: raise batch_divisor."
            )
        total = math.ceil(self.epochs / self.epochs_divisor * images / per_step)
        warmup = self.warmup_epochs
        if self.base_batch_size:
            warmup = schedules.linear_epoch_warmup(
                warmup, trial.batch_size, self.base_batch_size
            )
        # However short the training, a step after the warm-up remains.
        return Steps(
            per_step, min(round(total * warmup / self.epochs), total - 1), total
        )

    def micro_batches(self) -> tuple[int, int]:
        """(images in a micro-batch, the most micro-batches that a step has).

        A micro-batch is the smallest of the experiment's batches, of which all are
        multiples.
        """
        batches = sorted({t.batch_size // self.batch_divisor for t in self.trials()})
        return batches[0], batches[-1] // batches[0]

    def learning_rates_by_step(self, trial: Trial, steps: Steps) -> np.ndarray:
        """The learning rate of each step, shape (total,), float32."""
        peak = trial.learning_rate
        if self.base_batch_size:
            peak = schedules.square_root_scaling(
                peak, trial.batch_size, self.base_batch_size
            )
        step = np.arange(steps.total)
        if trial.solver.endswith("+"):
            fraction = schedules.goyal(step, steps.total)
        else:
            fraction = schedules.warmup_polynomial_decay(
                step, steps.warmup, steps.total, self.decay_power
            )
        return np.asarray(peak * fraction, "float32")

    def weight_decays_by_step(self, trial: Trial, steps: Steps) -> np.ndarray:
        """What the solver is given as weight decay at each step, shape (total,).

        For adamw the fraction of the weights that the step takes off, for lars and
        lamb their λ, for others 0.

        Raises:
            lamb_keras.experiments.ParameterError: when a step would take off all.
        """
        if trial.weight_decay is None:
            return np.zeros(steps.total, "float32")
        if trial.weight_decay_form is None:
            return np.full(steps.total, trial.weight_decay, "float32")
        if trial.weight_decay_form == "times_learning_rate":
            return trial.weight_decay * self.learning_rates_by_step(trial, steps)
        fraction = trial.weight_decay * self.decay_factor(steps)
        if fraction >= 1:
            raise experiments.ParameterError(
                f"weight_decay {trial.weight_decay:g} per step, times published_steps "
                f"{self.published_steps} over our {steps.total} steps, is "
                f"{fraction:.3g} of the weights, expected less than 1: train longer "
                "(a smaller epochs_divisor or a larger batch_divisor)."
            )
        return np.full(steps.total, fraction, "float32")

    def decay_factor(self, steps: Steps) -> float:
        """How many times stronger a decay per step is in this shorter training."""
        return self.published_steps / steps.total if self.published_steps else 1.0
