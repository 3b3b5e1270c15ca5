"""Lamb computes Algorithm 2, and with a preset what other implementations compute.

`kit` is the package under test: `mutation_test.py` hands wrong ones to these tests.
"""

from functools import partial

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
# Relative to the largest weight of a tensor, after 20 steps: float64 rounding, and what
# float32 does to 1 - β₂ = 0.001 (5e-5) where bias correction does not cancel it.
FLOAT64, FLOAT32 = 1e-12, 2e-5
decays = pytest.mark.parametrize("wd", [0.0, 0.1])
scales = pytest.mark.parametrize("scale", [NORMAL, SMALL])


@pytest.fixture(scope="module")
def kit():
    return optimizers


# The paper


@scales
def test_the_reference_step_is_algorithm_2(scale, kit):
    weights, gradients = problem(steps=10, gradient_scale=scale)
    numbers = {"b1": 0.7, "b2": 0.9, "eps": 1e-3, "wd": 0.1}

    def by_steps(w, gradients):
        m = v = np.zeros_like(w)
        for t, g in enumerate(gradients, 1):
            w, m, v = kit.reference_step(w, g, m, v, t, LR, **numbers)
        return np.asarray(w)

    with jax.enable_x64(True):
        ours = follow(by_steps, weights, gradients)
    expected = follow(algorithm_2, weights, gradients, lr=LR, **numbers)
    assert distance(ours, expected) < FLOAT64


