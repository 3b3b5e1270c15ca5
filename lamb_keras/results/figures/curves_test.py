"""Curves say what happened over training, whatever a run comes up with."""

import io
import math

import numpy as np
import pytest

from lamb_keras.results import figures
from lamb_keras.results.figures import style
from lamb_keras.results.figures.conftest import crosses, labels, lines
from lamb_keras.results.figures.curves import kind_of_layer


def curve(solver, rate, losses, **more):
    return [
        {"solver": solver, "learning_rate": rate, "seed": 0, "epoch": epoch, **more}
        | {"train_loss": loss, "validation_accuracy": 0.5 if loss < 9 else math.nan}
        for epoch, loss in enumerate(losses, start=1)
    ]


def ratios(layer, *values):
    return [
        {"step": step, "layer": layer, "trust_ratio": value}
        for step, value in enumerate(values, start=1)
    ]


def test_the_mean_over_seeds_is_drawn_within_a_band_of_one_spread():
    rows = curve("lamb", 0.1, [2.0, 1.0]) + curve("lamb", 0.1, [4.0, 1.0], seed=1)
    loss = figures.learning_curves(rows).axes[0]
    (line,) = lines(loss).values()
    assert line.get_ydata().tolist() == [3.0, 1.0]
    band = loss.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == 1.0 and band.max() == pytest.approx(3 + math.sqrt(2))
    # Nowhere below a tenth of the mean, where a logarithmic axis would never end.
    rows = curve("lamb", 0.1, [8.0]) + curve("lamb", 0.1, [0.0], seed=1)
    loss = figures.learning_curves(rows).axes[0]
    assert loss.collections[0].get_paths()[0].vertices[:, 1].min() == 0.4


def test_a_line_is_named_by_rate_and_decay():
    rows = curve("adamw+", 0.1, [2.0, 1.0], weight_decay=0.01, l2_regularization=0.0)
    figure = figures.learning_curves(rows)
    assert labels(figure) == ["adamw+, learning rate 0.1, decay 0.01"]
    assert figure.axes[0].lines[0].is_dashed()


def test_settings_that_differ_in_anything_are_not_averaged():
    rows = curve("lamb", 0.1, [2.0, 1.0], batch_size=512)
    rows += curve("lamb", 0.1, [3.0, 1.0], batch_size=1024)
    loss = figures.learning_curves(rows).axes[0]
    assert [line.get_ydata()[0] for line in loss.lines] == [2.0, 3.0]
    assert "lamb, batch 1,024, learning rate 0.1" in lines(loss)


def test_a_curve_that_diverges_ends_in_a_cross():
    figure = figures.learning_curves(curve("lamb", 0.1, [2.0, 1.0, math.nan]))
    assert crosses(figure.axes[0]) == [[2.0, 1.0]]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_what_diverged_at_once_is_drawn_as_that(loss):
    rows = curve("lamb", 0.1, [loss]) + curve("adam", 0.1, [loss])
    one = ratios("dense/kernel", loss)
    for figure in (figures.learning_curves(rows), figures.trust_ratios(one)):
        figure.savefig(io.BytesIO(), format="png")  # where an empty log axis fails
        assert "diverged before" in figure.axes[0].texts[0].get_text()


def test_a_curve_of_one_epoch_is_a_point():
    for losses, marker in (([2.0], "o"), ([2.0, 1.0], "None")):
        figure = figures.learning_curves(curve("lamb", 0.1, losses))
        assert figure.axes[0].lines[0].get_marker() == marker


def test_layers_are_told_apart_in_the_nets_order():
    layers = ["conv2d/kernel", "conv2d/bias", "dense/kernel"]
    axes = figures.trust_ratios(
        [row for layer in layers for row in ratios(layer, 1.0, math.inf, 2.0)]
    ).axes[0]
    assert list(lines(axes)) == layers
    assert [line.is_dashed() for line in axes.lines] == [False, True, False]
    assert axes.get_xlabel() == "step" and axes.get_ylim()[1] < 10


