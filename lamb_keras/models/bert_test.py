import functools
import importlib
import re

import jax
import keras
import numpy as np
import pytest

from lamb_keras import models

SMALL = {"layers": 1, "width": 8, "heads": 2, "sequence_length": 16, "dropout": 0.0}


def _inputs(**others):
    return {
        "token_ids": np.array([[2, 7, 8, 3, 9, 3, 0, 0]]),
        "segment_ids": np.array([[0, 0, 0, 0, 1, 1, 0, 0]]),
        "padding_mask": np.array([[1, 1, 1, 1, 1, 1, 0, 0]], bool),
        **others,
    }


def test_at_the_papers_size_it_is_bert_large(monkeypatch):
    # Devlin et al. speak of 340M; these are google-research/bert's variables, counted.
    module = importlib.import_module("lamb_keras.models.bert")
    monkeypatch.setattr(module, "_start", lambda *_, **__: None)
    counts = {}

    def build():  # traced only, so that no gigabyte is drawn
        backbone = models.bert(30522)
        counts["encoder"] = backbone.count_params()
        counts["pretraining"] = models.pretraining(backbone).count_params()
        return 0

    jax.eval_shape(build)
    layer = 4 * (1024 * 1024 + 1024) + 2 * 4 * 1024 * 1024 + 5 * 1024 + 4 * 1024
    encoder = (30522 + 512 + 2 + 2) * 1024 + 24 * layer + 1024 * 1024 + 1024
    heads = 1024 * 1024 + 3 * 1024 + 30522 + 2 * 1024 + 2
    assert encoder == 335_141_888 and encoder + heads == 336_226_108
    assert counts == {"encoder": encoder, "pretraining": encoder + heads}


def test_padding_and_what_stands_in_it_change_nothing():
    encoder = models.bert(30, seed=0, **SMALL)
    one = encoder(_inputs())["sequence_output"][:, :6]
    inputs = _inputs()
    inputs["token_ids"][:, 6:] = 11
    other = encoder(inputs)["sequence_output"][:, :6]
    np.testing.assert_array_equal(one, other)


def test_the_masked_tokens_are_told_by_the_encoders_own_embedding():
    encoder = models.bert(30, seed=0, **SMALL)
    model = models.pretraining(encoder, seed=0)
    paths = [v.path for v in model.trainable_variables]
    assert len(paths) == len(set(paths))
    assert sum(np.prod(v.shape) == 30 * 8 for v in model.trainable_variables) == 1
    before = model(_inputs(mask_positions=np.array([[1, 2]])))["tokens"]
    embedding = encoder.token_embedding.embeddings
    embedding.assign(embedding.value.at[5].set(0.0))
    after = model(_inputs(mask_positions=np.array([[1, 2]])))["tokens"]
    changed = np.abs(np.asarray(before - after)).max((0, 1))
    assert changed[5] > 1e-4 and np.all(changed[np.arange(30) != 5] < 1e-5)


def test_the_weights_are_the_seeds_and_no_other():
    def weights(seed):
        model = models.pretraining(models.bert(30, seed=seed, **SMALL), seed)
        return [np.asarray(v.value) for v in model.variables]

    for one, other in zip(weights(3), weights(3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((a != b).any() for a, b in zip(weights(3), weights(4), strict=True))


def test_matrices_start_wider_in_a_narrow_net_and_biases_at_zero():
    model = models.pretraining(
        models.bert(500, layers=1, width=64, heads=2, dropout=0.0, seed=0), seed=0
    )
    for variable in model.trainable_variables:
        value = np.asarray(variable.value)
        if len(variable.shape) == 1 or variable.name == "bias":
            expected = 1.0 if variable.name == "gamma" else 0.0
            assert np.all(value == expected), variable.path
        else:
            # A normal cut off at two deviations has 0.88 of its own.
            assert np.abs(value).max() <= 2 * 0.02 * 4, variable.path
            if value.size > 1000:
                assert abs(value.std() / (0.88 * 0.08) - 1) < 0.05, variable.path


def test_dropout_draws_what_the_seed_says(monkeypatch):
    def output(seed):
        keras.utils.set_random_seed(7)
        encoder = models.bert(30, seed=seed, **{**SMALL, "dropout": 0.5})
        return np.asarray(encoder(_inputs(), training=True)["pooled_output"])

    np.testing.assert_array_equal(output(1), output(1))


def test_mixed_precision_ends_in_float32():
    from lamb_keras.models.precision import dtype_policy

    with dtype_policy("mixed_bfloat16"):
        encoder = models.bert(30, seed=0, **SMALL)
        said = models.pretraining(encoder).output
        points = models.answering(encoder).output
    assert encoder.output["pooled_output"].dtype == "bfloat16"
    assert said["is_next"].dtype == points.dtype == "float32"
    assert all(v.dtype == "float32" for v in encoder.trainable_variables)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 9}, "width is 9 and heads 2; expected a width that is a multiple"),
        ({"layers": 0}, "layers is 0"),
        ({"heads": 1.5}, "heads is 1.5"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        models.bert(30, **{**SMALL, **options})


def test_a_preset_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"the preset '.*nowhere' could not be loaded"):
        models.preset(str(tmp_path / "nowhere"))


def test_a_preset_brings_its_weights(tmp_path):
    encoder = models.bert(30, seed=0, **SMALL)
    encoder.save_to_preset(str(tmp_path / "small"))
    again = models.preset(str(tmp_path / "small"))
    for one, other in zip(encoder.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_scanned_net_is_the_net():
    sizes = {**SMALL, "layers": 3, "dropout": 0.5}
    model = models.pretraining(models.bert(30, **sizes, seed=0), seed=0)
    scanned, random = models.Scanned(model), np.random.default_rng(0)
    weights = [v.value for v in model.trainable_variables]
    states = [v.value for v in model.non_trainable_variables]
    inputs = {name: random.integers(0, 2, (4, 6)) for name in model.input}
    for training in (True, False):
        expected = model.stateless_call(weights, states, inputs, training=training)
        stacks = scanned.stack(weights)
        found = scanned.stateless_call(stacks, states, inputs, training=training)
        jax.tree.map(np.testing.assert_array_equal, found[1], expected[1])
        close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
        jax.tree.map(close, found[0], expected[0])
    jax.tree.map(np.testing.assert_array_equal, scanned.unstack(stacks), weights)
