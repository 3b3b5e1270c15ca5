"""Training steps of this project and of `keras.Model.fit`, for `benchmarks.step`."""

import jax
import jax.numpy as jnp
import keras
import numpy as np

from benchmarks.rows import MASKING_RATE, POSITIONS
from lamb_keras import models
from lamb_keras.data.text.wordpiece import SPECIALS, Vocabulary
from lamb_keras.models.layers import CHANNELS_LAST, Form
from lamb_keras.models.precision import dtype_policy
from lamb_keras.optimizers import solvers
from lamb_keras.training.classification import Classification
from lamb_keras.training.masked_lm import Batch, MaskedLM
from lamb_keras.training.step import Constants, Step, initial_weights
from lamb_keras.training.trainer import Program, period_inputs, start

RATE, DECAY = 1e-3, 0.01


def kit(row, size):
    """A function that trains for a round, as the experiments do: one compiled loop."""
    model = _model(row, ours=True)
    inputs, labels = data(row, size)
    number = np.arange(size.batch * size.steps, dtype="int32")
    if row.net == "bert":
        task, resident = _masked_lm(row, model), ()
        rows = Batch(*inputs, labels, number, None)
        counts = np.full(size.steps, size.batch * row.predictions, "float32")
        micro = jax.tree.map(lambda array: _by_step(array, size), rows)
        micro = micro._replace(predictions=counts)
    else:
        task = Classification(model, normalize)
        resident = jnp.asarray(inputs), jnp.asarray(labels)
        micro = _by_step(number, size), number[: size.steps]
    packed = row.packed or (row.net == "bert" and jax.default_backend() != "cpu")
    step = Step(task, solvers.solver("lamb"), packed)
    by_step = [np.full(size.steps, value, "float32") for value in (RATE, DECAY)]
    given = period_inputs(micro, 0, size.steps, by_step), Constants(), resident
    program, progress = Program(step), start(step, [initial_weights(model)])

    def run():
        nonlocal progress
        progress, losses, _ = program(progress, *given)
        return np.asarray(losses)

    return run


def fit(row, size):
    """A function that trains for a round by `model.fit`, of Keras's own layers."""
    model = _model(row, ours=False)
    inputs, labels = data(row, size)
    loss, weights = keras.losses.SparseCategoricalCrossentropy(from_logits=True), None
    if row.net == "bert":
        inputs, labels, weights = hidden(row, size)
        loss = {name: loss for name in labels}
    else:
        inputs = normalize(inputs)
    model.compile(keras.optimizers.Lamb(RATE, weight_decay=DECAY), loss)

    def run():
        history = model.fit(
            inputs, labels, size.batch, sample_weight=weights, verbose=0
        )
        return history.history["loss"]

    return run


def data(row, size):
    """(inputs, labels) of a round, random: pixels, or the arrays of sequences."""
    rng, count = np.random.default_rng(0), size.batch * size.steps
    if row.net != "bert":
        pixels = rng.integers(0, 256, (count, *row.shape), "uint8")
        return pixels, rng.integers(0, row.sizes["classes"], count, "int32")
    shape = count, *row.shape
    tokens = rng.integers(len(SPECIALS), row.sizes["vocab_size"], shape, "int32")
    segments, mask = np.zeros(shape, "int32"), np.ones(shape, bool)
    return (tokens, segments, mask), rng.integers(0, 2, count, "int32")


def hidden(row, size):
    """(inputs, labels, weights) by name, of sequences of which tokens are hidden."""
    (tokens, segments, mask), is_next = data(row, size)
    task = _masked_lm(row, keras.Sequential())
    found = task.hide(jnp.asarray(tokens), np.arange(len(tokens)), np.uint32(0))
    inputs = {
        "token_ids": np.asarray(found.inputs),
        "segment_ids": segments,
        "padding_mask": mask,
        "mask_positions": np.asarray(found.positions),
    }
    labels = {"tokens": np.asarray(found.labels), "is_next": is_next}
    ones = np.ones(len(tokens), "float32")
    return inputs, labels, {"tokens": np.asarray(found.weights), "is_next": ones}


def normalize(pixels):
    """Bytes as float32 in [0, 1]."""
    return pixels.astype("float32") / 255


def peak_bytes():
    """Of the accelerator's memory, in this process; None on a processor."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


class _Keras(Form):
    """Keras's own layers, its normalization too."""

    def normalization(self, name, gamma=1.0):
        ours = super().normalization(name, gamma)
        return keras.layers.BatchNormalization.from_config(ours.get_config())


def _model(row, ours):
    half = row.half and jax.default_backend() != "cpu"
    with dtype_policy("mixed_bfloat16" if half else "float32"):
        if row.net == "bert":
            options = {"sequence_length": POSITIONS, "seed": 0, **row.sizes}
            return models.pretraining(models.bert(**options), 0)
        options = {**row.sizes, "seed": 0}
        if not ours and row.net == "lenet":
            options["convolution"] = keras.layers.Conv2D
            options["pooling"] = keras.layers.MaxPooling2D
        elif not ours:
            options["form"] = _Keras(*CHANNELS_LAST)
        return getattr(models, row.net)(row.shape, **options)


def _masked_lm(row, model):
    rest = row.sizes["vocab_size"] - len(SPECIALS)
    vocabulary = Vocabulary((*SPECIALS, *map(str, range(rest))))
    return MaskedLM(model, vocabulary, MASKING_RATE)


def _by_step(array, size):
    return array.reshape(size.steps, size.batch, *array.shape[1:])
