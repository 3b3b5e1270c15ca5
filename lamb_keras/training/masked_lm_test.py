"""Masked-language-model pre-training: its loss, its batches, its evaluation."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamb_keras import models
from lamb_keras.data.text import masking
from lamb_keras.training.bert import BertTrials
from lamb_keras.training.conftest import changed
from lamb_keras.training.history import History
from lamb_keras.training.masked_lm import (
    Batch,
    MaskedLM,
    held_out_batches,
    predictions,
)
from lamb_keras.training.step import Constants, initial_weights
from lamb_keras.training.trainer import start, train

# 16 sequences a step, 10 steps. Of a gradient that is zero but for rounding, Adam would
# make a whole step.
STEPS = {
    "batch_size": [1024],
    "steps_divisor": 50_000,
    "solvers": ["momentum"],
    "learning_rates": [0.05],
    "weight_decay": 0.0,
    "global_clipnorm": None,
}


def pretrained(texts, micro_batch_size):
    """(the trained state, a history), evaluated by nothing."""
    experiment = changed(**STEPS, micro_batch_size=micro_batch_size)
    trials = BertTrials(experiment, texts)
    group = experiment.trials()
    step, history = trials.step("momentum"), History(group[0], [])
    first = start(step, [trials.initial(0)], sharding=trials.sharding)
    periods = trials.periods(group, 0)
    return train(first, [history], periods, lambda _: [{}]).state, history


@pytest.fixture(scope="module")
def whole(texts):
    return pretrained(texts, micro_batch_size=16)


@pytest.fixture(scope="module")
def task(texts):
    size = texts.vocabulary.size
    backbone = models.bert(
        size, layers=1, width=16, heads=2, sequence_length=64, dropout=0.0, seed=0
    )
    return MaskedLM(models.pretraining(backbone, seed=0), texts.vocabulary, 0.15)


def losses(history):
    return [row["train_loss"] for row in history.evaluations]


def test_accumulated_gradients_are_those_of_the_big_batch(whole, texts):
    # The sequences have different numbers of hidden tokens, and so do micro-batches: a
    # mean of means would be another loss.
    (state, history), (other, its) = whole, pretrained(texts, micro_batch_size=4)
    np.testing.assert_allclose(losses(its), losses(history), rtol=1e-5)
    for one, another in zip(state.weights, other.weights, strict=True):
        np.testing.assert_allclose(another, one, rtol=0, atol=1e-5)
    assert history.last_step == 10 and losses(history)[3] < losses(history)[0]
    # LAMB and its like have trust ratios; momentum has none.
    assert np.shape(history.ratios) == (5, 3, 0)


def test_the_number_of_hidden_tokens_is_known_beforehand(texts):
    sequences, vocabulary = texts.sequences(32), texts.vocabulary
    token_ids = sequences[:]["token_ids"]
    tokens = jnp.asarray(token_ids, "int32")
    hidden = masking.mask(jax.random.key(0), tokens, vocabulary)
    counted = predictions(token_ids, vocabulary, 0.15)
    np.testing.assert_array_equal(counted, hidden.weights.sum(1))
    assert len(set(counted.tolist())) > 1


def test_what_is_hidden_depends_on_the_sequence_alone(task, texts):
    tokens, numbers = texts.sequences(32)[:6]["token_ids"], np.arange(6)
    first = task.hide(tokens, numbers, np.uint32(0))
    alone = task.hide(tokens[4:], numbers[4:], np.uint32(0))
    np.testing.assert_array_equal(first.inputs[4:], alone.inputs)
    other = task.hide(tokens, numbers, np.uint32(1))
    assert (first.inputs != other.inputs).any()
    again = task.hide(tokens, numbers + 6, np.uint32(0))  # the next epoch
    assert (first.inputs != again.inputs).any()


def test_the_loss_is_that_of_the_hidden_tokens_and_of_the_next_sentence(task, texts):
    sequences = texts.sequences(32)[:8]
    counts = predictions(sequences["token_ids"], texts.vocabulary, 0.15)
    batch = Batch(
        **sequences, number=np.arange(8), predictions=np.float32(counts.sum())
    )
    loss, _ = task.loss(*initial_weights(task.model), batch, Constants())
    hidden = task.hide(batch.token_ids, batch.number, np.uint32(0))
    logits = task.model(
        {
            "token_ids": hidden.inputs,
            "segment_ids": jnp.asarray(batch.segment_ids, "int32"),
            "padding_mask": jnp.asarray(batch.padding_mask),
            "mask_positions": hidden.positions,
        }
    )
    rows, places = np.nonzero(hidden.weights)
    labels = np.asarray(hidden.labels)[rows, places]
    positions = np.asarray(hidden.positions)[rows, places]
    np.testing.assert_array_equal(batch.token_ids[rows, positions], labels)
    logs = jax.nn.log_softmax(logits["tokens"])[rows, places, labels]
    next_logs = jax.nn.log_softmax(logits["is_next"])[np.arange(8), batch.is_next * 1]
    assert len(logs) == counts.sum()
    assert float(loss) == pytest.approx(
        -float(logs.mean() + next_logs.mean()), rel=1e-5
    )


def test_an_evaluation_counts_every_held_out_sequence_once(task, texts):
    weights, sequences = initial_weights(task.model), texts.sequences(32)
    sequences = replace(sequences, spans=sequences.spans[:70])
    pieces = held_out_batches(sequences, 64)  # one of 64 and a filled one of 6
    assert [len(piece.number) for piece in pieces] == [64, 64]
    found = task.metrics([task.outputs(*weights, piece) for piece in pieces])
    batch = Batch(**sequences[:], number=np.arange(70), predictions=1.0)
    expected = task.metrics([task.outputs(*weights, batch)])
    assert found == pytest.approx(expected, rel=1e-5)
    # A net that has learned nothing is about as unsure as one can be.
    assert found["loss"] == pytest.approx(np.log(texts.vocabulary.size), rel=0.3)
