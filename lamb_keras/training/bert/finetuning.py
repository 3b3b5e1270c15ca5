"""Fine-tuning on questions, and the dev questions' verdict."""

import math
import time

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras import schedules
from lamb_keras.data import squad
from lamb_keras.data.text_data import TextDataset
from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.optimizers import solvers
from lamb_keras.training import memory
from lamb_keras.training.accumulation import LOSS_BEYOND_USE, filled
from lamb_keras.training.bert.history import FineTuning
from lamb_keras.training.order import order
from lamb_keras.training.step import State, cross_entropy, initial_weights
from lamb_keras.training.together import apart, together

# Windows answered at once.
_CHUNK = 64
# Devlin et al.'s, of all solvers' pre-trainings.
_WEIGHT_DECAY = 0.01


class FineTuner:
    """Fine-tuning by AdamW as Devlin et al. do, compiled once.

        loss = mean of the cross-entropies of an answer's first and last token

    over the windows that hold an answer. All windows are answered.

    Args:
        experiment: what is run.
        library: the questions.
        model: from `models.answering`.
        width: how many fine-tunings run at once, by `vmap`; None for as many of the
            experiment's as the device holds.
    """

    def __init__(
        self,
        experiment: BertExperiment,
        library: TextDataset,
        model,
        width: int | None = 1,
    ):
        self._experiment = experiment
        self._model = model
        self._optimizer = solvers.solver("adamw")
        self._optimizer.build(model.trainable_variables)
        self._questions = library.questions("dev")
        windows = (
            experiment.sequence_lengths[1],
            experiment.document_stride,
            experiment.max_question_length,
        )
        train = library.features("train", *windows).with_answers()
        self._dev = library.features("dev", *windows)
        self._windows = len(train)
        self._train = jax.device_put(
            [*_inputs(train), train.start_positions, train.end_positions]
        )
        self._initial, self._others = initial_weights(model)
        # One after the other: two compilations at a time take twice the memory.
        started = time.perf_counter()
        state = self._start({}, None)
        rows, rates = self._plan(seed=0)
        most = len(experiment.finetuning_seeds)
        if width is None:
            self.width = memory.fitting(most, self._bytes(state, rows[0]))
        else:
            self.width = min(most, width)
        fit = self._traced_fit
        if self.width > 1:
            fit = jax.vmap(fit, in_axes=(0, 0, None, None))
        given = together([(state, rows)], self.width)
        self._fit = (
            jax.jit(fit, donate_argnums=0).lower(*given, rates, self._train).compile()
        )
        chunk = [filled(a[:_CHUNK], _CHUNK) for a in _inputs(self._dev)]
        self._answer = jax.jit(self._traced_answer).lower(state, chunk).compile()
        self.compile_seconds = time.perf_counter() - started

    def __call__(
        self, encoder: dict[str, np.ndarray], heads: list, seeds: list[int]
    ) -> list[FineTuning]:
        """At most as many fine-tunings as its width, judged.

        Args:
            encoder: the weights to start from, by their variables' paths; those that
                are not named are the model's own.
            heads: for each the initial weights of the answer head, by path.
            seeds: for each that of the order of the questions.
        """
        plans = [self._plan(seed) for seed in seeds]
        begun = [
            (self._start(encoder, head), rows)
            for head, (rows, _) in zip(heads, plans, strict=True)
        ]
        given = together(begun, self.width)
        _, rates = plans[0]
        ended = apart(self._fit(*given, rates, self._train), self.width)
        return [
            self._judged(state, seed)
            if np.all(np.abs(np.asarray(losses)) <= LOSS_BEYOND_USE)
            else FineTuning(seed, None, None)
            for seed, (state, losses) in zip(seeds, ended, strict=False)
        ]

    def untrained(self, encoder: dict[str, np.ndarray]) -> dict[str, float]:
        """F1 and exact match, in percent, without any fine-tuning."""
        judged = self._judged(self._start(encoder, None), seed=0)
        return {"f1": judged.f1, "exact_match": judged.exact_match}

    def _judged(self, state, seed):
        inputs = _inputs(self._dev)
        parts = [
            np.asarray(
                self._answer(
                    state, [filled(a[at : at + _CHUNK], _CHUNK) for a in inputs]
                )
            )
            for at in range(0, len(self._dev), _CHUNK)
        ]
        logits = np.concatenate(parts)[: len(self._dev)]
        found = squad.best_spans(
            logits[..., 0], logits[..., 1], self._dev, self._questions
        )
        return FineTuning(
            seed, **squad.evaluate(self._questions, found), predictions=found
        )

    def _start(self, encoder, head):
        known = {**encoder, **(head or {})}
        weights = [
            np.asarray(known.get(variable.path, own))
            for variable, own in zip(
                self._model.trainable_variables, self._initial, strict=True
            )
        ]
        optimizer = [np.asarray(v.value) for v in self._optimizer.variables]
        return State(weights, self._others, optimizer)

    def _plan(self, seed):
        """(the windows of each step, its learning rate)."""
        size = min(self._experiment.finetuning_batch_size, self._windows)
        epochs = self._experiment.finetuning_epochs
        steps = math.ceil(epochs * self._windows / size)
        rows = order(seed, self._windows, steps * size).reshape(steps, size)
        warmup = min(round(steps * self._experiment.finetuning_warmup), steps - 1)
        rates = schedules.warmup_polynomial_decay(np.arange(steps), warmup, steps)
        rates = self._experiment.finetuning_learning_rate * rates
        return rows, np.asarray(rates, "float32")

    def _bytes(self, state, rows):
        """What one fine-tuning needs on the device."""
        windows = [
            jax.ShapeDtypeStruct((len(rows), *array.shape[1:]), array.dtype)
            for array in self._train
        ]
        return memory.trial_bytes(
            state,
            state.weights,
            lambda weights, *windows: self._loss(weights, state.others, windows),
            *windows,
        )

    # What is traced

    def _loss(self, weights, others, windows):
        *inputs, starts, ends = windows
        logits, others = self._call(weights, others, inputs, True)
        of_start = cross_entropy(logits[..., 0], starts)
        of_end = cross_entropy(logits[..., 1], ends)
        return jnp.mean(of_start + of_end) / 2, others

    def _traced_fit(self, state, rows, rates, windows):
        def step(state, given):
            rows, rate = given
            (value, others), gradients = jax.value_and_grad(self._loss, has_aux=True)(
                state.weights, state.others, [array[rows] for array in windows]
            )
            weights, optimizer = solvers.step(
                self._optimizer,
                state.optimizer,
                gradients,
                state.weights,
                rate,
                rate * _WEIGHT_DECAY,
            )
            return State(weights, others, optimizer), value

        return jax.lax.scan(step, state, (rows, rates))

    def _traced_answer(self, state, inputs):
        return self._call(state.weights, state.others, inputs, False)[0]

    def _call(self, weights, others, inputs, training):
        names = ("token_ids", "segment_ids", "padding_mask")
        return self._model.stateless_call(
            weights, others, dict(zip(names, inputs, strict=True)), training=training
        )


def _inputs(features):
    return [features.token_ids, features.segment_ids, features.padding_mask]
