import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamb_keras import models
from lamb_keras.data.text import masking
from lamb_keras.training import accumulation
from lamb_keras.training.bert.conftest import changed
from lamb_keras.training.bert.pretraining import (
    Batch,
    Judge,
    PretrainingStep,
    Program,
    accumulates,
    predictions,
)
from lamb_keras.training.step import initial_weights

# 16 sequences a step, 10 steps.
STEPS = {"batch_size": [1024], "batch_divisor": 64, "steps_divisor": 50_000}
# Of a gradient that is zero but for rounding, Adam makes a whole step.
LINEAR = {"solvers": ["momentum"], "learning_rates": [0.05], "weight_decay": 0.0}


def _model(experiment, vocabulary):
    backbone = models.bert(
        vocabulary.size,
        layers=experiment.layers,
        width=experiment.width,
        heads=experiment.heads,
        sequence_length=64,
        dropout=experiment.dropout,
        seed=0,
    )
    return models.pretraining(backbone, seed=0)


def _trained(experiment, library):
    """(weights after the first stage, losses of its steps)."""
    (trial,) = experiment.trials()
    step = PretrainingStep(
        experiment,
        trial.solver,
        _model(experiment, library.vocabulary),
        library.vocabulary,
    )
    micro_batch = experiment.stages(trial)[0].micro_batch
    program = Program(
        experiment, step, 0, micro_batch, library.sequences(32), library.vocabulary
    )
    progress = accumulation.begin(step.start(initial_weights(step.model)))
    losses = []
    for feed in program.feeds([trial], 0):
        progress, some, _ = program.run_period(progress, feed, trial)
        losses.append(np.asarray(some))
    losses = np.concatenate(losses)
    return progress.state.weights, losses[np.isfinite(losses)]


@pytest.fixture(scope="module")
def step(library):
    model = _model(changed(), library.vocabulary)
    return PretrainingStep(changed(), "lamb", model, library.vocabulary)


@pytest.fixture(scope="module")
def whole(library):
    """Trained without micro-batches: the weights, and the losses of the steps."""
    return _trained(changed(**STEPS, **LINEAR, micro_batch_size=16), library)


def test_accumulated_gradients_are_those_of_the_big_batch(whole, library):
    # The sequences have different numbers of hidden tokens, and so do micro-batches: a
    # mean of means would be another loss.
    small = changed(**STEPS, **LINEAR, micro_batch_size=4)
    assert accumulates(small)
    (weights, losses), (others, their) = whole, _trained(small, library)
    np.testing.assert_allclose(their, losses, rtol=1e-5)
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)
    assert len(losses) == 9 and losses[-1] < losses[0]


def test_the_number_of_hidden_tokens_is_known_beforehand(library):
    sequences = library.sequences(32)
    vocabulary = library.vocabulary
    tokens = jnp.asarray(sequences.token_ids, "int32")
    hidden = masking.mask(jax.random.key(0), tokens, vocabulary)
    counted = predictions(sequences.token_ids, vocabulary, 0.15)
    np.testing.assert_array_equal(counted, hidden.weights.sum(1))
    assert len(set(counted.tolist())) > 1


def test_what_is_hidden_depends_on_the_sequence_alone(step, library):
    tokens = library.sequences(32).token_ids[:6]
    numbers = np.arange(6)
    together = step._hide(tokens, numbers, np.uint32(0))
    alone = step._hide(tokens[4:], numbers[4:], np.uint32(0))
    np.testing.assert_array_equal(together.inputs[4:], alone.inputs)
    other = step._hide(tokens, numbers, np.uint32(1))
    assert (together.inputs != other.inputs).any()
    again = step._hide(tokens, numbers + 6, np.uint32(0))  # the next epoch
    assert (together.inputs != again.inputs).any()


def test_the_loss_is_that_of_the_hidden_tokens_and_of_the_next_sentence(step, library):
    model = step.model
    sequences = library.sequences(32)[:8]
    counts = predictions(sequences.token_ids, library.vocabulary, 0.15)
    batch = Batch(
        **sequences.arrays(), number=np.arange(8), predictions=np.float32(counts.sum())
    )
    state = step.start(initial_weights(model))
    loss, _ = step.loss(state.weights, state.others, batch, np.uint32(0))
    hidden = step._hide(batch.token_ids, batch.number, np.uint32(0))
    said = model(
        {
            "token_ids": hidden.inputs,
            "segment_ids": jnp.asarray(batch.segment_ids, "int32"),
            "padding_mask": jnp.asarray(batch.padding_mask),
            "mask_positions": hidden.positions,
        }
    )
    of_tokens = []
    for row in range(8):
        for place in range(hidden.labels.shape[1]):
            if hidden.weights[row, place]:
                label = int(hidden.labels[row, place])
                assert batch.token_ids[row, hidden.positions[row, place]] == label
                log = jax.nn.log_softmax(said["tokens"][row, place])
                of_tokens.append(-float(log[label]))
    of_next = [
        -float(jax.nn.log_softmax(said["is_next"][row])[batch.is_next[row]])
        for row in range(8)
    ]
    assert len(of_tokens) == counts.sum()
    expected = np.mean(of_tokens) + np.mean(of_next)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_judging_counts_every_held_out_sequence_once(step, library):
    state = step.start(initial_weights(step.model))
    sequences = library.sequences(32)
    whole = Judge(step, sequences[:70])(state)  # a chunk of 64 and a filled one of 6
    batch = Batch(
        **sequences[:70].arrays(), number=np.arange(70), predictions=np.float32(1)
    )
    sums = step.judge(state.weights, state.others, batch)
    np.testing.assert_allclose(whole[0], sums.loss / sums.count, rtol=1e-5)
    np.testing.assert_allclose(whole[1], sums.correct / sums.count, rtol=1e-6)
    # A net that has learned nothing is about as unsure as one can be.
    assert whole[0] == pytest.approx(np.log(library.vocabulary.size), rel=0.3)


def test_a_layers_trust_ratio_is_kept(step, library):
    experiment = changed(looks=2)
    (trial,) = experiment.trials()
    program = Program(experiment, step, 0, 8, library.sequences(32), library.vocabulary)
    progress = accumulation.begin(step.start(initial_weights(step.model)))
    _, _, ratios = program.run_period(progress, next(program.feeds([trial], 0)), trial)
    assert ratios.shape == (3, len(program.layers))
    by_layer = dict(zip(program.layers, np.asarray(ratios)[0], strict=True))
    # Excluded variables have none: 1. A kernel's is the ratio of its norms.
    assert by_layer["embeddings_layer_norm/gamma"] == 1
    kernel = program.layers.index("pooled_dense/kernel")
    np.testing.assert_allclose(
        ratios[0, kernel], ratios[1, kernel] / ratios[2, kernel], rtol=1e-5
    )


# Eight devices have to be asked for before JAX starts, hence a process of its own.
SPREAD = """
import jax, numpy as np
from lamb_keras.training.bert import pretraining_test as here
from lamb_keras.training.bert.conftest import changed

library = changed().open()
experiment = changed(**here.STEPS, **here.LINEAR, micro_batch_size=16)
weights, losses = here._trained(experiment, library)
print(len(weights[0].sharding.device_set), *losses)
"""


@pytest.mark.slow
def test_eight_devices_share_a_batch_and_train_as_one_does(whole):
    flags = "--xla_force_host_platform_device_count=8"
    told = subprocess.run(
        [sys.executable, "-c", SPREAD],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    used, *losses = map(float, told.stdout.split())
    assert used == 8
    np.testing.assert_allclose(losses, whole[1], rtol=1e-5)
