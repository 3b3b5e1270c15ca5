import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamb_keras import names
from lamb_keras.optimizers import Lamb, Lars
from lamb_keras.optimizers.baselines_test import adam
from lamb_keras.optimizers.references_test import (
    SMALL,
    distance,
    follow,
    make_variables,
    precision,
    problem,
    train,
)
from lamb_keras.optimizers.solvers import SOLVERS, solver, step

FLOAT32 = 1e-5
# What each of five steps is given; the rates and decays both go up and down.
RATES = np.array([0.01, 0.03, 0.02, 0.0, 0.04], "float32")
DECAYS = np.array([0.1, 0.0, 0.3, 0.2, 0.05], "float32")


def built(name, **settings):
    """(optimizer, its state, the weights), as `step` takes them, and gradients."""
    weights, gradients = problem(steps=len(RATES))
    variables = make_variables(weights)
    optimizer = solver(name, **settings)
    optimizer.build(variables)
    state = [v.value for v in optimizer.variables]
    gradients = [[jnp.asarray(g, "float32") for g in s.values()] for s in gradients]
    return optimizer, state, [v.value for v in variables], gradients


def through_all_steps(optimizer, gradients):
    """The weights after all steps as a function of what `step` takes, by `scan`."""
    stacked = [jnp.stack(each) for each in zip(*gradients, strict=True)]

    def run(state, weights, rates, decays):
        def body(carry, given):
            weights, state = step(optimizer, carry[1], given[0], carry[0], *given[1:])
            return (weights, state), None

        return jax.lax.scan(body, (weights, state), (stacked, rates, decays))[0][0]

    return run


def by_keras(name, rates, decays, **settings):
    """The weights after all steps of the optimizer as Keras runs it, one by one."""
    weights, gradients = problem(steps=len(RATES))
    variables = make_variables(weights)
    optimizer = solver(name, **settings)
    optimizer.build(variables)
    for rate, decay, each in zip(rates, decays, gradients, strict=True):
        optimizer.learning_rate = rate
        if name in names.DECAYING_SOLVERS:
            optimizer.weight_decay = decay
        optimizer.apply([jnp.asarray(g, "float32") for g in each.values()], variables)
    return [np.asarray(v) for v in variables]


def assert_close(ours, expected, rtol=1e-6):
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def with_rate(optimizer, learning_rate):
    optimizer.learning_rate = learning_rate
    return optimizer


def test_every_solver_that_parameters_may_name_can_be_made():
    assert tuple(SOLVERS) == names.SOLVERS


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_waits_for_its_learning_rate_and_weight_decay(name):
    weight = keras.Variable([1.0, -2.0])
    solver(name).apply([keras.ops.array([1.0, 1.0])], [weight])
    np.testing.assert_array_equal(weight, [1.0, -2.0])


# Their settings


def adagrad(w, gradients, lr):
    total = np.full_like(w, 0.1)
    for g in gradients:
        total = total + g**2
        w = w - lr * g / np.sqrt(total)
    return w


@pytest.mark.parametrize("scale", [1.0, SMALL])
def test_adagrad_is_tensorflow_1s(scale):
    weights, gradients = problem(steps=20, gradient_scale=scale)
    with precision("float64"):  # In which an epsilon would tell.
        ours = train(with_rate(solver("adagrad"), 0.1), weights, gradients)
    assert distance(ours, follow(adagrad, weights, gradients, lr=0.1)) < 1e-12


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_epsilon_of_adam_is_tensorflow_1s(name):
    weights, gradients = problem(steps=20, gradient_scale=SMALL)
    ours = train(with_rate(solver(name), 0.1), weights, gradients)
    arguments = {"weights": weights, "gradients": gradients, "lr": 0.1}
    tensorflows = follow(adam, eps=1e-8, inside_correction=True, **arguments)
    kerass = follow(adam, eps=1e-7, inside_correction=True, **arguments)
    assert distance(ours, tensorflows) < FLOAT32 < 1e-2 < distance(ours, kerass)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_keras_sgd_with_a_momentum_of_0_9(nesterov):
    weights, gradients = problem(steps=20)
    ours = with_rate(solver("momentum", nesterov=nesterov), 0.1)
    kerass = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=nesterov)
    expected = train(kerass, weights, gradients)
    assert distance(train(ours, weights, gradients), expected) == 0


@pytest.mark.parametrize("settings", [{}, {"exclude_from_weight_decay": ["bias"]}])
@pytest.mark.parametrize("track", [False, True])
def test_lamb_and_lars_are_the_papers_with_these_settings(settings, track):
    weights, gradients = problem(steps=3)
    settings = {**settings, "global_clipnorm": 1.0}
    for name, expected in (
        ("lamb", Lamb(0.1, weight_decay=0.5, **settings)),
        ("lars", Lars(0.1, weight_decay=0.5, variant="momentum", **settings)),
    ):
        ours = with_rate(solver(name, track_trust_ratios=track, **settings), 0.1)
        ours.weight_decay = 0.5
        after = train(ours, weights, gradients)
        assert distance(after, train(expected, weights, gradients)) == 0
        assert ours.track_trust_ratios == track


@pytest.mark.parametrize("name", ["rmsprop", "lamb+"])
def test_an_unknown_solver_is_refused(name):
    with pytest.raises(ValueError) as refusal:
        solver(name)
    expected = f"no solver {name!r}; expected one of momentum, adagrad"
    assert expected in str(refusal.value)
    assert ("write 'lamb'" in str(refusal.value)) == (name == "lamb+")


# A step


