"""One training step of one solver on one model: a pure function of its inputs.

Scanned over steps, mapped over trials and sharded over devices by others.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.optimizers import Lamb, Lars, Packed, solvers
from lamb_keras.training.augmentation import augment

# Layers whose weights the paper's L2 term leaves alone are known by these names.
_NORMALIZATION = ("gamma", "beta")


class State(NamedTuple):
    """Everything that a training step changes: plain, with an array a variable.

    A step may train in a form of its own: see `SolverStep`.
    """

    weights: list
    # Batch statistics, the states of dropout's generators.
    others: list
    optimizer: list


class Judgement(NamedTuple):
    """Sums over the images that were judged."""

    loss: Any
    correct: Any
    correct_top5: Any


class SolverStep:
    """What the step of a solver on a model is, whatever the model learns.

    A packed one trains in a form of its own: weights, their gradients and what the
    solver keeps for them are stacks of equal variables, as `Packed` has them. What is
    kept of it and shown is plain.

    Args:
        model: a Keras model.
        optimizer: from `solvers.solver`, not yet built.
        packed: whether LAMB and LARS train packed; other solvers do not.

    Attributes:
        packs: whether this step is packed.
    """

    def __init__(self, model, optimizer, packed=False):
        self.model = model
        optimizer.build(model.trainable_variables)
        self.packs = packed and isinstance(optimizer, Lamb | Lars)
        self._packed = Packed(optimizer) if self.packs else None
        self._plain_optimizer = optimizer
        self._optimizer = self._packed.optimizer if self.packs else optimizer

    def start(self, initial: tuple[list, list]) -> State:
        """The state before the first step, from `initial_weights`, in our form."""
        weights, others = initial
        optimizer = [np.asarray(v.value) for v in self._plain_optimizer.variables]
        state = self.own(State(weights, others, optimizer))
        return jax.tree.map(np.asarray, state)

    def own(self, plain: State) -> State:
        """A plain state in the form that this step trains."""
        if not self.packs:
            return plain
        weights, others, optimizer = plain
        packed = self._packed
        return State(packed.pack(weights), others, packed.packed_state(optimizer))

    def plain(self, state: State) -> State:
        """A state of this step with an array a variable."""
        if not self.packs:
            return state
        weights, others, optimizer = state
        packed = self._packed
        return State(packed.unpack(weights), others, packed.plain_state(optimizer))

    def unpacked(self, weights) -> list:
        """Weights of this step as the model takes them."""
        return self._packed.unpack(weights) if self.packs else weights

    def packed(self, gradients) -> list:
        """The gradients of the model's variables as `apply` takes them."""
        return self._packed.pack(gradients) if self.packs else gradients

    def apply(self, state, gradients, learning_rate, weight_decay) -> State:
        """The state after the solver's step along these gradients, both in our form."""
        weights, optimizer = solvers.step(
            self._optimizer,
            state.optimizer,
            gradients,
            state.weights,
            learning_rate,
            weight_decay,
        )
        return State(weights, state.others, optimizer)

    def trust_ratios(self, state):
        """(trust ratio, weight norm, update norm) × layer of the last step.

        Shape (3, layers), or (3, 0) for solvers without a trust ratio.
        """
        if not getattr(self._plain_optimizer, "track_trust_ratios", False):
            return jnp.zeros((3, 0))
        return next(
            value
            for variable, value in zip(
                self._plain_optimizer.variables,
                self.plain(state).optimizer,
                strict=True,
            )
            if variable.name == "trust_ratios"
        )


