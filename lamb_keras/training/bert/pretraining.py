"""Pre-training: a solver's step on masked sentence pairs, compiled once for a stage.

What tells trials apart is an input of the compiled program: the sequences of a step,
their seed, the learning rate and weight decay of every step, even the batch size, which
is a number of equal micro-batches.
"""

import itertools
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lamb_keras.data.text import masking, stream
from lamb_keras.data.text.pairs import PairData
from lamb_keras.data.text.wordpiece import Vocabulary
from lamb_keras.experiments.bert import BertExperiment, Stage, Trial
from lamb_keras.optimizers import solvers
from lamb_keras.training import accumulation
from lamb_keras.training.accumulation import Feed, Progress, filled
from lamb_keras.training.spread import every_device
from lamb_keras.training.step import SolverStep, State, cross_entropy, initial_weights
from lamb_keras.training.together import together

# Sequences judged at once.
_CHUNK = 64
# The tokens hidden from the model when it is judged: the same at every look.
_JUDGING_SEED = 0


class Batch(NamedTuple):
    """The sequences of a micro-batch, or of several along a leading axis."""

    token_ids: Any
    segment_ids: Any
    padding_mask: Any
    is_next: Any
    number: Any  # of each sequence in its training: it decides what is hidden
    predictions: Any  # in the whole step that the micro-batch is a part of


def described(sequences: int, length: int) -> Batch:
    """A micro-batch of so many sequences of so many tokens, as shapes alone."""

    def rows(dtype, *shape):
        return jax.ShapeDtypeStruct((sequences, *shape), dtype)

    return Batch(
        token_ids=rows("int32", length),
        segment_ids=rows("int32", length),
        padding_mask=rows("bool", length),
        is_next=rows("int32"),
        number=rows("int32"),
        predictions=jax.ShapeDtypeStruct((), "float32"),
    )


class Judgement(NamedTuple):
    """Sums over the predicted tokens of held-out sequences."""

    loss: Any
    correct: Any
    count: Any


class PretrainingStep(SolverStep):
    """A solver's step on BERT with its pre-training heads.

        loss = mean cross-entropy of the hidden tokens + that of is_next

    each over the whole batch of a step. A micro-batch gives its share of both sums
    times the number of micro-batches, so that their mean is the loss of the batch, and
    the mean of their gradients its gradient. Which tokens are hidden depends on the
    seed and the number of a sequence alone, not on the micro-batch in which it comes.

    Args:
        experiment: what is run; its grids are not looked at.
        solver_name: the solver.
        model: from `models.pretraining`.
        vocabulary: of its tokens.
    """

    def __init__(
        self,
        experiment: BertExperiment,
        solver_name: str,
        model,
        vocabulary: Vocabulary,
    ):
        optimizer = solvers.solver(
            solver_name,
            exclude_from_weight_decay=experiment.exclude_from_weight_decay,
            global_clipnorm=experiment.global_clipnorm,
        )
        super().__init__(model, optimizer, experiment.packed_update)
        self._rate = experiment.masking_rate
        self._vocabulary = vocabulary

    def gradients(self, state, batch: Batch, seed, micro_batches):
        """(loss, new `others`, gradients) of a micro-batch, as its share of a step."""
        (loss, others), gradients = jax.value_and_grad(self.loss, has_aux=True)(
            self.unpacked(state.weights), state.others, batch, seed, micro_batches
        )
        return loss, others, self.packed(gradients)

    def loss(self, weights, others, batch: Batch, seed, micro_batches=1.0):
        """(loss, new `others`) at plain weights of a micro-batch, as its share."""
        hidden = self._hide(batch.token_ids, batch.number, seed)
        said, others = self._call(weights, others, batch, hidden, training=True)
        shape = hidden.labels.shape
        losses = cross_entropy(
            said["tokens"].reshape(-1, said["tokens"].shape[-1]),
            hidden.labels.reshape(-1),
        ).reshape(shape)
        of_tokens = jnp.sum(hidden.weights * losses) / batch.predictions
        of_next = jnp.mean(cross_entropy(said["is_next"], batch.is_next.astype(int)))
        return micro_batches * of_tokens + of_next, others

    def judge(self, weights, others, batch: Batch) -> Judgement:
        """How well hidden tokens are told; sequences of number -1 are not counted."""
        hidden = self._hide(batch.token_ids, batch.number, jnp.uint32(_JUDGING_SEED))
        weights = self.unpacked(weights)
        said, _ = self._call(weights, others, batch, hidden, training=False)
        logits = said["tokens"].astype("float32")
        flat = logits.reshape(-1, logits.shape[-1])
        losses = cross_entropy(flat, hidden.labels.reshape(-1))
        weights = hidden.weights * (batch.number >= 0)[:, None]
        right = jnp.argmax(logits, -1) == hidden.labels
        return Judgement(
            jnp.sum(weights * losses.reshape(weights.shape)),
            jnp.sum(weights * right),
            jnp.sum(weights),
        )

    def _hide(self, token_ids, numbers, seed):
        """What is hidden of each sequence, by its own key."""

        def one(number, tokens):
            key = jax.random.fold_in(jax.random.key(seed), number)
            hidden = masking.mask(key, tokens[None], self._vocabulary, self._rate)
            return jax.tree.map(lambda array: array[0], hidden)

        return jax.vmap(one)(numbers, token_ids.astype("int32"))

    def _call(self, weights, others, batch, hidden, training):
        return self.model.stateless_call(
            weights,
            others,
            {
                "token_ids": hidden.inputs,
                "segment_ids": batch.segment_ids.astype("int32"),
                "padding_mask": batch.padding_mask,
                "mask_positions": hidden.positions,
            },
            training=training,
        )


