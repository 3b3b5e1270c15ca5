import math
from datetime import date

import numpy as np
import pytest
import yaml

from lamb_keras.experiments import VOCABULARY, ParameterError, validate
from lamb_keras.names import SOLVERS

TABLE_7 = yaml.safe_load("""
{notebook: lenet_mnist, table: 7, scale: laptop, dataset: digits,
solvers: [momentum, adagrad, adam, adamw, lamb],
learning_rates: [0.0001, 0.001, 0.01, 0.1],
weight_decay: 0.01, weight_decay_form: times_learning_rate,
batch_size: 1024, batch_divisor: 16, epochs: 30, warmup_epochs: 1, decay_power: 1.0,
seeds: [0, 1, 2, 3, 4], validation_fraction: 0.1}
""")

TABLE_5 = yaml.safe_load("""
{notebook: resnet50_imagenet, table: 5, scale: paper, dataset: imagenet,
solvers: [lamb, momentum+], learning_rates: {lamb: [0.04], momentum+: 6.4},
weight_decay: {lamb: [1.5, 0.1]}, weight_decay_form: [per_step, times_learning_rate],
published_steps: 7038, l2_regularization: {lamb: 0.0, momentum+: 0.0001},
label_smoothing: 0.1, batch_size: [512, 32768], base_batch_size: 32768,
batch_divisor: 1, epochs: 90, epochs_divisor: 1.0, warmup_epochs: 20.0,
decay_power: 1.0, nesterov: true, exclude_from_weight_decay: [gamma$, beta$],
global_clipnorm: 1.0, augmentations: [crop, flip], width: 64, blocks: [3, 4, 6, 3],
dtype_policy: mixed_bfloat16, seeds: [0], confirmation_seeds: [1, 2],
image_size: null, training_images: null, validation_fraction: 0.01}
""")

TABLE_1 = yaml.safe_load("""
{notebook: bert_squad, table: 1, scale: laptop, dataset: encyclopedia, articles: 1500,
question_articles: 200, dev_articles: 60, dev_fraction: 0.1, vocab_size: 1000,
vocabulary: null, sequence_lengths: [32, 64], layers: 2, width: 64, heads: 2,
dropout: 0.0, preset: null, dtype_policy: float32, masking_rate: 0.15,
solvers: [adamw, lamb], learning_rates: {adamw: [0.0001], lamb: [0.005]},
learning_rate_multiplier: {adamw: 3.0, lamb: 1.0}, weight_decay: 0.01,
weight_decay_form: times_learning_rate,
exclude_from_weight_decay: [bias$, gamma$, beta$],
global_clipnorm: 1.0, packed_update: false,
batch_size: {adamw: 512, lamb: 65536/32768}, base_batch_size: {adamw: 512, lamb: 32768},
warmup_fraction: {adamw: 0.01, lamb: 0.2}, rewarmup: [true, false], decay_power: 1.0,
sequences: 512000000, second_stage: 0.1, mixed_steps: [7037, 1562], batch_divisor: 128,
steps_divisor: 195.3125, micro_batch_size: 32, looks: 8, seeds: [0],
validation_fraction: 0.05, finetuning_learning_rate: 0.001, finetuning_batch_size: 16,
finetuning_epochs: 2, finetuning_warmup: 0.1, finetuning_seeds: [0, 1, 2],
document_stride: 16, max_question_length: 24}
""")


def refusal(of=TABLE_7, source=None, **changes):
    """The sentence by which a table's parameters are refused with these changes."""
    with pytest.raises(ParameterError) as caught:
        validate({**of, **changes}, source=source)
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 400
    return sentence


@pytest.mark.parametrize("table", [TABLE_1, TABLE_5, TABLE_7])
def test_possible_parameters_stay_what_they_are_together_and_alone(table):
    assert validate(table) == table
    for name, value in table.items():
        assert validate({"notebook": table["notebook"], name: value})[name] == value


def test_these_tables_have_every_parameter_there_is():
    assert {*TABLE_5, *TABLE_1, "own_solvers"} == set(VOCABULARY)


# Names


