"""A LAMB without its trust ratio, really trained, is not supported."""

import jax.numpy as jnp
import keras
import pandas as pd
import pytest

from lamb_keras import data
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.optimizers import lamb
from lamb_keras.results import claims
from lamb_keras.results.evidence import SUPPORTED
from lamb_keras.training import classification

# Table 5's comparison, kept cheap: a net of two hidden layers, a third of the epochs,
# three of seven batches. Rate and decay are those, of eight that were tried, at which
# so small a net shows what the trust ratio does; at most others both forms are alike.
TABLE_5 = ImageExperiment(
    notebook="resnet50_imagenet",
    table=5,
    scale="laptop",
    dataset="digits",
    solvers=["lamb"],
    learning_rates=[0.1],
    batch_size=[512, 4096, 32768],
    base_batch_size=32768,
    batch_divisor=32,
    epochs=90,
    epochs_divisor=3,
    warmup_epochs=20,
    weight_decay=0.1,
    global_clipnorm=1.0,
    label_smoothing=0.1,
    seeds=[0, 1, 2],
    validation_fraction=0.2,
)


def net(shape, classes, seed):
    def dense(units, number, **more):
        initializer = keras.initializers.HeNormal(seed=100 * seed + number)
        return keras.layers.Dense(units, kernel_initializer=initializer, **more)

    layers = [dense(32, 0, activation="relu"), dense(32, 1, activation="relu")]
    flat = [keras.Input(shape), keras.layers.Flatten()]
    return keras.Sequential([*flat, *layers, dense(classes, 99)])


def verdict():
    images = data.split(data.load("digits"), 0.2)
    trials = classification.sweep(TABLE_5, images, net).trials
    rows = pd.DataFrame(trials).assign(scale="tiny", table=5, classes=10)
    return claims.verdicts(rows).loc[("tiny", 6)]


@pytest.mark.slow
def test_without_trust_ratio_the_largest_batch_falls_behind(monkeypatch):
    proper, ratio = verdict(), lamb.trust_ratio
    assert proper.verdict == SUPPORTED
    monkeypatch.setattr(lamb, "trust_ratio", lambda *of: jnp.ones_like(ratio(*of)))
    broken = verdict()
    assert broken.verdict != SUPPORTED and broken.low < proper.low < 0