class Program:
    """The compiled pre-training of one solver in one stage.

    With several devices, each computes a part of every micro-batch.

    Args:
        experiment: what is run.
        step: the solver's step on a model.
        number: of the stage, 0 or 1.
        micro_batch: sequences computed at once; trials of others need another program.
        sequences: what the stage trains on.
        vocabulary: of their tokens.
        width: how many trials run at once, by `vmap`: trials that are given the same
            sequences in the same steps.
    """

    def __init__(
        self,
        experiment: BertExperiment,
        step: PretrainingStep,
        number: int,
        micro_batch: int,
        sequences: PairData,
        vocabulary: Vocabulary,
        width: int = 1,
    ):
        self.width = width
        self.layers = [variable.path for variable in step.model.trainable_variables]
        self._experiment = experiment
        self._number = number
        self._sequences = sequences
        self._vocabulary = vocabulary
        trials = [
            trial
            for trial in experiment.trials()
            if experiment.stages(trial)[number].micro_batch == micro_batch
        ]
        self.periods = _periods(experiment)[number]
        longest = max(
            (end - begin) * stage.micro_batches
            for stage in (experiment.stages(trial)[number] for trial in trials)
            for begin, end in self._bounds(stage) or [(0, 1)]
        )
        # Tables whose trainings are about as long then have one program.
        self._most = _roomy(longest)
        mesh = every_device()
        shared = mesh.size > 1 and micro_batch % mesh.size == 0
        self._rows = (
            NamedSharding(mesh, PartitionSpec(None, *mesh.axis_names))
            if shared
            else None
        )
        started = time.perf_counter()
        begun = accumulation.begin(step.start(initial_weights(step.model)))
        example = together([begun], width)

        def train(progress, feed, seed, micro_batches):
            progress, losses = accumulation.run(
                progress,
                feed,
                micro_batches,
                lambda state, batch: step.gradients(state, batch, seed, micro_batches),
                step.apply,
                accumulates(experiment),
            )
            return progress, losses, step.trust_ratios(progress.state)

        if width > 1:
            of_each = Feed(None, None, learning_rate=0, weight_decay=0, steps=None)
            train = jax.vmap(train, in_axes=(0, of_each, None, None))
        first = next(self.feeds(trials[:1], 0))
        self._run = (
            jax.jit(train, donate_argnums=0)
            .lower(example, first, np.uint32(0), np.int32(1))
            .compile()
        )
        self.compile_seconds = time.perf_counter() - started

    def feeds(self, trials: list[Trial], first: int) -> Iterator[Feed]:
        """What the trials are given from period `first` on, period by period."""
        trial = trials[0]
        stages = self._experiment.stages(trial)
        stage = stages[self._number]
        before = sum(each.steps for each in stages[: self._number])
        rates, decays = (
            [by_step(each)[before:] for each in trials]
            for by_step in (
                self._experiment.learning_rates_by_step,
                self._experiment.weight_decays_by_step,
            )
        )
        bounds = self._bounds(stage)[first:]
        size = stage.sequences_per_step
        batches = stream.batches(
            self._sequences.arrays(),
            batch_size=size,
            seed=2 * trial.seed + self._number,
            start_step=bounds[0][0] if bounds else 0,
        )
        for begin, end in bounds:
            steps = [next(batches) for _ in range(begin, end)]
            taken = {
                name: np.concatenate([each[name] for each in steps])
                for name in steps[0]
            }
            counts = predictions(
                taken["token_ids"], self._vocabulary, self._experiment.masking_rate
            )
            in_step = counts.reshape(-1, size).sum(1)
            each = stage.micro_batches
            micro_steps = (end - begin) * each
            sequence = np.arange(begin * size, end * size, dtype="int32")
            shape = micro_steps, stage.micro_batch
            batch = Batch(
                number=sequence.reshape(shape),
                predictions=np.repeat(in_step, each).astype("float32"),
                **{
                    name: array.reshape(*shape, *array.shape[1:])
                    for name, array in taken.items()
                },
            )
            batch = jax.tree.map(lambda rows: filled(rows, self._most), batch)
            steps = np.arange(before + begin + 1, before + end + 1, dtype="int32")
            yield Feed(
                self._placed(batch),
                filled(steps, self._most),
                *(
                    together(
                        [filled(each[begin:end], self._most) for each in of_trials],
                        self.width,
                    )
                    for of_trials in (rates, decays)
                ),
                np.int32(end - begin),
            )

    def ends(self, trial: Trial) -> list[int]:
        """The last step of each period, counted over both stages."""
        stages = self._experiment.stages(trial)
        before = sum(each.steps for each in stages[: self._number])
        return [before + end for _, end in self._bounds(stages[self._number])]

    def run_period(self, progress: Progress, feed: Feed, trial: Trial):
        """One period of the trials: (progress, losses, trust ratios).

        A loss for every step, NaN for those not taken. Where several run at once, all
        of it has a leading axis for them, and `trial` is any of them.
        """
        stage = self._experiment.stages(trial)[self._number]
        return self._run(
            progress, feed, np.uint32(trial.seed), np.int32(stage.micro_batches)
        )

    def _bounds(self, stage: Stage):
        """Of each period: the steps of the stage before it, and those up to its end."""
        ends = [stage.steps * n // self.periods for n in range(self.periods + 1)]
        return [pair for pair in itertools.pairwise(ends) if pair[0] < pair[1]]

    def _placed(self, batch):
        """The batches on the devices: each has a part of every micro-batch."""
        if self._rows is None:
            return batch
        whole = NamedSharding(self._rows.mesh, PartitionSpec())

        # Every process has read the whole batch, and gives its devices their part.
        def place(name, array):
            sharding = whole if name == "predictions" else self._rows
            return jax.make_array_from_callback(
                array.shape, sharding, array.__getitem__
            )

        return Batch(**{n: place(n, a) for n, a in batch._asdict().items()})


class Judge:
    """The compiled judgement of the masked language model on held-out sequences.

    Args:
        step: any solver's step on the model, packed if theirs are.
        sequences: to judge by.
    """

    def __init__(self, step: PretrainingStep, sequences: PairData):
        size = min(_CHUNK, len(sequences))
        numbers = np.arange(len(sequences), dtype="int32")
        arrays = {"number": numbers, **sequences.arrays()}
        self._chunks = []
        for begin in range(0, len(sequences), size):
            some = {n: filled(a[begin : begin + size], size) for n, a in arrays.items()}
            some["number"][len(sequences) - begin :] = -1
            self._chunks.append(
                jax.device_put(Batch(**some, predictions=np.float32(1)))
            )
        start = step.start(initial_weights(step.model))
        model = start.weights, start.others
        self._judge = jax.jit(step.judge).lower(*model, self._chunks[0]).compile()

    def __call__(self, state: State) -> tuple[float, float]:
        """(loss in nats a predicted token, which part of them is right)."""
        parts = [
            self._judge(state.weights, state.others, chunk) for chunk in self._chunks
        ]
        loss, correct, count = (
            sum(map(float, sums)) for sums in zip(*parts, strict=True)
        )
        return loss / count, correct / count


def accumulates(experiment: BertExperiment) -> bool:
    """Whether some step of some trial is made of several micro-batches."""
    return any(
        stage.micro_batches > 1
        for trial in experiment.trials()
        for stage in experiment.stages(trial)
    )


def predictions(
    token_ids: np.ndarray, vocabulary: Vocabulary, rate: float
) -> np.ndarray:
    """How many tokens of each sequence `masking.mask` will hide, shape (n,).

    Known before anything is hidden, for a step's loss is over all its micro-batches.
    """
    ordinary = ~np.isin(token_ids, vocabulary.specials)
    available = ordinary.sum(1)
    # In float32, as there: half a token decides.
    count = np.maximum(np.round(np.float32(rate) * available.astype("float32")), 1)
    most = masking.predictions_of(token_ids.shape[1], rate)
    return np.minimum(np.minimum(count, available), most).astype("int64")


def _roomy(count: int) -> int:
    """At least so many, of few numbers: multiples of 512, four between powers of two.

    Example:
        >>> [_roomy(count) for count in (3, 395, 512, 513, 4097)]
        [512, 512, 512, 1024, 5120]
    """
    unit = max(512, 2 ** (count.bit_length() - 3))
    return math.ceil(count / unit) * unit


def _periods(experiment):
    """How often each stage is looked at: the second for its part, at least once."""
    second = max(1, round(experiment.looks * experiment.second_stage))
    return experiment.looks - second, second
