"""Lamb computes Algorithm 2, and with a preset what other implementations compute.

`kit` is the package under test: `mutation_test.py` hands wrong ones to these tests.
"""

import functools
import warnings

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lamb_keras import optimizers
from lamb_keras.optimizers.references_test import (
    NORMAL,
    SHAPES,
    SMALL,
    algorithm_2,
    author_lamb,
    clipped_to_global_norm,
    cybertronai_lamb,
    deepspeed_lamb,
    deepspeed_step_size,
    distance,
    follow,
    keras_lamb,
    make_variables,
    nnabla_lamb,
    norm,
    precision,
    problem,
    timm_lamb,
    train,
    train_optax,
)

LR = 0.01
# Relative to the largest weight of a tensor, after 50 steps: float64 rounding, and what
# float32 does to 1 - β₂ = 0.001 (5e-5) where bias correction does not cancel it.
FLOAT64, FLOAT32 = 1e-12, 2e-5
decays = pytest.mark.parametrize("wd", [0.0, 0.01, 0.1])
scales = pytest.mark.parametrize("scale", [NORMAL, SMALL])


@pytest.fixture(scope="module")
def kit():
    return optimizers


# The paper


@decays
@scales
@pytest.mark.parametrize("preset", ["paper_v5", "paper_v3"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_run_is_algorithm_2_of_the_paper(dtype, preset, scale, wd, kit):
    weights, gradients = problem(gradient_scale=scale)
    expected = follow(
        algorithm_2, weights, gradients, lr=LR, wd=wd, bias_correction=preset[-1] == "5"
    )
    with precision(dtype):
        lamb = kit.Lamb.from_preset(preset, learning_rate=LR, weight_decay=wd)
        tolerance = FLOAT64 if dtype == "float64" else FLOAT32
        assert distance(train(lamb, weights, gradients), expected) < tolerance


def test_the_defaults_are_version_5_with_the_papers_hyperparameters(kit):
    weights, gradients = problem()
    expected = follow(algorithm_2, weights, gradients, lr=0.001, wd=0.01)
    assert distance(train(kit.Lamb(), weights, gradients), expected) < FLOAT32


@scales
def test_other_betas_and_epsilon_are_the_papers_too(scale, kit):
    weights, gradients = problem(steps=10, gradient_scale=scale)
    numbers = {"b1": 0.7, "b2": 0.9, "eps": 1e-3}
    expected = follow(algorithm_2, weights, gradients, lr=LR, **numbers)
    with precision("float64"):
        lamb = kit.Lamb(LR, beta_1=0.7, beta_2=0.9, epsilon=1e-3)
        assert distance(train(lamb, weights, gradients), expected) < FLOAT64


# Others' implementations


@decays
@scales
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-13), ("float32", 1e-5)])
def test_a_run_is_optax_lamb(dtype, tolerance, scale, wd, kit):
    weights, gradients = problem(gradient_scale=scale)
    with precision(dtype):
        expected = train_optax(optax.lamb(LR, weight_decay=wd), weights, gradients)
        ours = train(kit.Lamb(LR, weight_decay=wd), weights, gradients)
    assert distance(ours, expected) < tolerance


@pytest.mark.parametrize("exclude_from_adaptation", [None, []])
def test_exclusions_are_optax_masks(exclude_from_adaptation, kit):
    weights, gradients = problem()
    excluded = ("dense/bias", "norm/gamma")
    decayed = {path: path not in excluded for path in weights}
    adapted = {path: exclude_from_adaptation == [] or decayed[path] for path in weights}
    chain = optax.chain(
        optax.scale_by_adam(eps=1e-6),
        optax.masked(optax.add_decayed_weights(0.1), decayed),
        optax.masked(optax.scale_by_trust_ratio(), adapted),
        optax.scale(-LR),
    )
    lamb = kit.Lamb(
        LR,
        weight_decay=0.1,
        exclude_from_weight_decay=["bias", "norm/"],
        exclude_from_layer_adaptation=exclude_from_adaptation,
    )
    expected = train_optax(chain, weights, gradients)
    assert distance(train(lamb, weights, gradients), expected) < 1e-5


def gradients_above_and_below_1():
    weights, gradients = problem()
    scaled = [
        {path: g * (0.01 if i % 2 else 1.0) for path, g in step.items()}
        for i, step in enumerate(gradients)
    ]
    totals = [norm(np.concatenate([np.ravel(g) for g in s.values()])) for s in scaled]
    assert min(totals) < 1 < max(totals)
    return weights, scaled


