import math
from datetime import date

import numpy as np
import pytest
import yaml

from lamb_keras.parameters import (
    NOTEBOOKS,
    SOLVERS,
    VOCABULARY,
    ParameterError,
    trials,
    validate,
)

TABLE_7 = {
    "notebook": "lenet_mnist",
    "table": 7,
    "scale": "laptop",
    "dataset": "digits",
    "solvers": ["momentum", "adagrad", "adam", "adamw", "lamb"],
    "learning_rates": [0.0001, 0.001, 0.01, 0.1],
    "weight_decay": 0.01,
    "batch_size": 1024,
    "batch_divisor": 16,
    "epochs": 30,
    "warmup_epochs": 1,
    "decay_power": 1.0,
    "seeds": [0, 1, 2, 3, 4],
    "validation_fraction": 0.1,
}


def refusal(source=None, known=None, **changes):
    with pytest.raises(ParameterError) as caught:
        validate({**TABLE_7, **changes}, known=known, source=source)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_the_parameters_of_table_7_are_valid_and_stay_what_they_are():
    assert validate(TABLE_7) == TABLE_7


def test_the_vocabulary_knows_every_parameter_of_table_7():
    assert set(TABLE_7) == set(VOCABULARY)


def test_a_misspelt_name_is_answered_with_the_nearest_right_one():
    sentence = refusal(learning_rte=0.5)
    assert "learning_rte" in sentence
    assert "did you mean learning_rates?" in sentence


def test_a_name_the_notebook_does_not_have_is_unknown_though_the_vocabulary_has_it():
    with pytest.raises(ParameterError, match="unknown parameter seeds"):
        validate({"epochs": 3, "seeds": [0]}, known=["epochs"])


def test_a_name_that_is_like_no_other_is_answered_with_all_names():
    assert "epochs, warmup_epochs" in refusal(zzz=1)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1e-3", "0.001 or 1.0e-3"),
        ("1E-3", "0.001 or 1.0e-3"),
        ("2.5e4", "25000.0 or 2.5e+4"),
        ("1e-7", "1.0e-7"),
    ],
)
def test_a_number_that_yaml_read_as_text_says_how_to_write_it(text, written):
    assert isinstance(yaml.safe_load(text), str)
    sentence = refusal(weight_decay=text)
    assert f"YAML reads {text} as text, so write {written}" in sentence
    for cure in written.split(" or "):
        assert yaml.safe_load(cure) == float(text)


def test_a_number_in_a_list_that_yaml_read_as_text_is_found():
    sentence = refusal(learning_rates=[0.1, "1e-3"])
    assert "learning_rates[1] is the text '1e-3'" in sentence
    assert "write 0.001 or 1.0e-3" in sentence


def test_a_misspelt_name_with_a_number_read_as_text_says_both():
    sentence = refusal(learning_rate="1e-3")
    assert "did you mean learning_rates?" in sentence
    assert "YAML reads 1e-3 as text, so write 0.001" in sentence


def test_a_quoted_number_says_to_drop_the_quotes():
    assert "write 30 without quotes" in refusal(epochs="30")


@pytest.mark.parametrize(
    ("name", "value", "received"),
    [
        ("batch_size", -1024, "batch_size is -1024, expected a whole number"),
        ("batch_size", 0, "batch_size is 0"),
        ("batch_size", 10.5, "batch_size is 10.5"),
        ("batch_size", True, "batch_size is True"),
        ("batch_size", None, "batch_size is empty"),
        ("epochs", 0, "epochs is 0, expected a whole number of at least 1"),
        ("weight_decay", -0.1, "weight_decay is -0.1"),
        ("weight_decay", math.nan, "weight_decay is nan"),
        ("decay_power", 0, "decay_power is 0"),
        ("warmup_epochs", -1, "warmup_epochs is -1"),
        ("validation_fraction", 1, "validation_fraction is 1"),
        ("validation_fraction", 0, "validation_fraction is 0"),
        ("learning_rates", [], "learning_rates is an empty list"),
        ("learning_rates", [0.1, 0], "learning_rates[1] is 0"),
        ("learning_rates", [-0.1], "learning_rates[0] is -0.1"),
        ("learning_rates", [math.inf], "learning_rates[0] is inf"),
        ("learning_rates", [0.1, 0.1], "learning_rates[1] is 0.1"),
        ("learning_rates", 0.1, "write [0.1]"),
        ("seeds", [0, 1, 0], "seeds[2] is 0"),
        ("seeds", [-1], "seeds[0] is -1"),
        ("seeds", [0.5], "seeds[0] is 0.5"),
        ("seeds", [2**32], "seeds[0] is 4294967296"),
        ("solvers", [], "solvers is an empty list"),
        ("solvers", ["adam", 3], "solvers[1] is 3"),
        ("solvers", "lamb", "write [lamb]"),
        ("table", 26, "table is 26, expected the number of a table, 1 to 25"),
        ("scale", "", "scale is the text ''"),
        ("epochs", {"a": 1}, "epochs is {'a': 1}"),
    ],
)
def test_an_impossible_value_is_named_with_what_was_expected(name, value, received):
    sentence = refusal(**{name: value})
    assert received in sentence
    assert "expected" in sentence


