import json

import pytest

from lamb_keras import cli
from lamb_keras.benchmarks import update


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(update, "model_shapes", lambda model: [(8, 4), (4,)])


def test_the_json_has_every_optimizer_with_its_ratios_and_what_compiling_told(
    tiny, capsys
):
    assert cli.main(["bench", "update", "--rounds", "2", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    optimizers = set(results) - {"floor"}
    assert {"lamb_keras.Lamb", "keras.optimizers.Lamb", "optax.lamb"} < optimizers
    assert {"keras.optimizers.AdamW", "optax.adamw"} < optimizers
    assert results["keras.optimizers.Lamb"]["to_keras_lamb"] == 1
    assert results["optax.lamb"]["to_optax_lamb"] == 1
    assert results["floor"]["to_floor"] == 1
    for name in optimizers:
        assert results[name]["compile_seconds"] > 0
        # Weights, two moments and a gradient of 36 float32 numbers at the least.
        assert results[name]["peak_megabytes"] >= 4 * 36 * 4 / 1e6


def test_the_table_has_a_line_for_every_optimizer(tiny, capsys):
    assert cli.main(["bench", "update", "--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "bert-small, median of 1 rounds; ratios to"
    assert len(lines) == 2 + 7


def test_no_rounds_are_refused_in_one_sentence(capsys):
    assert cli.main(["bench", "update", "--rounds", "0"]) == 2
    assert capsys.readouterr().err == (
        "lamb-keras: --rounds is 0, expected at least 1\n"
    )


def test_the_command_offers_the_models_there_are():
    for model in update.MODELS:
        options = cli._parser().parse_args(["bench", "update", "--model", model])
        assert options.model == model
