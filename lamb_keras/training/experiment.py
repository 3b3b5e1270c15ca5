"""What a notebook is asked to run: its parameters, checked, and its trials."""

from dataclasses import asdict, dataclass
from typing import NamedTuple

from lamb_keras import parameters

# The solvers whose update has a weight decay; for the others the parameter is unused.
DECAYING_SOLVERS = ("adamw", "lars", "lamb")


class Trial(NamedTuple):
    """One training run: a solver with its numbers, and a seed."""

    solver: str
    learning_rate: float
    seed: int

    def __str__(self):
        return f"{self.solver} {self.learning_rate:g}, seed {self.seed}"


class Steps(NamedTuple):
    """The lengths of a training, in steps."""

    per_epoch: int
    warmup: int
    total: int


@dataclass(frozen=True)
class Experiment:
    """The parameters of an image experiment, under the names that notebooks use.

    Args:
        notebook: the experiment; a table made for another notebook is refused.
        table: the number of the paper's table that this fills.
        scale: laptop, gpu or paper.
        dataset: a name that `lamb_keras.data.load` knows.
        solvers: the rows, by the paper's names.
        learning_rates: the grid that every solver is tuned on.
        weight_decay: of the solvers that have one (adamw, lars, lamb).
        batch_size: images in a step at the paper's scale.
        batch_divisor: how many times smaller a step is at this scale.
        epochs: passes over the training images.
        warmup_epochs: of these, how many raise the learning rate.
        decay_power: of the polynomial decay that follows.
        seeds: of the initial weights and the order of the images, a trial each.
        validation_fraction: of the training images, held out to choose by.

    Raises:
        lamb_keras.parameters.ParameterError: for a value of a wrong type or range.

    Example:
        >>> experiment = Experiment(
        ...     notebook="lenet_mnist", table=7, scale="laptop", dataset="digits",
        ...     solvers=["adam", "lamb"], learning_rates=[0.001, 0.01],
        ...     weight_decay=0.01, batch_size=1024, batch_divisor=16, epochs=30,
        ...     warmup_epochs=1, decay_power=1.0, seeds=[0, 1, 2],
        ...     validation_fraction=0.1)
        >>> len(experiment.trials()), experiment.images_per_step
        (12, 64)
        >>> experiment.steps(training_images=1293)
        Steps(per_epoch=20, warmup=20, total=600)
    """

    notebook: str
    table: int
    scale: str
    dataset: str
    solvers: list[str]
    learning_rates: list[float]
    weight_decay: float
    batch_size: int
    batch_divisor: int
    epochs: int
    warmup_epochs: float
    decay_power: float
    seeds: list[int]
    validation_fraction: float

    def __post_init__(self):
        checked = parameters.validate(asdict(self))
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def images_per_step(self) -> int:
        return self.batch_size // self.batch_divisor

    def steps(self, training_images: int) -> Steps:
        """The steps of a training on so many images; a last partial batch is dropped.

        Raises:
            ValueError: when not even one batch fits.
        """
        per_epoch = training_images // self.images_per_step
        if not per_epoch:
            raise ValueError(
                f"A step takes {self.images_per_step} images (batch_size "
                f"{self.batch_size} / batch_divisor {self.batch_divisor}), but "
                f"{self.dataset} leaves {training_images} to train on: "
                "raise batch_divisor."
            )
        total = per_epoch * self.epochs
        # However short the training, a step after the warm-up remains.
        warmup = min(round(self.warmup_epochs * per_epoch), total - 1)
        return Steps(per_epoch, warmup, total)

    def trials(self) -> list[Trial]:
        """Every solver, learning rate and seed, in this order."""
        return [
            Trial(solver, learning_rate, seed)
            for solver in self.solvers
            for learning_rate in self.learning_rates
            for seed in self.seeds
        ]
