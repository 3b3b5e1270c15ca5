"""BERT's pre-training as a task: hidden tokens and the next sentence."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras.data.text import masking, stream
from lamb_keras.data.text.pairs import PairData
from lamb_keras.data.text.wordpiece import Vocabulary
from lamb_keras.experiments.bert import Stage
from lamb_keras.training.step import Task, cross_entropy
from lamb_keras.training.trainer import padded

# Of the tokens that are hidden in an evaluation: the same in all.
_EVALUATION_SEED = 0


class Batch(NamedTuple):
    """The sequences of a micro-batch, or of several along a leading axis."""

    token_ids: Any
    segment_ids: Any
    padding_mask: Any
    is_next: Any
    number: Any  # of each sequence in its training: it decides what is hidden
    predictions: Any  # in the whole step that the micro-batch is a part of


class MaskedLM(Task):
    """The mean cross-entropy of the hidden tokens plus that of is_next.

    Both are means over the whole batch of a step: a micro-batch gives its share of the
    sums times the number of micro-batches, so that the mean of their gradients is the
    batch's. What is hidden depends on the seed and the number of a sequence alone, not
    on the micro-batch in which it comes.

    Args:
        model: from `models.pretraining`.
        vocabulary: of its tokens.
        masking_rate: which part of the tokens is hidden.
        scanned: as of a `Task`.
    """

    shares_batches = by_parts = True

    def __init__(
        self, model, vocabulary: Vocabulary, masking_rate: float, scanned=None
    ):
        super().__init__(model, scanned)
        self._vocabulary, self._rate = vocabulary, masking_rate

    def batch(self, inputs, data):
        return inputs

    def loss(self, weights, non_trainable, batch, constants):
        hidden = self.hide(batch.token_ids, batch.number, constants.seed)
        logits, non_trainable = self._call(weights, non_trainable, batch, hidden, True)
        losses = cross_entropy(
            logits["tokens"].reshape(-1, logits["tokens"].shape[-1]),
            hidden.labels.reshape(-1),
        ).reshape(hidden.labels.shape)
        of_tokens = jnp.sum(hidden.weights * losses) / batch.predictions
        of_next = jnp.mean(cross_entropy(logits["is_next"], batch.is_next.astype(int)))
        return constants.micro_batches * of_tokens + of_next, non_trainable

    def outputs(self, weights, non_trainable, batch):
        """Sums over hidden tokens; of sequences of number -1 they are not counted."""
        hidden = self.hide(batch.token_ids, batch.number, jnp.uint32(_EVALUATION_SEED))
        logits, _ = self._call(weights, non_trainable, batch, hidden, False)
        logits = logits["tokens"].astype("float32")
        flat = logits.reshape(-1, logits.shape[-1])
        losses = cross_entropy(flat, hidden.labels.reshape(-1))
        counted = hidden.weights * (batch.number >= 0)[:, None]
        return {
            "loss": jnp.sum(counted * losses.reshape(counted.shape)),
            "accuracy": jnp.sum(counted * (jnp.argmax(logits, -1) == hidden.labels)),
            "count": jnp.sum(counted),
        }

    def hide(self, token_ids, numbers, seed):
        """What `masking.mask` hides of each sequence, by a key of its own."""

        def one(number, tokens):
            key = jax.random.fold_in(jax.random.key(seed), number)
            hidden = masking.mask(key, tokens[None], self._vocabulary, self._rate)
            return jax.tree.map(lambda array: array[0], hidden)

        return jax.vmap(one)(numbers, token_ids.astype("int32"))

    def _call(self, weights, non_trainable, batch, hidden, training):
        inputs = {
            "token_ids": hidden.inputs,
            "segment_ids": batch.segment_ids.astype("int32"),
            "padding_mask": batch.padding_mask,
            "mask_positions": hidden.positions,
        }
        return self.call(weights, non_trainable, inputs, training)

    def micro_batches(
        self, sequences: PairData, stage: Stage, seed: int, bounds: list, length: int
    ) -> Iterator[Batch]:
        """The micro-batches of each period of a stage, filled up to a length.

        `bounds` are, for each, the steps before it and those up to its end.
        """
        size, begin = stage.sequences_per_step, bounds[0][0] if bounds else 0
        steps = stream.batches(
            len(sequences), batch_size=size, seed=seed, start_step=begin
        )
        for begin, end in bounds:
            rows = sequences[np.concatenate([*itertools.islice(steps, end - begin)])]
            counts = predictions(rows["token_ids"], self._vocabulary, self._rate)
            in_step = counts.reshape(-1, size).sum(1).astype("float32")
            rows["number"] = np.arange(begin * size, end * size, dtype="int32")
            batch = Batch(
                predictions=np.repeat(in_step, stage.micro_batches),
                **{
                    name: array.reshape(-1, stage.micro_batch, *array.shape[1:])
                    for name, array in rows.items()
                },
            )
            yield jax.tree.map(lambda array: padded(array, length), batch)


def held_out_batches(sequences: PairData, size: int) -> list[Batch]:
    """The sequences to evaluate by, in pieces of one size."""
    pieces = []
    for begin in range(0, len(sequences), size):
        some = sequences[begin : begin + size]
        rows = {name: padded(array, size) for name, array in some.items()}
        number = np.arange(begin, begin + size, dtype="int32")
        rows["number"] = np.where(number < len(sequences), number, -1)
        pieces.append(Batch(predictions=np.float32(1), **rows))
    return pieces


def predictions(
    token_ids: np.ndarray, vocabulary: Vocabulary, rate: float
) -> np.ndarray:
    """How many tokens of each sequence `masking.mask` will hide, shape (n,).

    Known before anything is hidden, for a step's loss is over all its micro-batches.
    """
    available = (~np.isin(token_ids, vocabulary.specials)).sum(1)
    # In float32, as there: half a token decides.
    count = np.maximum(np.round(np.float32(rate) * available.astype("float32")), 1)
    most = masking.predictions_of(token_ids.shape[1], rate)
    return np.minimum(np.minimum(count, available), most).astype("int64")
