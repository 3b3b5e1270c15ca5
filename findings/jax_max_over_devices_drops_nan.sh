#!/usr/bin/env bash
# jax 0.10.2, CPU: max, min and the infinity norm of a sharded array drop NaN.
#
# Expected: jnp.max of an array that holds a NaN is NaN, as in NumPy and as on one device.
# What happens: over several CPU devices, a device whose part has a NaN is left out of the
# reduction, with all that is finite there; sum, mean and isnan(x).any() keep the NaN. Whoever tells a diverged training by
# the largest loss or weight over shards does not see it.
# Seen: of 0 to 14 and a NaN, one device nan, four devices 11.0; the mean is nan in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check jax==0.10.2
XLA_FLAGS=--xla_force_host_platform_device_count=4 "$folder/env/bin/python" - <<'PY'
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

values = np.arange(16.0, dtype="float32")
values[15] = np.nan
mesh = jax.make_mesh((4,), ("x",))
one, four = jnp.asarray(values), jax.device_put(values, NamedSharding(mesh, P("x")))
print("max:", jnp.max(one), jnp.max(four), " mean:", jnp.mean(one), jnp.mean(four))
assert np.isnan(jnp.max(one)) and np.isnan(jnp.mean(one)) and np.isnan(jnp.mean(four))
assert float(jnp.max(four)) == 11.0
assert float(jnp.min(four)) == 0.0 and not np.isnan(jnp.linalg.norm(four, jnp.inf))
PY
