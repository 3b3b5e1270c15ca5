"""A user's solver steps as it does without us, and what can't is refused."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
from optax import contrib

from lamb_keras.optimizers import own, solvers
from lamb_keras.own import OwnError
from lamb_keras.training.step import Step, Task, initial_weights

MINE = """
import keras
import optax
from optax import contrib

def lion(learning_rate, weight_decay):
    return keras.optimizers.Lion(learning_rate, weight_decay=weight_decay)

def muon(learning_rate, weight_decay):
    return contrib.muon(learning_rate / 2, weight_decay=weight_decay)

def adam(learning_rate):
    return optax.adam(learning_rate)

def number(learning_rate):
    return 3

def scheduled(learning_rate):
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, 10)
    return keras.optimizers.SGD(schedule)

def third(learning_rate):
    return keras.optimizers.SGD(learning_rate / 3)

def derived(learning_rate):
    return keras.optimizers.SGD(learning_rate, momentum=1 - learning_rate)

def decays(learning_rate):
    return keras.optimizers.AdamW(learning_rate)

def ignores(learning_rate, weight_decay):
    return keras.optimizers.SGD(learning_rate)

def injected(learning_rate):
    return optax.inject_hyperparams(optax.adam)(learning_rate=learning_rate)

def branches(learning_rate):
    return optax.sgd(learning_rate) if learning_rate > 1 else optax.adam(learning_rate)

def fails(learning_rate):
    raise RuntimeError("no such thing")
"""
RATES, DECAYS = [0.01, 0.03, 0.002], [0.1, 0.1, 0.1]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes the optimizer of a function of `MINE`."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)

    def made(name, *tuned):
        return own.optimizer(
            {"function": f"mine.py:{name}"}
            | {number: [0.1] for number in ("learning_rate", *tuned)}
        )

    return made


def variables():
    random = np.random.default_rng(0)
    shapes = {"kernel": (3, 4), "bias": (4,)}
    return [keras.Variable(random.normal(size=shapes[n]), name=n) for n in shapes]


def gradients(step):
    random = np.random.default_rng(step + 1)
    return [jnp.asarray(random.normal(size=s), "float32") for s in ((3, 4), (4,))]


def stepped(optimizer, rates=RATES):
    """The weights after steps in one compiled program."""
    built = variables()
    weights = [variable.value for variable in built]
    optimizer.build(built)
    state = [variable.value for variable in optimizer.variables]
    take = jax.jit(
        lambda state, found, weights, rate, decay: solvers.step(
            optimizer, state, found, weights, rate, decay
        )
    )
    for number, (rate, decay) in enumerate(zip(rates, DECAYS, strict=True)):
        weights, state = take(state, gradients(number), weights, rate, decay)
    assert take._cache_size() == 1
    return weights


def test_a_keras_optimizer_steps_with_each_steps_numbers(made):
    weights = variables()
    theirs = keras.optimizers.Lion(0.1, weight_decay=0.1)
    for number, rate in enumerate(RATES):
        theirs.learning_rate = rate
        theirs.apply(gradients(number), weights)
    ours = stepped(made("lion", "weight_decay"))
    for one, two in zip(ours, weights, strict=True):
        np.testing.assert_allclose(one, two.value, rtol=1e-6)


def test_an_optax_transformation_is_made_of_each_steps_numbers(made):
    weights = {variable.path: variable.value for variable in variables()}
    state = contrib.muon(0.1, weight_decay=0.1).init(weights)
    for number, rate in enumerate(RATES):
        theirs = contrib.muon(rate / 2, weight_decay=0.1)
        found = dict(zip(("kernel", "bias"), gradients(number), strict=True))
        updates, state = theirs.update(found, state, weights)
        weights = optax.apply_updates(weights, updates)
    ours = stepped(made("muon", "weight_decay"))
    for one, two in zip(ours, (weights["kernel"], weights["bias"]), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_trials_of_different_numbers_are_one_vmap(made):
    optimizer = made("adam")
    optimizer.build(variables())
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    step = Step(Task(model), optimizer)
    state = step.start(initial_weights(model))
    together = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), state)
    rates = np.array([0.1, 0.2], "float32")
    moved = jax.vmap(step.apply, (0, None, 0, None))(together, gradients(0), rates, 0.0)
    for index, rate in enumerate(rates):
        alone = step.apply(state, gradients(0), rate, 0.0)
        for one, two in zip(
            jax.tree.leaves(alone), jax.tree.leaves(moved), strict=True
        ):
            np.testing.assert_allclose(one, two[index], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "tuned", "sentence"),
    [
        ("number", (), "returns int, expected a Keras optimizer or an optax"),
        ("scheduled", (), "its optimizer has a schedule, expected the number as it is"),
        ("third", (), "given learning_rate 0.0625 and its optimizer has 0.0208333"),
        ("derived", (), "derives momentum from the numbers of its grid"),
        ("decays", (), "has a weight_decay of 0.004, which its grid does not state"),
        ("ignores", ("weight_decay",), "weight_decay 0.03125 and its optimizer has N"),
        ("injected", (), "keeps the numbers of its grid in its state"),
        ("branches", (), "cannot be compiled: mine.py:branches fails, called as"),
        ("fails", (), "called as fails(learning_rate): RuntimeError: no such thing"),
        (
            "adam",
            ("weight_decay",),
            "got an unexpected keyword argument 'weight_decay'",
        ),
    ],
)
def test_what_cannot_be_stepped_is_one_sentence(made, name, tuned, sentence):
    with pytest.raises(OwnError) as caught:
        made(name, *tuned)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_two_weights_of_one_path_are_refused(made):
    weights = [keras.Variable(np.ones(2), name="same") for _ in range(2)]
    with pytest.raises(OwnError, match="two weights of the net have one path"):
        made("adam").build(weights)
