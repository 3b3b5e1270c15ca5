import pytest

from lamb_keras import experiments
from lamb_keras.experiments import ParameterError, validate
from lamb_keras.experiments.image import ImageExperiment

TABLE_7 = {
    **{"notebook": "lenet_mnist", "table": 7, "scale": "laptop", "dataset": "digits"},
    **{"solvers": ["adam", "lamb"], "learning_rates": [0.001], "weight_decay": 0.01},
    **{"learning_rate_multiplier": {"adam": 2.0, "lamb": 3.0}, "epochs": 30},
    **{"batch_size": 1024, "l2_regularization": [0.0, 0.1], "seeds": [0]},
    **{"validation_fraction": 0.1},
}
LION = {"function": "mine.py:lion", "learning_rate": [0.1, 0.2], "weight_decay": [0.5]}


def test_a_users_solver_tries_its_own_grid_alone():
    given = {**TABLE_7, "own_solvers": {"lion": LION}}
    trials = [t for t in ImageExperiment(**given).trials() if t.solver == "lion"]
    assert [(t.learning_rate, t.weight_decay) for t in trials] == [
        (0.1, 0.5),
        (0.2, 0.5),
    ]
    assert {(t.l2_regularization, t.weight_decay_form) for t in trials} == {(0.0, None)}
    assert (
        experiments.count_trials(given) == len(ImageExperiment(**given).trials()) == 6
    )


def test_what_a_table_sets_by_solver_a_users_has_as_lamb():
    experiment = ImageExperiment(**TABLE_7, own_solvers={"lion": LION})
    rate = experiment.peak_learning_rate(experiment.trials()[-1])
    assert rate == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"own_solvers": {"lamb": LION}}, "has lamb, which is one of the paper's"),
        ({"own_solvers": {"a b": LION}}, "has the text 'a b', expected a name of"),
        ({"own_solvers": {"a": LION | {"learning_rate": 1.0}}}, "expected a list; wri"),
        ({"own_solvers": {"a": LION | {"learning_rate": [-1.0]}}}, "a number above 0"),
        ({"own_solvers": {"a": LION | {"beta": [1]}}}, "[a][beta] is [1], expected no"),
        ({"own_solvers": {"a": "there.py:a"}}, "there is no file there.py"),
        ({"notebook": "lenet"}, "did you mean lenet_mnist?"),
        ({"table": 26}, "lenet_mnist does not fill table 26, expected 7"),
    ],
)
def test_what_is_none_is_one_sentence(changes, sentence):
    with pytest.raises(ParameterError) as caught:
        validate({**TABLE_7, **changes})
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_of_ones_own_has_a_notebook_of_ones_own():
    given = {**TABLE_7, "notebook": "mine", "table": 26, "dataset": "mine.py:load"}
    assert validate(given)["notebook"] == "mine"