def test_nvlamb_without_exclusions_is_optax_lamb_after_a_global_clip(kit):
    weights, gradients = gradients_above_and_below_1()
    chain = optax.chain(
        optax.clip_by_global_norm(1.0), optax.lamb(LR, weight_decay=0.01)
    )
    lamb = kit.Lamb.from_preset(
        "nvlamb", learning_rate=LR, exclude_from_weight_decay=[]
    )
    expected = train_optax(chain, weights, gradients)
    assert distance(train(lamb, weights, gradients), expected) < 1e-5


def test_nvlamb_decays_neither_normalization_nor_biases_but_adapts_them(kit):
    weights, gradients = gradients_above_and_below_1()
    lamb = kit.Lamb.from_preset("nvlamb", learning_rate=LR)
    clipped = clipped_to_global_norm(gradients, 1.0)
    expected = {
        **follow(algorithm_2, weights, clipped, lr=LR, wd=0.01),
        **follow(algorithm_2, undecayed(weights), clipped, lr=LR, wd=0.0),
    }
    assert distance(train(lamb, weights, gradients), expected) < 1e-5


def undecayed(weights):
    return {p: w for p, w in weights.items() if p in ("dense/bias", "norm/gamma")}


@decays
def test_timms_default_is_the_preset_without_its_exclusions(wd, kit):
    weights, gradients = gradients_above_and_below_1()
    clipped = clipped_to_global_norm(gradients, 1.0)
    lamb = kit.Lamb.from_preset(
        "timm", learning_rate=LR, weight_decay=wd, exclude_from_weight_decay=[]
    )
    expected = follow(timm_lamb, weights, clipped, lr=LR, wd=wd)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distance(train(lamb, weights, gradients), expected) < 1e-5


def test_what_timm_does_not_decay_it_does_not_adapt(kit):
    weights, gradients = gradients_above_and_below_1()
    clipped = clipped_to_global_norm(gradients, 1.0)
    lamb = kit.Lamb.from_preset("timm", learning_rate=LR)
    expected = {
        **follow(timm_lamb, weights, clipped, lr=LR, wd=0.01),
        **follow(timm_lamb, undecayed(weights), clipped, lr=LR, wd=0.0),
    }
    assert distance(train(lamb, weights, gradients), expected) < 1e-5


@decays
def test_ratio_bounds_0_1_are_timms_trust_clip(wd, kit):
    weights, gradients = problem()
    lamb = kit.Lamb(LR, weight_decay=wd, trust_ratio_bounds=(0, 1))
    of = {"weights": weights, "gradients": gradients, "lr": LR, "wd": wd}
    expected = follow(timm_lamb, trust_clip=True, always_adapt=True, **of)
    assert distance(train(lamb, weights, gradients), expected) < 1e-5
    assert distance(follow(algorithm_2, **of), expected) > 1e-3


class DeepSpeedStepSize(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        t = jnp.asarray(step + 1, keras.config.floatx())
        return LR * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)


@decays
def test_deepspeeds_is_a_bounded_ratio_and_a_corrected_step_size(wd, kit):
    weights, gradients = problem()
    expected = follow(deepspeed_lamb, weights, gradients, lr=LR, wd=wd)
    for dtype, tolerance in (("float64", FLOAT64), ("float32", 1e-5)):
        with precision(dtype):
            lamb = kit.Lamb(
                DeepSpeedStepSize(),
                weight_decay=wd,
                epsilon=1e-8,
                bias_correction=False,
                trust_ratio_bounds=(0.01, 10),
            )
            assert distance(train(lamb, weights, gradients), expected) < tolerance


def test_deepspeeds_step_size_warms_up_by_itself():
    # OPTIMIZERS.md measured these on DeepSpeed's kernel; they are its implicit warm-up.
    factors = {t: deepspeed_step_size(1.0, t) for t in (1, 12, 100, 1000, 5000)}
    expected = {1: 0.316, 12: 0.152, 100: 0.309, 1000: 0.795, 5000: 0.997}
    assert factors == pytest.approx(expected, abs=1e-3)


