#!/usr/bin/env bash
# keras 3.15.1 on JAX: Adam, AdamW and Lamb never move a bfloat16 variable.
#
# Expected: a model built with dtype="bfloat16" trains, if coarsely.
# What happens: beta_2 = 0.999 is cast to the variable's type, where it is 1.0; the bias
# correction divides by 1 - beta_2^t = 0, and the step is a number over infinity: 0. No
# error, no NaN; the loss stays where it was. SGD moves. keras-team/keras#21238.
# Mend: dtype policy mixed_bfloat16, which keeps variables in float32.
# Seen: after ten steps of 0.1, Adam, AdamW and Lamb at 1.0; SGD at 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    keras==3.15.1 jax==0.10.2
KERAS_BACKEND=jax "$folder/env/bin/python" - <<'PY'
import keras


def after_ten_steps(make, dtype):
    variable = keras.Variable([1.0], dtype=dtype)
    optimizer = make(learning_rate=0.1)
    for _ in range(10):
        optimizer.apply([keras.ops.ones(1, dtype=dtype)], [variable])
    return round(float(variable.value[0]), 2)


o = keras.optimizers
makers = (o.Adam, o.AdamW, o.Lamb, o.SGD)
seen = {m.__name__: after_ten_steps(m, "bfloat16") for m in makers}
exact = {m.__name__: after_ten_steps(m, "float32") for m in makers}
print("bfloat16", seen, "float32", exact)
assert seen["Adam"] == seen["AdamW"] == seen["Lamb"] == 1.0 and seen["SGD"] < 0.1
assert all(value < 0.5 for value in exact.values())
PY
