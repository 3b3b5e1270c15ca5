"""What Lamb and Lars are as Keras optimizers: exclusions, numbers, order, state.

`kit` is the package under test: `mutation_test.py` hands wrong ones to these tests.
"""

import os
import re
import subprocess
import sys
import warnings
from unittest import mock

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamb_keras import optimizers
from lamb_keras.optimizers.references_test import (
    algorithm_2,
    clipped_to_global_norm,
    distance,
    follow,
    make_variables,
    norm,
    precision,
    problem,
    train,
)
from lamb_keras.training.compilations import counts

LR = 0.01
FLOAT32 = 2e-5
both = pytest.mark.parametrize("kind", ["Lamb", "Lars"])


@pytest.fixture(scope="module")
def kit():
    return optimizers


def values(variables):
    return {v.path: np.asarray(v.value, "float64") for v in variables}


def arrays_of(step):
    return [jnp.asarray(g, "float32") for g in step.values()]


def stateless(optimizer, variables):
    """A compiled step of the optimizer, and the state it starts with."""
    optimizer.build(variables)
    step = jax.jit(lambda state, g: optimizer.stateless_apply(state[1], g, state[0]))
    return step, ([v.value for v in variables], [v.value for v in optimizer.variables])


# Exclusions


@pytest.mark.parametrize(
    "arguments, decayed, adapted",
    [
        ({}, "1111", "1111"),
        ({"exclude_from_weight_decay": ["bias$"]}, "1101", "1101"),
        ({"exclude_from_weight_decay": ["^dense/"]}, "1001", "1001"),
        ({"exclude_from_weight_decay": ["bias", "gamma"]}, "1100", "1100"),
        (
            {
                "exclude_from_weight_decay": ["bias"],
                "exclude_from_layer_adaptation": [],
            },
            "1101",
            "1111",
        ),
        ({"exclude_from_layer_adaptation": ["conv"]}, "1111", "0111"),
    ],
)
def test_a_pattern_excludes_the_paths_it_is_found_in(arguments, decayed, adapted, kit):
    weights, gradients = problem(steps=5)
    expected = {
        path: algorithm_2(
            w,
            [step[path] for step in gradients],
            LR,
            wd=0.1 if decayed[i] == "1" else 0.0,
            adapted=adapted[i] == "1",
        )
        for i, (path, w) in enumerate(weights.items())
    }
    ours = train(kit.Lamb(LR, weight_decay=0.1, **arguments), weights, gradients)
    assert distance(ours, expected) < FLOAT32


CONFIGS = {
    "Lamb": [
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1, "weight_decay": 0.3},
        {"bias_correction": False, "weight_decay": None},
        {"weight_decay_mode": "decoupled", "global_clipnorm": 0.1, "epsilon": 0.1},
    ],
    "Lars": [
        {"nesterov": True, "epsilon": 1e-8, "learning_rate_in_momentum": False},
        {"denominator": "norm_of_sum", "trust_coefficient": 0.02, "momentum": 0.5},
        {"variant": "momentum", "weight_decay": None},
    ],
}
LAYERWISE = [
    {"phi_bounds": (0.5, 2), "exclude_from_weight_decay": ["bias"]},
    {"trust_ratio_bounds": (0, 1e-4), "stacked_variables": ["dense/kernel"]},
    {"exclude_from_layer_adaptation": ["gamma"]},
]


@pytest.mark.parametrize(
    "kind, arguments",
    [(kind, each) for kind, own in CONFIGS.items() for each in own + LAYERWISE],
)
def test_every_argument_survives_the_config(kind, arguments, kit):
    weights, gradients = problem(steps=5)
    cls = getattr(kit, kind)
    optimizer = cls(LR, **arguments)
    config = optimizer.get_config()
    assert {name: config.get(name) for name in arguments} == {
        name: list(x) if isinstance(x, tuple) else x for name, x in arguments.items()
    }
    again = cls.from_config(config)
    assert again.get_config() == config
    first = train(optimizer, weights, gradients)
    assert distance(train(again, weights, gradients), first) == 0
    assert distance(train(cls(LR), weights, gradients), first) > 1e-6


@both
def test_kerass_methods_exclude_as_the_arguments_do(kind, kit):
    weights, gradients = problem(steps=5)
    cls = getattr(kit, kind)
    with_arguments = cls(
        LR,
        weight_decay=0.1,
        exclude_from_weight_decay=["bias", "gamma"],
        exclude_from_layer_adaptation=["gamma"],
    )
    expected = train(with_arguments, weights, gradients)

    with_methods = cls(LR, weight_decay=0.1)
    with_methods.exclude_from_weight_decay(var_names=["bias"])
    with_methods.exclude_from_weight_decay(var_names=["gamma"])
    with_methods.exclude_from_layer_adaptation(var_names=["gamma"])
    assert with_methods.get_config() == with_arguments.get_config()
    assert distance(train(with_methods, weights, gradients), expected) == 0

    by_identity = cls(LR, weight_decay=0.1)
    variables = make_variables(weights)
    by_identity.exclude_from_weight_decay(var_list=variables[2:])
    by_identity.exclude_from_layer_adaptation(var_list=variables[3:])
    for step in gradients:
        by_identity.apply(arrays_of(step), variables)
    assert distance(values(variables), expected) == 0


