"""A solver's training compiled once, for every trial that uses it.

Whatever tells trials apart is an input of the compiled program: the rows of the images
that a step takes, the learning rate and weight decay of every step, L2, the seed, even
the batch size, which is a number of equal micro-batches. So all trials of a solver run
through one executable; on an accelerator it takes several of them at a time, by `vmap`
over a leading axis.
"""

import itertools
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from lamb_keras.data import Images
from lamb_keras.experiments.image import ImageExperiment, Trial
from lamb_keras.training import accumulation
from lamb_keras.training.accumulation import Feed, Progress, begin, filled
from lamb_keras.training.order import order
from lamb_keras.training.step import Judgement, Step, initial_weights
from lamb_keras.training.together import together

# Images judged at once: bounds the memory of an evaluation.
_CHUNK = 1000


class Constants(NamedTuple):
    """The numbers of a trial that are the same at every step."""

    seed: Any
    l2: Any
    micro_batches: Any  # in a step: the same for trials that run together


class Program:
    """The compiled training of one solver.

    Batches are split into micro-batches of the smallest batch among the experiment's
    trials; a step adds up the gradients of its own. Batch normalization sees one
    micro-batch at a time, as it sees one core's images on the paper's TPUs.

    Args:
        experiment: what is run.
        step: the solver's step on a model.
        images: the data, which stays on the device.
        width: how many trials run at once; 1 without `vmap`.
    """

    def __init__(
        self, experiment: ImageExperiment, step: Step, images: Images, width: int = 1
    ):
        self.width = width
        self.layers = [variable.path for variable in step.model.trainable_variables]
        self._step = step
        self._experiment = experiment
        self._images = len(images.train_labels)
        self._training_set = images.training_set
        self._micro_batch, most = experiment.micro_batches()
        self._accumulates = most > 1
        # What the longest period of any trial has.
        each = [(t.total, self._each(t)) for t in map(self._steps, experiment.trials())]
        longest = [(-(-total // experiment.periods), n) for total, n in each]
        self._steps_per_period = max(steps for steps, _ in longest)
        self._micro_steps_per_period = max(steps * n for steps, n in longest)

        started = time.perf_counter()
        train, ratios = self._train, step.trust_ratios
        if width > 1:
            of_each = Constants(seed=0, l2=0, micro_batches=None)
            train = jax.vmap(train, in_axes=(0, 0, of_each, None, None))
            ratios = jax.vmap(ratios)
        trial = experiment.trials()[0]
        example = self.start([initial_weights(step.model)])
        self._run_period = (
            jax.jit(
                lambda *inputs: self._with_ratios(train(*inputs), ratios),
                donate_argnums=0,
            )
            .lower(
                example,
                together([self.feed(trial)[0]], width),
                self.constants([trial]),
                images.train_images,
                images.train_labels,
            )
            .compile()
        )
        self.compile_seconds = time.perf_counter() - started

    def start(self, initial: list) -> Progress:
        """The trials before their first step, from the initial weights of each."""
        begun = [begin(self._step.start(weights)) for weights in initial]
        return together(begun, self.width)

    def feed(self, trial: Trial) -> list[Feed]:
        """What the trial is given, period by period, which are as equal as can be."""
        steps = self._steps(trial)
        each = self._each(steps)
        micro_steps = steps.total * each
        rows = order(trial.seed, self._images, micro_steps * self._micro_batch)
        rows = rows.reshape(micro_steps, self._micro_batch)
        number = np.arange(micro_steps, dtype="int32")
        rates = self._experiment.learning_rates_by_step(trial, steps)
        decays = self._experiment.weight_decays_by_step(trial, steps)
        periods = self._experiment.periods
        ends = [steps.total * period // periods for period in range(periods + 1)]

        def of_steps(array):
            return filled(array, self._steps_per_period)

        def of_micro_steps(array):
            return filled(array, self._micro_steps_per_period)

        return [
            Feed(
                (
                    of_micro_steps(rows[start * each : end * each]),
                    of_micro_steps(number[start * each : end * each]),
                ),
                of_steps(np.arange(start + 1, end + 1, dtype="int32")),
                of_steps(rates[start:end]),
                of_steps(decays[start:end]),
                np.int32(end - start),
            )
            for start, end in itertools.pairwise(ends)
        ]

    def constants(self, trials: list[Trial]) -> Constants:
        """The numbers of these trials, of one batch size, that no step changes."""
        (each,) = {self._each(self._steps(trial)) for trial in trials}
        numbers = [
            Constants(np.uint32(t.seed), np.float32(t.l2_regularization), None)
            for t in trials
        ]
        return together(numbers, self.width)._replace(micro_batches=np.int32(each))

    def run_period(self, progress, feeds: list[Feed], constants, data):
        """One period of the trials' training: (progress, losses, trust ratios).

        A loss for every step, NaN for those not taken; `data` as (images, labels) on
        the device.
        """
        feeds = together(feeds, self.width)
        return self._run_period(progress, feeds, constants, *data)

    def _steps(self, trial):
        return self._experiment.steps(trial, self._training_set)

    def _each(self, steps):
        """How many micro-batches make one of these steps."""
        return steps.images_per_step // self._micro_batch

    # What is traced

    def _with_ratios(self, trained, ratios):
        progress, losses = trained
        return progress, losses, ratios(progress.state)

    def _train(self, progress, feed, constants, images, labels):
        def gradients(state, given):
            rows, number = given
            key = jax.random.fold_in(jax.random.key(constants.seed), number)
            return self._step.gradients(
                state, images[rows], labels[rows], key, constants.l2
            )

        return accumulation.run(
            progress,
            feed,
            constants.micro_batches,
            gradients,
            self._step.apply,
            self._accumulates,
        )


class Judge:
    """The compiled judgement of a model, whatever solver trains it.

    Args:
        step: any solver's step on the model, packed if theirs are.
        width: how many trials are judged at once.
        chunk: images and labels, as `Chunks` has them, of which only shapes count.
    """

    def __init__(self, step: Step, width: int, chunk):
        started = time.perf_counter()
        judge = step.judge
        start = step.start(initial_weights(step.model))
        model = start.weights, start.others
        if width > 1:
            judge = jax.vmap(judge, in_axes=(0, 0, None, None))
            model = jax.tree.map(lambda leaf: np.stack([leaf] * width), model)
        self._judge = jax.jit(judge).lower(*model, *chunk).compile()
        self.compile_seconds = time.perf_counter() - started

    def __call__(self, progress: Progress, chunks) -> Judgement:
        """The trials' models on a part of `Chunks`, as sums: one each if several."""
        state = progress.state
        judged = [self._judge(state.weights, state.others, *each) for each in chunks]
        return jax.tree.map(lambda *parts: sum(map(np.asarray, parts)), *judged)


class Chunks:
    """The images to judge by, in pieces of one size, so that one program judges all.

    The last piece of each part is filled up with images labeled -1.

    Attributes:
        validation, test: lists of (images, labels).
    """

    def __init__(self, images: Images, most: int = _CHUNK):
        size = min(most, max(len(images.validation_labels), len(images.test_labels)))
        self.validation = _cut(images.validation_images, images.validation_labels, size)
        self.test = _cut(images.test_images, images.test_labels, size)


def _cut(images, labels, size):
    pieces = []
    for start in range(0, len(labels), size):
        some, their = images[start : start + size], labels[start : start + size]
        padding = size - len(their)
        if padding:
            blank = np.zeros((padding, *some.shape[1:]), some.dtype)
            some = np.concatenate([some, blank])
            their = np.concatenate([their, np.full(padding, -1, "int32")])
        pieces.append((some, np.asarray(their, "int32")))
    return pieces
