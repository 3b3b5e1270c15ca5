"""The figures of BERT's pre-training say what happened, at every number of steps."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from lamb_keras.results import figures
from lamb_keras.results.figures import look
from lamb_keras.results.figures.pretraining import kind_of_layer


@pytest.fixture(autouse=True)
def no_figure_is_left():
    yield
    plt.close("all")


def trial(solver="lamb", batch_size=512, f1=60.0, finetuning_seed=0, **more):
    return {
        "solver": solver,
        "batch_size": batch_size,
        "learning_rate": 0.005,
        "warmup_fraction": 0.2,
        "seed": 0,
        "finetuning_seed": finetuning_seed,
        "outcome": "finished",
        "validation_accuracy": 0.4,
        "f1": f1,
        **more,
    }


def diverged(**more):
    lost = {"f1": None, "validation_accuracy": None, "finetuning_seed": None}
    return trial(**{**lost, "outcome": "diverged", **more})


def curve(steps, losses, **more):
    """A pre-training looked at after each tenth, the last one in the second stage."""
    return [
        {
            **trial(**more),
            "stage": 2 if k == 10 else 1,
            "step": k * steps // 10,
            "steps": steps,
            "train_loss": loss,
            "validation_loss": loss,
            "validation_accuracy": 0.1,
        }
        for k, loss in enumerate(losses, start=1)
    ]


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(axes, name):
    return next(line for line in axes.lines if line.get_label() == name)


def crosses(axes):
    marks = [c for c in axes.collections if type(c) is PathCollection]
    return [c for c in marks if to_hex(c.get_facecolor()[0]).upper() == look.ALARM]


FALLING = [10.0 - k for k in range(10)]


def test_pretrainings_of_any_length_are_drawn_over_the_same_axis():
    curves = curve(5120, FALLING) + curve(80, FALLING, batch_size=32768)
    figure = figures.pretraining_curves(curves, 5.5)
    assert set(labels(figure)) == {
        "lamb, batch 512",
        "lamb, batch 32,768",
        "second stage begins",
        "guessing words by their frequency",
    }
    for axes in figure.axes:
        for name in ("lamb, batch 512", "lamb, batch 32,768"):
            x = lines(axes, name).get_xdata()
            np.testing.assert_allclose(x, np.arange(1, 11) / 10)


def test_the_boundary_of_the_stages_stands_where_the_first_one_ended():
    figure = figures.pretraining_curves(curve(80, FALLING))
    (boundary,) = lines(figure.axes[0], "second stage begins").get_xdata()[:1]
    assert boundary == 0.9


def test_a_pretraining_that_diverged_at_once_sets_no_boundary_and_ends_in_a_cross():
    lost = curve(80, [7.0, 8.0, math.nan], solver="lars")
    figure = figures.pretraining_curves(lost)
    assert labels(figure) == ["lars"]
    (cross,) = crosses(figure.axes[0])
    assert cross.get_offsets().tolist() == [[0.2, 8.0]]


def test_two_solvers_of_one_setting_have_their_own_colors():
    curves = curve(5120, FALLING, solver="adamw")
    curves += curve(44, FALLING, batch_size="65536/32768")
    axes = figures.masked_language_model(curves).axes[0]
    color = lines(axes, "lamb, batch 65536/32768").get_color()
    assert color == look.COLORS["lamb"]


def test_of_seeds_the_mean_is_drawn():
    curves = curve(80, [4.0] * 10) + curve(80, [2.0] * 10, seed=1)
    axes = figures.pretraining_curves(curves).axes[1]
    assert set(lines(axes, "lamb").get_ydata()) == {3.0}


PATHS = {
    "token_embedding/embeddings": "embeddings",
    "position_embedding/embeddings": "embeddings",
    "segment_embedding/embeddings": "embeddings",
    "embeddings_layer_norm/gamma": "normalization",
    "transformer_layer_0/self_attention_layer/attention_output/kernel": "attention",
    "transformer_layer_0/self_attention_layer_norm/beta": "normalization",
    "transformer_layer_1/feedforward_intermediate_dense/kernel": "feed-forward",
    "transformer_layer_1/feedforward_output_dense/kernel": "feed-forward",
    "transformer_layer_1/feedforward_layer_norm/gamma": "normalization",
    "pooled_dense/kernel": "heads",
    "masked_lm/mlm_layer_norm/gamma": "normalization",
    "masked_lm/mlm_dense/kernel": "heads",
    "next_sentence/kernel": "heads",
    "answer_span/kernel": "heads",
}


@pytest.mark.parametrize(("path", "kind"), PATHS.items())
def test_a_layers_kind_is_told_by_its_path(path, kind):
    assert kind_of_layer(path) == kind


def test_trust_ratios_are_by_kind_and_biases_are_left_out():
    rows = [
        {"step": step, "layer": path, "trust_ratio": ratio}
        for step in (1, 2)
        for path, ratio in [
            ("a/self_attention_layer/query/kernel", 1.0),
            ("a/self_attention_layer/key/kernel", 3.0),
            ("a/self_attention_layer/value/kernel", 11.0),
            ("a/self_attention_layer/value/bias", 1000.0),
            ("pooled_dense/kernel", math.inf),
        ]
    ]
    figure = figures.trust_ratios_by_type(rows)
    assert labels(figure) == ["attention (3)", "heads (1)"]
    (axes,) = figure.axes
    assert lines(axes, "attention (3)").get_ydata().tolist() == [3.0, 3.0]
    assert axes.get_ylim()[1] < 100


BATCHES = [512 * 2**k for k in range(7)]


def test_f1_stands_beside_the_papers_at_every_batch():
    trials = [trial(batch_size=batch, f1=60.0) for batch in BATCHES]
    ours, theirs = figures.f1_by_batch(trials, 4).axes
    assert lines(ours, "lamb").get_ydata().tolist() == [60.0] * 7
    assert lines(theirs, "lamb").get_ydata()[-1] == 91.475
    ticks = [tick.get_text() for tick in theirs.get_xticklabels()]
    assert ticks[0] == "512" and ticks[-1] == "32,768"


def test_the_mixed_batch_stands_behind_the_regular_ones():
    trials = [trial("adamw", 512), trial(batch_size="65536/32768")]
    ours, theirs = figures.f1_by_batch(trials, 1).axes
    ticks = [tick.get_text() for tick in ours.get_xticklabels()]
    assert ticks == [f"{batch:,}" for batch in BATCHES] + ["65536/32768"]
    assert lines(ours, "lamb").get_xdata().tolist() == [7]
    assert lines(theirs, "adamw").get_ydata().tolist() == [90.395]


def test_of_lars_the_chosen_rate_is_shown_and_what_diverged_is_a_cross():
    trials = [
        trial("lars", batch, f1, learning_rate=rate, validation_accuracy=right)
        for batch in BATCHES[:6]
        for rate, right, f1 in ((0.005, 0.5, 50.0), (0.01, 0.4, 99.0))
    ] + [diverged(solver="lars", batch_size=32768)]
    ours, theirs = figures.f1_by_batch(trials, 2).axes
    assert lines(ours, "lars").get_ydata()[:6].tolist() == [50.0] * 6
    for axes in (ours, theirs):
        assert [c.get_offsets()[:, 0].tolist() for c in crosses(axes)] == [[6.0]]


def test_table_8_is_over_rates_with_a_line_a_warmup():
    trials = [
        trial("adamw", 16384, learning_rate=rate, warmup_fraction=warmup)
        for rate in (0.0001, 0.0002, 0.0003)
        for warmup in (0.05, 0.1, 0.2)
    ]
    figure = figures.f1_by_batch(trials, 8)
    theirs = figure.axes[1]
    assert theirs.get_xlabel() == "learning rate"
    assert lines(theirs, "adamw, warm-up 0.1").get_ydata()[1] == 88.54
    assert len(crosses(theirs)) == 2


def test_fine_tunings_are_points_and_the_line_is_their_mean():
    trials = [trial(f1=60.0 + n, finetuning_seed=n) for n in range(3)]
    ours = figures.f1_by_batch(trials, 4).axes[0]
    assert lines(ours, "lamb").get_ydata().tolist() == [61.0]
    (points,) = [c for c in ours.collections if type(c) is PathCollection]
    assert points.get_offsets()[:, 1].tolist() == [60.0, 61.0, 62.0]
