import math
from datetime import date

import numpy as np
import pytest
import yaml

from lamb_keras.experiments import (
    NOTEBOOKS,
    SOLVERS,
    VOCABULARY,
    ParameterError,
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
    "weight_decay_form": "times_learning_rate",
    "batch_size": 1024,
    "batch_divisor": 16,
    "epochs": 30,
    "warmup_epochs": 1,
    "decay_power": 1.0,
    "seeds": [0, 1, 2, 3, 4],
    "validation_fraction": 0.1,
}

TABLE_5 = {
    "notebook": "resnet50_imagenet",
    "table": 5,
    "scale": "paper",
    "dataset": "imagenet",
    "solvers": ["lamb", "momentum+"],
    "learning_rates": {"lamb": [0.04], "momentum+": 6.4},
    "weight_decay": {"lamb": [1.5, 0.1]},
    "weight_decay_form": ["per_step", "times_learning_rate"],
    "published_steps": 7038,
    "l2_regularization": {"lamb": 0.0, "momentum+": 0.0001},
    "label_smoothing": 0.1,
    "batch_size": [512, 32768],
    "base_batch_size": 32768,
    "batch_divisor": 1,
    "epochs": 90,
    "epochs_divisor": 1.0,
    "warmup_epochs": 20.0,
    "decay_power": 1.0,
    "nesterov": True,
    "exclude_from_weight_decay": ["gamma$", "beta$"],
    "global_clipnorm": 1.0,
    "augmentations": ["crop", "flip"],
    "width": 64,
    "blocks": [3, 4, 6, 3],
    "dtype_policy": "mixed_bfloat16",
    "seeds": [0],
    "validation_fraction": 0.01,
}

TABLE_1 = {
    "notebook": "bert_squad",
    "table": 1,
    "scale": "laptop",
    "dataset": "encyclopedia",
    "articles": 1500,
    "question_articles": 200,
    "dev_articles": 60,
    "dev_fraction": 0.1,
    "vocab_size": 1000,
    "vocabulary": None,
    "sequence_lengths": [32, 64],
    "layers": 2,
    "width": 64,
    "heads": 2,
    "dropout": 0.0,
    "preset": None,
    "dtype_policy": "float32",
    "masking_rate": 0.15,
    "solvers": ["adamw", "lamb"],
    "learning_rates": {"adamw": [0.0001], "lamb": [0.005]},
    "learning_rate_multiplier": {"adamw": 3.0, "lamb": 1.0},
    "weight_decay": 0.01,
    "weight_decay_form": "times_learning_rate",
    "exclude_from_weight_decay": ["bias$", "gamma$", "beta$"],
    "global_clipnorm": 1.0,
    "packed_update": False,
    "batch_size": {"adamw": 512, "lamb": "65536/32768"},
    "base_batch_size": {"adamw": 512, "lamb": 32768},
    "warmup_fraction": {"adamw": 0.01, "lamb": 0.2},
    "decay_power": 1.0,
    "sequences": 512_000_000,
    "second_stage": 0.1,
    "mixed_steps": [7037, 1562],
    "batch_divisor": 128,
    "steps_divisor": 195.3125,
    "micro_batch_size": 32,
    "looks": 8,
    "seeds": [0],
    "validation_fraction": 0.05,
    "finetuning_learning_rate": 0.001,
    "finetuning_batch_size": 16,
    "finetuning_epochs": 2,
    "finetuning_warmup": 0.1,
    "finetuning_seeds": [0, 1, 2],
    "document_stride": 16,
    "max_question_length": 24,
}


def of_bert(**changes):
    """The sentence by which BERT's parameters are refused with these changes."""
    with pytest.raises(ParameterError) as caught:
        validate({**TABLE_1, **changes})
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.count(". ") == 0
    return sentence


def refusal(source=None, known=None, **changes):
    with pytest.raises(ParameterError) as caught:
        validate({**TABLE_7, **changes}, known=known, source=source)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_the_parameters_of_table_7_are_valid_and_stay_what_they_are():
    assert validate(TABLE_7) == TABLE_7


def test_every_parameter_there_is_stays_what_it_is():
    assert validate(TABLE_5) == TABLE_5
    assert validate(TABLE_1) == TABLE_1
    assert {*TABLE_5, *TABLE_1} == set(VOCABULARY)


def test_a_misspelt_name_is_answered_with_the_nearest_right_one():
    sentence = refusal(learning_rte=0.5)
    assert "learning_rte" in sentence
    assert "did you mean learning_rates?" in sentence


def test_a_name_the_notebook_does_not_have_is_unknown_though_the_vocabulary_has_it():
    with pytest.raises(ParameterError, match="unknown parameter seeds"):
        validate({"epochs": 3, "seeds": [0]}, known=["epochs"])