def test_a_misspelt_name_is_answered_with_the_nearest_right_one():
    sentence = refusal(learning_rte=0.5)
    assert sentence == "unknown parameter learning_rte; did you mean learning_rates?"
    sentence = refusal(learning_rate="1e-3")
    assert sentence.endswith("YAML reads 1e-3 as text, so write 0.001)")


def test_a_name_like_no_other_is_answered_with_those_that_the_notebook_has():
    with pytest.raises(ParameterError, match="zzz; there are: epochs, seeds$"):
        validate({"epochs": 3, "zzz": [0]}, known={"epochs": 1, "seeds": [0]})


def test_a_refusal_says_where_the_value_came_from():
    files = {"epochs": "params/tables/table07.yaml"}
    assert refusal(source=files, epochs=0).startswith("params/tables/table07.yaml: e")


def test_a_contradiction_points_at_the_command_line_where_that_had_the_last_word():
    source = {"batch_divisor": "params/scales/laptop/lenet_mnist.yaml"}
    assert refusal(source=source, batch_size=8).startswith("params/scales")
    source["batch_size"] = "--set"
    assert refusal(source=source, batch_size=8).startswith("--set: batch_divisor")


# Values


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "2.5e4", "1e-7", "1e400"])
def test_a_number_that_yaml_read_as_text_says_how_to_write_it(text):
    assert isinstance(yaml.safe_load(text), str)
    sentence = refusal(weight_decay=text)
    assert f"weight_decay is the text '{text}', expected a number" in sentence
    if text != "1e400":
        cure = sentence.partition(f"YAML reads {text} as text, so write ")[2]
        assert yaml.safe_load(cure) == float(text)


def test_a_number_read_as_text_is_found_inside_of_lists_and_mappings():
    sentence = refusal(learning_rates=[0.1, "1e-3"])
    assert "learning_rates[1] is the text '1e-3'" in sentence
    sentence = refusal(learning_rates={"adam": [0.1], "lamb": [0.1, "1e-3"]})
    assert "learning_rates[lamb][1] is the text '1e-3'" in sentence
    assert sentence.endswith("so write 0.001")
    assert refusal(epochs="30").endswith("write 30 without quotes")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("batch_size", True, "is True, expected a whole number"),
        ("batch_size", None, "is empty, expected a whole number"),
        ("batch_size", [64, 0], "[1] is 0, expected a whole number of at least 1"),
        ("batch_size", [64, 64], "[1] is 64, expected no value twice"),
        ("batch_size", "64/32", "is the text '64/32', expected a whole number"),
        ("weight_decay", -0.1, "is -0.1, expected a number of at least 0"),
        ("weight_decay", math.nan, "is nan, expected a finite number"),
        ("validation_fraction", 1, "is 1, expected a number below 1"),
        ("validation_fraction", 0, "is 0, expected a number above 0"),
        ("learning_rates", [], "is an empty list, expected a length of at least 1"),
        ("learning_rates", {}, "is an empty mapping, expected a length of at least 1"),
        ("learning_rates", 0.1, "is 0.1, expected a list; write [0.1]"),
        ("learning_rates", {"lamb": [1, 1]}, "[lamb][1] is 1, expected no value twice"),
        ("learning_rates", {"lamb": {"adam": 1}}, "[lamb] is {'adam': 1}, expected a"),
        ("learning_rates", {3: [0.1]}, " is set for '3', expected solvers that use it"),
        ("seeds", [2**32], "is 4294967296, expected a whole number of at most 4294967"),
        ("solvers", "lamb", "is the text 'lamb', expected a list; write [lamb]"),
        ("solvers", ["adam", 3], "[1] is 3, expected text"),
        ("solvers", ["addgrad"], "expected a known name; did you mean adagrad?"),
        ("solvers", ["sgd"], f"there are: {', '.join(SOLVERS)}, momentum+"),
        ("table", 0, "is 0, expected a whole number of at least 1"),
        ("scale", "", "is the text '', expected text"),
        ("nesterov", 1, "is 1, expected true or false"),
        ("exclude_from_weight_decay", ["("], "; missing ), unterminated subpattern"),
        ("augmentations", ["crop", "flop"], "did you mean flip?"),
    ],
)
def test_an_impossible_value_is_named_with_what_was_expected(name, value, sentence):
    found = refusal(**{name: value})
    assert found.startswith(name) and sentence in found and "expected" in found


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("articles", -1, "is -1, expected a whole number of at least 0"),
        ("batch_size", "512", "write 512 without quotes"),
        ("batch_size", "64/0", "expected two different whole numbers around the /"),
        ("sequence_lengths", [32], "is [32], expected a length of at least 2"),
        ("mixed_steps", [1, 2, 3], "is [1, 2, 3], expected a length of at most 2"),
        ("learning_rate_multiplier", {"lamb": 0}, "[lamb] is 0, expected a number"),
        ("base_batch_size", {"adamw": 512}, "expected lamb as well"),
    ],
)
def test_so_is_one_of_bert(name, value, sentence):
    found = refusal(TABLE_1, **{name: value})
    assert found.startswith(name) and sentence in found and "expected" in found


