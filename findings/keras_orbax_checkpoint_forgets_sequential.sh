#!/usr/bin/env bash
# keras 3.15.1 on JAX, orbax-checkpoint 0.12.8: keras.callbacks.OrbaxCheckpoint gives a
# Sequential model back with fresh weights.
#
# Expected: load_model of what the callback saved has the weights that were trained, as a
# .keras file has.
# What happens: for a Sequential model it returns without an error a model with other,
# freshly initialized weights, while the optimizer's count of steps is restored; the same
# net as a Functional model comes back right. keras-team/keras#23251.
# Seen: Sequential False, Functional True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    keras==3.15.1 jax==0.10.2 orbax-checkpoint==0.12.8
KERAS_BACKEND=jax "$folder/env/bin/python" - "$folder" <<'PY' 2>/dev/null
import sys
from pathlib import Path

import keras
import numpy as np

layers = keras.layers


def functional():
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(1)(layers.Dense(4)(inputs)))


def sequential():
    return keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(1)])


def comes_back(make):
    folder = Path(sys.argv[1]) / make.__name__
    model = make()
    model.compile("adam", "mse")
    callback = keras.callbacks.OrbaxCheckpoint(directory=str(folder), save_freq="epoch")
    x = np.ones((8, 3), "float32")
    model.fit(x, x[:, :1], epochs=1, verbose=0, callbacks=[callback])
    again = keras.saving.load_model(str(folder))
    return all(
        np.array_equal(a, b)
        for a, b in zip(model.get_weights(), again.get_weights(), strict=True)
    )


seen = {make.__name__: comes_back(make) for make in (sequential, functional)}
print("the trained weights come back:", seen)
assert seen == {"sequential": False, "functional": True}
PY
