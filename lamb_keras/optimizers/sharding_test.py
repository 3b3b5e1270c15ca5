"""Norms are of whole variables, however these are spread over devices."""

import os
import subprocess
import sys

import pytest

# Eight devices have to be asked for before JAX starts, hence a process of its own.
SHARDED = """
import jax, jax.numpy as jnp, keras, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from lamb_keras.optimizers import Lamb, Lars

assert len(jax.devices()) == 8
mesh = jax.make_mesh((4, 2), ("data", "model"))
specs = [PartitionSpec("data", "model"), PartitionSpec("model"), PartitionSpec("data")]
rng = np.random.default_rng(0)
weights = [rng.normal(size=s).astype("float32") for s in [(8, 6), (4,), (16, 3)]]
gradients = [
    [rng.normal(size=w.shape).astype("float32") for w in weights] for _ in range(20)
]

def train(make, place):
    variables = [keras.Variable(w) for w in weights]
    optimizer = make()
    optimizer.build(variables)
    by_shape = {w.shape: spec for w, spec in zip(weights, specs)}
    put = lambda x: place(jnp.asarray(x), by_shape.get(x.shape, PartitionSpec()))
    trained = [put(v.value) for v in variables]
    state = [put(v.value) for v in optimizer.variables]
    step = jax.jit(lambda w, s, g: optimizer.stateless_apply(s, g, w))
    for g in gradients:
        trained, state = step(trained, state, [put(x) for x in g])
    return trained

sharded = lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec))
alone = lambda x, spec: jax.device_put(x, jax.devices()[0])
for make in (
    lambda: Lamb(0.01, weight_decay=0.1, global_clipnorm=1.0),
    lambda: Lars(0.01, weight_decay=0.1, variant="momentum"),
):
    spread, whole = train(make, sharded), train(make, alone)
    assert not spread[0].sharding.is_fully_replicated
    assert len(spread[0].addressable_shards) == 8
    assert spread[0].addressable_shards[0].data.shape == (2, 3)
    for a, b in zip(spread, whole):
        a, b = np.asarray(a), np.asarray(b)
        print(np.max(np.abs(a - b)) / np.max(np.abs(b)))
"""


@pytest.mark.slow
def test_a_run_sharded_over_eight_devices_is_the_run_on_one():
    result = subprocess.run(
        [sys.executable, "-c", SHARDED],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    distances = [float(line) for line in result.stdout.split()]
    assert len(distances) == 6 and max(distances) < 1e-6
