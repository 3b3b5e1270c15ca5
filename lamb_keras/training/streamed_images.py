"""The trials of an image experiment on images too many for memory, such as ImageNet's.

Grain reads and augments them, and all devices of all processes share every batch.
"""

import contextlib
import functools

import jax
import numpy as np

from lamb_keras.cpu import processors
from lamb_keras.experiments import ParameterError
from lamb_keras.models.layers import CHANNELS_LAST
from lamb_keras.store import events
from lamb_keras.training.classification import ImageTrials
from lamb_keras.training.sharding import Sharding
from lamb_keras.training.trainer import period_inputs

# One more is saved when the process is asked to end.
STEPS_BETWEEN_CHECKPOINTS = 500


class StreamedImageTrials(ImageTrials):
    """The trials on a `lamb_keras.data.Streamed`, a step at a call of their program.

    All arguments are as of `ImageTrials`; `make_model` is given `form=` too.
    """

    streamed = True

    def __init__(self, make_model, experiment, images, width=None):
        # The form that suits a batch which is shared by several devices.
        make_model = functools.partial(make_model, form=CHANNELS_LAST)
        super().__init__(make_model, experiment, images)
        self.steps_between_checkpoints = STEPS_BETWEEN_CHECKPOINTS

    def _sharding(self):
        return Sharding()

    def _open(self, images):
        self._most, self._augmentations = 1, ()
        named = self.experiment.augmentations
        if set(named) != set(images.augmentations):
            raise ParameterError(
                f"augmentations is {named!r}, expected {list(images.augmentations)!r}, "
                f"with which {images.name} is read."
            )

    def size(self, trial):
        return trial.batch_size

    def _micro_batches(self, steps):
        return 1

    def _inputs(self, trials, rates_and_decays, program, done):
        trial, total = trials[0], self.steps(trials[0]).total
        every = -(-total // self.experiment.periods)
        with self._read("train", trial, start_step=done) as batches:
            for begin in range(0, total, every):
                end = min(begin + every, total)
                if end > done:
                    span = range(max(begin, done), end)
                    yield end, self._calls(batches, rates_and_decays[0], span)

    def _calls(self, batches, rates_and_decays, numbers):
        for number in numbers:
            images, labels = next(batches)
            micro = (
                self.sharding.own_rows(images[None], axis=1),
                self.sharding.own_rows(labels[None], axis=1),
                np.array([number], "int32"),
            )
            yield period_inputs(micro, number, number + 1, rates_and_decays)

    def held_out(self, trial):
        return self._to_evaluate("validation", trial)

    def test(self, trial):
        return self._to_evaluate("test", trial)

    def _to_evaluate(self, split, trial):
        with self._read(split, trial) as batches:
            for batch in batches:
                yield tuple(self.sharding.own_rows(each, axis=0) for each in batch)

    def report(self, histories, done, evaluated):
        super().report(histories, done, evaluated)
        if evaluated:
            trial, last = histories[0].trial, histories[0].evaluations[-1]
            events.emit(
                "steps done",
                done=done,
                total=self.steps(trial).total,
                label=str(trial),
                train_loss=last["train_loss"],
                validation_accuracy=last["validation_accuracy"],
            )

    def _read(self, split, trial, **options):
        """A context of an iterator over this process's parts of the batches."""
        return contextlib.closing(
            self.data.batches(
                split,
                batch_size=self.steps(trial).images_per_step,
                seed=trial.seed,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
                # An accelerator waits for more than threads decode.
                workers=0 if jax.default_backend() == "cpu" else processors(),
                **options,
            )
        )