@decays
@scales
def test_the_keras_preset_is_keras_lamb(scale, wd, kit):
    weights, gradients = problem(gradient_scale=scale)
    lamb = kit.Lamb.from_preset("keras", learning_rate=LR, weight_decay=wd)
    ours = train(lamb, weights, gradients)
    kerass = train(keras.optimizers.Lamb(LR, weight_decay=wd), weights, gradients)
    assert distance(ours, kerass) < 1e-5


@scales
def test_the_keras_preset_decays_before_the_ratio(scale, kit):
    weights, gradients = problem(steps=10, gradient_scale=scale)
    expected = follow(keras_lamb, weights, gradients, lr=LR, wd=0.1)
    with precision("float64"):
        lamb = kit.Lamb.from_preset("keras", learning_rate=LR, weight_decay=0.1)
        assert distance(train(lamb, weights, gradients), expected) < FLOAT64


def test_keras_lamb_is_not_the_papers_once_it_decays():
    weights, gradients = problem(steps=10)
    expected = follow(algorithm_2, weights, gradients, lr=LR, wd=0.01)
    kerass = keras.optimizers.Lamb(LR, weight_decay=0.01, epsilon=1e-6)
    assert distance(train(kerass, weights, gradients), expected) > 1e-3


def test_a_zero_gradient_shows_which_decay_is_inside_the_ratio(kit):
    # w = 2, η = 0.1, λ = 0.01: Algorithm 2 steps by ηw, Keras by ηλw.
    weights, gradients = {"w": np.array([2.0])}, [{"w": np.array([0.0])}]
    inside = train(kit.Lamb(0.1, weight_decay=0.01), weights, gradients)
    assert inside["w"] == pytest.approx([1.8])
    preset = kit.Lamb.from_preset("keras", learning_rate=0.1, weight_decay=0.01)
    kerass = keras.optimizers.Lamb(0.1, weight_decay=0.01)
    for outside in (preset, kerass):
        assert train(outside, weights, gradients)["w"] == pytest.approx([1.998])


@decays
@pytest.mark.parametrize("preset", ["author", "albert"])
def test_the_authors_and_alberts_code(preset, wd, kit):
    weights, gradients = gradients_above_and_below_1()
    clipped = clipped_to_global_norm(gradients, 1.0)
    albert = preset == "albert"
    excluded = undecayed(weights) if albert else {"norm/gamma": weights["norm/gamma"]}
    of = {"gradients": clipped, "lr": LR, "wd": wd, "albert": albert}
    expected = {
        **follow(author_lamb, weights, **of),
        **follow(author_lamb, excluded, excluded=True, **of),
    }
    with precision("float64"):
        lamb = kit.Lamb.from_preset(preset, learning_rate=LR, weight_decay=wd)
        assert distance(train(lamb, weights, gradients), expected) < FLOAT64


@decays
def test_cybertronais_is_version_3_with_phi_up_to_10(wd, kit):
    weights, gradients = problem()
    assert norm(weights["conv/kernel"]) > 10
    expected = follow(cybertronai_lamb, weights, gradients, lr=LR, wd=wd)
    with precision("float64"):
        lamb = kit.Lamb.from_preset(
            "paper_v3", learning_rate=LR, weight_decay=wd, phi_bounds=(0, 10)
        )
        assert distance(train(lamb, weights, gradients), expected) < FLOAT64


@decays
def test_nnablas_is_version_5_with_both_bounds_of_phi(wd, kit):
    weights, gradients = problem()
    expected = follow(
        nnabla_lamb, weights, gradients, lr=LR, wd=wd, gamma_l=1.0, gamma_u=5.0
    )
    with precision("float64"):
        lamb = kit.Lamb(LR, weight_decay=wd, phi_bounds=(1.0, 5.0))
        assert distance(train(lamb, weights, gradients), expected) < FLOAT64


# Presets


@pytest.mark.parametrize("preset", optimizers.PRESETS)
def test_every_preset_trains_and_survives_its_config(preset, kit):
    weights, gradients = problem(steps=3)
    lamb = kit.Lamb.from_preset(preset, learning_rate=LR)
    again = kit.Lamb.from_config(lamb.get_config())
    first = train(lamb, weights, gradients)
    assert all(np.all(np.isfinite(w)) for w in first.values())
    assert distance(train(again, weights, gradients), first) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1, "weight_decay": 0.3},
        {"bias_correction": False, "weight_decay": None},
        {"weight_decay_mode": "decoupled", "global_clipnorm": 0.1, "epsilon": 0.1},
        {"phi_bounds": (0.5, 2), "exclude_from_weight_decay": ["bias"]},
        {"trust_ratio_bounds": (0, 0.1), "stacked_variables": ["dense/kernel"]},
    ],
)
def test_every_argument_survives_the_config(arguments, kit):
    weights, gradients = problem(steps=5)
    lamb = kit.Lamb(LR, **arguments)
    again = kit.Lamb.from_config(lamb.get_config())
    assert again.get_config() == lamb.get_config()
    first = train(lamb, weights, gradients)
    assert distance(train(again, weights, gradients), first) == 0
    assert distance(train(kit.Lamb(LR), weights, gradients), first) > 1e-4


