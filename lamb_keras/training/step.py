"""A solver's step on a task: pure functions, for `scan`, `vmap` and several devices."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras.experiments import ParameterError, of_solver
from lamb_keras.names import base
from lamb_keras.optimizers import Lamb, Lars, Packed, own, solvers
from lamb_keras.own import OwnError


class State(NamedTuple):
    """Everything that a training step changes, in lists of arrays."""

    weights: list
    non_trainable: list  # batch statistics, the states of dropout's generators
    optimizer: list


class Constants(NamedTuple):
    """The numbers of a trial that are the same at every step."""

    seed: Any = np.uint32(0)
    l2: Any = np.float32(0)  # ½ · l2 · Σ w² is added to the loss
    micro_batches: Any = np.int32(1)  # in a step


class Task:
    """What a net learns. Subclasses have pure functions, where a batch is any tree:

    - `batch(inputs, data)`: the batch of a micro-step, from a row of its inputs and
      from data that stay on the device;
    - `loss(weights, non_trainable, batch, constants)`: the loss in training without
      L2, and the new `non_trainable`;
    - `outputs(weights, non_trainable, batch)`: what an evaluation computes of a batch;
    - `metrics(outputs)`: numbers by name, from the outputs of all batches; unless it
      is defined, sums over their `count`. A `loss` that is not finite counts as
      divergence.

    Attributes:
        model: a Keras model; only its form counts, weights are passed in.
        regularized: which of the model's trainable variables L2 pulls.
        shares_batches: whether trials that train at once see the same batches.
        by_parts: whether the loss of a batch is the mean of those of its equal parts,
            each taken for a micro-batch, so that every device may compute its own; none
            of the variables is regularized then.
        stacked: of the weights that `loss` takes, which are stacks: see `stack`.

    Args:
        model: the Keras model.
        scanned: a `models.Scanned` of it, to be called in its place; None for none.
    """

    shares_batches = by_parts = False

    def __init__(self, model, scanned=None):
        self.model, self._scanned = model, scanned
        self.regularized = [False] * len(model.trainable_variables)
        self.stacked = scanned.stacked if scanned else self.regularized

    def metrics(self, outputs: list[dict]) -> dict[str, float]:
        return means(outputs)

    def call(self, weights, non_trainable, inputs, training=False):
        """(what the model gives, its new `non_trainable`), with these weights."""
        return (self._scanned or self.model).stateless_call(
            weights, non_trainable, inputs, training=training
        )

    def stack(self, weights: list) -> list:
        """The weights of the model's variables in the form that `loss` takes."""
        return self._scanned.stack(weights) if self._scanned else weights

    def unstack(self, weights: list) -> list:
        """The inverse of `stack`, of gradients too."""
        return self._scanned.unstack(weights) if self._scanned else weights


