"""Lars computes the LARS of 2017, its relatives, and Algorithm 1 of the LAMB paper.

`kit` is the package under test: `mutation_test.py` hands wrong ones to these tests.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lamb_keras import optimizers
from lamb_keras.optimizers.lamb_test import (
    close,
    decays,
    dense_tensors,
    examples,
    learning_rates,
    magnitudes,
    nonzero_tensors,
    scales,
    tensors,
    weight_decays,
)
from lamb_keras.optimizers.references_test import (
    algorithm_1,
    distance,
    follow,
    make_variables,
    mlperf_lars,
    norm,
    norm_of_sum_lars,
    precision,
    problem,
    torch_lars,
    train,
    train_optax,
)

LR = 0.5
FLOAT64, FLOAT32 = 1e-12, 1e-5


@pytest.fixture(scope="module")
def kit():
    return optimizers


# Others' implementations

FORMS = {
    "MLPerf's": ({}, mlperf_lars),
    "MLPerf's, Nesterov": ({"nesterov": True}, partial(mlperf_lars, nesterov=True)),
    "timm's": ({"learning_rate_in_momentum": False}, torch_lars),
    "timm's, Nesterov": (
        {"learning_rate_in_momentum": False, "nesterov": True},
        partial(torch_lars, nesterov=True),
    ),
    "optax's": ({"denominator": "norm_of_sum"}, norm_of_sum_lars),
    "Algorithm 1": ({"variant": "momentum", "trust_coefficient": 1.0}, algorithm_1),
}


@decays
@scales
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_its_reference_at_rates_that_change(form, scale, wd, kit):
    weights, gradients = problem(steps=6, gradient_scale=scale)
    # A large variable too: a CPU takes it in other passes.
    rng = np.random.default_rng(0)
    weights["large"] = rng.normal(size=65_700)
    for step in gradients:
        step["large"] = scale * rng.normal(size=65_700)
    arguments, reference = FORMS[form]
    arguments = {"trust_coefficient": 0.02, "epsilon": 0.1 * scale, **arguments}
    rates = np.linspace(0.1, 0.01, len(gradients))
    expected = follow(
        reference,
        weights,
        gradients,
        lr=rates,
        wd=wd,
        momentum=0.5,
        kappa=arguments["trust_coefficient"],
        eps=arguments["epsilon"],
    )
    with precision("float64"):
        lars = kit.Lars(1.0, momentum=0.5, weight_decay=wd, **arguments)
        variables = make_variables(weights)
        for rate, step in zip(rates, gradients, strict=True):
            lars.learning_rate = rate
            lars.apply([jnp.asarray(step[path]) for path in weights], variables)
        ours = {v.path: np.asarray(v.value) for v in variables}
        assert distance(ours, expected) < FLOAT64


def test_the_defaults_are_mlperfs(kit):
    weights, gradients = problem(steps=20)
    expected = follow(mlperf_lars, weights, gradients, lr=0.1)
    assert distance(train(kit.Lars(), weights, gradients), expected) < FLOAT32
    expected = follow(algorithm_1, weights, gradients, lr=0.1, wd=1e-4)
    ours = train(kit.Lars(variant="momentum"), weights, gradients)
    assert distance(ours, expected) < FLOAT32


def test_timms_and_lightlys_without_weight_decay_has_no_ratio(kit):
    weights, gradients = problem(steps=5)
    expected = follow(torch_lars, weights, gradients, lr=0.1, wd=0, always_adapt=False)
    lars = kit.Lars(
        weight_decay=None,
        learning_rate_in_momentum=False,
        exclude_from_layer_adaptation=[".*"],
    )
    assert distance(train(lars, weights, gradients), expected) < FLOAT32


@decays
@pytest.mark.parametrize("nesterov", [False, True])
def test_a_norm_of_the_sum_is_optax_lars(nesterov, wd, kit):
    weights, gradients = problem(steps=20)
    arguments = {"weight_decay": wd, "momentum": 0.9, "nesterov": nesterov}
    expected = train_optax(optax.lars(LR, **arguments), weights, gradients)
    ours = kit.Lars(LR, denominator="norm_of_sum", **arguments)
    assert distance(train(ours, weights, gradients), expected) < FLOAT32


def test_exclusions_are_optax_masks(kit):
    weights, gradients = problem(steps=20)
    kept = {path: path not in ("dense/bias", "norm/gamma") for path in weights}
    chain = optax.lars(
        LR, weight_decay=0.1, weight_decay_mask=kept, trust_ratio_mask=kept
    )
    lars = kit.Lars(
        LR,
        weight_decay=0.1,
        denominator="norm_of_sum",
        exclude_from_weight_decay=["bias", "norm/"],
    )
    expected = train_optax(chain, weights, gradients)
    assert distance(train(lars, weights, gradients), expected) < FLOAT32


# Theorems, in float64


def steps(kit, weights, gradients, count=1, learning_rate=0.1, **arguments):
    """`count` steps of the pure function in float64: the last `LarsStep`, in NumPy."""
    with jax.enable_x64(True):
        w = [jnp.asarray(x, "float64") for x in weights]
        g = [jnp.asarray(x, "float64") for x in gradients]
        m = [jnp.zeros_like(x) for x in w]
        for _ in range(count):
            after = kit.lars_update(w, g, m, learning_rate=learning_rate, **arguments)
            w, m = after[:2]
        return type(after)(*([np.asarray(x) for x in column] for column in after))


@examples
@given(w=nonzero_tensors, g=tensors, lr=learning_rates, wd=weight_decays)
def test_algorithm_1_moves_a_layer_by_learning_rate_times_its_norm(w, g, lr, wd, kit):
    after = steps(kit, [w], [g], learning_rate=lr, weight_decay=wd, variant="momentum")
    assume(after.update_norms[0] > 0)
    close(norm(after.weights[0] - w), lr * norm(w))


@examples
@given(w=nonzero_tensors, g=dense_tensors, c=magnitudes)
def test_scaling_the_weights_scales_the_trajectory(w, g, c, kit):
    for arguments in ({}, {"nesterov": True}, {"variant": "momentum"}):
        once = steps(kit, [w], [g], count=3, weight_decay=None, **arguments)
        scaled = steps(kit, [c * w], [g], count=3, weight_decay=None, **arguments)
        close(scaled.weights[0], c * once.weights[0])


@examples
@given(w=nonzero_tensors, g=dense_tensors, wd=weight_decays)
def test_a_variable_that_is_not_adapted_takes_the_plain_step(w, g, wd, kit):
    after = steps(kit, [w], [g], weight_decay=wd, adapted=False)
    close(after.weights[0], w - 0.1 * (g + wd * w))
    assert after.trust_ratios[0] == 1


@examples
@given(w=tensors, g=dense_tensors, bounds=st.tuples(magnitudes, magnitudes).map(sorted))
def test_phi_and_ratio_bounds_hold(w, g, bounds, kit):
    arguments = {"weight_decay": None, "trust_coefficient": 1.0}
    phi = steps(kit, [w], [g], phi_bounds=bounds, **arguments)
    close(phi.trust_ratios[0], np.clip(norm(w), *bounds) / norm(g))
    assume(np.any(w))
    ratio = steps(kit, [w], [g], trust_ratio_bounds=bounds, **arguments)
    close(ratio.trust_ratios[0], np.clip(norm(w) / norm(g), *bounds))


@examples
@given(w=nonzero_tensors, g=dense_tensors)
def test_a_stack_of_layers_steps_as_its_layers_do(w, g, kit):
    for arguments in ({}, {"denominator": "norm_of_sum"}, {"variant": "momentum"}):
        stack = steps(kit, [w], [g], count=3, stacked=True, **arguments)
        layers = steps(kit, list(w), list(g), count=3, **arguments)
        close(stack.weights[0], np.stack(layers.weights), 1e-12)


# Edges


@pytest.mark.parametrize("arguments", [{}, {"variant": "momentum"}, {"epsilon": 0.1}])
def test_variables_step_together_as_they_do_alone(arguments, kit):
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (3, 4), (4,), (2, 3, 4), (3, 4)]
    weights = [rng.normal(size=shape) for shape in shapes]
    gradients = [rng.normal(size=shape) for shape in shapes]
    treatments = {
        "decayed": [True, False, True, True, True],
        "adapted": [True, True, False, True, True],
        "stacked": [False, False, False, True, False],
    }
    arguments = {"count": 3, "weight_decay": 0.1, **arguments}
    together = steps(kit, weights, gradients, **arguments, **treatments)
    for i, (w, g) in enumerate(zip(weights, gradients, strict=True)):
        its_own = {name: [flags[i]] for name, flags in treatments.items()}
        alone = steps(kit, [w], [g], **arguments, **its_own)
        for ours, expected in zip(together, alone, strict=True):
            close(ours[i], expected[0], 1e-14)


@pytest.mark.parametrize("denominator", ["sum_of_norms", "norm_of_sum"])
@pytest.mark.parametrize("variant", ["gradient", "momentum"])
def test_zero_weights_and_zero_gradients_stay_finite(variant, denominator, kit):
    w, g, zero = np.array([3.0, 4.0]), np.array([1.0, 2.0]), np.zeros(2)
    after = steps(
        kit,
        [w, zero, zero],
        [zero, g, zero],
        weight_decay=None,
        variant=variant,
        denominator=denominator,
    )
    assert [float(ratio) for ratio in after.trust_ratios] == [1, 1, 1]
    assert np.array_equal(after.weights[0], w)
    close(after.weights[1], -0.1 * g * (0.1 if variant == "momentum" else 1))
    assert np.array_equal(after.weights[2], zero)


def test_a_zero_gradient_decays_at_the_plain_rate(kit):
    # The convention of MLPerf and timm: the ratio is 1 where ‖g‖ is 0.
    w = np.array([3.0, 4.0])
    after = steps(kit, [w], [np.zeros(2)], weight_decay=0.01)
    close(after.weights[0], (1 - 0.1 * 0.01) * w)


def test_weights_whose_squares_overflow_float16_step_by_their_norm(kit):
    w = jnp.full((1000,), 30, "float16")
    g, zeros = jnp.full((1000,), 0.1, "float16"), jnp.zeros(1000)
    after = kit.lars_update(
        [w], [g], [zeros], learning_rate=0.1, variant="momentum", weight_decay=None
    )
    assert after.weights[0].dtype == "float16"
    assert np.asarray(after.weights[0]) == pytest.approx(27, rel=1e-3)


# The class


def test_the_trust_coefficient_is_a_thousandth_for_gradients_and_1_for_momentum(kit):
    assert kit.Lars().get_config()["trust_coefficient"] == 0.001
    assert kit.Lars(variant="momentum").get_config()["trust_coefficient"] == 1
    given_one = kit.Lars(variant="momentum", trust_coefficient=0.5)
    assert given_one.get_config()["trust_coefficient"] == 0.5


def test_wrong_choices_are_answered_with_the_right_ones():
    with pytest.raises(ValueError, match="variant is 'both'; expected one of 'grad"):
        optimizers.Lars(variant="both")
    with pytest.raises(ValueError, match="denominator is 'sum'; expected .*norm_of_su"):
        optimizers.Lars(denominator="sum")
    with pytest.raises(ValueError, match="nesterov=True has no meaning .* Use variant"):
        optimizers.Lars(variant="momentum", nesterov=True)