def test_tfas_preset_decays_only_when_asked(kit):
    weights, gradients = problem(steps=10)
    for overrides, wd in (({}, 0.0), ({"weight_decay": 0.1}, 0.1)):
        lamb = kit.Lamb.from_preset("tfa", learning_rate=LR, **overrides)
        expected = follow(algorithm_2, weights, gradients, lr=LR, wd=wd)
        assert distance(train(lamb, weights, gradients), expected) < FLOAT32


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="no preset 'paper'.*paper_v5, paper_v3"):
        optimizers.Lamb.from_preset("paper")


def test_overrides_replace_a_presets_arguments(kit):
    lamb = kit.Lamb.from_preset("nvlamb", global_clipnorm=None, epsilon=1e-3)
    assert lamb.global_clipnorm is None
    assert lamb.get_config()["epsilon"] == 1e-3


# Theorems, for any weights and gradients. All in float64, so that a tolerance of 1e-9
# is far from rounding and far from any other formula.

CLOSE = 1e-9
# Failing examples are not shrunk: the mutants of `mutation_test.py` fail by the dozen.
examples = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
# Zero, or a magnitude from 1e-6 to 1e3: no theorem is about denormal numbers.
magnitudes = st.floats(-6, 3).map(lambda exponent: 10.0**exponent)
signed = st.builds(lambda x, sign: x * sign, magnitudes, st.sampled_from([-1, 1]))
numbers = st.one_of(st.just(0.0), signed)
tensors = arrays("float64", (3, 4), elements=numbers, fill=st.nothing())
nonzero_tensors = tensors.filter(np.any)
dense_tensors = arrays("float64", (3, 4), elements=signed, fill=st.nothing())
learning_rates = st.floats(1e-4, 0.5)
weight_decays = st.floats(1e-3, 0.5)


def steps(kit, weights, gradients, count=1, learning_rate=0.1, **arguments):
    """`count` steps of the pure function in float64: the last `LambStep`, in NumPy."""
    with jax.enable_x64(True):
        w = [jnp.asarray(x, "float64") for x in weights]
        g = [jnp.asarray(x, "float64") for x in gradients]
        m = v = [jnp.zeros_like(x) for x in w]
        for t in range(1, count + 1):
            after = kit.lamb_update(
                w, g, m, v, t, learning_rate=learning_rate, **arguments
            )
            w, m, v = after[:3]
        return type(after)(*([np.asarray(x) for x in column] for column in after))


def close(ours, expected, relative=CLOSE):
    assert np.max(np.abs(ours - expected)) <= relative * np.max(np.abs(expected))


def moved_by(after, w, expected):
    """The step is so long, up to what a short one loses in long weights."""
    rounding = 4 * np.finfo("float64").eps * norm(w)
    assert abs(norm(after.weights[0] - w) - expected) <= CLOSE * expected + rounding


@examples
@given(w=nonzero_tensors, g=tensors, lr=learning_rates, wd=weight_decays)
def test_a_step_moves_a_layer_by_learning_rate_times_its_norm(w, g, lr, wd, kit):
    after = steps(kit, [w], [g], learning_rate=lr, weight_decay=wd)
    assume(after.update_norms[0] > 0)  # gradient and decay may cancel
    close(norm(after.weights[0] - w), lr * norm(w))


@examples
@given(w=nonzero_tensors, g=dense_tensors, c=magnitudes)
def test_the_size_of_the_gradient_does_not_matter(w, g, c, kit):
    once = steps(kit, [w], [g], count=3, epsilon=0.0).weights[0]
    scaled = steps(kit, [w], [c * g], count=3, epsilon=0.0).weights[0]
    close(scaled, once)