class Step:
    """The step of a solver on a task.

    Args:
        task: whose loss is minimized.
        optimizer: from `solvers.solver` or `own.optimizer`, not yet built.
        packed: whether LAMB and LARS train stacks of equal variables, as
            `lamb_keras.optimizers.Packed` has them; other solvers do not.

    Attributes:
        layers: the paths of the model's trainable variables.
    """

    def __init__(self, task: Task, optimizer, packed: bool = False):
        self.task = task
        self.layers = [variable.path for variable in task.model.trainable_variables]
        optimizer.build(task.model.trainable_variables)
        self._plain = self._optimizer = optimizer
        self.is_packed = packed and isinstance(optimizer, Lamb | Lars)
        if self.is_packed:
            self._packed = Packed(optimizer)
            self._optimizer = self._packed.optimizer

    def start(self, initial: tuple[list, list]) -> State:
        """The state before the first step, as NumPy arrays, from `initial_weights`."""
        weights, non_trainable = initial
        optimizer = [np.asarray(v.value) for v in self._plain.variables]
        if self.is_packed:
            optimizer = self._packed.packed_state(optimizer)
        state = State(self.of_state(weights), non_trainable, optimizer)
        return jax.tree.map(np.asarray, state)

    def model_weights(self, weights) -> list:
        """An array for each of the model's variables, from a state's weights."""
        return self._packed.unpack(weights) if self.is_packed else weights

    def of_state(self, arrays) -> list:
        """The inverse of `model_weights`, of gradients too."""
        return self._packed.pack(arrays) if self.is_packed else arrays

    def gradients(self, state: State, batch, constants: Constants):
        """(loss without L2, new `non_trainable`, gradients with L2) on a batch."""
        weights = self.model_weights(state.weights)
        loss = jax.value_and_grad(self.task.loss, has_aux=True)
        (loss, non_trainable), gradients = loss(
            self.task.stack(weights), state.non_trainable, batch, constants
        )
        gradients = self.task.unstack(gradients)
        each = zip(gradients, weights, self.task.regularized, strict=True)
        gradients = [g + constants.l2 * w if pulled else g for g, w, pulled in each]
        return loss, non_trainable, self.of_state(gradients)

    def apply(self, state: State, gradients, learning_rate, weight_decay) -> State:
        """The state after the solver's step along these gradients."""
        weights, optimizer = solvers.step(
            self._optimizer,
            state.optimizer,
            gradients,
            state.weights,
            learning_rate,
            weight_decay,
        )
        return State(weights, state.non_trainable, optimizer)

    def trust_ratios(self, state: State):
        """(trust ratio, weight norm, update norm) × layer of the last step.

        Shape (3, layers), or (3, 0) for solvers without a trust ratio.
        """
        if not getattr(self._plain, "track_trust_ratios", False):
            return jnp.zeros((3, 0))
        values = state.optimizer
        if self.is_packed:
            values = self._packed.plain_state(values)
        names = [variable.name for variable in self._plain.variables]
        return values[names.index("trust_ratios")]


def optimizer(experiment, solver: str):
    """The Keras optimizer with which an experiment trains a row of a table.

    Its learning rate and weight decay are 0: those of every step are given to it.

    Args:
        experiment: an `ImageExperiment` or a `BertExperiment`.
        solver: one of its rows, or without the "+", which is of the learning rate
            alone.

    Raises:
        lamb_keras.experiments.ParameterError: for one of the user's that does not fit.
    """
    if solver in experiment.own_solvers:
        try:
            return own.optimizer(experiment.own_solvers[solver])
        except OwnError as error:
            raise ParameterError(str(error), ["own_solvers"]) from error
    name = base(solver)
    row = next(row for row in experiment.solvers if base(row) == name)
    return solvers.solver(
        name,
        nesterov=getattr(experiment, "nesterov", False),
        exclude_from_weight_decay=experiment.exclude_from_weight_decay,
        global_clipnorm=of_solver(experiment.global_clipnorm, row),
    )


def cross_entropy(logits, labels, label_smoothing=0.0):
    """-Σ q log p for each row, p by softmax, q the label, smoothed over all classes.

    Example:
        >>> logits = jnp.array([[0.0, 0.0], [100.0, 0.0]])
        >>> labels = jnp.array([0, 1])
        >>> [round(float(x), 4) for x in cross_entropy(logits, labels, 0.1)]
        [0.6931, 95.0]
    """
    log_probabilities = jax.nn.log_softmax(logits.astype("float32"))
    of_label = jnp.take_along_axis(log_probabilities, labels[:, None], -1)[:, 0]
    if not label_smoothing:
        return -of_label
    of_all = jnp.mean(log_probabilities, -1)
    return -((1 - label_smoothing) * of_label + label_smoothing * of_all)


def means(outputs: list[dict]) -> dict[str, float]:
    """Sums of several batches, over the sum of their `count`.

    Example:
        >>> means([{"loss": 1.0, "count": 2}, {"loss": 2.0, "count": 1}])
        {'loss': 1.0}
    """
    sums = {name: sum(float(each[name]) for each in outputs) for name in outputs[0]}
    count = sums.pop("count")
    return {name: value / count for name, value in sums.items()}


def initial_weights(model) -> tuple[list, list]:
    """The values of a model's variables: (trainable, the rest), as NumPy arrays."""
    return (
        [np.asarray(v.value) for v in model.trainable_variables],
        [np.asarray(v.value) for v in model.non_trainable_variables],
    )