def test_a_name_that_is_like_no_other_is_answered_with_all_names():
    assert "epochs, epochs_divisor, warmup_epochs" in refusal(zzz=1)


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


def test_a_number_in_a_list_of_one_solver_that_yaml_read_as_text_is_found():
    sentence = refusal(learning_rates={"adam": [0.1], "lamb": [0.1, "1e-3"]})
    assert "learning_rates[lamb][1] is the text '1e-3'" in sentence
    assert "write 0.001 or 1.0e-3" in sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("published_steps", None),
        ("base_batch_size", None),
        ("global_clipnorm", None),
        ("exclude_from_weight_decay", []),
        ("augmentations", []),
        ("decay_power", 0.0),
        ("label_smoothing", 0.0),
        ("blocks", [1, 1, 1, 1]),
        ("solvers", ["adamw", "adamw+"]),
        ("learning_rates", {"momentum": 0.4, "lamb": [0.01, 0.02]}),
        ("weight_decay_form", ["times_learning_rate"]),
    ],
)
def test_a_value_that_looks_odd_but_has_a_meaning_is_kept(name, value):
    assert validate({name: value}) == {name: value}


def test_a_grid_by_solver_must_have_every_solver_that_uses_it():
    rates = {"momentum": [0.1], "adam": [0.1]}
    sentence = refusal(solvers=["adam", "lamb"], learning_rates=rates)
    assert sentence == (
        "learning_rates is set for momentum, adam, expected lamb as well, "
        "which is one of the solvers; add lamb: and its values"
    )
    assert "expected adam+ as well" in refusal(solvers=["adam+"], learning_rates=rates)
    decays = {"adamw+": [0.1]}
    assert validate({"solvers": ["adam", "adamw+"], "weight_decay": decays})
    assert "expected lars as well" in refusal(solvers=["lars"], weight_decay=decays)


def test_a_grid_may_have_solvers_that_this_run_leaves_out():
    rates = {"momentum": [0.1], "adam": [0.1]}
    assert validate({"solvers": ["adam"], "learning_rates": rates})


def test_a_grid_by_solver_with_an_unknown_one_is_answered_with_the_nearest():
    sentence = refusal(learning_rates={"lmb": [0.1]})
    assert sentence == (
        "learning_rates is set for lmb, expected solvers that use it; "
        "did you mean lamb?"
    )
    assert "did you mean lamb+?" in refusal(learning_rates={"LAMB+": [0.1]})
    assert "is set for '3', expected" in refusal(learning_rates={3: [0.1]})


def test_a_grid_by_solver_with_one_that_does_not_use_it_is_refused():
    assert refusal(weight_decay={"lamb": 0.1, "adam+": 0.1}) == (
        "weight_decay is set for adam+, expected solvers that use it; "
        "leave adam+ out, which does not"
    )


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
        ("decay_power", -1, "decay_power is -1"),
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
        ("learning_rates", {}, "learning_rates is an empty mapping"),
        ("learning_rates", {"lamb": []}, "learning_rates[lamb] is an empty list"),
        ("learning_rates", {"lamb": 0}, "learning_rates[lamb] is 0"),
        ("learning_rates", {"lamb": [1, 1]}, "learning_rates[lamb][1] is 1"),
        ("learning_rates", {"lamb": {"adam": 1}}, "learning_rates[lamb] is {'adam'"),
        ("weight_decay", [0.1, -1], "weight_decay[1] is -1"),
        ("weight_decay", None, "weight_decay is empty"),
        ("weight_decay_form", "keras", "weight_decay_form is the text 'keras'"),
        ("weight_decay_form", ["per_step"] * 2, "weight_decay_form[1] is the text"),
        ("published_steps", 0, "published_steps is 0"),
        ("published_steps", 0.5, "published_steps is 0.5"),
        ("l2_regularization", {"adam+": -1}, "l2_regularization[adam+] is -1"),
        ("label_smoothing", 1, "label_smoothing is 1"),
        ("label_smoothing", -0.1, "label_smoothing is -0.1"),
        ("batch_size", [64, 0], "batch_size[1] is 0"),
        ("batch_size", [64, 64], "batch_size[1] is 64"),
        ("batch_size", {"lamb": 64}, "batch_size is {'lamb': 64}"),
        ("batch_size", "512", "write 512 without quotes"),
        ("batch_size", "64/0", "batch_size is the text '64/0'"),
        ("batch_size", "64/32/16", "batch_size is the text '64/32/16'"),
        ("batch_size", "64/64", "write 64, which is for both stages"),
        ("batch_size", "64/32", "lenet_mnist trains in one stage"),
        ("base_batch_size", {"lamb": [1]}, "base_batch_size[lamb] is [1]"),
        ("base_batch_size", dict.fromkeys(SOLVERS, 1), "of lenet_mnist, or null"),
        ("base_batch_size", 0, "base_batch_size is 0"),
        ("batch_divisor", None, "batch_divisor is empty"),
        ("epochs_divisor", 0.5, "epochs_divisor is 0.5"),
        ("nesterov", 1, "nesterov is 1, expected true or false"),
        ("nesterov", "yes", "nesterov is the text 'yes'"),
        ("exclude_from_weight_decay", "gamma", "write [gamma]"),
        ("exclude_from_weight_decay", ["("], "; missing ), unterminated subpattern"),
        ("exclude_from_weight_decay", [""], "exclude_from_weight_decay[0] is the"),
        ("global_clipnorm", 0, "global_clipnorm is 0"),
        ("augmentations", ["crop", "flop"], "did you mean flip?"),
        ("width", 0, "width is 0"),
        ("blocks", [], "blocks is an empty list"),
        ("blocks", [3, 0], "blocks[1] is 0"),
        ("dtype_policy", "bfloat16", "did you mean mixed_bfloat16?"),
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
    sentence = refusal(notebook="resnet50_imagenet")
    assert "resnet50_imagenet does not fill table 7, expected 3, 5, 9, 10" in sentence
    assert "expected 1, 2, 4, 8" in refusal(notebook="bert_squad")
    assert "the text 'gpt_squad'" in refusal(notebook="gpt_squad")