def test_an_unknown_solver_is_answered_with_the_nearest_right_one():
    assert "did you mean adagrad?" in refusal(solvers=["addgrad"])
    assert "did you mean lamb?" in refusal(solvers=["LAMB"])
    assert ", ".join(SOLVERS) in refusal(solvers=["sgd"])


def test_an_unknown_dataset_is_answered_with_those_of_the_notebook():
    assert "did you mean mnist?" in refusal(dataset="minst")
    assert "there are: digits, mnist" in refusal(dataset="imagenet")


def test_a_table_made_for_another_notebook_is_refused():
    assert "lenet_mnist does not fill table 11, expected 7" in refusal(table=11)
    assert "'resnet50_imagenet'" in refusal(notebook="resnet50_imagenet")


def test_a_divisor_that_leaves_no_image_in_a_step_is_refused():
    assert "leaves no image in a step" in refusal(batch_size=15)
    assert validate({"batch_size": 16, "batch_divisor": 16})


def test_a_warmup_as_long_as_the_training_is_refused():
    assert "choose fewer warmup_epochs" in refusal(epochs=1)


def test_a_refusal_says_where_the_value_came_from():
    files = {"epochs": "params/tables/table07.yaml"}
    assert refusal(files, epochs=0).startswith("params/tables/table07.yaml: epochs")


def test_a_contradiction_points_at_the_command_line_where_that_had_the_last_word():
    source = {"batch_divisor": "params/scales/laptop/lenet_mnist.yaml"}
    assert refusal(source, batch_size=8).startswith("params/scales")
    source["batch_size"] = "--set"
    assert refusal(source, batch_size=8).startswith("--set: batch_divisor")


def test_whole_numbers_become_floats_only_where_a_real_number_is_meant():
    valid = validate({"learning_rates": [1], "epochs": 3, "weight_decay": 0})
    assert repr(valid) == repr(
        {"learning_rates": [1.0], "epochs": 3, "weight_decay": 0.0}
    )


def test_numpy_scalars_become_plain_numbers():
    valid = validate({"learning_rates": (np.float32(0.5),), "epochs": np.int64(3)})
    assert valid == {"learning_rates": [0.5], "epochs": 3}
    assert type(valid["learning_rates"][0]) is float and type(valid["epochs"]) is int


def test_validation_leaves_what_it_was_given_alone():
    given = {"learning_rates": [1], "seeds": [0]}
    validate(given)["seeds"].append(7)
    assert given == {"learning_rates": [1], "seeds": [0]}


HOSTILE = "'; \"\n__import__('os').system('x') <script>" * 9


def test_a_hostile_string_stays_inside_its_one_sentence():
    for changes in ({"dataset": HOSTILE}, {"solvers": [HOSTILE]}, {HOSTILE: 1}):
        assert len(refusal(**changes)) < 300


def test_a_parameter_that_only_the_notebook_knows_keeps_the_type_of_its_default():
    known = {"message": "hello", "width": 8, "momentum": 0.9, "anything": None}
    given = {"message": HOSTILE, "width": 16, "momentum": 1, "anything": [1]}
    assert validate(given, known=known) == given
    wrong = {"message": 3, "width": 1.5, "momentum": "1e-3", "anything": {date.today()}}
    for name, value in wrong.items():
        with pytest.raises(ParameterError, match=f"{name} is .* expected "):
            validate({name: value}, known=known)


def test_a_run_has_a_trial_for_every_solver_learning_rate_and_seed():
    assert trials(TABLE_7) == 100


def test_every_notebook_of_the_vocabulary_fills_tables_of_the_paper():
    for notebook in NOTEBOOKS.values():
        assert notebook.datasets
        assert set(notebook.tables) <= set(range(1, 26))