@examples
@given(w=nonzero_tensors, g=dense_tensors)
def test_bias_correction_cancels_without_decay_and_epsilon(w, g, kit):
    arguments = {"count": 3, "weight_decay": None, "epsilon": 0.0}
    with_it = steps(kit, [w], [g], **arguments).weights[0]
    without = steps(kit, [w], [g], bias_correction=False, **arguments).weights[0]
    close(with_it, without)


@examples
@given(g=dense_tensors)
def test_without_bias_correction_a_zero_layer_starts_3_16_times_as_fast(g, kit):
    # (1 - β₁) / √(1 - β₂) = 3.16 where the ratio is 1 and cannot cancel it.
    zero = np.zeros_like(g)
    arguments = {"weight_decay": None, "epsilon": 0.0}
    with_it = steps(kit, [zero], [g], **arguments).weights[0]
    without = steps(kit, [zero], [g], bias_correction=False, **arguments).weights[0]
    close(without, with_it * 0.1 / np.sqrt(0.001))
    close(with_it, -0.1 * np.sign(g))


@examples
@given(w=nonzero_tensors, lr=learning_rates, wd=weight_decays)
def test_a_zero_gradient_shrinks_a_decayed_layer_by_the_learning_rate(w, lr, wd, kit):
    after = steps(kit, [w], [np.zeros_like(w)], learning_rate=lr, weight_decay=wd)
    close(after.weights[0], (1 - lr) * w)


@examples
@given(w=nonzero_tensors, g=tensors, c=magnitudes)
def test_scaling_the_weights_scales_the_trajectory(w, g, c, kit):
    assume(np.any(g))
    once = steps(kit, [w], [g], count=3, weight_decay=None).weights[0]
    scaled = steps(kit, [c * w], [g], count=3, weight_decay=None).weights[0]
    close(scaled, c * once)


@examples
@given(w=nonzero_tensors, g=tensors, bad=st.sampled_from([np.nan, np.inf]))
def test_a_bad_gradient_stays_in_its_variable(w, g, bad, kit):
    poisoned = np.array(g)
    poisoned[1, 2] = bad
    alone = steps(kit, [w], [g])
    beside = steps(kit, [w, w], [g, poisoned])
    assert np.array_equal(beside.weights[0], alone.weights[0])
    assert np.isnan(beside.weights[1]).any()


@examples
@given(w=nonzero_tensors, g=tensors, other=dense_tensors)
def test_the_order_of_variables_does_not_matter(w, g, other, kit):
    there = steps(kit, [w, other], [g, other], count=2)
    back = steps(kit, [other, w], [other, g], count=2)
    for a, b in zip(there, back, strict=True):
        assert np.array_equal(a[0], b[1]) and np.array_equal(a[1], b[0])


@examples
@given(w=nonzero_tensors, g=dense_tensors, wd=weight_decays)
def test_a_variable_that_is_not_adapted_takes_adams_step(w, g, wd, kit):
    # At the first step Adam's update is g / (|g| + ε), whatever the betas.
    after = steps(kit, [w], [g], weight_decay=wd, adapted=False)
    close(after.weights[0], w - 0.1 * (g / (np.abs(g) + 1e-6) + wd * w))
    assert after.trust_ratios[0] == 1


@examples
@given(w=nonzero_tensors, g=tensors, wd=weight_decays)
def test_a_variable_that_is_not_decayed_takes_the_step_without_decay(w, g, wd, kit):
    for mode in ("layerwise", "decoupled"):
        arguments = {"count": 2, "weight_decay_mode": mode}
        excluded = steps(kit, [w], [g], weight_decay=wd, decayed=False, **arguments)
        without = steps(kit, [w], [g], weight_decay=None, **arguments)
        assert np.array_equal(excluded.weights[0], without.weights[0])


@examples
@given(w=tensors, g=dense_tensors, bounds=st.tuples(magnitudes, magnitudes).map(sorted))
def test_phi_bounds_the_norm_a_step_is_measured_by(w, g, bounds, kit):
    after = steps(kit, [w], [g], weight_decay=None, phi_bounds=bounds)
    moved_by(after, w, 0.1 * np.clip(norm(w), *bounds))


@examples
@given(
    w=nonzero_tensors,
    g=dense_tensors,
    bounds=st.tuples(magnitudes, magnitudes).map(sorted),
)
def test_ratio_bounds_hold_the_ratio(w, g, bounds, kit):
    after = steps(kit, [w], [g], trust_ratio_bounds=bounds)
    (ratio,), (w_norm,), (u_norm,) = after[3:]
    close(ratio, np.clip(w_norm / u_norm, *bounds))
    moved_by(after, w, 0.1 * ratio * u_norm)