def test_a_divisor_that_leaves_no_image_in_a_step_is_refused():
    assert "leaves no image in a step" in refusal(batch_size=15)
    assert validate({"batch_size": 16, "batch_divisor": 16})
    assert "batch_size 8, which leaves no image" in refusal(batch_size=[32, 8, 16])


def test_a_warmup_as_long_as_the_training_is_refused():
    assert "choose fewer warmup_epochs" in refusal(epochs=1)


def test_the_warmup_of_the_largest_batch_must_leave_something_too():
    warmup = {"epochs": 90, "warmup_epochs": 20, "base_batch_size": 32768}
    assert validate({**warmup, "batch_size": [512, 32768]})
    sentence = refusal(**warmup, batch_size=[65536, 512, 262144])
    assert "warmup_epochs is 160 at batch_size 262144 and epochs 90" in sentence


def test_a_training_of_less_than_one_epoch_is_refused():
    assert validate({"epochs": 30, "epochs_divisor": 30})
    sentence = refusal(epochs_divisor=30.5)
    assert "epochs_divisor is 30.5 and epochs 30, which leaves less than" in sentence


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
    for changes in ({"dataset": HOSTILE}, {"solvers": [HOSTILE]}):
        assert len(refusal(**changes)) < 300
    known = ["epochs", "seeds"]
    with pytest.raises(ParameterError, match=f"there are: {', '.join(known)}$") as it:
        validate({HOSTILE: 1}, known=known)
    assert len(str(it.value)) < 300
    for grid in ({HOSTILE: [1]}, {"lamb": HOSTILE}, {"lamb": [HOSTILE]}):
        assert len(refusal(learning_rates=grid)) < 300


def test_a_parameter_that_only_the_notebook_knows_keeps_the_type_of_its_default():
    known = {"message": "hello", "heads": 8, "momentum": 0.9, "anything": None}
    given = {"message": HOSTILE, "heads": 16, "momentum": 1, "anything": [1]}
    assert validate(given, known=known) == given
    wrong = {"message": 3, "heads": 1.5, "momentum": "1e-3", "anything": {date.today()}}
    for name, value in wrong.items():
        with pytest.raises(ParameterError, match=f"{name} is .* expected "):
            validate({name: value}, known=known)


def test_every_notebook_of_the_vocabulary_fills_tables_of_the_paper():
    for notebook in NOTEBOOKS.values():
        assert notebook.datasets
        assert set(notebook.tables) <= set(range(1, 26))


# BERT's own