def test_numpys_numbers_and_arrays_and_tuples_become_plain():
    valid = validate({"learning_rates": (np.float32(0.5), 1), "epochs": np.int64(3)})
    assert repr(valid) == repr({"learning_rates": [0.5, 1.0], "epochs": 3})
    assert validate({"seeds": np.arange(2)}) == {"seeds": [0, 1]}


def test_a_mixed_batch_may_be_one_of_several_and_has_spaces_left_out():
    given = {**TABLE_1, "batch_size": [512, "65536 / 32768"], "base_batch_size": None}
    assert validate(given)["batch_size"] == [512, "65536/32768"]


HOSTILE = "'; \"\n__import__('os').system('x') {} {0} <script>" * 9


def test_a_hostile_string_stays_inside_its_one_sentence():
    for name in ("dataset", "weight_decay", "weight_decay_form", "seeds"):
        refusal(**{name: HOSTILE})
    for value in ([HOSTILE], {HOSTILE: [1]}, {"lamb": HOSTILE}, {"lamb": [HOSTILE]}):
        refusal(learning_rates=value)
    refusal(TABLE_1, batch_size=f"{HOSTILE}/1")
    with pytest.raises(ParameterError, match="there are: epochs$") as it:
        validate({HOSTILE: 1}, known={"epochs": 1})
    assert len(str(it.value)) < 100


def test_a_parameter_that_only_the_notebook_knows_keeps_the_type_of_its_default():
    known = {"message": "hello", "heads_up": 8, "momentum": 0.9, "anything": None}
    given = {"message": HOSTILE, "heads_up": 16, "momentum": 1, "anything": [1]}
    assert validate(given, known=known) == given
    wrong = {"message": 3, "heads_up": 1.5, "momentum": "1e-3"}
    for name, value in [*wrong.items(), ("anything", {date.today()})]:
        with pytest.raises(ParameterError, match=f"{name} is .*, expected "):
            validate({name: value}, known=known)


# Together


def test_a_grid_by_solver_must_have_every_solver_that_uses_it_and_no_other():
    rates = {"momentum": [0.1], "adam": [0.1]}
    assert validate({"solvers": ["adam"], "learning_rates": rates})
    assert refusal(solvers=["adam", "lamb"], learning_rates=rates) == (
        "learning_rates is set for momentum, adam, expected lamb as well, "
        "which is one of the solvers; add lamb: and its values"
    )
    assert "expected adam+ as well" in refusal(solvers=["adam+"], learning_rates=rates)
    assert validate({"solvers": ["adam", "lamb"], "weight_decay": {"lamb": 0.1}})
    assert refusal(learning_rates={"lmb": [0.1]}) == (
        "learning_rates is set for lmb, expected solvers that use it; "
        "did you mean lamb?"
    )
    assert refusal(weight_decay={"lamb": 0.1, "adam+": 0.1}) == (
        "weight_decay is set for adam+, expected solvers that use it; "
        "leave adam+ out, which does not"
    )


def test_a_solver_is_clipped_alike_with_and_without_goyals_recipe():
    both = {"solvers": ["adam", "adam+"], "global_clipnorm": {"adam": 1, "adam+": None}}
    assert refusal(**both) == (
        "global_clipnorm is set for adam and adam+ to different values, expected one "
        "for both, which differ in the learning rate alone; run them apart"
    )
    assert validate({**both, "global_clipnorm": {"adam": None, "adam+": None}})
    assert validate({**both, "solvers": ["adam"]})