@examples
@given(w=arrays("float64", (3, 2, 2), elements=numbers), seed=st.integers(0, 99))
def test_a_stack_of_layers_steps_as_its_layers_do(w, seed, kit):
    g = np.random.default_rng(seed).normal(size=w.shape)
    stack = steps(kit, [w], [g], count=3, stacked=True)
    layers = steps(kit, list(w), list(g), count=3)
    close(stack.weights[0], np.stack(layers.weights), 1e-12)
    close(stack.trust_ratios[0].ravel(), np.stack(layers.trust_ratios), 1e-12)


def test_variables_step_together_as_they_do_alone(kit):
    # Neighbors share the computation of their ratios, whatever is done with each.
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (3, 4), (4,), (2, 3, 4), (3, 4), (), (3, 4)]
    weights = [rng.normal(size=shape) for shape in shapes]
    gradients = [rng.normal(size=shape) for shape in shapes]
    treatments = {
        "decayed": [True, False, True, True, True, True, False],
        "adapted": [True, False, True, True, False, True, True],
        "stacked": [False, False, False, True, False, False, False],
    }
    together = steps(kit, weights, gradients, count=3, **treatments)
    for i, (w, g) in enumerate(zip(weights, gradients, strict=True)):
        its_own = {name: [flags[i]] for name, flags in treatments.items()}
        alone = steps(kit, [w], [g], count=3, **its_own)
        for ours, expected in zip(together, alone, strict=True):
            close(ours[i], expected[0], 1e-14)
            assert ours[i].shape == expected[0].shape


# Edges


def test_a_zero_layer_steps_with_a_ratio_of_1_and_then_with_its_own(kit):
    g = np.array([1.0, -2.0])
    one = steps(kit, [np.zeros(2)], [g], weight_decay=None, epsilon=0.0)
    assert one.trust_ratios[0] == 1
    close(one.weights[0], [-0.1, 0.1])
    # Then ‖w‖ / ‖u‖ = 0.1, and the layer grows by a tenth.
    two = steps(kit, [np.zeros(2)], [g], count=2, weight_decay=None, epsilon=0.0)
    close(two.trust_ratios[0], 0.1)
    close(two.weights[0], [-0.11, 0.11])


def test_zero_weights_and_zero_updates_stay_finite(kit):
    w, zero = np.array([3.0, 4.0]), np.zeros(2)
    unmoved = steps(kit, [w, zero], [zero, zero], weight_decay=None)
    assert np.array_equal(unmoved.weights[0], w)
    assert np.array_equal(unmoved.weights[1], zero)
    assert [float(r) for r in unmoved.trust_ratios] == [1, 1]
    assert [float(n) for n in unmoved.update_norms] == [0, 0]


def test_a_scalar_is_a_layer_of_its_own(kit):
    after = steps(kit, [np.array(-2.0)], [np.array(5.0)], weight_decay=None)
    assert after.weights[0] == pytest.approx(-2.2)  # by η|w| against the gradient


def test_weights_whose_squares_overflow_float16_step_by_their_norm(kit):
    w = jnp.full((1000,), 30, "float16")  # ‖w‖² = 9e5 > 65504
    g, zeros = jnp.full((1000,), 0.1, "float16"), jnp.zeros(1000)
    after = kit.lamb_update([w], [g], [zeros], [zeros], 1, learning_rate=0.1)
    assert after.weights[0].dtype == "float16"
    assert after.weight_norms[0] == pytest.approx(30 * np.sqrt(1000))
    assert np.asarray(after.weights[0]) == pytest.approx(27, rel=1e-3)


def test_half_precision_rounds_only_the_result_of_a_step(kit):
    weights, gradients = problem(steps=1)
    for dtype in ("bfloat16", "float16"):
        half = {p: jnp.asarray(w, dtype) for p, w in weights.items()}
        exact = {p: np.asarray(w, "float64") for p, w in half.items()}
        variables = make_variables(half, dtype)
        g = [jnp.asarray(gradients[0][p], dtype) for p in weights]
        kit.Lamb(LR, weight_decay=0.1).apply(g, variables)
        expected = follow(
            algorithm_2,
            exact,
            [{p: np.asarray(x, "float64") for p, x in zip(weights, g, strict=True)}],
            lr=LR,
            wd=0.1,
        )
        for variable in variables:
            rounded = np.asarray(jnp.asarray(expected[variable.path], dtype))
            assert np.array_equal(np.asarray(variable.value), rounded)


