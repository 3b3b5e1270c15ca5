#!/usr/bin/env bash
# jax 0.10.2, CPU: donated buffers go to results of their shape in the order of the
# arguments, not to the result that is computed from them.
#
# Expected: jit(step, donate_argnums=(0, 1)) of (moment, weight) -> (weight, moment)
# writes the new weight over the old one.
# What happens: the first donated argument of a shape is given to the first result of that
# shape. With the arguments in another order than the results, a new weight is written
# over a moment that is still needed, so that the compiler copies it first. An optimizer
# whose weights come last pays one copy of all its state.
# Mend: give arguments in the order of the results.
# Seen: in order {0: 0, 1: 1}; out of order the first result gets the moment's buffer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check jax==0.10.2
"$folder/env/bin/python" - <<'PY'
import re

import jax
import jax.numpy as jnp

x = jnp.ones(1000)


def update(weight, moment):
    moment = 0.9 * moment + jnp.flip(weight)
    return weight - 0.1 * moment, moment


def swapped(moment, weight):
    return update(weight, moment)


def aliases(function):
    """Result number to argument number, as the compiled program says."""
    text = jax.jit(function, donate_argnums=(0, 1)).lower(x, x).compile().as_text()
    pairs = re.findall(r"\{(\d)\}: \((\d), \{\}", text.split("\n")[0])
    return {int(result): int(argument) for result, argument in pairs}


in_order, out_of_order = aliases(update), aliases(swapped)
print("result: argument, in order", in_order, "out of order", out_of_order)
assert in_order == {0: 0, 1: 1}
# The new weight (result 0) takes the moment's buffer (argument 0).
assert out_of_order == {0: 0, 1: 1}
PY