@scales
def test_the_fast_form_is_the_reference_step(scale, kit):
    # A large variable too, which a CPU takes in other passes, of no whole number of
    # blocks; what is left after these decides its norm.
    rng = np.random.default_rng(0)
    weights, gradients = problem(steps=2, gradient_scale=scale)
    large = rng.normal(size=(67, 1031))
    large.ravel()[-100:] *= 100
    weights = [*weights.values(), large]
    numbers = {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3, "weight_decay": 0.1}
    names = {"beta_1": "b1", "beta_2": "b2", "epsilon": "eps", "weight_decay": "wd"}
    with jax.enable_x64(True):
        w = [jnp.asarray(x) for x in weights]
        m = v = [jnp.zeros_like(x) for x in w]
        ours = expected = w, m, v
        for t, step in enumerate(gradients, 1):
            beside = scale * 1e-9 * rng.normal(size=large.shape)
            beside.ravel()[-100:] *= 1e9
            g = [*map(jnp.asarray, step.values()), jnp.asarray(beside)]
            after = kit.lamb_update(
                ours[0], g, *ours[1:], t, learning_rate=LR, **numbers
            )
            ours = after[:3]
            each = [
                kit.reference_step(
                    w, g, m, v, t, LR, **{names[k]: x for k, x in numbers.items()}
                )
                for w, g, m, v in zip(expected[0], g, *expected[1:], strict=True)
            ]
            expected = list(zip(*each, strict=True))
    for one, other in zip(ours, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            close(a, b, FLOAT64)


def test_the_defaults_are_version_5_with_the_papers_hyperparameters(kit):
    weights, gradients = problem(steps=20)
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


def problem_of_two_lengths(scale):
    """Gradients of global norms above and below 1, in turns, unless they are small."""
    weights, gradients = problem(steps=20, gradient_scale=scale)
    for step in gradients[1::2]:
        step.update({path: 0.01 * g for path, g in step.items()})
    return weights, gradients


# By preset: the reference, and what it does with variables that are excluded.
PRESETS = {
    "paper_v5": (algorithm_2, {}),
    "paper_v3": (partial(algorithm_2, bias_correction=False), {}),
    "tfa": (algorithm_2, {}),
    "keras": (keras_lamb, {}),
    "nvlamb": (algorithm_2, {"wd": 0.0}),
    "timm": (timm_lamb, {"wd": 0.0}),
    "author": (author_lamb, {"excluded": True}),
    "albert": (partial(author_lamb, albert=True), {"excluded": True}),
    "pytorch_lamb": (cybertronai_lamb, {}),
    "fastai": (partial(keras_lamb, b2=0.99, eps=1e-5, most=10.0), {}),
    "paddle": (timm_lamb, {}),
    "lambc": (partial(timm_lamb, trust_clip=True, always_adapt=True), {}),
}


@decays
@scales
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_computes_what_its_implementation_computes(preset, scale, wd, kit):
    weights, gradients = problem_of_two_lengths(scale)
    reference, excluding = PRESETS[preset]
    clips = "global_clipnorm" in optimizers.PRESETS[preset]
    seen = clipped_to_global_norm(gradients, 1.0) if clips else gradients
    excluded = ("norm/gamma",) if preset == "author" else ("norm/gamma", "dense/bias")
    expected = {}
    for path, w in weights.items():
        arguments = {"lr": LR, "wd": wd, **(excluding if path in excluded else {})}
        expected[path] = reference(w, [step[path] for step in seen], **arguments)
    with precision("float64"):
        lamb = kit.Lamb.from_preset(preset, learning_rate=LR, weight_decay=wd)
        ours = train(lamb, weights, gradients)
        assert distance(ours, expected) < FLOAT64
        again = kit.Lamb.from_config(lamb.get_config())
        assert distance(train(again, weights, gradients), ours) == 0


def test_every_preset_has_a_reference():
    assert set(PRESETS) == set(optimizers.PRESETS)


@decays
def test_timms_class_is_the_preset_without_its_exclusions(wd, kit):
    weights, gradients = problem_of_two_lengths(NORMAL)
    clipped = clipped_to_global_norm(gradients, 1.0)
    expected = follow(timm_lamb, weights, clipped, lr=LR, wd=wd)
    lamb = kit.Lamb.from_preset(
        "timm", learning_rate=LR, weight_decay=wd, exclude_from_weight_decay=[]
    )
    assert distance(train(lamb, weights, gradients), expected) < FLOAT32


@pytest.mark.parametrize("preset", ["author", "albert", "nvlamb", "timm"])
def test_presets_that_exclude_normalization_exclude_every_kind_of_it(preset, kit):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    for layer in (
        keras.layers.BatchNormalization(),
        keras.layers.LayerNormalization(),
        keras.layers.RMSNormalization(),
    ):
        model.add(layer)
    lamb = kit.Lamb.from_preset(preset)
    lamb.build(model.trainable_variables)
    decayed = [
        variable.name
        for variable, decays in zip(
            model.trainable_variables, lamb._decayed, strict=True
        )
        if decays
    ]
    assert decayed == (["kernel", "bias"] if preset == "author" else ["kernel"])


class DeepSpeedStepSize(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        t = jnp.asarray(step + 1, keras.config.floatx())
        return LR * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)


V3 = {"bias_correction": False}
OTHERS = {
    "DeepSpeed's": (
        {"epsilon": 1e-8, "trust_ratio_bounds": (0.01, 10), **V3},
        deepspeed_lamb,
    ),
    "nnabla's": (
        {"phi_bounds": (1.0, 5.0)},
        partial(nnabla_lamb, gamma_l=1.0, gamma_u=5.0),
    ),
}


@decays
@pytest.mark.parametrize("name", OTHERS)
def test_with_these_arguments_it_is_another_implementation(name, wd, kit):
    weights, gradients = problem(steps=20)
    arguments, reference = OTHERS[name]
    expected = follow(reference, weights, gradients, lr=LR, wd=wd)
    with precision("float64"):
        rate = DeepSpeedStepSize() if name == "DeepSpeed's" else LR
        lamb = kit.Lamb(rate, weight_decay=wd, **arguments)
        assert distance(train(lamb, weights, gradients), expected) < FLOAT64
    plain = follow(algorithm_2, weights, gradients, lr=LR, wd=wd)
    assert distance(plain, expected) > 1e-3


@decays
@scales
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-13), ("float32", 1e-5)])
def test_a_run_is_optax_lamb(dtype, tolerance, scale, wd, kit):
    weights, gradients = problem(steps=20, gradient_scale=scale)
    with precision(dtype):
        expected = train_optax(optax.lamb(LR, weight_decay=wd), weights, gradients)
        ours = train(kit.Lamb(LR, weight_decay=wd), weights, gradients)
    assert distance(ours, expected) < tolerance


@decays
def test_the_keras_preset_is_keras_lamb(wd, kit):
    weights, gradients = problem(steps=20)
    lamb = kit.Lamb.from_preset("keras", learning_rate=LR, weight_decay=wd)
    ours = train(lamb, weights, gradients)
    kerass = train(keras.optimizers.Lamb(LR, weight_decay=wd), weights, gradients)
    assert distance(ours, kerass) < 1e-5