def test_a_bfloat16_variable_moves_where_keras_lamb_does_not(kit):
    gradients = [{"w": np.array([0.5, -2.0])}] * 5
    start = {"w": np.array([3.0, 4.0])}

    def moved(optimizer):
        with precision("bfloat16"):
            return train(optimizer, start, gradients)["w"] - start["w"]

    with precision("bfloat16"):
        ours, kerass = kit.Lamb(0.1), keras.optimizers.Lamb(0.1)
    assert np.array_equal(np.sign(moved(ours)), [-1, 1])
    # β₂ = 0.999 is 1 in bfloat16, so Keras divides by 1 - 1.
    assert np.array_equal(moved(kerass), [0, 0])


# Large variables, which a CPU takes in other passes


def large_problem(steps=3):
    """Two variables of more than LARGE numbers, of no whole number of blocks."""
    rng = np.random.default_rng(0)
    shapes = {"kernel": (67, 1031), "embeddings": (65_537,)}
    # A norm in which what is left after the blocks counts.
    weights = {path: rng.normal(size=s) for path, s in shapes.items()}
    weights["kernel"].ravel()[-100:] *= 100
    weights["embeddings"][-1:] *= 1000
    gradients = [
        {path: rng.normal(size=s) for path, s in shapes.items()} for _ in range(steps)
    ]
    for step in gradients:
        step["kernel"].ravel()[:-100] *= 1e-9
        step["embeddings"][:-1] *= 1e-9
    return weights, gradients


def test_a_large_variable_steps_as_the_papers_does(kit):
    weights, gradients = large_problem()
    arguments = {"wd": 0.1, "eps": 1e-3}
    expected = follow(algorithm_2, weights, gradients, lr=LR, **arguments)
    lamb = kit.Lamb(LR, weight_decay=0.1, epsilon=1e-3)
    assert distance(train(lamb, weights, gradients), expected) < 1e-6
    with precision("float64"):
        lamb = kit.Lamb(LR, weight_decay=0.1, epsilon=1e-3)
        assert distance(train(lamb, weights, gradients), expected) < FLOAT64


@pytest.mark.parametrize("preset", ["paper_v3", "keras"])
def test_a_large_variable_steps_as_it_would_in_slices_of_one(preset, kit):
    # A stack of one slice is what is not taken in other passes.
    weights, gradients = large_problem()
    stacks = {path: w[None] for path, w in weights.items()}
    stacked = [{path: g[None] for path, g in step.items()} for step in gradients]
    make = functools.partial(kit.Lamb.from_preset, preset, weight_decay=0.1)
    ours = train(make(), weights, gradients)
    plain = train(make(stacked_variables=[""]), stacks, stacked)
    assert distance(ours, {path: w[0] for path, w in plain.items()}) < 1e-6


# The pure function


def test_the_pure_function_is_what_the_class_computes(kit):
    weights, gradients = problem(steps=5)
    lamb = kit.Lamb(LR, weight_decay=0.1, exclude_from_weight_decay=["bias"])
    expected = train(lamb, weights, gradients)

    @jax.jit
    def update(state, g, learning_rate, wd):
        return kit.lamb_update(
            state[:4],
            g,
            state[4:8],
            state[8:12],
            state[12],
            learning_rate=learning_rate,
            weight_decay=wd,
            decayed=["bias" not in path for path in SHAPES],
            adapted=["bias" not in path for path in SHAPES],
        )

    w = [jnp.asarray(x, "float32") for x in weights.values()]
    m = v = [jnp.zeros_like(x) for x in w]
    for t, step in enumerate(gradients, 1):
        w, m, v, *_ = update([*w, *m, *v, t], [*step.values()], LR, 0.1)
    ours = dict(zip(weights, map(np.asarray, w), strict=True))
    assert distance(ours, expected) < 1e-6
    assert update._cache_size() == 1


def test_lists_of_different_lengths_are_refused():
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="2 flags for 1 variables"):
        optimizers.lamb_update(
            [x], [x], [x], [x], 1, learning_rate=0.1, decayed=[True, False]
        )