def test_goyals_recipe_is_not_for_bert():
    assert "did you mean adamw?" in refusal(TABLE_1, solvers=["adamw+"])


def test_table_and_data_set_belong_to_the_notebook():
    assert "lenet_mnist does not fill table 11, expected 7" in refusal(table=11)
    assert "expected 3, 5, 9, 10" in refusal(notebook="resnet50_imagenet")
    assert "the text 'gpt_squad'" in refusal(notebook="gpt_squad")
    assert "did you mean mnist?" in refusal(dataset="minst")
    assert "there are: digits, mnist" in refusal(dataset="imagenet")
    assert "there are: encyclopedia, books" in refusal(TABLE_1, dataset="digits")


def test_a_step_has_an_image_and_steps_are_multiples_of_the_smallest():
    assert "leaves no image in a step" in refusal(batch_size=15)
    assert validate({**TABLE_7, "batch_size": 16})
    assert "batch_size 8, which leaves no image" in refusal(batch_size=[32, 8, 16])
    assert "gives steps of 32 and 50 images" in refusal(batch_size=[800, 512])


def test_the_warmup_leaves_something_at_every_batch():
    assert "choose fewer warmup_epochs" in refusal(epochs=1)
    warmup = {"epochs": 90, "warmup_epochs": 20, "base_batch_size": 32768}
    assert validate({**TABLE_7, **warmup, "batch_size": [512, 32768]})
    sentence = refusal(**warmup, batch_size=[65536, 512, 262144])
    assert "warmup_epochs is 160 at batch_size 262144 and epochs 90" in sentence


def test_a_training_has_an_epoch_at_least():
    assert validate({**TABLE_7, "epochs_divisor": 30})
    sentence = refusal(epochs_divisor=30.5)
    assert "epochs_divisor is 30.5 and epochs 30, which leaves less than" in sentence


SHORT = {"base_batch_size": 32768, "steps_divisor": 2000, "looks": 2}
MIXED = {"batch_size": "65536/49152", "base_batch_size": None}
TWICE = ["65536/32768", "32768/16384"]


@pytest.mark.parametrize(
    ("changes", "sentence", "possible"),
    [
        ({"heads": 3}, "width is 64 and heads 3, expected a multiple", {}),
        ({"sequence_lengths": [64, 32]}, "write [32, 64]", {}),
        ({"articles": 0}, "articles is 0, expected at", {"dataset": "books"}),
        ({"dev_articles": 0}, "dev_articles is 0, expe", {"dataset": "books"}),
        ({"batch_divisor": 1024}, "batch_size 512, which leaves no sequence", {}),
        (
            {"micro_batch_size": 96},
            "a step of batch_size 65536 has 512 sequences",
            {"micro_batch_size": 512},
        ),
        (
            {**MIXED, "micro_batch_size": 256},  # the second stage's batch counts too
            "a step of batch_size 49152 has 384 sequences",
            {"micro_batch_size": 128},
        ),
        (
            {"base_batch_size": {"adamw": 512, "lamb": 8192}},
            "warmup_fraction is 0.2 for base_batch_size 8192, which is 1.6 of the "
            "steps at batch_size 65536 and leaves nothing",
            {"base_batch_size": None},
        ),
        (
            {**SHORT, "batch_size": 32768},
            "leaves 8 steps at batch_size 32768 and none of them to the",
            {"second_stage": 0.0},
        ),
        (
            {"looks": 45},
            "looks is 45, expected at most the 44 steps at batch_size 65536/",
            {"looks": 44},
        ),
        (
            {"batch_size": TWICE, "base_batch_size": 65536},
            "batch_size has 65536/32768 and 32768/16384, expected one",
            {"batch_size": ["65536/32768", 32768]},
        ),
        (
            {"document_stride": 64 - 3 - 24 + 1},
            "document_stride is 38, expected at most the 37 tokens",
            {"document_stride": 64 - 3 - 24},
        ),
    ],
)
def test_what_no_pretraining_can_do_is_refused(changes, sentence, possible):
    assert sentence in refusal(TABLE_1, **changes)
    if possible:
        assert validate({**TABLE_1, **changes, **possible})