def test_exclusions_after_the_first_step_are_refused():
    lamb = optimizers.Lamb()
    lamb.build([keras.Variable([1.0])])
    with pytest.raises(ValueError, match="after the optimizer was built: call it befo"):
        lamb.exclude_from_weight_decay(var_names=["bias"])
    with pytest.raises(ValueError, match=r"exclude_from_layer_adaptation\(\) was call"):
        lamb.exclude_from_layer_adaptation(var_names=["bias"])


@both
@pytest.mark.parametrize(
    "name",
    [
        "exclude_from_weight_decay",
        "exclude_from_layer_adaptation",
        "stacked_variables",
    ],
)
def test_a_bare_string_is_answered_with_the_list_it_should_be(kind, name):
    cls = getattr(optimizers, kind)
    with pytest.raises(ValueError, match=rf"{name} is 'bias'.*such as \['bias'\]"):
        cls(**{name: "bias"})
    with pytest.raises(ValueError, match=rf"{name} has '\(', which is no regular"):
        cls(**{name: ["("]})
    with pytest.raises(ValueError, match=f"{name} is 5; expected a list"):
        cls(**{name: 5})
    with pytest.raises(ValueError, match=f"{name} has re.compile.* as text"):
        cls(**{name: [re.compile("bias")]})


@both
def test_a_pattern_that_matches_nothing_warns_with_the_paths_there_are(kind):
    optimizer = getattr(optimizers, kind)(exclude_from_weight_decay=["bias", "biass"])
    weights, _ = problem()
    with pytest.warns(UserWarning, match="'biass', which matches no .*conv/kernel"):
        optimizer.build(make_variables(weights))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizers.Lamb.from_preset("nvlamb").build(make_variables(weights))


def test_a_stack_needs_two_axes():
    lamb = optimizers.Lamb(stacked_variables=["bias"])
    with pytest.raises(ValueError, match=r"matches dense/bias, of shape \(4,\); a sta"):
        lamb.build(make_variables(problem()[0]))


@both
def test_a_stacked_variable_is_its_slices(kind, kit):
    weights, gradients = problem(steps=5)
    stack, g = weights["conv/kernel"], [step["conv/kernel"] for step in gradients]
    cls = getattr(kit, kind)
    apart = cls(LR, track_trust_ratios=True)
    slices = train(
        apart,
        {"0": stack[0], "1": stack[1]},
        [{"0": x[0], "1": x[1]} for x in g],
    )
    expected = pytest.approx(np.stack([slices["0"], slices["1"]]), rel=1e-6)
    for tracked in (False, True):
        stacked = cls(LR, stacked_variables=["layers"], track_trust_ratios=tracked)
        ours = train(stacked, {"layers": stack}, [{"layers": x} for x in g])["layers"]
        assert ours == expected
    for together, one, two in zip(
        stacked.trust_ratios()["layers"], *apart.trust_ratios().values(), strict=True
    ):
        assert together == pytest.approx([one, two])


# Numbers that change


def lamb_with_numbers_by_step(w, gradients, numbers):
    """Algorithm 2 with other hyperparameters at each step."""
    m = v = np.zeros_like(w)
    for t, (g, (lr, wd, b1, b2, eps)) in enumerate(
        zip(gradients, numbers, strict=True), 1
    ):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * w
        w = w - lr * (norm(w) / norm(u) if norm(w) > 0 else 1) * u
    return w


NUMBERS = ("learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon")
BY_STEP = [
    (0.01, 0.01, 0.9, 0.999, 1e-6),
    (0.02, 0.10, 0.9, 0.999, 1e-6),
    (0.02, 0.10, 0.8, 0.99, 1e-6),
    (0.01, 0.00, 0.7, 0.9, 1e-2),
]


def test_numbers_assigned_between_steps_are_used_by_the_next(kit):
    weights, gradients = problem(steps=4)
    expected = follow(lamb_with_numbers_by_step, weights, gradients, numbers=BY_STEP)
    lamb, variables = kit.Lamb(), make_variables(weights)
    for numbers, step in zip(BY_STEP, gradients, strict=True):
        for name, number in zip(NUMBERS, numbers, strict=True):
            setattr(lamb, name, number)
        lamb.apply(arrays_of(step), variables)
    assert distance(values(variables), expected) < FLOAT32


