#!/usr/bin/env bash
# jax 0.10.2, CPU: pmean(grad(loss)) inside jax.shard_map is N times the gradient.
#
# Expected by who comes from pmap: each device has the gradient of its own batch, and
# pmean makes it that of the whole batch.
# What happens: with the default check_vma=True the weights are known to be the same on
# all devices, so grad already sums over devices; pmean of equal sums changes nothing, and
# the result is N times too long. Optimizers that do not mind a gradient's length (Adam,
# LAMB, LARS) hide it; SGD, clipping and logged norms do not.
# Right: pmean of the loss inside what is differentiated, or check_vma=False.
# Source: docs.jax.dev, "shard_map", section on varying manual axes.
# Seen: 4 devices, 4.0 times; with check_vma=False, and with pmean of the loss, 1.0 times.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check jax==0.10.2
XLA_FLAGS=--xla_force_host_platform_device_count=4 "$folder/env/bin/python" - <<'PY'
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
weights, rows = jnp.array([1.0, 2.0]), jnp.arange(16.0).reshape(8, 2)


def loss(weights, rows):
    return jnp.mean((rows @ weights) ** 2)


def mapped(function, **options):
    return jax.shard_map(
        function, mesh=mesh, in_specs=(P(), P("batch")), out_specs=P(), **options
    )(weights, rows)


def gradient(weights, rows):
    return jax.lax.pmean(jax.grad(loss)(weights, rows), "batch")


def of_mean_loss(weights, rows):
    return jax.grad(lambda w: jax.lax.pmean(loss(w, rows), "batch"))(weights)


true = jax.grad(loss)(weights, rows)
seen = [
    round(float(jnp.linalg.norm(g) / jnp.linalg.norm(true)), 4)
    for g in (
        mapped(gradient),
        mapped(gradient, check_vma=False),
        mapped(of_mean_loss),
    )
]
print("length, of the gradient's:", seen)
assert seen == [4.0, 1.0, 1.0], seen
PY
