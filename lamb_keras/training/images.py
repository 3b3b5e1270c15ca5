"""The sweep of an image experiment, on images of any number."""

import functools
from collections.abc import Callable

from lamb_keras.data import Split, Streamed
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.training.classification import ImageTrials
from lamb_keras.training.sweep import Sweep, run


def sweep(
    experiment: ImageExperiment,
    images: Split | Streamed,
    make_model: Callable,
    threads: int | None = None,
    width: int | None = None,
) -> Sweep:
    """Trains every trial of an experiment and evaluates it, as `sweep.run` says.

    Images that are streamed are shared by all devices of all processes
    (`jax.distributed.initialize`), of which each calls this alike; a training goes on
    from its last checkpoint.

    Args:
        experiment: what is run.
        images: the data, with its held-out part, from `lamb_keras.data.open`.
        make_model: a function of (image_shape, classes, seed=) to a Keras model; the
            trials of one seed start from the same weights, whatever their solver. For
            streamed images it is given `form=` too, as `lamb_keras.models.resnet50` is.
        threads: how many train at once on a CPU; by default what LAMB_KERAS_THREADS
            says, else one a processor.
        width: trials in one `vmap`; by default 1 on a CPU and for streamed images, else
            as many as fit, or a part of them where LAMB_KERAS_WIDTH_DIVISOR is set:
            half of them for 2.

    Raises:
        lamb_keras.experiments.ParameterError: for trials that the data, the devices or
            the length of the training does not allow, before any starts.
        lamb_keras.training.Preempted: where a streamed training was asked to end
            (SIGTERM), and has saved what it needs to go on.
    """
    streamed, kind = isinstance(images, Streamed), ImageTrials
    if streamed:
        from lamb_keras.training.streamed_images import StreamedImageTrials as kind
    trials = functools.partial(kind, make_model, width=width)
    return run(trials, experiment, images, threads, streamed)
