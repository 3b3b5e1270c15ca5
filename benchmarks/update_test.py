import json
import os
import subprocess
import sys

import pytest

from benchmarks import accelerators, update
from benchmarks.chart import chart
from benchmarks.shapes import MODELS
from lamb_keras import cli


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(update, "model_shapes", lambda model: [(8, 4), (4,)])


def test_the_json_has_every_optimizer_with_its_ratios_and_what_compiling_told(
    tiny, capsys
):
    assert update.main(["--rounds", "2", "--json"]) == 0
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
        assert results[name]["kernels"] >= 2
        assert results[name]["bytes_a_parameter"] >= 28


def test_the_table_has_a_line_for_every_optimizer(tiny, capsys):
    assert update.main(["--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "bert-small, median of 1 rounds; ratios to"
    assert len(lines) == 2 + 8
    assert lines[1].split()[-4:] == ["kernels", "B/param", "compiled", "peak"]


@pytest.mark.parametrize(
    ("keras", "optax", "end"),
    [
        (0.5, 0.25, "Keras's LAMB and 0.25 times as long as optax's."),
        (1.0, 0.25, "The first counts against the claim."),
        (0.5, 1.5, "The second counts against the claim."),
        (1.5, 1.5, "Both count against the claim."),
    ],
)
def test_the_verdict_says_what_counts_against_the_claim(keras, optax, end):
    ours = {"milliseconds": 1, "to_keras_lamb": keras, "to_optax_lamb": optax}
    slower = {"milliseconds": 2, "to_keras_lamb": 2, "to_optax_lamb": 2}
    words = update.verdict({"lamb_keras.Lamb": ours, "same, packed": slower})
    assert words.startswith(f"Ours took {keras:.2f} times as long as Keras's LAMB")
    assert words.endswith(end)


def test_where_packed_is_faster_the_verdict_tells_of_both_forms():
    plain = {"milliseconds": 3, "to_keras_lamb": 1.25, "to_optax_lamb": 0.75}
    packed = {"milliseconds": 1, "to_keras_lamb": 0.5, "to_optax_lamb": 0.25}
    words = update.verdict({"lamb_keras.Lamb": plain, "same, packed": packed})
    assert words == (
        "Ours, packed, took 0.50 times as long as Keras's LAMB and 0.25 times as long "
        "as optax's. In the plain form it took 1.25 and 0.75 times as long as they."
    )


def test_the_kernels_alone_have_a_column_and_a_dot_where_they_are_known(capsys):
    one = {"milliseconds": 2, "to_keras_lamb": 1, "to_optax_lamb": 1, "to_floor": 2}
    program = {"kernels": 9, "bytes_a_parameter": 40, "compile_seconds": 1}
    known = {**one, **program, "peak_megabytes": 8, "kernels_to_floor": 1.5}
    measured = {"lamb_keras.Lamb": known, "torch": one, "floor": {**one, "to_floor": 1}}
    update.show(measured)
    header, ours, torch, floor = capsys.readouterr().out.splitlines()
    end = header.index("kernels alone") + len("kernels alone")
    assert ours[:end].endswith(" 1.50")
    assert not torch[end - 5 :].strip()
    (axes,) = chart(measured).axes
    (dots,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert dots.get_xydata().tolist() == [[1.5, 0]]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--rounds", "0"], "--rounds is 0, expected at least 1"),
        (
            ["--torch", "--compiled-for", "h200"],
            "--torch times, and --compiled-for runs nothing; leave one of them out",
        ),
        ([], "bert-small needs 120000 GB of memory"),
        (["--compiled-for", "v5e"], "the compiler for v5e is not installed: make comp"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(
    arguments, sentence, monkeypatch, capsys
):
    monkeypatch.setattr(update, "model_shapes", lambda model: [(10**6, 10**6)])
    monkeypatch.setattr(accelerators, "is_installed", lambda target: False)
    assert update.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"python -m benchmarks.update: {sentence}")


def test_it_is_a_program_of_its_own_wherever_keras_would_start():
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.update", "--rounds", "0"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.endswith("update: --rounds is 0, expected at least 1\n")


def test_the_command_line_offers_it_with_the_models_and_targets_there_are(
    tiny, monkeypatch, capsys
):
    monkeypatch.setattr(accelerators, "is_installed", lambda target: False)
    assert cli.main(["bench", "update", "--rounds", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["environment"]
    for model in MODELS:
        for target in accelerators.TARGETS:
            asked = ["bench", "update", "--model", model, "--compiled-for", target]
            assert cli.main(asked) == 2
            assert f"the compiler for {target} is not" in capsys.readouterr().err


def test_the_chart_has_a_bar_for_every_optimizer(tiny):
    measured = update.measure("bert-small", 1)
    (axes,) = chart(measured).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [name for name in measured if name != "floor"]
    widths = [bar.get_width() for bars in axes.containers for bar in bars]
    assert widths == pytest.approx([measured[name]["to_floor"] for name in labels])