@pytest.mark.parametrize(
    ("name", "value", "received"),
    [
        ("articles", -1, "articles is -1"),
        ("vocab_size", 29, "vocab_size is 29, expected a whole number of at least 30"),
        ("vocabulary", "", "vocabulary is the text ''"),
        ("sequence_lengths", [32], "give two, not 1"),
        ("sequence_lengths", [32, 15], "sequence_lengths[1] is 15"),
        ("sequence_lengths", 32, "write [32]"),
        ("dropout", 1, "dropout is 1"),
        ("masking_rate", 0, "masking_rate is 0"),
        ("warmup_fraction", 1, "warmup_fraction is 1"),
        ("warmup_fraction", [0.1, 0.1], "warmup_fraction[1] is 0.1"),
        ("mixed_steps", [7037, 0], "mixed_steps[1] is 0"),
        ("steps_divisor", 0.5, "steps_divisor is 0.5"),
        ("looks", 1, "looks is 1, expected a whole number of at least 2"),
        ("second_stage", 1, "second_stage is 1"),
        ("learning_rate_multiplier", {"lamb": 0}, "learning_rate_multiplier[lamb]"),
        ("finetuning_epochs", 0, "finetuning_epochs is 0"),
        ("finetuning_seeds", [0, 0], "finetuning_seeds[1] is 0"),
        ("dataset", "digits", "there are: encyclopedia, books, wikipedia"),
        ("learning_rate_multiplier", {"lamb": 2}, "expected adamw as well"),
        ("base_batch_size", {"adamw": 512}, "expected lamb as well"),
        ("batch_size", {"lamb": 512}, "expected adamw as well"),
        ("warmup_fraction", {"lamb": 0.2}, "expected adamw as well"),
    ],
)
def test_an_impossible_value_of_bert_is_named_with_what_was_expected(
    name, value, received
):
    sentence = of_bert(**{name: value})
    assert received in sentence
    assert "expected" in sentence or name == "dataset"


def test_a_mixed_batch_may_be_one_of_several_and_has_spaces_left_out():
    batches = [512, "65536 / 32768"]
    given = {**TABLE_1, "batch_size": batches, "base_batch_size": None}
    assert validate(given)["batch_size"] == [512, "65536/32768"]


def test_heads_share_the_width():
    assert "width is 64 and heads 3, expected a multiple" in of_bert(heads=3)


def test_the_second_stages_sequences_are_no_shorter():
    sentence = of_bert(sequence_lengths=[64, 32])
    assert "sequence_lengths is [64, 32]" in sentence and "write [32, 64]" in sentence
    assert validate({**TABLE_1, "sequence_lengths": [64, 64]})


@pytest.mark.parametrize("name", ["articles", "question_articles", "dev_articles"])
def test_a_generated_text_without_articles_is_refused(name):
    assert f"{name} is 0, expected at least 1" in of_bert(**{name: 0})
    assert validate({**TABLE_1, "dataset": "books", name: 0})


def test_a_step_of_no_sequence_is_refused():
    sentence = of_bert(batch_divisor=1024)
    assert "batch_size 512, which leaves no sequence in a step" in sentence


def test_a_batch_must_be_a_multiple_of_its_micro_batch_or_be_one_itself():
    sentence = of_bert(micro_batch_size=96)
    assert "a step of batch_size 65536 has 512 sequences" in sentence
    assert validate({**TABLE_1, "micro_batch_size": 512})
    # The second stage's batch counts too.
    sentence = of_bert(batch_size="65536/49152", micro_batch_size=256)
    assert "a step of batch_size 49152 has 384 sequences" in sentence


def test_a_warmup_that_leaves_nothing_is_refused():
    sentence = of_bert(base_batch_size={"adamw": 512, "lamb": 8192})
    assert (
        "warmup_fraction is 0.2 for base_batch_size 8192, which is 1.6 of the steps at "
        "batch_size 65536 and leaves nothing"
    ) in sentence
    assert validate({**TABLE_1, "base_batch_size": None})


def test_a_training_too_short_for_two_stages_is_refused():
    sentence = of_bert(batch_size=32768, steps_divisor=2000, looks=2)
    assert "leaves 8 steps at batch_size 32768 and none of them to the" in sentence
    short = {"batch_size": 32768, "steps_divisor": 2000, "looks": 2}
    assert validate({**TABLE_1, **short, "second_stage": 0.0})


def test_there_are_no_more_looks_than_steps():
    sentence = of_bert(looks=45)
    assert "looks is 45, expected at most the 44 steps at batch_size 65536/" in sentence
    assert validate({**TABLE_1, "looks": 44})


def test_a_second_mixed_batch_is_refused():
    sentence = of_bert(batch_size=["65536/32768", "32768/16384"])
    assert "batch_size has 65536/32768 and 32768/16384, expected one" in sentence


def test_windows_that_would_leave_text_out_are_refused():
    assert validate({**TABLE_1, "document_stride": 64 - 3 - 24})
    sentence = of_bert(document_stride=64 - 3 - 24 + 1)
    assert "document_stride is 38, expected at most the 37 tokens" in sentence


def test_a_part_of_berts_parameters_is_checked_as_far_as_it_goes():
    for name, value in TABLE_1.items():
        given = {"notebook": "bert_squad", name: value}
        assert validate(given) == given
