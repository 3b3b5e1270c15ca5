#!/usr/bin/env bash
# keras 3.15.1: keras.optimizers.Lamb is Algorithm 2 of the paper only without decay.
#
# Expected: weight_decay is the lambda of arXiv 1904.00962, part of the update whose norm
# the trust ratio takes, as in optax.
# What happens: the base class shrinks each variable by learning rate x decay before the
# step, outside the trust ratio, as AdamW does (keras#19981: "identical only if
# weight_decay=0.0").
# Seen: difference to optax.lamb after five steps of two layers: 0 decay about 1e-6 (with
# Keras's epsilon set to optax's), 0.1 decay above 1e-3.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    keras==3.15.1 jax==0.10.2 optax==0.2.8
KERAS_BACKEND=jax "$folder/env/bin/python" - <<'PY'
import keras
import numpy as np
import optax

random = np.random.default_rng(0)
start = [random.normal(size=(8, 4)).astype("float32") * size for size in (0.1, 3.0)]
gradients = [
    [random.normal(size=(8, 4)).astype("float32") for _ in start] for _ in range(5)
]


def by_keras(decay):
    weights = [keras.Variable(w) for w in start]
    optimizer = keras.optimizers.Lamb(0.01, epsilon=1e-6, weight_decay=decay)
    for each in gradients:
        optimizer.apply(each, weights)
    return [np.asarray(w.value) for w in weights]


def by_optax(decay):
    optimizer = optax.lamb(0.01, eps=1e-6, weight_decay=decay)
    weights, state = start, optimizer.init(start)
    for each in gradients:
        updates, state = optimizer.update(each, state, weights)
        weights = optax.apply_updates(weights, updates)
    return weights


def difference(decay):
    pairs = zip(by_keras(decay), by_optax(decay), strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


print("relative difference: decay 0", difference(0.0), "decay 0.1", difference(0.1))
assert difference(0.0) < 1e-5 and difference(0.1) > 1e-3
PY
