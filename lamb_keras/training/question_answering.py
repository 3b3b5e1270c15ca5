"""Question answering as a task: BERT's fine-tuning by AdamW, and its answers."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras import models, schedules
from lamb_keras.data import squad
from lamb_keras.data.text_data import TextDataset
from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.optimizers import solvers
from lamb_keras.training import memory
from lamb_keras.training.history import History
from lamb_keras.training.sharding import Sharding, chunk, to_all, to_evaluate
from lamb_keras.training.step import (
    Constants,
    Step,
    Task,
    cross_entropy,
    initial_weights,
)
from lamb_keras.training.trainer import (
    Evaluator,
    Period,
    Program,
    order,
    padded,
    period_inputs,
    start,
    train,
)

# Windows answered at once.
_CHUNK = 64
# Devlin et al.'s, whatever solver pre-trained, and with what settings of its own.
_WEIGHT_DECAY = 0.01
_ADAMW = {
    "exclude_from_weight_decay": ["bias$", "gamma$", "beta$"],
    "global_clipnorm": 1.0,
}


class QuestionAnswering(Task):
    """The mean of the cross-entropies of an answer's first and last token.

    A batch is token_ids, segment_ids and padding_mask of windows, in training with
    start and end positions; inputs are their rows in the data.

    Args:
        model: from `models.answering`.
        windows: `squad.Features` of the questions to evaluate by.
        questions: these questions.
        scanned: as of a `Task`.
    """

    def __init__(self, model, windows: squad.Features, questions: list, scanned=None):
        super().__init__(model, scanned)
        self._windows, self._questions = windows, questions

    def batch(self, inputs, data):
        return [array[inputs] for array in data]

    def loss(self, weights, non_trainable, batch, constants):
        *inputs, starts, ends = batch
        logits, non_trainable = self._call(weights, non_trainable, inputs, True)
        of_start = cross_entropy(logits[..., 0], starts)
        of_end = cross_entropy(logits[..., 1], ends)
        return jnp.mean(of_start + of_end) / 2, non_trainable

    def outputs(self, weights, non_trainable, batch):
        """The logits of start and end, (windows, length, 2)."""
        return self._call(weights, non_trainable, batch, False)[0]

    def metrics(self, outputs):
        """F1 and exact match in percent, and the answers by their questions' ids."""
        logits = np.concatenate(outputs)[: len(self._windows)]
        answers = squad.best_spans(
            logits[..., 0], logits[..., 1], self._windows, self._questions
        )
        return {**squad.evaluate(self._questions, answers), "predictions": answers}

    def _call(self, weights, non_trainable, inputs, training):
        names = ("token_ids", "segment_ids", "padding_mask")
        inputs = dict(zip(names, inputs, strict=True))
        return self.call(weights, non_trainable, inputs, training)