class Step(SolverStep):
    """A solver's step on a model, and the model's judgement of images.

    Args:
        experiment: what is run; its grids are not looked at.
        solver_name: the solver, without the "+" of a learning-rate recipe.
        model: a Keras model from float images to logits.
        normalize: from stored pixels to what the model takes; `Images.normalize`.
    """

    def __init__(
        self, experiment: ImageExperiment, solver_name: str, model, normalize: Callable
    ):
        optimizer = solvers.solver(
            solver_name,
            nesterov=experiment.nesterov,
            exclude_from_weight_decay=experiment.exclude_from_weight_decay,
            global_clipnorm=experiment.global_clipnorm,
        )
        super().__init__(model, optimizer, experiment.packed_update)
        self._normalize = normalize
        self._augmentations = tuple(experiment.augmentations)
        self._label_smoothing = experiment.label_smoothing
        self._regularized = [
            variable.name not in _NORMALIZATION
            for variable in model.trainable_variables
        ]

    def __call__(
        self, state, images, labels, key, learning_rate, weight_decay, l2
    ) -> tuple[State, Any]:
        """The state after a step on these images, and the loss before it."""
        loss, others, gradients = self.gradients(state, images, labels, key, l2)
        state = state._replace(others=others)
        return self.apply(state, gradients, learning_rate, weight_decay), loss

    def gradients(self, state, images, labels, key, l2):
        """(loss without its L2 term, new `others`, gradients with it)."""
        images = self._normalize(images)
        if self._augmentations:
            images = augment(images, key, self._augmentations)
        weights = self.unpacked(state.weights)
        (loss, others), gradients = jax.value_and_grad(self.loss, has_aux=True)(
            weights, state.others, images, labels
        )
        # The gradient of ½ · l2 · Σ w².
        gradients = [
            g + l2 * w if regularized else g
            for g, w, regularized in zip(
                gradients, weights, self._regularized, strict=True
            )
        ]
        return loss, others, self.packed(gradients)

    def loss(self, weights, others, images, labels):
        """(mean loss, new `others`) at plain weights, on images that are normalized."""
        logits, others = self.model.stateless_call(
            weights, others, images, training=True
        )
        return jnp.mean(cross_entropy(logits, labels, self._label_smoothing)), others

    def judge(self, weights, others, images, labels) -> Judgement:
        """How the model does on images; those labeled -1 are padding and not counted.

        The loss is without label smoothing.
        """
        logits, _ = self.model.stateless_call(
            self.unpacked(weights), others, self._normalize(images), training=False
        )
        real = labels >= 0
        losses = jnp.where(real, cross_entropy(logits, labels), 0)
        of_label = jnp.take_along_axis(logits, labels[:, None], -1)
        # Of equal logits the first wins, as argmax has it: a net that says the same
        # of all classes is right by chance, and not always.
        classes = jnp.arange(logits.shape[-1])
        before = (logits == of_label) & (classes < labels[:, None])
        place = jnp.sum((logits > of_label) | before, -1)
        known = real & jnp.isfinite(losses)
        return Judgement(
            jnp.sum(losses), jnp.sum(known & (place < 1)), jnp.sum(known & (place < 5))
        )


def cross_entropy(logits, labels, label_smoothing=0.0):
    """-Σ q log p for each row, p by softmax, q the label, smoothed over all classes.

    Example:
        >>> logits = jnp.array([[0.0, 0.0], [100.0, 0.0]])
        >>> labels = jnp.array([0, 1])
        >>> [round(float(x), 4) for x in cross_entropy(logits, labels)]
        [0.6931, 100.0]
        >>> [round(float(x), 4) for x in cross_entropy(logits, labels, 0.1)]
        [0.6931, 95.0]
    """
    log_probabilities = jax.nn.log_softmax(logits.astype("float32"))
    of_label = jnp.take_along_axis(log_probabilities, labels[:, None], -1)[:, 0]
    if not label_smoothing:
        return -of_label
    of_all = jnp.mean(log_probabilities, -1)
    return -((1 - label_smoothing) * of_label + label_smoothing * of_all)


def initial_weights(model) -> tuple[list, list]:
    """The values of a freshly built model: (trainable, the rest), as NumPy arrays."""
    return (
        [np.asarray(v.value) for v in model.trainable_variables],
        [np.asarray(v.value) for v in model.non_trainable_variables],
    )
