"""One solver's training, compiled once: every number that differs is an input.

The learning rate and the seed of a trial are arguments of the compiled epoch, so all
trials of a solver run through one executable; on an accelerator it takes several
trials at a time, by `vmap` over a leading axis.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras.data import Split
from lamb_keras.optimizers.solvers import solver
from lamb_keras.schedules import warmup_polynomial_decay
from lamb_keras.training.experiment import Experiment

# Images judged at once: bounds the memory of an evaluation.
_CHUNK = 1000


class State(NamedTuple):
    """Everything that a training step changes."""

    weights: list
    # Batch statistics, the states of dropout's generators.
    others: list
    optimizer: list


class EpochReport(NamedTuple):
    """What one epoch tells of a trial."""

    losses: Any  # of each step, before it
    validation_loss: Any
    validation_correct: Any  # of the held-out images
    # (trust ratio, weight norm, update norm) × layer after the last step, or empty.
    trust_ratios: Any


class Program:
    """The compiled epoch and evaluation of one solver.

    Args:
        experiment: what is run.
        solver_name: one of its solvers.
        images: the data, which stays on the device.
        make_model: a function of (image_shape, classes, seed) to a Keras model.
        width: how many trials run at once; 1 without `vmap`.
    """

    def __init__(
        self,
        experiment: Experiment,
        solver_name: str,
        images: Split,
        make_model: Callable,
        width: int = 1,
    ):
        self.width = width
        self._steps = experiment.steps(len(images.train_labels))
        self._images_per_step = experiment.images_per_step
        self._decay_power = experiment.decay_power
        self._model = make_model(images.train_images.shape[1:], images.classes, 0)
        self._optimizer = solver(solver_name, experiment.weight_decay)
        self._optimizer.build(self._model.trainable_variables)
        self._learning_rate_index = next(
            i
            for i, variable in enumerate(self._optimizer.variables)
            if variable is self._optimizer.learning_rate
        )
        self.layers = [variable.path for variable in self._model.trainable_variables]
        self._optimizer_start = [np.asarray(v.value) for v in self._optimizer.variables]

        started = time.perf_counter()
        epoch, evaluate = self._epoch, self._evaluate
        if width > 1:
            epoch = jax.vmap(epoch, in_axes=(0, 0, 0, None, *[None] * 4))
            evaluate = jax.vmap(evaluate, in_axes=(0, None, None))
        example = self.start([initial_weights(self._model)] * width)
        self._run_epoch = (
            jax.jit(epoch, donate_argnums=0)
            .lower(
                example,
                *self._scalars([0.0] * width, [0] * width),
                np.int32(0),
                images.train_images,
                images.train_labels,
                images.validation_images,
                images.validation_labels,
            )
            .compile()
        )
        self._run_test = (
            jax.jit(evaluate)
            .lower(example, images.test_images, images.test_labels)
            .compile()
        )
        self.compile_seconds = time.perf_counter() - started

    def start(self, initial: list) -> State:
        """The state before the first step, from the initial weights of each trial."""
        states = [
            State(weights, others, self._optimizer_start) for weights, others in initial
        ]
        if self.width == 1:
            return states[0]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *states)

    def run_epoch(self, state, learning_rates, seeds, epoch, data):
        """One pass over the training images, then the held-out part is judged."""
        return self._run_epoch(
            state, *self._scalars(learning_rates, seeds), np.int32(epoch), *data[:4]
        )

    def run_test(self, state, data):
        """(mean loss, number of correct answers) on the test images."""
        return self._run_test(state, *data[4:])

    def _scalars(self, learning_rates, seeds):
        if self.width == 1:
            return np.float32(learning_rates[0]), np.uint32(seeds[0])
        return np.asarray(learning_rates, "float32"), np.asarray(seeds, "uint32")

    # What is traced

    def _epoch(
        self,
        state,
        learning_rate,
        seed,
        epoch,
        images,
        labels,
        held_out,
        held_out_labels,
    ):
        key = jax.random.fold_in(jax.random.key(seed), epoch)
        rows = self._steps.per_epoch * self._images_per_step
        order = jax.random.permutation(key, len(labels))[:rows]
        batches = order.reshape(self._steps.per_epoch, self._images_per_step)
        first_step = epoch * self._steps.per_epoch

        def step(state, step_and_batch):
            step_number, batch = step_and_batch
            fraction = warmup_polynomial_decay(
                step_number, self._steps.warmup, self._steps.total, self._decay_power
            )
            return self._step(
                state, learning_rate * fraction, images[batch], labels[batch]
            )

        steps = first_step + jnp.arange(self._steps.per_epoch)
        state, losses = jax.lax.scan(step, state, (steps, batches))
        loss, correct = self._evaluate(state, held_out, held_out_labels)
        return state, EpochReport(losses, loss, correct, self._trust_ratios(state))

    def _step(self, state, learning_rate, images, labels):
        def loss_of(weights):
            logits, others = self._model.stateless_call(
                weights, state.others, images, training=True
            )
            return jnp.mean(cross_entropy(logits, labels)), others

        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            state.weights
        )
        optimizer = list(state.optimizer)
        optimizer[self._learning_rate_index] = learning_rate
        weights, optimizer = self._optimizer.stateless_apply(
            optimizer, gradients, state.weights
        )
        return State(weights, others, optimizer), loss

    def _evaluate(self, state, images, labels):
        chunk = min(_CHUNK, len(labels))
        chunks = -(-len(labels) // chunk)
        count = len(labels)
        padding = chunks * chunk - count
        images = jnp.pad(images, ((0, padding), (0, 0), (0, 0), (0, 0)))
        labels = jnp.pad(labels, (0, padding), constant_values=-1)

        def judge(part):
            images, labels = part
            logits, _ = self._model.stateless_call(
                state.weights, state.others, images, training=False
            )
            real = labels >= 0
            losses = jnp.where(real, cross_entropy(logits, labels), 0)
            return jnp.sum(losses), jnp.sum(jnp.argmax(logits, -1) == labels)

        losses, correct = jax.lax.map(
            judge,
            (
                images.reshape(chunks, chunk, *images.shape[1:]),
                labels.reshape(chunks, chunk),
            ),
        )
        return jnp.sum(losses) / count, jnp.sum(correct)

    def _trust_ratios(self, state):
        if not getattr(self._optimizer, "track_trust_ratios", False):
            return jnp.zeros((3, 0))
        return next(
            value
            for variable, value in zip(
                self._optimizer.variables, state.optimizer, strict=True
            )
            if variable.name == "trust_ratios"
        )


def cross_entropy(logits, labels):
    """-log of the probability that softmax gives the label, for each row.

    Example:
        >>> logits = jnp.array([[0.0, 0.0], [100.0, 0.0]])
        >>> [round(float(x), 4) for x in cross_entropy(logits, jnp.array([0, 1]))]
        [0.6931, 100.0]
    """
    log_probabilities = jax.nn.log_softmax(logits.astype("float32"))
    return -jnp.take_along_axis(log_probabilities, labels[:, None], -1)[:, 0]


def initial_weights(model) -> tuple[list, list]:
    """The values of a freshly built model: (trainable, the rest), as NumPy arrays."""
    return (
        [np.asarray(v.value) for v in model.trainable_variables],
        [np.asarray(v.value) for v in model.non_trainable_variables],
    )