class FineTuner:
    """Fine-tunings by AdamW as Devlin et al. do, on the windows that hold an answer.

    Its decay of 0.01 times the learning rate spares biases and layer normalization, and
    gradients longer than 1 are shortened to it. `width` run at once, by `vmap`; None
    for as many as the device holds. Devices of a `sharding` have a part of every batch
    that they can share alike, else each the whole.
    """

    def __init__(
        self,
        experiment: BertExperiment,
        texts: TextDataset,
        model,
        width: int | None,
        sharding: Sharding | None = None,
    ):
        self._sharding = sharding
        self._experiment, self._initial = experiment, initial_weights(model)
        windows = (
            experiment.sequence_lengths[1],
            experiment.document_stride,
            experiment.max_question_length,
        )
        training = texts.features("train", *windows).with_answers()
        dev = texts.features("dev", *windows)
        scanned = models.Scanned(model) if sharding else None
        task = QuestionAnswering(model, dev, texts.questions("dev"), scanned)
        self._step = Step(task, solvers.solver("adamw", **_ADAMW))
        self._count = len(training)
        answers = training.start_positions, training.end_positions
        self._data = to_all([*_inputs(training), *answers], sharding)
        size = chunk(_CHUNK, sharding)
        batches = [
            [padded(array[at : at + size], size) for array in _inputs(dev)]
            for at in range(0, len(dev), size)
        ]
        self._dev = to_evaluate(batches, sharding)
        most = len(experiment.finetuning_seeds)
        if width is None:
            width = memory.width(most, self._bytes())
        self.width = min(most, width)
        self._program = Program(self._step, self.width, sharding=sharding)
        self._evaluator = Evaluator(self._step, self.width, sharding)

    def __call__(
        self, encoder: dict[str, np.ndarray], heads: list[dict], seeds: list[int]
    ) -> list[dict]:
        """Some fine-tunings: finetuning_seed, f1 and exact_match, and predictions.

        At most `width`; f1 is None for one that diverged. `encoder` and `heads` are the
        weights to start from, by path, a seed is that of the order of the questions.
        """
        inputs = self._program.together([self._inputs(seed) for seed in seeds])
        constants = self._program.together([Constants()] * len(seeds))
        histories = [History(seed, self._step.layers) for seed in seeds]
        period = Period(self._program, constants, [inputs], int(inputs.steps))
        progress, found = self._start(encoder, heads), []

        def evaluate(progress):
            found.extend(self._evaluator.metrics(progress, self._dev))
            return found

        train(progress, histories, [period], evaluate, data=self._data)
        none = {"f1": None, "exact_match": None, "predictions": {}}
        return [
            {
                "finetuning_seed": history.trial,
                **(metrics if history.outcome == "finished" else none),
            }
            for history, metrics in zip(histories, found, strict=False)
        ]

    def untrained(self, encoder: dict[str, np.ndarray]) -> dict[str, float]:
        """F1 and exact match, in percent, without any fine-tuning."""
        progress = self._start(encoder, [{}])
        metrics = self._evaluator.metrics(progress, self._dev)[0]
        return {name: metrics[name] for name in ("f1", "exact_match")}

    def _start(self, encoder, heads):
        own, non_trainable = self._initial
        own = dict(zip(self._step.layers, own, strict=True))
        each = [{**own, **encoder, **head} for head in heads]
        initial = [
            ([np.asarray(known[path]) for path in own], non_trainable) for known in each
        ]
        return start(self._step, initial, self.width, self._sharding)

    def _inputs(self, seed):
        experiment = self._experiment
        size = min(experiment.finetuning_batch_size, self._count)
        steps = math.ceil(experiment.finetuning_epochs * self._count / size)
        warmup = min(round(steps * experiment.finetuning_warmup), steps - 1)
        rates = schedules.warmup_polynomial_decay(np.arange(steps), warmup, steps)
        rates = np.asarray(experiment.finetuning_learning_rate * rates, "float32")
        rows = order(seed, self._count, steps * size).reshape(steps, size)
        return period_inputs(rows, 0, steps, (rates, rates * np.float32(_WEIGHT_DECAY)))

    def _bytes(self):
        """What one fine-tuning needs on the device."""
        rows = self._inputs(seed=0).micro.shape[1:]
        windows = [
            jax.ShapeDtypeStruct(rows + array.shape[1:], array.dtype)
            for array in self._data
        ]
        return memory.trial_bytes(self._step, self._initial, windows)


def answers(sweep, texts: TextDataset, count: int) -> list[dict]:
    """Some dev questions, and what the best fine-tuning of a sweep answers to them.

    Half of them right and half not, as far as there are such, in the questions' order.
    """
    tuned = [
        each
        for history in sweep.histories
        for each in history.finetunings
        if each["f1"] is not None
    ]
    if not tuned:
        return []
    predictions = max(tuned, key=lambda each: each["f1"])["predictions"]
    rows = [
        {
            "question": each.question,
            "context": each.context,
            "answers": each.references,
            "predicted": predictions[each.id],
            "f1": 100 * squad.f1(predictions[each.id], each.references),
        }
        for each in texts.dev_questions
    ]
    right = [row for row in rows if row["f1"] == 100][: count // 2]
    wrong = [row for row in rows if row["f1"] < 100][: count - len(right)]
    return [row for row in rows if row in right or row in wrong]


def _inputs(features):
    return [features.token_ids, features.segment_ids, features.padding_mask]
