"""The trials of an experiment one after another, each on all devices.

For data that are streamed. What a long training needs to go on with after a stop, and
what came of the trials before it, are kept in a folder until all are done. It is in the
folder that LAMB_KERAS_CHECKPOINTS names, else in `checkpoints` in
`lamb_keras.data.cache`'s; several processes must see the same.
"""

import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from lamb_keras.cpu import processors
from lamb_keras.data import Streamed, cache
from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.store import atomic
from lamb_keras.training.compilations import compilations
from lamb_keras.training.history import History
from lamb_keras.training.spread import every_device
from lamb_keras.training.streamed import shared_steps, stream

FOLDER_VARIABLE = "LAMB_KERAS_CHECKPOINTS"


def histories(
    experiment: ImageExperiment,
    images: Streamed,
    make_model: Callable,
    mesh: Mesh | None = None,
) -> Iterator[History]:
    """Trains every trial, in order, and yields what came of it.

    Started again after a stop, it trains none that was finished, and goes on with the
    one that was not from its last checkpoint. Checkpoints go when their trial is
    finished, the rest after the last trial.

    Args:
        experiment: what is run.
        images: the data.
        make_model: a function of a seed to a new Keras model.
        mesh: the devices; those of all processes if left out.

    Raises:
        lamb_keras.experiments.ParameterError: for trials that the data, the devices or
            the length of the training does not allow, before any starts.
    """
    mesh = mesh or every_device()
    _refuse_impossible(experiment, images, mesh.size)
    return _train(experiment, images, make_model, mesh)


def _refuse_impossible(experiment, images, devices):
    if set(experiment.augmentations) != set(images.augmentations):
        raise ParameterError(
            f"augmentations is {experiment.augmentations!r}, expected "
            f"{list(images.augmentations)!r}, with which {images.name} is read."
        )
    for trial in experiment.trials():
        steps = shared_steps(experiment, trial, images.training_set, devices)
        experiment.weight_decays_by_step(trial, steps)


def _train(experiment, images, make_model, mesh):
    kept = _Kept(experiment, images)
    known = [kept.history(number) for number in range(len(experiment.trials()))]
    _meet("known")  # so that nobody takes away what another has still to read
    for number, trial in enumerate(experiment.trials()):
        if known[number] is None:
            before = compilations()
            known[number] = stream(
                experiment,
                trial,
                make_model(trial.seed),
                functools.partial(images.batches, workers=_workers()),
                training_images=images.training_set,
                normalize=images.normalize,
                mesh=mesh,
                checkpoint_folder=kept.checkpoints(number),
            )
            known[number].compilations = compilations() - before
            kept.finish(number, known[number])
        yield known[number]
    kept.remove()


def _workers():
    """Processes that decode pictures: an accelerator waits for more than threads do."""
    return 0 if jax.default_backend() == "cpu" else processors()


def _meet(where):
    """Waits until all processes have come to the same place."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


class _Kept:
    """The folder of one experiment on certain data."""

    def __init__(self, experiment, images):
        of = [dataclasses.asdict(experiment), images.describe(), images.image_shape]
        key = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
        root = os.environ.get(FOLDER_VARIABLE)
        root = root or os.path.join(cache.folder(), "checkpoints")
        name = f"{experiment.notebook}-table{experiment.table:02d}-{key[:16]}"
        self._folder = os.path.join(os.path.expanduser(root), name)

    def checkpoints(self, number: int) -> str:
        """The folder for those of a trial."""
        return os.path.join(self._folder, f"trial{number:03d}")

    def history(self, number: int) -> History | None:
        """What came of a trial, if it was finished."""
        try:
            told = self._file(number).read_bytes()
        except FileNotFoundError:
            return None
        return History.of_plain(json.loads(told))

    def finish(self, number: int, history: History):
        """Keeps what came of a trial, and its checkpoints no longer."""
        _meet(f"trial {number}")
        if jax.process_index() > 0:
            return
        atomic.write(self._file(number), json.dumps(history.as_plain()))
        shutil.rmtree(self.checkpoints(number))

    def remove(self):
        """All of it."""
        if jax.process_index() == 0:
            shutil.rmtree(self._folder)

    def _file(self, number):
        return Path(f"{self.checkpoints(number)}.json")