@pytest.mark.parametrize("name", SOLVERS)
def test_scanned_steps_are_the_steps_that_keras_takes(name):
    optimizer, state, weights, gradients = built(name)
    run = jax.jit(through_all_steps(optimizer, gradients))
    assert_close(run(state, weights, RATES, DECAYS), by_keras(name, RATES, DECAYS))


@pytest.mark.parametrize("name", SOLVERS)
def test_mapped_trials_are_each_trial_alone(name):
    optimizer, state, weights, gradients = built(name)
    run = through_all_steps(optimizer, gradients)
    scales = np.array([0.5, 1.0, 2.0], "float32")
    mapped = jax.jit(jax.vmap(run, in_axes=(None, None, 0, 0)))(
        state, weights, np.outer(scales, RATES), np.outer(scales[::-1], DECAYS)
    )
    for i, (rate, decay) in enumerate(zip(scales, scales[::-1], strict=True)):
        alone = jax.jit(run)(state, weights, rate * RATES, decay * DECAYS)
        assert_close([w[i] for w in mapped], alone)


@pytest.mark.parametrize("name", SOLVERS)
def test_each_mapped_trial_has_its_own_gradient_shortened_to_global_clipnorm(name):
    clipping, state, weights, gradients = built(name, global_clipnorm=6.5)
    taking_all, *_ = built(name)
    lengths = [np.sqrt(sum(np.sum(np.square(g)) for g in each)) for each in gradients]

    def after(optimizer, gradients):
        run = through_all_steps(optimizer, gradients)
        return run(state, weights, RATES, DECAYS)

    def scaled(scales):
        return [[s * g for g in e] for s, e in zip(scales, gradients, strict=True)]

    scales = np.array([0.5, 1.0, 3.0], "float32")
    of_scale = jax.vmap(lambda scale: after(clipping, scaled([scale] * len(RATES))))
    mapped = jax.jit(of_scale)(scales)
    for i, scale in enumerate(scales):
        by_hand = scaled([min(scale, 6.5 / length) for length in lengths])
        assert_close([w[i] for w in mapped], after(taking_all, by_hand), rtol=1e-5)
    # Of the second, some steps are as they were, and others shorter.
    assert min(lengths) < 6.5 < max(lengths)
    unclipped = after(taking_all, gradients)
    assert not np.allclose(mapped[0][1], unclipped[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mapped", [False, True])
def test_adamw_takes_nothing_off_what_is_excluded(mapped):
    optimizer, state, weights, gradients = built(
        "adamw", exclude_from_weight_decay=["bias$", "gamma$"]
    )
    run = through_all_steps(optimizer, gradients)
    if mapped:
        rates, decays = np.stack([RATES, RATES]), np.stack([0 * DECAYS, DECAYS])
        run = jax.vmap(run, in_axes=(None, None, 0, 0))
        ours = [w[1] for w in jax.jit(run)(state, weights, rates, decays)]
    else:
        ours = jax.jit(run)(state, weights, RATES, DECAYS)
    whole, none = (by_keras("adamw", RATES, decays) for decays in (DECAYS, 0 * DECAYS))
    for path, *each in zip(problem()[0], ours, whole, none, strict=True):
        after, decayed, kept = each
        assert_close([after], [decayed if path.endswith("kernel") else kept])
        assert not np.allclose(decayed, kept, rtol=1e-3)


@pytest.mark.parametrize("name", SOLVERS)
def test_other_learning_rates_and_weight_decays_compile_nothing(name):
    optimizer, state, weights, gradients = built(name)
    traces = []

    @jax.jit
    def one_step(state, weights, learning_rate, weight_decay):
        traces.append(name)
        return step(
            optimizer, state, gradients[0], weights, learning_rate, weight_decay
        )[0]

    after = {
        (rate, decay): one_step(state, weights, np.float32(rate), np.float32(decay))
        for rate in (0.1, 0.2)
        for decay in (0.0, 0.5)
    }
    assert len(traces) == 1
    for rate in (0.1, 0.2):
        decayed, plain = after[rate, 0.5][0], after[rate, 0.0][0]
        assert np.any(np.asarray(decayed != plain)) == (name in names.DECAYING_SOLVERS)
    assert np.all(np.asarray(after[0.1, 0.0][0] != after[0.2, 0.0][0]))


def test_both_forms_of_adamw_are_one_program():
    weights, _ = problem()
    optimizer, state, start, gradients = built("adamw")
    run = jax.jit(through_all_steps(optimizer, gradients))
    decays = np.float32(0.3) * RATES
    kerass = keras.optimizers.AdamW(0.0, weight_decay=0.3, epsilon=1e-8)
    variables = make_variables(weights)
    kerass.build(variables)
    for rate, each in zip(RATES, gradients, strict=True):
        kerass.learning_rate = rate
        kerass.apply(each, variables)
    assert_close(run(state, start, RATES, decays), [np.asarray(v) for v in variables])


@pytest.mark.parametrize("name", SOLVERS)
def test_nothing_of_a_trace_stays_behind(name):
    optimizer, state, weights, gradients = built(name)
    before = {
        key: value for key, value in vars(optimizer).items() if key != "_variables"
    }
    values = [np.asarray(v) for v in optimizer.variables]
    with jax.checking_leaks():
        jax.jit(through_all_steps(optimizer, gradients))(state, weights, RATES, DECAYS)
        with pytest.raises(ValueError, match="gradients must match"):
            jax.jit(lambda d: step(optimizer, state, gradients[0][:1], weights, 1, d))(
                1
            )
    after = vars(optimizer)
    assert not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(after))
    assert all(after[key] is value for key, value in before.items())
    for variable, value in zip(optimizer.variables, values, strict=True):
        np.testing.assert_array_equal(variable, value)