def test_numbers_traced_by_stateless_apply_change_without_compiling(kit):
    weights, gradients = problem(steps=4)
    expected = follow(lamb_with_numbers_by_step, weights, gradients, numbers=BY_STEP)
    lamb, variables = kit.Lamb(), make_variables(weights)
    lamb.build(variables)
    places = [
        next(i for i, v in enumerate(lamb.variables) if v.path.endswith(f"/{name}"))
        for name in NUMBERS
    ]

    @jax.jit
    def step(trained, state, g, numbers):
        for place, number in zip(places, numbers, strict=True):
            state[place] = number
        return lamb.stateless_apply(state, g, trained)

    trained, state = [v.value for v in variables], [v.value for v in lamb.variables]
    for numbers, g in zip(BY_STEP, gradients, strict=True):
        trained, state = step(trained, state, arrays_of(g), np.float32(numbers))
    ours = dict(zip(weights, map(np.asarray, trained), strict=True))
    assert distance(ours, expected) < FLOAT32
    assert step._cache_size() == 1


class AssignNumbers(keras.callbacks.Callback):
    """Assigns the hyperparameters of each step, and counts what is compiled."""

    def __init__(self, rows):
        super().__init__()
        self.rows, self.compiled = rows, []

    def on_train_batch_begin(self, batch, logs=None):
        for name, number in zip(NUMBERS, self.rows[batch], strict=True):
            setattr(self.model.optimizer, name, number)
        self.compiled.append(counts()[0])


def small_model(optimizer, **arguments):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)]
    )
    model.compile(optimizer, "mse", **arguments)
    return model


def small_data(batches=4):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4 * batches, 3)).astype("float32")
    return x, x[:, :2] ** 2


def fit(model, batches=4, **arguments):
    x, y = small_data(batches)
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0, **arguments)
    return {v.path: np.asarray(v.value, "float64") for v in model.trainable_variables}


def test_numbers_assigned_during_fit_are_used_without_compiling(kit):
    model = small_model(kit.Lamb())
    start = values(model.trainable_variables)
    numbers = AssignNumbers([(0.0, *others) for _, *others in BY_STEP])
    for path, w in fit(model, callbacks=[numbers]).items():
        assert np.array_equal(w, start[path])
    # Keras compiles for the second step too; from the third on there is nothing new.
    assert numbers.compiled[-1] == numbers.compiled[-2]
    for path, w in fit(model, callbacks=[AssignNumbers(BY_STEP)]).items():
        assert not np.array_equal(w, start[path])


@both
def test_a_schedule_of_the_weight_decay_follows_the_steps(kind, kit):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [1, 3], [0.1, 0.5, 0.0]
    )
    weights, gradients = problem(steps=6)
    cls = getattr(kit, kind)
    scheduled = cls(LR, weight_decay=schedule)
    again = cls.from_config(scheduled.get_config())
    ours = train(scheduled, weights, gradients)
    assert distance(train(again, weights, gradients), ours) == 0

    assigned, variables = cls(LR, weight_decay=0.0), make_variables(weights)
    decays = [0.1, 0.1, 0.5, 0.5, 0.0, 0.0]  # step - 1 ≤ 1, ≤ 3, above
    for decay, step in zip(decays, gradients, strict=True):
        assigned.weight_decay = decay
        assigned.apply(arrays_of(step), variables)
    assert distance(values(variables), ours) < 1e-6


def test_no_weight_decay_is_a_weight_decay_of_zero(kit):
    weights, gradients = problem(steps=5)
    for mode in ("layerwise", "decoupled"):
        none = kit.Lamb(LR, weight_decay=None, weight_decay_mode=mode)
        zero = kit.Lamb(LR, weight_decay=0, weight_decay_mode=mode)
        expected = train(none, weights, gradients)
        assert distance(train(zero, weights, gradients), expected) < 1e-6


