"""Image classification: the task, and the trials of the image experiments."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras.data import Images, Streamed
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.models.precision import dtype_policy
from lamb_keras.names import NORMALIZATION, base
from lamb_keras.training.augmentation import augment
from lamb_keras.training.history import Sweep
from lamb_keras.training.sharding import Sharding, chunk, to_all, to_evaluate
from lamb_keras.training.step import (
    Constants,
    Task,
    cross_entropy,
    initial_weights,
)
from lamb_keras.training.trainer import Period, Program, order, padded, period_inputs
from lamb_keras.training.trials import Trials, once

# Images evaluated at once: bounds the memory of an evaluation.
_CHUNK = 1000


def sweep(
    experiment: ImageExperiment,
    images: Images | Streamed,
    make_model: Callable,
    threads: int | None = None,
    width: int | None = None,
) -> Sweep:
    """Trains every trial of an experiment and evaluates it, as `Trials.sweep` says.

    A batch is shared by all devices of all processes (`jax.distributed.initialize`),
    of which each calls this alike. A training on images that are streamed goes on from
    its last checkpoint.

    Args:
        experiment: what is run.
        images: the data, with its held-out part, from `lamb_keras.data.open`.
        make_model: a function of (image_shape, classes, seed=) to a Keras model; the
            trials of one seed start from the same weights, whatever their solver. For
            streamed images it is given `form=` too, as `lamb_keras.models.resnet50` is.
        threads: how many train at once on a CPU.
        width: trials in one `vmap`; by default 1 on a CPU and on several devices, else
            as many as fit, or a part of them where LAMB_KERAS_WIDTH_DIVISOR is set:
            half of them for 2.

    Raises:
        lamb_keras.experiments.ParameterError: for trials that the data, the devices or
            the length of the training does not allow, before any starts.
        lamb_keras.training.Preempted: where a training was asked to end (SIGTERM), or
            its time is up, and it has saved what it needs to go on.
    """
    kind = ImageTrials
    if isinstance(images, Streamed):
        from lamb_keras.training.streamed_images import StreamedImageTrials as kind
    return kind(make_model, experiment, images, width).sweep(threads)


class Classification(Task):
    """The mean cross-entropy of images' labels, and how many are told right.

    In training a batch is (images, labels, number), of which the number decides the
    augmentation; in an evaluation (images, labels), where -1 labels padding.

    Args:
        model: a Keras model from float images to logits.
        normalize: from stored pixels to what the model takes; `Images.normalize`.
        augmentations, label_smoothing: in training, as of an `ImageExperiment`.
    """

    def __init__(
        self, model, normalize: Callable, augmentations=(), label_smoothing=0.0
    ):
        super().__init__(model)
        self._normalize, self._augmentations = normalize, tuple(augmentations)
        self._label_smoothing = label_smoothing
        self.regularized = [
            variable.name not in NORMALIZATION for variable in model.trainable_variables
        ]

    def batch(self, inputs, data):
        """Of images on the device, inputs are rows and a number; else the batch."""
        if not data:
            return inputs
        rows, number = inputs
        images, labels = data
        return images[rows], labels[rows], number

    def loss(self, weights, non_trainable, batch, constants):
        images, labels, number = batch
        images = self._normalize(images)
        if self._augmentations:
            key = jax.random.fold_in(jax.random.key(constants.seed), number)
            images = augment(images, key, self._augmentations)
        logits, non_trainable = self.call(weights, non_trainable, images, True)
        losses = cross_entropy(logits, labels, self._label_smoothing)
        return jnp.mean(losses), non_trainable

    def outputs(self, weights, non_trainable, batch):
        """Sums over the images. The loss is without label smoothing."""
        images, labels = batch
        logits, _ = self.call(weights, non_trainable, self._normalize(images))
        real = labels >= 0
        losses = jnp.where(real, cross_entropy(logits, labels), 0)
        of_label = jnp.take_along_axis(logits, labels[:, None], -1)
        # Of equal logits the first wins, as argmax has it: a net that says the same
        # of all classes is right by chance, and not always.
        classes = jnp.arange(logits.shape[-1])
        before = (logits == of_label) & (classes < labels[:, None])
        place = jnp.sum((logits > of_label) | before, -1)
        known = real & jnp.isfinite(losses)
        return {
            "loss": jnp.sum(losses),
            "accuracy": jnp.sum(known & (place < 1)),
            "top5": jnp.sum(known & (place < 5)),
            "count": jnp.sum(real),
        }


class ImageTrials(Trials):
    """The trials of an image experiment on images that lie on the device.

    Batches are split into micro-batches of the smallest batch among the trials; a step
    adds up the gradients of its own. Batch normalization sees one micro-batch at a
    time, as it sees one core's images on the paper's TPUs; several devices compute a
    part of every micro-batch. Arguments, and what is raised, are as of `sweep`.
    """

    def __init__(self, make_model, experiment, images, width=None):
        super().__init__(experiment, images, width, self._sharding())
        self._augmentations = experiment.augmentations
        self._open(images)
        for trial in experiment.trials():
            experiment.weight_decays_by_step(trial, self.steps(trial))
        with dtype_policy(experiment.dtype_policy):
            models = {
                seed: make_model(images.image_shape, images.classes, seed=seed)
                for seed in (*experiment.seeds, *experiment.confirmation_seeds)
            }
        # One is traced by all solvers; of the others only the weights are of use.
        self._traced = models[experiment.seeds[0]]
        self._initial = {seed: initial_weights(model) for seed, model in models.items()}

    def _sharding(self):
        return Sharding.of_all()

    def _open(self, images):
        self._micro_batch, self._most = self.experiment.micro_batches()
        resident = images.train_images, images.train_labels
        self.resident = to_all(resident, self.sharding)
        count = max(len(images.validation_labels), len(images.test_labels))
        size = chunk(min(_CHUNK, count), self.sharding)
        self._held_out, self._test = (
            to_evaluate(_chunks(*part, size), self.sharding)
            for part in (
                (images.validation_images, images.validation_labels),
                (images.test_images, images.test_labels),
            )
        )
        # What the longest period of any trial has.
        lengths = [
            (-(-steps.total // self.experiment.periods), self._micro_batches(steps))
            for steps in map(self.steps, self.experiment.trials())
        ]
        self._longest = max(steps for steps, _ in lengths)
        self._longest_micro = max(steps * each for steps, each in lengths)

    def steps(self, trial):
        """The lengths of a trial's training."""
        return self.experiment.steps(trial, self.data.training_set)

    def initial(self, seed):
        return self._initial[seed]

    def alike(self, trial):
        return trial.batch_size

    def task(self):
        smoothing = self.experiment.label_smoothing
        normalize = self.data.normalize
        return Classification(self._traced, normalize, self._augmentations, smoothing)

    def example(self):
        images, labels = self.resident
        return (
            jax.ShapeDtypeStruct((self._micro_batch, *images.shape[1:]), images.dtype),
            jax.ShapeDtypeStruct((self._micro_batch,), labels.dtype),
            jax.ShapeDtypeStruct((), "int32"),
        )

    @once
    def program(self, solver, size):
        """The compiled training of a solver, for trials of that `size`."""
        step, width = self.step(solver), self.width(solver)
        return Program(step, width, self._most > 1, self.sharding)

    def periods(self, trials, done):
        first, steps = trials[0], self.steps(trials[0])
        program = self.program(base(first.solver), self.size(first))
        each = np.int32(self._micro_batches(steps))
        constants = program.together(
            [
                Constants(np.uint32(t.seed), np.float32(t.l2_regularization), each)
                for t in trials
            ]
        )
        rates_and_decays = self.rates_and_decays(trials, steps)
        for end, inputs in self._inputs(trials, rates_and_decays, program, done):
            yield Period(program, constants, inputs, end)

    def _inputs(self, trials, rates_and_decays, program, done):
        """(last step, inputs) of each period; periods are as equal as can be."""
        steps, images = self.steps(trials[0]), len(self.data.train_labels)
        each, periods = self._micro_batches(steps), self.experiment.periods
        shape = steps.total * each, self._micro_batch
        rows = [order(t.seed, images, shape[0] * shape[1]) for t in trials]
        number = np.arange(shape[0], dtype="int32")
        ends = [steps.total * period // periods for period in range(periods + 1)]
        for begin, end in itertools.pairwise(ends):
            if end <= done:
                continue
            micro = slice(begin * each, end * each)
            inputs = [
                period_inputs(
                    (its_rows.reshape(shape)[micro], number[micro]),
                    begin,
                    end,
                    by_step,
                    self._longest,
                    self._longest_micro,
                )
                for its_rows, by_step in zip(rows, rates_and_decays, strict=True)
            ]
            yield end, [program.together(inputs)]

    def _micro_batches(self, steps):
        return steps.images_per_step // self._micro_batch

    def held_out(self, trial):
        return self._held_out

    def test(self, trial):
        """The batches to evaluate trained nets on."""
        return self._test

    def complete(self, step, evaluator, progress, histories):
        each = evaluator.metrics(progress, self.test(histories[0].trial))
        for history, metrics in zip(histories, each, strict=False):
            if history.outcome == "finished":
                history.test_metrics = metrics

    def measured(self, history):
        return [
            {
                "validation_top5": history.held_out.get("validation_top5"),
                "test_accuracy": history.test_metrics.get("accuracy"),
                "test_top5": history.test_metrics.get("top5"),
            }
        ]

    def length(self, trial):
        steps = self.steps(trial)
        return {
            "images_per_step": steps.images_per_step,
            "steps": steps.total,
            "warmup_steps": steps.warmup,
            "published_steps": self.experiment.published_steps,
        }


def _chunks(images, labels, size):
    """The images in pieces of one size, the last filled up with some of label -1."""
    labels = np.pad(labels, (0, -len(labels) % size), constant_values=-1)
    return [
        (padded(images[at : at + size], size), labels[at : at + size].astype("int32"))
        for at in range(0, len(labels), size)
    ]