def test_a_zero_gradient_shows_which_decay_is_inside_the_ratio(kit):
    # w = 2, η = 0.1, λ = 0.01: Algorithm 2 steps by ηw, Keras by ηλw.
    weights, gradients = {"w": np.array([2.0])}, [{"w": np.array([0.0])}]
    inside = train(kit.Lamb(0.1, weight_decay=0.01), weights, gradients)
    assert inside["w"] == pytest.approx([1.8])
    preset = kit.Lamb.from_preset("keras", learning_rate=0.1, weight_decay=0.01)
    kerass = keras.optimizers.Lamb(0.1, weight_decay=0.01)
    for outside in (preset, kerass):
        assert train(outside, weights, gradients)["w"] == pytest.approx([1.998])


def test_an_unknown_preset_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="no preset 'paper'.*paper_v5, paper_v3"):
        optimizers.Lamb.from_preset("paper")


def test_overrides_replace_a_presets_arguments(kit):
    lamb = kit.Lamb.from_preset("nvlamb", global_clipnorm=None, epsilon=1e-3)
    assert lamb.global_clipnorm is None
    assert lamb.get_config()["epsilon"] == 1e-3
    weights, gradients = problem(steps=3)
    expected = follow(algorithm_2, weights, gradients, lr=0.001, wd=0.0)
    ours = train(kit.Lamb.from_preset("tfa"), weights, gradients)
    assert distance(ours, expected) < FLOAT32


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


@pytest.mark.parametrize("preset", ["paper_v3", "keras"])
def test_a_large_variable_steps_as_it_would_in_slices_of_one(preset, kit):
    # A stack of one slice is what is not taken in other passes.
    weights, gradients = large_problem()
    stacks = {path: w[None] for path, w in weights.items()}
    stacked = [{path: g[None] for path, g in step.items()} for step in gradients]
    make = partial(kit.Lamb.from_preset, preset, weight_decay=0.1)
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


def through_one_step(update, kernel, bias, dead=False):
    """The gradient, by the weights, of a loss after one step from them, as in MAML."""
    inputs, targets = jnp.ones((4, 2)).at[:, 1].set(0.0 if dead else 1.0), 0.5

    def loss(weights):
        return jnp.mean((inputs @ weights[0] + weights[1] - targets) ** 2)

    start = [jnp.full((2, 3), kernel), jnp.full(3, bias)]
    return jax.grad(lambda w: loss(update(w, jax.grad(loss)(w))))(start)


def test_gradients_through_a_step_are_optaxs_and_finite_at_zero(kit):
    def zeros(weights):
        return [jnp.zeros_like(w) for w in weights]

    def lamb(weights, gradients):
        moments = zeros(weights), zeros(weights)
        return kit.lamb_update(
            weights, gradients, *moments, 1, learning_rate=0.01
        ).weights

    def lars(weights, gradients, **form):
        return kit.lars_update(
            weights, gradients, zeros(weights), learning_rate=0.01, **form
        ).weights

    def optaxs(weights, gradients):
        transformation = optax.lamb(0.01, weight_decay=0.01)
        state = transformation.init(weights)
        updates, _ = transformation.update(gradients, state, weights)
        return optax.apply_updates(weights, updates)

    for start in ((1.0, 0.5), (1.0, 0.0)):
        ours, theirs = (through_one_step(f, *start) for f in (lamb, optaxs))
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    algorithm_1 = partial(lars, variant="momentum")
    norm_of_sum = partial(lars, denominator="norm_of_sum")
    for update in (lamb, lars, algorithm_1, norm_of_sum):
        for start in ((1.0, 0.0, True), (0.0, 0.0), (0.25, 0.0)):  # a loss of 0, too
            assert all(jnp.isfinite(g).all() for g in through_one_step(update, *start))


def test_a_step_of_no_variables_is_empty_lists():
    lamb = optimizers.lamb_update([], [], [], [], 1, learning_rate=0.1)
    lars = optimizers.lars_update([], [], [], learning_rate=0.1, tracked=True)
    assert lamb == ([],) * 6 and lars == ([],) * 5


def test_lists_of_different_lengths_are_refused():
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="2 flags for 1 variables"):
        optimizers.lamb_update(
            [x], [x], [x], [x], 1, learning_rate=0.1, decayed=[True, False]
        )
