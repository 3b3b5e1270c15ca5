#!/usr/bin/env bash
# optax 0.2.8: inject_hyperparams on bfloat16 weights makes beta_2 = 0.999 a 1.0.
#
# Expected: the hyperparameters that inject_hyperparams puts into the state are those that
# were given.
# What happens: they are kept in the type of the weights. In bfloat16 0.999 rounds to 1.0,
# the second moment is never filled, 1 - beta_2^t is 0, and the first step is NaN.
# Mend: inject_hyperparams(..., hyperparam_dtype=jnp.float32).
# Seen: b2 1 in the state, every weight NaN after one step; with float32, finite.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    optax==0.2.8 jax==0.10.2
"$folder/env/bin/python" - <<'PY'
import jax.numpy as jnp
import optax

weights = gradients = jnp.ones(4, jnp.bfloat16)


def first_step(**options):
    make = optax.inject_hyperparams(optax.adamw, **options)
    optimizer = make(learning_rate=0.01)
    state = optimizer.init(weights)
    updates, state = optimizer.update(gradients, state, weights)
    return float(state.hyperparams["b2"]), optax.apply_updates(weights, updates)


b2, after = first_step()
exact, mended = first_step(hyperparam_dtype=jnp.float32)
print("b2", b2, "weights", after, "; in float32", round(exact, 4), mended)
assert b2 == 1.0 and bool(jnp.isnan(after).all())
assert abs(exact - 0.999) < 1e-6 and bool(jnp.isfinite(mended).all())
PY
