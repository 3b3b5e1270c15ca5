"""One trial trained from a stream of batches on all devices: for the paper's scale.

`lamb_keras.training.sweep` keeps its images on one device and trains many trials; this
trains one, of any size, and can be stopped and gone on with.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.image import ImageExperiment, Steps, Trial
from lamb_keras.optimizers import solvers
from lamb_keras.store import events
from lamb_keras.training.accumulation import LOSS_BEYOND_USE
from lamb_keras.training.checkpoints import Checkpoints
from lamb_keras.training.history import History
from lamb_keras.training.spread import SpreadStep
from lamb_keras.training.step import Step


class Preempted(Exception):
    """The process was asked to end, and has kept what is needed to go on."""


def stream(
    experiment: ImageExperiment,
    trial: Trial,
    model,
    batches: Callable,
    *,
    training_images: int,
    normalize: Callable,
    mesh: Mesh | None = None,
    split_weights: bool = False,
    checkpoint_folder: str | None = None,
    steps_between_checkpoints: int = 500,
) -> History:
    """Trains a trial and judges it.

    With several processes (`jax.distributed.initialize`) each calls this alike, and
    reads its own part of every batch. Given a folder for checkpoints it goes on from
    the last one there, and ends up with the same weights as without a stop.

    The experiment's augmentations are left to `batches`: pictures of many sizes are
    cropped where they are decoded.

    Args:
        experiment: whose schedules, regularization and number of steps are taken.
        trial: one of its trials.
        model: a new Keras model from float images to logits, of the trial's seed.
        batches: a function of (split, batch_size=, seed=, process_index=,
            process_count=) to an iterator over (images, labels), such as
            `functools.partial(lamb_keras.data.imagenet.batches, workers=16,
            validation_fraction=0.01)`. That of the split "train" does not end and has
            Grain's `get_state` and `set_state`; those of "validation" and "test" end,
            and label padding -1. All have `close`.
        training_images: in the training set, those that are held out included, by
            which the steps are counted.
        normalize: from the images of a batch to what the model takes.
        mesh: the devices; all if left out.
        split_weights: whether they share the weights too; as of a `SpreadStep`.
        checkpoint_folder: of this trial alone, on a disk that all processes see. None:
            nothing is kept.
        steps_between_checkpoints: how often. One more is kept when the process is asked
            to end (SIGTERM).

    Returns:
        A `History`. A loss beyond use ends the training, as in a sweep.

    Raises:
        Preempted: after the process was asked to end, and a checkpoint is kept.
        ValueError: for a checkpoint of another training.
        lamb_keras.experiments.ParameterError: for a batch that devices cannot share.
    """
    own = dataclasses.replace(experiment, augmentations=[])
    step = Step(own, solvers.base(trial.solver), model, normalize)
    training = _Training(
        experiment,
        trial,
        SpreadStep(step, mesh, split_weights=split_weights),
        batches,
        training_images,
    )
    if checkpoint_folder is None:
        return training.run(None)
    with Checkpoints(
        checkpoint_folder, steps_between_checkpoints, of=_identity(experiment, trial)
    ) as checkpoints:
        return training.run(checkpoints)


def _identity(experiment, trial):
    """What tells this training from others; other trials may come and go."""
    shared = dataclasses.asdict(experiment)
    for name in ("solvers", "learning_rates", "seeds"):
        del shared[name]
    return {**trial._asdict(), **shared, **trial._asdict()}


def shared_steps(
    experiment: ImageExperiment, trial: Trial, training_images: int, devices: int
) -> Steps:
    """The steps of a trial, each shared by so many devices alike.

    Raises:
        lamb_keras.experiments.ParameterError: for a batch that they cannot share.
    """
    steps = experiment.steps(trial, training_images)
    if steps.images_per_step % devices:
        raise ParameterError(
            f"batch_size {trial.batch_size} / batch_divisor "
            f"{experiment.batch_divisor} is {steps.images_per_step} images a step, "
            f"which {devices} devices cannot share alike: choose a multiple of their "
            "number."
        )
    return steps


class _Training:
    """A trial under way."""

    def __init__(self, experiment, trial, spread, batches, training_images):
        steps = shared_steps(experiment, trial, training_images, spread.mesh.size)
        self._trial, self._steps, self._spread = trial, steps, spread
        self._batches = batches
        self._learning_rates = experiment.learning_rates_by_step(trial, steps)
        self._weight_decays = experiment.weight_decays_by_step(trial, steps)
        self._per_period = -(-steps.total // experiment.periods)
        layers = [variable.path for variable in spread.step.model.trainable_variables]
        self._history = History(trial, layers, steps)
        self._losses = []  # of this period's steps
        self._looked_at = 0  # how many of them
        self._started = time.perf_counter()

    def run(self, checkpoints) -> History:
        history = self._history
        with contextlib.closing(self._read("train")) as batches, self._bar() as bar:
            state, done = self._begin(checkpoints, batches)
            bar.update(done)
            while done < self._steps.total and history.outcome == "finished":
                state = self._step(state, done, next(batches))
                done += 1
                bar.update()
                keep = checkpoints is not None and checkpoints.due(done)
                self._look(state, done, now=keep)
                if keep and history.outcome == "finished":
                    plain = self._spread.plain(state)
                    checkpoints.keep(done, plain, batches, self._told())
                    self._end_if_asked(checkpoints, done)
        if history.outcome == "finished":
            history.finish(*self._judge(state, "test"))
        history.seconds = self._seconds()
        return history

    def _begin(self, checkpoints, batches):
        """(state, steps done): from the last checkpoint if there is one."""
        found = checkpoints and checkpoints.last(self._spread.plain_state, batches)
        if not found:
            return self._spread.start(), 0
        done, state, told = found
        for name, values in told["history"].items():
            setattr(self._history, name, values)
        self._history.trust_ratios = [
            np.array(each, "float32") for each in self._history.trust_ratios
        ]
        self._losses, self._looked_at = told["losses"], len(told["losses"])
        self._started -= told["seconds"]
        return self._spread.own(state), done

    def _step(self, state, number, batch):
        state, loss = self._spread.update(
            state,
            self._spread.put(batch),
            np.uint32(self._trial.seed),
            np.int32(number),
            self._learning_rates[number],
            self._weight_decays[number],
            np.float32(self._trial.l2_regularization),
        )
        self._losses.append(loss)
        return state

    def _look(self, state, done, now):
        """Finds a loss beyond use, and ends the period where it ends.

        A loss is looked at while the next step is computed, unless it has to be now.
        """
        ends = done % self._per_period == 0 or done == self._steps.total
        lost = self._first_lost(len(self._losses) - (not (now or ends)))
        if not (ends or lost):
            return
        judged, count = self._judge(state, "validation")
        ratios = np.asarray(self._spread.trust_ratios(state))
        losses = np.asarray(self._losses[: self._looked_at], "float32")
        self._history.record(losses, done, lost, judged, count, ratios)
        self._losses, self._looked_at = [], 0
        events.emit(
            "steps done",
            done=done,
            total=self._steps.total,
            label=str(self._trial),
            train_loss=self._history.train_loss[-1],
            validation_accuracy=self._history.validation_accuracy[-1],
        )

    def _first_lost(self, end):
        """The first step whose loss is beyond use, of those before `end`, or 0."""
        begin_step = self._done_before_period()
        while self._looked_at < end:
            loss = self._losses[self._looked_at] = float(self._losses[self._looked_at])
            self._looked_at += 1
            if not abs(loss) <= LOSS_BEYOND_USE:
                return begin_step + self._looked_at
        return 0

    def _done_before_period(self):
        return len(self._history.train_loss) * self._per_period

    def _end_if_asked(self, checkpoints, done):
        if checkpoints.asked_to_end:
            raise Preempted(
                f"{self._trial} was asked to end and has kept its step {done:,} of "
                f"{self._steps.total:,}: start it again to go on from there."
            )

    def _judge(self, state, split):
        with contextlib.closing(self._read(split)) as batches:
            return self._spread.judge(state, batches)

    def _read(self, split):
        return self._batches(
            split,
            batch_size=self._steps.images_per_step,
            seed=self._trial.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def _bar(self):
        silent = events.VARIABLE in os.environ or jax.process_index() > 0
        total = self._steps.total
        return tqdm(total=total, unit="step", mininterval=1, disable=silent)

    def _told(self):
        """What a checkpoint holds besides arrays: plain values."""
        history = self._history
        return {
            "losses": self._losses,
            "seconds": self._seconds(),
            "history": {
                "train_loss": history.train_loss,
                "validation_accuracy": history.validation_accuracy,
                "validation_top5": history.validation_top5,
                "trust_ratios": [each.tolist() for each in history.trust_ratios],
            },
        }

    def _seconds(self):
        return time.perf_counter() - self._started
