#!/usr/bin/env bash
# optax 0.2.8: optax.flatten(optax.lamb(...)) has one trust ratio for the whole net.
#
# Expected: flatten joins all arrays into one to save kernels, and changes no number, as
# it does for Adam.
# What happens: LAMB's ratio is taken of each array; of the joined one there is a single
# ratio, which the largest layer decides. Nothing is said; training goes on with another
# algorithm.
# Seen: two layers of norms 1 and 100, rate 0.01: plain steps of 0.01 and 1.0, flattened
# 0.707 both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    optax==0.2.8 jax==0.10.2
"$folder/env/bin/python" - <<'PY'
import jax
import jax.numpy as jnp
import optax

weights = {"small": jnp.full(1, 1.0), "large": jnp.full(1, 100.0)}
gradients = {"small": jnp.full(1, 0.3), "large": jnp.full(1, 0.3)}


def step(optimizer):
    updates, _ = optimizer.update(gradients, optimizer.init(weights), weights)
    return {name: round(float(jnp.abs(u[0])), 3) for name, u in updates.items()}


lamb, adam = optax.lamb(0.01), optax.adam(0.01)
plain, flat = step(lamb), step(optax.flatten(lamb))
print("lamb", plain, "flattened", flat)
assert step(adam) == step(optax.flatten(adam))
assert plain == {"small": 0.01, "large": 1.0}
assert flat == {"small": 0.707, "large": 0.707}
PY