@pytest.mark.parametrize("floatx", ["float32", "bfloat16", "float16"])
@both
def test_numbers_are_float32_in_every_floatx(kind, floatx, kit):
    with precision(floatx):
        optimizer = getattr(kit, kind)(0.0123, weight_decay=0.0123)
        assert optimizer.learning_rate.dtype == "float32"
        assert float(optimizer.learning_rate.value) == np.float32(0.0123)
        assert float(optimizer.weight_decay.value) == np.float32(0.0123)
        optimizer.learning_rate = 0.0321
        assert optimizer.get_config()["learning_rate"] == 0.0321
        assert len(optimizer.variables) == len({v.path for v in optimizer.variables})


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"beta_1": 1}, "beta_1 is 1; expected a number of at least 0 and less than 1"),
        ({"beta_2": float("nan")}, "beta_2 is nan"),
        ({"epsilon": -1e-6}, "epsilon is -1e-06; expected a number of at least 0"),
        ({"epsilon": "1e-6"}, "epsilon is '1e-6'; expected a number"),
        ({"weight_decay": "0.1"}, "weight_decay is '0.1'"),
        ({"weight_decay": True}, "weight_decay is True"),
        ({"weight_decay": float("inf")}, "weight_decay is inf"),
        ({"phi_bounds": (2, 1)}, r"phi_bounds is \(2, 1\); expected None or a pair"),
        ({"phi_bounds": 10}, "phi_bounds is 10; expected None or a pair"),
        ({"trust_ratio_bounds": (-1, 1)}, r"trust_ratio_bounds is \(-1, 1\)"),
        ({"weight_decay_mode": "inside"}, "is 'inside'; expected one of 'layerwise', "),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1'; expected a number"),
        ({"learning_rate": -0.01}, "learning_rate is -0.01; expected a number of at l"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"learning_rate": None}, "learning_rate is None"),
        ({"beta1": 0.9}, "beta1"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimizers.Lamb(**arguments)


@pytest.mark.parametrize(
    "made, given, message",
    [
        (0.1, None, "weight_decay was made a number and is given None: make a new opt"),
        (None, 0.1, "weight_decay was made None .* make the optimizer with weight_dec"),
        (0.1, -1, "weight_decay is -1; expected a number of at least 0"),
    ],
)
def test_a_weight_decay_that_cannot_be_assigned_is_refused(made, given, message):
    lamb = optimizers.Lamb(weight_decay=made)
    with pytest.raises(ValueError, match=message):
        lamb.weight_decay = given
    lamb.beta_1 = 0.5
    assert lamb.get_config()["beta_1"] == 0.5


@both
def test_a_learning_rate_is_a_number_from_zero_when_it_is_assigned_too(kind):
    optimizer = getattr(optimizers, kind)(1)
    assert optimizer.get_config()["learning_rate"] == 1.0
    for bad in (-0.01, float("nan"), np.float32("inf")):
        with pytest.raises(ValueError, match="learning_rate is .*of at least 0"):
            optimizer.learning_rate = bad
    optimizer.learning_rate = 0
    assert optimizer.get_config()["learning_rate"] == 0.0


# The order of one update


@pytest.mark.parametrize("steps", [2, 4])
@both
def test_accumulating_micro_batches_is_one_batch_of_their_mean(kind, steps, kit):
    weights, micro = problem(steps=3 * steps)
    means = [
        {p: np.mean([s[p] for s in micro[i : i + steps]], axis=0) for p in weights}
        for i in range(0, len(micro), steps)
    ]
    cls = getattr(kit, kind)
    expected = train(cls(LR), weights, means)
    eager = cls(LR, gradient_accumulation_steps=steps)
    assert distance(train(eager, weights, micro), expected) < 1e-6

    step, state = stateless(
        cls(LR, gradient_accumulation_steps=steps), make_variables(weights)
    )
    for i, g in enumerate(micro, 1):
        before, state = state, step(state, arrays_of(g))
        unmoved = all(
            np.array_equal(a, b) for a, b in zip(before[0], state[0], strict=True)
        )
        assert unmoved == bool(i % steps)
    compiled = dict(zip(weights, map(np.asarray, state[0]), strict=True))
    assert distance(compiled, expected) < 1e-6


def test_micro_steps_compute_nothing_but_the_sum(kit):
    weights, gradients = problem(steps=1)
    lamb, variables = kit.Lamb(gradient_accumulation_steps=4), make_variables(weights)
    step, state = stateless(lamb, variables)
    jaxpr = jax.make_jaxpr(step)(state, arrays_of(gradients[0])).jaxpr
    (inner,) = [e.params["jaxpr"].jaxpr for e in jaxpr.eqns if "jaxpr" in e.params]
    # A square root is in every norm and in every Adam update.
    outside = [str(e) for e in inner.eqns if e.primitive.name != "cond"]
    assert "sqrt" not in "".join(outside)
    (cond,) = [e for e in inner.eqns if e.primitive.name == "cond"]
    used = [str(branch.jaxpr) for branch in cond.params["branches"]]
    assert sorted("sqrt" in branch for branch in used) == [False, True]


def test_clipping_acts_on_the_mean_of_the_micro_batches(kit):
    weights, micro = problem(steps=4)
    micro = [{p: 3 * g for p, g in step.items()} for step in micro]
    means = [{p: (micro[i][p] + micro[i + 1][p]) / 2 for p in weights} for i in (0, 2)]
    clipped = clipped_to_global_norm(means, 1.0)
    # Without bias correction and with a large ε the size of the gradient matters.
    numbers = {"epsilon": 0.1, "bias_correction": False}
    lamb = kit.Lamb(LR, global_clipnorm=1.0, gradient_accumulation_steps=2, **numbers)
    expected = follow(
        algorithm_2, weights, clipped, lr=LR, eps=0.1, bias_correction=False
    )
    assert distance(train(lamb, weights, micro), expected) < FLOAT32


def steady_lamb(kit, **arguments):
    """A Lamb that adds exactly 1 to a weight at every step, if its gradient is -1."""
    return kit.Lamb(
        1.0,
        epsilon=0.0,
        weight_decay=None,
        exclude_from_layer_adaptation=["w"],
        **arguments,
    )


def test_the_average_is_taken_once_per_real_update(kit):
    # w = 1, 2, 3, 4 and a ← 0.9 a + 0.1 w from a = 1: 1, 1.1, 1.29, 1.561.
    lamb = steady_lamb(
        kit, use_ema=True, ema_momentum=0.9, gradient_accumulation_steps=4
    )
    w = keras.Variable([0.0], name="w")
    for _ in range(16):
        lamb.apply([jnp.array([-1.0])], [w])
    assert np.asarray(w.value) == pytest.approx([4.0])
    lamb.finalize_variable_values([w])
    assert float(w.value[0]) == pytest.approx(1.561, rel=1e-6)


def test_the_average_overwrites_the_weights_every_so_many_real_updates(kit):
    lamb = steady_lamb(
        kit,
        use_ema=True,
        ema_momentum=0.5,
        ema_overwrite_frequency=2,
        gradient_accumulation_steps=2,
    )
    w = keras.Variable([0.0], name="w")
    seen = []
    for _ in range(8):
        lamb.apply([jnp.array([-1.0])], [w])
        seen.append(float(w.value[0]))
    # 1 | 2 averaged with 1 | 2.5 | 3.5 averaged with (1.5 + 2.5) / 2
    assert seen == pytest.approx([0, 1, 1, 1.5, 1.5, 2.5, 2.5, 2.75])


def test_the_average_of_bfloat16_weights_moves(kit):
    # 0.999 is 1 in bfloat16.
    lamb = steady_lamb(kit, use_ema=True, ema_momentum=0.999)
    w = keras.Variable([0.0], name="w", dtype="bfloat16")
    for _ in range(4):
        lamb.apply([jnp.array([-1.0], "bfloat16")], [w])
    average = lamb._model_variables_moving_average[0]
    assert average.dtype == "float32"
    # From 1: 0.001 · (2 - 1), then about 0.001 · (3 - 1), 0.001 · (4 - 1).
    assert float(average.value[0]) == pytest.approx(1.006, abs=1e-5)


def test_a_constraint_holds_for_the_weights_and_their_average(kit):
    lamb = steady_lamb(kit, use_ema=True, ema_momentum=0.5)
    w = keras.Variable([0.5], name="w")
    w.constraint = keras.constraints.MaxNorm(1.0)
    for _ in range(3):
        lamb.apply([jnp.array([-1.0])], [w])
    # 0.5 + 1 is held at 1, and so the average is 1 from the first step on.
    assert float(w.value[0]) == pytest.approx(1.0)
    average = lamb._model_variables_moving_average[0]
    assert float(average.value[0]) == pytest.approx(1.0)


@both
def test_a_loss_scale_factor_is_divided_out(kind, kit):
    weights, gradients = problem(steps=5)
    scaled = [{p: 1024 * g for p, g in step.items()} for step in gradients]
    cls = getattr(kit, kind)
    optimizer = cls(LR, loss_scale_factor=1024.0)
    expected = train(cls(LR), weights, gradients)
    assert distance(train(optimizer, weights, scaled), expected) < 1e-6
    assert float(optimizer.scale_loss(2.0)) == 2048


def test_a_loss_scale_does_not_lose_small_float16_gradients(kit):
    # 1e-4 / 2¹⁵ is 0 in float16.
    w = keras.Variable([1.0, 1.0], dtype="float16")
    lamb = kit.Lamb(0.5, weight_decay=None, epsilon=0.0, loss_scale_factor=2.0**15)
    lamb.apply([jnp.array([1e-4, 1e-4], "float16")], [w])
    assert np.asarray(w.value) == pytest.approx([0.5, 0.5], rel=1e-3)


def test_keras_loss_scale_optimizer_wraps_it_and_skips_bad_steps(kit):
    weights, gradients = problem(steps=3)
    expected = train(kit.Lamb(LR), weights, gradients)
    inner = kit.Lamb(LR, track_trust_ratios=True)
    wrapped = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
    variables = make_variables(weights)
    step, state = stateless(wrapped, variables)
    for i, g in enumerate(gradients):
        if i == 1:
            bad = [jnp.full(v.shape, jnp.inf) for v in variables]
            state = step(state, bad)  # halves the scale, and moves nothing
        scale = 8.0 if i == 0 else 4.0
        state = step(state, [scale * x for x in arrays_of(g)])
    ours = dict(zip(weights, map(np.asarray, state[0]), strict=True))
    assert distance(ours, expected) < 1e-6


def test_clipping_a_big_float16_gradient_does_not_overflow(kit):
    # ‖g‖² = 3e6 > 65504: a float16 norm is inf, and the clipped gradient 0 or NaN.
    start = np.full(300, 2.0)
    for clip in ({"global_clipnorm": 1.0}, {"clipnorm": 1.0}):
        w = keras.Variable(start, dtype="float16")
        lamb = kit.Lamb(0.1, weight_decay=None, **clip)
        lamb.apply([jnp.full((300,), 100.0, "float16")], [w])
        assert np.asarray(w.value) == pytest.approx(1.8, rel=1e-3)


def test_global_clipping_sees_all_variables_together(kit):
    weights, gradients = problem(steps=5)
    clipped = clipped_to_global_norm(gradients, 0.5)
    lamb = kit.Lamb(LR, epsilon=0.1, global_clipnorm=0.5)
    expected = follow(algorithm_2, weights, clipped, lr=LR, eps=0.1)
    assert distance(train(lamb, weights, gradients), expected) < FLOAT32


# Edges


@both
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_gradient_in_one_variable_leaves_the_others_alone(kind, bad, kit):
    weights, gradients = problem(steps=3)
    poisoned = [dict(step) for step in gradients]
    poisoned[1]["dense/kernel"] = np.full((3, 4), bad)
    cls = getattr(kit, kind)
    expected = train(cls(LR), weights, gradients)
    ours = train(cls(LR), weights, poisoned)
    assert not np.isfinite(ours.pop("dense/kernel")).any()
    del expected["dense/kernel"]
    assert distance(ours, expected) == 0


@both
def test_a_variable_without_gradient_stays_and_keras_warns(kind, kit):
    weights, gradients = problem(steps=1)
    variables = make_variables(weights)
    optimizer = getattr(kit, kind)(LR, track_trust_ratios=True)
    g = [None, *arrays_of(gradients[0])[1:]]
    with pytest.warns(UserWarning, match="Gradients do not exist .*conv/kernel"):
        optimizer.apply(g, variables)
    ours = values(variables)
    conv = ours.pop("conv/kernel")
    assert distance({"w": conv}, {"w": weights.pop("conv/kernel")}) < 1e-7
    expected = train(getattr(kit, kind)(LR), weights, gradients)
    assert distance(ours, expected) == 0
    assert np.isnan(optimizer.trust_ratios()["conv/kernel"].trust_ratio)


@both
def test_variables_in_another_order_keep_their_own_state(kind, kit):
    weights, gradients = problem(steps=4)
    arguments = {
        "weight_decay": 0.1,
        "exclude_from_weight_decay": ["bias"],
        "exclude_from_layer_adaptation": ["conv"],
    }
    expected = train(getattr(kit, kind)(LR, **arguments), weights, gradients)
    optimizer = getattr(kit, kind)(LR, **arguments)
    variables = make_variables(weights)
    optimizer.build(variables)
    for step in gradients:
        optimizer.apply(arrays_of(step)[::-1], variables[::-1])
    assert distance(values(variables), expected) == 0


@pytest.mark.parametrize("accumulation", [None, 2])
def test_a_variable_that_its_gradient_overwrites_is_overwritten(accumulation, kit):
    scale = keras.Variable([1.0], name="scale")
    scale.overwrite_with_gradient = True
    w = keras.Variable([3.0, 4.0], name="w")
    lamb = kit.Lamb(
        0.1,
        gradient_accumulation_steps=accumulation,
        use_ema=True,
        track_trust_ratios=True,
    )
    for number in (5.0, 7.0):
        lamb.apply([jnp.array([number]), jnp.array([1.0, 1.0])], [scale, w])
    assert float(scale.value[0]) == 7
    assert norm(np.asarray(w.value) - [3, 4]) > 0.4
    assert np.isnan(lamb.trust_ratios()["scale"].trust_ratio)


def test_moments_are_stored_as_asked_and_computed_in_float32(kit):
    weights, gradients = problem(steps=10)
    expected = follow(algorithm_2, weights, gradients, lr=LR)
    half = kit.Lamb(LR, moments_dtype="bfloat16")
    ours = train(half, weights, gradients)
    stored = [v for v in half.variables if "momentum" in v.path or "veloc" in v.path]
    assert len(stored) == 8 and {v.dtype for v in stored} == {"bfloat16"}
    plain = kit.Lamb()
    plain.build([keras.Variable([1.0], dtype=d) for d in ("bfloat16", "float16")])
    assert {v.dtype for v in plain.variables if "momentum" in v.path} == {"float32"}
    # bfloat16 has three digits; the run stays near and is not the same.
    assert 1e-6 < distance(ours, expected) < 2e-2
    again = kit.Lamb.from_config(half.get_config())
    assert distance(train(again, weights, gradients), ours) == 0


# Trust ratios


def test_trust_ratios_are_the_last_steps(kit):
    weights, gradients = problem(steps=3)
    lamb = kit.Lamb(LR, weight_decay=0.1, track_trust_ratios=True)
    weights_before = train(kit.Lamb(LR, weight_decay=0.1), weights, gradients[:2])
    train(lamb, weights, gradients)
    for path, (ratio, w_norm, u_norm) in lamb.trust_ratios().items():
        m = v = np.zeros_like(weights[path])
        for step in gradients:
            m = 0.9 * m + 0.1 * step[path]
            v = 0.999 * v + 0.001 * step[path] ** 2
        w = weights_before[path]
        u = m / (1 - 0.9**3) / (np.sqrt(v / (1 - 0.999**3)) + 1e-6) + 0.1 * w
        assert w_norm == pytest.approx(norm(w), rel=1e-5)
        assert u_norm == pytest.approx(norm(u), rel=1e-5)
        assert ratio == pytest.approx(norm(w) / norm(u), rel=1e-5)


def test_trust_ratios_of_lars_are_those_it_steps_by(kit):
    weights, gradients = problem(steps=1)
    lars = kit.Lars(weight_decay=0.1, track_trust_ratios=True)
    train(lars, weights, gradients)
    for path, (ratio, w_norm, size) in lars.trust_ratios().items():
        w, g = weights[path], gradients[0][path]
        assert w_norm == pytest.approx(norm(w))
        assert size == pytest.approx(norm(g) + 0.1 * norm(w))
        assert ratio == pytest.approx(0.001 * w_norm / size if w_norm else 1.0)


@both
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_an_accelerators_form_of_the_step_is_the_same_step(platform, kind, kit):
    # There variables of all treatments have their ratios computed together, and on a
    # GPU those of one size, of which some are large and some are stacks, their norms.
    weights, gradients = problem(steps=3)
    rng = np.random.default_rng(1)
    for path, shape in {
        "layers": (2, 150, 256),
        "a/kernel": (300, 256),
        "b/kernel": (256, 300),
        "a/bias": (256,),
        "b/bias": (256,),
        "c/bias": (4,),
    }.items():
        for each in (weights, *gradients):
            each[path] = rng.normal(size=shape) * np.exp(rng.normal())
    excluded = ["bias", "^a/kernel", *list(weights)[1:4:2]]
    options = {"exclude_from_weight_decay": excluded, "stacked_variables": ["layers"]}

    def trained():
        optimizer = getattr(kit, kind)(
            LR, weight_decay=0.1, track_trust_ratios=True, **options
        )
        return train(optimizer, weights, gradients), optimizer.trust_ratios()

    def chosen(*numbers, default, **forms):
        return forms.get(platform, default)(*numbers)

    expected, expected_ratios = trained()
    with mock.patch.object(jax.lax, "platform_dependent", chosen):
        after, ratios = trained()
    assert {ratios[path].trust_ratio for path in ("a/bias", "a/kernel")} == {1.0}
    for path in weights:
        np.testing.assert_allclose(after[path], expected[path], rtol=1e-5, atol=1e-7)
        for one, other in zip(ratios[path], expected_ratios[path], strict=True):
            assert one == pytest.approx(other, rel=1e-5)


@both
def test_trust_ratios_are_nan_before_the_first_step_and_none_are_kept_unasked(kind):
    weights, _ = problem()
    variables = make_variables(weights)
    tracking = getattr(optimizers, kind)(track_trust_ratios=True)
    plain = getattr(optimizers, kind)()
    for optimizer in (tracking, plain):
        optimizer.build(variables)
    assert all(np.isnan(ratio).all() for ratio in tracking.trust_ratios().values())
    assert len(tracking.variables) == len(plain.variables) + 1
    with pytest.raises(ValueError, match="make the optimizer with track_trust_ratios"):
        plain.trust_ratios()
    with pytest.raises(ValueError, match="and build it, by a first step"):
        getattr(optimizers, kind)(track_trust_ratios=True).trust_ratios()


# State and files


@both
@pytest.mark.parametrize(
    "arguments",
    [{}, {"use_ema": True, "gradient_accumulation_steps": 3, "global_clipnorm": 1.0}],
)
def test_a_run_saved_and_resumed_is_the_run_itself(kind, arguments, kit):
    weights, gradients = problem(steps=8)
    cls = getattr(kit, kind)
    make = {"exclude_from_weight_decay": ["bias"], "track_trust_ratios": True}
    whole, variables = cls(LR, **make, **arguments), make_variables(weights)
    half = None
    for i, step in enumerate(gradients):
        if i == 4:
            half = values(variables), {}, whole.get_config()
            whole.save_own_variables(half[1])
        whole.apply(arrays_of(step), variables)

    weights, store, config = half
    resumed, again = cls.from_config(config), make_variables(weights)
    resumed.build(again)
    resumed.load_own_variables(store)
    for step in gradients[4:]:
        resumed.apply(arrays_of(step), again)
    assert distance(values(again), values(variables)) == 0
    assert resumed.trust_ratios() == whole.trust_ratios()


# `import lamb_keras` alone loads no optimizer, so that the command line is quick; Keras
# then says that it lacks the class.
FRESH_PROCESS = """
import sys, warnings
warnings.simplefilter("error", UserWarning)
import keras, numpy as np
import lamb_keras
try:
    keras.models.load_model(sys.argv[1])
except TypeError as error:
    assert "Could not locate class 'Lamb'" in str(error), error
else:
    raise AssertionError("loaded; say so in the docstring of Lamb")
import lamb_keras.optimizers
model = keras.models.load_model(sys.argv[1])
data = np.load(sys.argv[2])
model.fit(data["x"], data["y"], batch_size=4, shuffle=False, verbose=0)
np.savez(sys.argv[3], *model.get_weights())
"""


def in_a_fresh_process(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_saved_model_goes_on_in_a_fresh_process_bit_by_bit(tmp_path):
    lamb = optimizers.Lamb(
        LR, exclude_from_weight_decay=["bias"], phi_bounds=(0, 10), use_ema=True
    )
    model = small_model(lamb)
    fit(model)
    model.save(tmp_path / "model.keras")
    x, y = small_data()
    np.savez(tmp_path / "data.npz", x=x, y=y)
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)

    paths = [tmp_path / name for name in ("model.keras", "data.npz", "weights.npz")]
    fresh = in_a_fresh_process(FRESH_PROCESS, *paths, KERAS_BACKEND="jax")
    assert fresh.returncode == 0, fresh.stderr
    loaded = np.load(paths[2])
    for name, expected in zip(loaded, model.get_weights(), strict=True):
        assert np.array_equal(loaded[name], expected)


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_another_backend_is_refused_in_one_sentence(backend):
    for code in ("import lamb_keras; lamb_keras.Lamb", "import lamb_keras.optimizers"):
        fresh = in_a_fresh_process(code, KERAS_BACKEND=backend)
        assert fresh.returncode != 0
        last = fresh.stderr.strip().splitlines()[-1]
        assert last.startswith(
            "RuntimeError: lamb_keras computes with JAX, but Keras was started on "
            f"'{backend}': unset KERAS_BACKEND or set it to 'jax'"
        )


# Through the front door


@both
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_of_mixed_precision_learns(kind, policy, kit):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(0)
        arguments = {} if kind == "Lamb" else {"trust_coefficient": 0.1}
        model = small_model(getattr(kit, kind)(0.05, **arguments))
        x, y = small_data(8)
        losses = model.fit(x, y, batch_size=4, epochs=5, verbose=0).history["loss"]
    finally:
        keras.config.set_dtype_policy(before)
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert losses[-1] < 0.8 * losses[0]


def test_steps_under_jit_compile_once(kit):
    weights, gradients = problem(steps=4)
    for optimizer in (
        kit.Lamb(LR, use_ema=True, global_clipnorm=1.0, track_trust_ratios=True),
        kit.Lars(LR, gradient_accumulation_steps=2),
    ):
        step, state = stateless(optimizer, make_variables(weights))
        for g in gradients:
            state = step(state, arrays_of(g))
        assert step._cache_size() == 1


# What is compiled


@pytest.mark.parametrize(
    "make",
    [
        lambda kit: kit.Lamb(),
        lambda kit: kit.Lamb(exclude_from_weight_decay=["1$"]),
        lambda kit: kit.Lamb(phi_bounds=(0, 10), trust_ratio_bounds=(0, 1)),
        lambda kit: kit.Lamb(track_trust_ratios=True),
        lambda kit: kit.Lamb(global_clipnorm=1.0),
        lambda kit: kit.Lamb(use_ema=True),
        lambda kit: kit.Lamb.from_preset("paper_v3"),
        lambda kit: kit.Lamb.from_preset("keras", weight_decay=0.1),
        lambda kit: kit.Lars(),
        lambda kit: kit.Lars(denominator="norm_of_sum", nesterov=True),
        lambda kit: kit.Lars(variant="momentum", track_trust_ratios=True),
    ],
)
def test_an_update_keeps_nothing_of_the_size_of_the_model(make, kit):
    variables = [keras.Variable(np.ones((512, 512)), name=f"w{i}") for i in range(8)]
    optimizer = make(kit)
    optimizer.build(variables)

    # Results have to come in the order of what is given up for them.
    def update(weights, state, gradients):
        return optimizer.stateless_apply(state, gradients, weights)

    weights = [v.value for v in variables]
    state = [v.value for v in optimizer.variables]
    compiled = (
        jax.jit(update, donate_argnums=(0, 1)).lower(weights, state, weights).compile()
    )
    # Sums of blocks: a sixteenth of u at the most.
    model = sum(v.value.nbytes for v in variables)
    assert compiled.memory_analysis().temp_size_in_bytes < model / 12
