"""The formulas held against the real nets, by what JAX and XLA count of small ones."""

import math

import jax
import jax.numpy as jnp
import keras
import pytest

from lamb_keras import models
from lamb_keras.models.layers import BATCH_LAST, CHANNELS_LAST
from lamb_keras.models.precision import dtype_policy
from lamb_keras.planning import nets


def _bert(form):
    encoder = models.bert(500, layers=2, width=128, heads=4, sequence_length=64)
    return models.pretraining(encoder)


def _lenet(form):
    return models.lenet((28, 28, 1), convolution=keras.layers.Conv2D)


def _davidnet(form):
    return models.davidnet((32, 32, 3), width=16, form=form)


def _resnet50(form):
    return models.resnet50((64, 64, 3), 100, 16, (2, 1, 1), form=form)


def _low_resnet50(form):
    return models.resnet50((32, 32, 3), 10, 16, (1, 1), form=form)


NETS = {
    "bert": (_bert, lambda i: nets.bert(500, 2, 128, 4, 64, 64, 10, i)),
    "lenet": (_lenet, lambda i: nets.lenet(28, 1, 10, i)),
    "davidnet": (_davidnet, lambda i: nets.davidnet(32, 3, 10, 16, i)),
    "resnet50": (_resnet50, lambda i: nets.resnet50(64, 3, 100, 16, [2, 1, 1], i)),
    "low": (_low_resnet50, lambda i: nets.resnet50(32, 3, 10, 16, [1, 1], i)),
}


def examples(count, name):
    if name != "bert":
        size = {"lenet": (28, 28, 1), "resnet50": (64, 64, 3)}.get(name, (32, 32, 3))
        return jax.ShapeDtypeStruct((count, *size), "float32")
    tokens = jax.ShapeDtypeStruct((count, 64), "int32")
    mask = jax.ShapeDtypeStruct((count, 64), "bool")
    inputs = {"token_ids": tokens, "segment_ids": tokens, "padding_mask": mask}
    return inputs | {"mask_positions": jax.ShapeDtypeStruct((count, 10), "int32")}


def trained(model):
    """(a loss of weights and a batch, the shapes of the weights)."""
    fixed = [jnp.asarray(v.value) for v in model.non_trainable_variables]

    def loss(weights, batch):
        logits = model.stateless_call(weights, fixed, batch, training=True)[0]
        of_class = (
            jnp.mean(jax.nn.log_softmax(each.astype("float32"))[..., 0])
            for each in jax.tree.leaves(logits)
        )
        return -sum(of_class)

    shapes = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in model.trainable_variables]
    return loss, shapes


@pytest.mark.parametrize("name", NETS)
def test_parameters_and_flops_are_those_of_the_real_net(name):
    make, formula = NETS[name]
    # Where a convolution is one matrix product, as many as the formula counts: those
    # that meet the padding too.
    model, expected = make(BATCH_LAST), formula(4)
    assert expected.parameters == sum(
        math.prod(v.shape) for v in model.trainable_variables
    )
    loss, weights = trained(model)
    lowered = jax.jit(jax.grad(loss)).lower(weights, examples(2, name))
    # XLA counts additions and roots as well.
    assert 1 < lowered.cost_analysis()["flops"] / 2 / expected.flops < 1.08


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("bert", "mixed_bfloat16"),
        ("davidnet", "float32"),
        ("davidnet", "mixed_bfloat16"),
        ("resnet50", "mixed_bfloat16"),
    ],
)
def test_activations_are_what_the_backward_pass_of_the_real_net_reads(name, policy):
    make, formula = NETS[name]
    with dtype_policy(policy):
        loss, weights = trained(make(CHANNELS_LAST))

    def kept(count):
        def backward(weights, batch):
            return jax.vjp(lambda w: loss(w, batch), weights)[1]

        arrays = jax.eval_shape(backward, weights, examples(count, name))
        return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(arrays))

    itemsize = 4 if policy == "float32" else 2
    expected = formula(itemsize).activations
    if name == "bert":  # two layers, four heads, 64 tokens by 64
        # More of attention, which the compiler computes again.
        expected += 2 * 4 * 64**2 * (3 * itemsize + 2)
    ratio = expected / (kept(4) - kept(3))
    assert ratio == pytest.approx(1, abs=0.05 if name == "bert" else 0.25)