def test_of_very_many_layers_some_are_named():
    rows = [row for i in range(160) for row in ratios(f"dense_{i}/kernel", 1.0)]
    legend = figures.trust_ratios(rows).axes[0].get_legend()
    assert len(legend.get_texts()) <= 14
    assert legend.get_title().get_text().endswith("of 160 layers named")


@pytest.mark.parametrize(
    ("path", "kind"),
    {
        "token_embedding/embeddings": "embeddings",
        "embeddings_layer_norm/gamma": "normalization",
        "transformer_layer_0/self_attention_layer/output/kernel": "attention",
        "transformer_layer_0/self_attention_layer_norm/beta": "normalization",
        "transformer_layer_1/feedforward_output_dense/kernel": "feed-forward",
        "transformer_layer_1/feedforward_layer_norm/gamma": "normalization",
        "masked_lm/mlm_layer_norm/gamma": "normalization",
        "masked_lm/mlm_dense/kernel": "heads",
        "answer_span/kernel": "heads",
    }.items(),
)
def test_a_layers_kind_is_told_by_its_path(path, kind):
    assert kind_of_layer(path) == kind


def test_trust_ratios_are_by_kind_and_biases_are_left_out():
    rows = [
        row
        for path, ratio in [
            ("a/self_attention_layer/query/kernel", 1.0),
            ("a/self_attention_layer/key/kernel", 3.0),
            ("a/self_attention_layer/value/kernel", 11.0),
            ("a/self_attention_layer/value/bias", 1000.0),
            ("pooled_dense/kernel", math.inf),
        ]
        for row in ratios(path, ratio, ratio)
    ]
    figure = figures.trust_ratios_by_type(rows)
    assert labels(figure) == ["attention (3)", "heads (1)"]
    (axes,) = figure.axes
    assert lines(axes)["attention (3)"].get_ydata().tolist() == [3.0, 3.0]
    assert axes.get_ylim()[1] < 100


FALLING = [10.0 - k for k in range(10)]


def pretraining(steps, losses, **more):
    """A pre-training evaluated after each tenth, the last one in the second stage."""
    return [
        {"solver": "lamb", "batch_size": 512, "learning_rate": 0.005, "seed": 0, **more}
        | {"stage": 2 if k == 10 else 1, "step": k * steps // 10, "steps": steps}
        | {"train_loss": loss, "validation_loss": loss, "validation_accuracy": 0.1}
        for k, loss in enumerate(losses, start=1)
    ]


def test_pretrainings_of_any_length_are_drawn_over_the_same_axis():
    curves = pretraining(5120, FALLING) + pretraining(80, FALLING, batch_size=32768)
    figure = figures.pretraining_curves(curves, 5.5)
    named = ["lamb, batch 512", "lamb, batch 32,768"]
    others = ["second stage begins", "guessing words by their frequency"]
    assert set(labels(figure)) == {*named, *others}
    for axes in figure.axes:
        for name in named:
            x = lines(axes)[name].get_xdata()
            np.testing.assert_allclose(x, np.arange(1, 11) / 10)
        # Where the first stage ended.
        assert lines(axes)["second stage begins"].get_xdata()[0] == 0.9


def test_a_pretraining_that_diverged_at_once_sets_no_boundary_and_ends_in_a_cross():
    lost = pretraining(80, [7.0, 8.0, math.nan], solver="lars")
    figure = figures.pretraining_curves(lost)
    assert labels(figure) == ["lars"]
    assert crosses(figure.axes[0]) == [[0.2, 8.0]]


def test_two_solvers_of_one_setting_have_their_own_colors():
    curves = pretraining(5120, FALLING, solver="adamw")
    curves += pretraining(44, FALLING, batch_size="65536/32768")
    axes = figures.masked_language_model(curves).axes[0]
    color = lines(axes)["lamb, batch 65536/32768"].get_color()
    assert color == style.SOLVERS["lamb"][0]


def test_of_seeds_the_mean_is_drawn():
    curves = pretraining(80, [4.0] * 10) + pretraining(80, [2.0] * 10, seed=1)
    axes = figures.pretraining_curves(curves).axes[1]
    assert set(lines(axes)["lamb"].get_ydata()) == {3.0}
