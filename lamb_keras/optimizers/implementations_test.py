"""Presets compute what the released packages computed, whose weights are kept.

`findings/implementations.py` runs the packages, in six situations, and keeps these.
"""

import ast
import json
import re
import runpy
from pathlib import Path

import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamb_keras.optimizers import PRESETS, Lamb, Lars
from lamb_keras.optimizers.references_test import algorithm_2, distance, follow, train

SCRIPT = Path(__file__).parents[2] / "findings" / "implementations.py"
PAGE = Path(__file__).parents[2] / "docs" / "implementations.md"
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "lamb.ipynb"
KEPT = runpy.run_path(str(SCRIPT))
RATE = KEPT["RATE"]
# What float32 does to 1 - β₂ᵗ, and more gets through from no other formula.
CLOSE = 1e-5
situations = pytest.mark.parametrize("situation", KEPT["SITUATIONS"])


class AfterTheRatio(keras.optimizers.schedules.LearningRateSchedule):
    """The bias corrected on the size of the step, where it does not cancel."""

    def __call__(self, step):
        t = jnp.asarray(step + 1, "float32")
        return RATE * jnp.sqrt(-jnp.expm1(t * np.log(0.999))) / (1 - 0.9**t)


# By the file of kept weights: the preset that equals it, with these arguments.
LAMBS = {
    "optax": ("paper_v5", {}),
    "timm_always_adapt": ("paper_v5", {}),
    "paddle_always_adapt": ("paper_v5", {}),
    "colossalai": ("paper_v3", {}),
    "colossalai_bias_correction": ("paper_v3", {"learning_rate": AfterTheRatio()}),
    "tfa": ("tfa", {}),
    "albert": ("albert", {}),
    "author": ("author", {}),
    "keras": ("keras", {}),
    "timm": ("timm", {}),
    "timm_as_nvlamb": ("nvlamb", {}),
    "timm_trust_clip": ("lambc", {}),
    "torch_optimizer": ("pytorch_lamb", {}),
    "torch_optimizer_debias": ("pytorch_lamb", {"learning_rate": AfterTheRatio()}),
    "catalyst": ("pytorch_lamb", {}),
    "holocron": ("pytorch_lamb", {"epsilon": 1e-8}),
    "fastai": ("fastai", {}),
    "paddle": ("paddle", {}),
}
WITHOUT_PRESET = ["pytorch_optimizer"]


def kept(name, situation):
    """The weights that a package came to in a situation, by path."""
    with np.load(SCRIPT.with_suffix("") / f"{name}.npz") as arrays:
        found = {path: arrays[f"{situation} {path}"] for path in KEPT["SHAPES"]}
    return {path: np.asarray(w, "float64") for path, w in found.items()}


def ours(optimizer, scale):
    return train(optimizer, *KEPT["problem"](scale))


@situations
@pytest.mark.parametrize("name", LAMBS)
def test_a_preset_computes_what_the_package_computed(name, situation):
    wd, scale = KEPT["SITUATIONS"][situation]
    preset, arguments = LAMBS[name]
    arguments = {"learning_rate": RATE, "weight_decay": wd, **arguments}
    lamb = Lamb.from_preset(preset, **arguments)
    assert distance(ours(lamb, scale), kept(name, situation)) < CLOSE


def test_every_preset_is_held_by_a_package():
    assert {preset for preset, _ in LAMBS.values()} == set(PRESETS)


def test_every_kept_file_is_compared():
    files = {path.stem for path in SCRIPT.with_suffix("").glob("*.npz")}
    assert files == {"problem", *KEPT["IMPLEMENTATIONS"]}
    assert files - {"problem"} == {*LAMBS, *KEPT["LARS"], *WITHOUT_PRESET}


def from_algorithm_2(name, situation):
    """How far from the paper a package went, as the page tells it."""
    wd, scale = KEPT["SITUATIONS"][situation]
    weights, gradients = KEPT["problem"](scale)
    told = {path: np.asarray(w, "float64") for path, w in weights.items()}
    steps = [{p: np.asarray(g, "float64") for p, g in s.items()} for s in gradients]
    both = kept(name, situation), follow(algorithm_2, told, steps, lr=RATE, wd=wd)
    without = [{p: w for p, w in each.items() if p != "big/bias"} for each in both]
    return f"{distance(*both):.1g} / {distance(*without):.1g}"


def test_the_page_of_implementations_tells_what_was_kept():
    rows = re.findall(r"^\| [^|]*`(\S+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    rows = {name: cells.split(" | ")[1:5] for name, cells in rows}
    assert {*rows} >= {*LAMBS, *WITHOUT_PRESET}
    shown = [each for each in KEPT["SITUATIONS"] if "10000" not in each]
    for name in (*LAMBS, *WITHOUT_PRESET):
        assert rows[name] == [from_algorithm_2(name, each) for each in shown], name


def test_the_notebook_names_a_package_for_every_preset():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    codes = ["".join(cell["source"]) for cell in cells]
    [table] = [code for code in codes if code.startswith("same_as = ")]
    assert {*ast.literal_eval(table.removeprefix("same_as = "))} == {*PRESETS}


@situations
@pytest.mark.parametrize("name", KEPT["LARS"])
def test_lars_computes_what_the_package_computed(name, situation):
    wd, scale = KEPT["SITUATIONS"][situation]
    arguments = {"denominator": "norm_of_sum"}
    if name != "optax_lars":
        arguments = {"learning_rate_in_momentum": False, "epsilon": 1e-8}
        if wd == 0:
            # As the docstring says: they have no ratio where there is no decay.
            arguments["exclude_from_layer_adaptation"] = [".*"]
    first, last = KEPT["LARS_RATES"][0], KEPT["LARS_RATES"][-1]
    cut = keras.optimizers.schedules.PiecewiseConstantDecay([9], [first, last])
    lars = Lars(cut, weight_decay=wd, **arguments)
    got, expected = ours(lars, scale), kept(name, situation)
    if name == "lightly_lars":
        # Nor has lightly's a decay where the gradient is zero, which ours has.
        got["dead/kernel"] = expected["dead/kernel"]
    assert distance(got, expected) < CLOSE
