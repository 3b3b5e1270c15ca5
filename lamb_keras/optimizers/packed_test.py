"""Packed updates are the plain ones, and what is saved of them is the plain form."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamb_keras.optimizers import Lamb, Lars
from lamb_keras.optimizers.packed import Packed
from lamb_keras.optimizers.references_test import (
    SHAPES,
    algorithm_2,
    distance,
    follow,
    make_variables,
    precision,
    problem,
    train,
)

# Three tensors of one shape, two of another, and those of the other tests.
MORE = {
    "a/kernel": (3, 4),
    "b/kernel": (3, 4),
    "a/bias": (4,),
    "b/gamma": (),
}


def packed_problem(steps=5):
    weights, gradients = problem(steps)
    rng = np.random.default_rng(1)
    weights |= {path: rng.normal(size=shape) for path, shape in MORE.items()}
    for step in gradients:
        step |= {path: rng.normal(size=shape) for path, shape in MORE.items()}
    return weights, gradients


def started(optimizer, weights, dtype="float32"):
    """(packed, its weights, its state) at the start."""
    optimizer.build(make_variables(weights))
    packed = Packed(optimizer)
    stacks = packed.pack([jnp.asarray(w, dtype) for w in weights.values()])
    return packed, stacks, packed.state()


def train_packed(optimizer, weights, gradients, dtype="float32"):
    packed, stacks, state = started(optimizer, weights, dtype)
    step = jax.jit(packed.apply)
    for each in gradients:
        g = packed.pack([jnp.asarray(x, dtype) for x in each.values()])
        stacks, state = step(stacks, g, state)
    assert step._cache_size() == 1
    arrays = map(np.asarray, packed.unpack(stacks))
    return dict(zip(weights, arrays, strict=True))


def test_a_packed_run_is_algorithm_2_of_the_paper():
    weights, gradients = packed_problem(steps=20)
    expected = follow(algorithm_2, weights, gradients, lr=0.01, wd=0.1)
    ours = train_packed(Lamb(0.01, weight_decay=0.1), weights, gradients)
    assert distance(ours, expected) < 2e-5
    with precision("float64"):
        lamb = Lamb(0.01, weight_decay=0.1)
        ours = train_packed(lamb, weights, gradients, "float64")
        assert distance(ours, expected) < 1e-12


@pytest.mark.parametrize(
    "make",
    [
        lambda: Lamb(exclude_from_weight_decay=["bias", "^a/"]),
        lambda: Lamb(
            exclude_from_weight_decay=["b/kernel"], exclude_from_layer_adaptation=[]
        ),
        lambda: Lamb(global_clipnorm=0.5, use_ema=True),
        lambda: Lamb(gradient_accumulation_steps=2, track_trust_ratios=True),
        lambda: Lamb.from_preset("keras", weight_decay=0.1),
        lambda: Lars(nesterov=True, exclude_from_layer_adaptation=["bias"]),
        lambda: Lars(variant="momentum"),
    ],
)
def test_a_packed_run_is_the_plain_one(make):
    weights, gradients = packed_problem(steps=4)
    expected = train(make(), weights, gradients)
    assert distance(train_packed(make(), weights, gradients), expected) < 1e-6


def test_variables_of_one_shape_that_are_treated_alike_are_one_stack():
    weights, _ = packed_problem()
    packed, stacks, _ = started(Lamb(exclude_from_weight_decay=["^b/"]), weights)
    assert [s.shape for s in stacks] == [
        (1, 2, 2, 3, 2),
        (2, 3, 4),  # dense and a
        (2, 4),
        (1, 1),  # a scalar
        (1, 3, 4),  # b
        (1, 1),
    ]
    for array, w in zip(packed.unpack(stacks), weights.values(), strict=True):
        assert np.array_equal(array, np.float32(w))


def test_a_stack_of_layers_stays_the_stack_it_is():
    w = keras.Variable(np.random.default_rng(0).normal(size=(3, 2, 2)), name="layers")
    lamb = Lamb(stacked_variables=["layers"])
    lamb.build([w])
    packed = Packed(lamb)
    assert packed.pack([w.value])[0].shape == (3, 2, 2)
    g = jnp.ones((3, 2, 2))
    ours, _ = packed.apply([w.value], [g], packed.state())
    lamb.apply([g], [w])
    assert np.allclose(ours[0], w.value, atol=1e-6)


def test_gradients_of_unpacked_weights_are_packed_and_concatenated_once():
    weights, _ = packed_problem()
    packed, stacks, _ = started(Lamb(), weights)

    def loss(stacks):
        return sum(
            i * jnp.sum(jnp.sin(w)) for i, w in enumerate(packed.unpack(stacks), 1)
        )

    ours = packed.unpack(jax.grad(loss)(stacks))
    for i, (g, w) in enumerate(zip(ours, weights.values(), strict=True), 1):
        assert np.allclose(g, i * np.cos(w), atol=1e-5)
    program = str(jax.make_jaxpr(jax.grad(loss))(stacks))
    assert "stack[" in program and "pad[" not in program


@pytest.mark.parametrize("track", [False, True])
def test_a_run_goes_on_packed_and_plain_in_turn(track):
    weights, gradients = packed_problem(steps=6)

    def make():
        return Lamb(
            0.01,
            exclude_from_weight_decay=["^b/"],
            use_ema=True,
            track_trust_ratios=track,
        )

    expected, plain = make(), make()
    train_variables = make_variables(weights)
    for each in gradients:
        g = [jnp.asarray(x, "float32") for x in each.values()]
        expected.apply(g, train_variables)

    packed, stacks, state = started(plain, weights)
    for i, each in enumerate(gradients):
        g = [jnp.asarray(x, "float32") for x in each.values()]
        if i % 2:
            arrays, values = packed.unpack(stacks), packed.plain_state(state)
            arrays, values = plain.stateless_apply(values, g, arrays)
            stacks, state = packed.pack(arrays), packed.packed_state(values)
        else:
            stacks, state = packed.apply(stacks, packed.pack(g), state)
    found = packed.plain_state(state)
    for theirs, ours in zip(expected.variables, found, strict=True):
        assert np.allclose(theirs.value, ours, rtol=1e-4, atol=1e-6), theirs.path
    for theirs, ours in zip(train_variables, packed.unpack(stacks), strict=True):
        assert np.allclose(theirs.value, ours, atol=1e-6)


def test_numbers_assigned_to_the_optimizer_are_those_it_is_packed_with():
    weights, _ = packed_problem()
    lamb = Lamb(0.01)
    lamb.learning_rate = 0.5
    packed, _, state = started(lamb, weights)
    rates = [
        float(x)
        for v, x in zip(packed.optimizer.variables, state, strict=True)
        if v.name == "learning_rate"
    ]
    assert rates == [0.5]


def constrained():
    w = keras.Variable(np.ones(3), name="w")
    w.constraint = keras.constraints.NonNeg()
    return w


@pytest.mark.parametrize(
    "arguments, make_variable, message",
    [
        ({"clipnorm": 1.0}, lambda: keras.Variable(np.ones(3)), "clipnorm is 1, a lim"),
        ({}, constrained, "w has a constraint, which stacks cannot have"),
    ],
)
def test_what_stacks_cannot_do_is_refused(arguments, make_variable, message):
    lamb = Lamb(**arguments)
    lamb.build([make_variable()])
    with pytest.raises(ValueError, match=message):
        Packed(lamb)


def test_the_problem_has_the_shapes_of_the_other_tests():
    assert set(SHAPES) < set(packed_problem(1)[0])
