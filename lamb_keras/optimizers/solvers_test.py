import keras
import numpy as np
import pytest

from lamb_keras import parameters
from lamb_keras.optimizers.solvers import SOLVERS, solver
from lamb_keras.training.experiment import DECAYING_SOLVERS


def test_every_solver_that_parameters_may_name_can_be_made():
    assert tuple(SOLVERS) == parameters.SOLVERS


@pytest.mark.parametrize("name", SOLVERS)
def test_weight_decay_reaches_exactly_the_solvers_that_have_one(name):
    after = []
    for weight_decay in (0.0, 0.5):
        weight = keras.Variable([1.0, -2.0])
        optimizer = solver(name, weight_decay)
        optimizer.build([weight])
        optimizer.learning_rate = 0.1
        optimizer.apply([keras.ops.array([1.0, 1.0])], [weight])
        after.append(np.asarray(weight))
    assert np.any(after[0] != after[1]) == (name in DECAYING_SOLVERS)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_waits_for_its_learning_rate(name):
    weight = keras.Variable([1.0, -2.0])
    solver(name, 0.01).apply([keras.ops.array([1.0, 1.0])], [weight])
    np.testing.assert_array_equal(weight, [1.0, -2.0])


def test_an_unknown_solver_is_refused():
    with pytest.raises(
        ValueError, match="'rmsprop'; expected one of momentum, adagrad"
    ):
        solver("rmsprop", 0.01)
