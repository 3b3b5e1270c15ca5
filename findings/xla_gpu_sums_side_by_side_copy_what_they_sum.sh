#!/usr/bin/env bash
# jax 0.10.2 with jax-cuda12-plugin 0.10.2, compiled for an H200 without a device: sums
# that XLA puts into one kernel keep all donated arrays but one from being written in place.
#
# Expected: jit(step, donate_argnums=0) of four moments m to 0.9 m + c g, with the sum of
# the squares of each (as LAMB and LARS need them), writes the new moments over the old.
# What happens: the four updates share the array c, so XLA makes one kernel of them, in
# which only the moment that goes into the kernel's first reduction is written in place.
# The other three are copied before: three kernels more, a pass more over three quarters of
# the state, and as much memory again.
# Mend: one jax.lax.reduce of four operands in place of four sums: no copy, two kernels.
# Seen: separate sums 5 fusions, 3 copies, 12.6 MB of temporary memory; one reduction of
# four operands 2 fusions, no copy, 17 kB. Moments have 4.2 MB each.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 jax-cuda12-plugin==0.10.2 jax-cuda12-pjrt==0.10.2 \
    nvidia-cuda-nvcc-cu12==12.9.86
"$folder/env/bin/python" - <<'PY'
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

jax.config.update("jax_platforms", "cpu")  # there is no GPU here to be looked for
H200 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 141000000000
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
device_description_str: "NVIDIA H200"
"""
MOMENTS, NUMBERS = 4, 2**20


def updated(moments, gradients, c):
    return [0.9 * m + c * g for m, g in zip(moments, gradients)]


def separate(moments, gradients, c):
    moments = updated(moments, gradients, c)
    return moments, [jnp.sum(m * m) for m in moments]


def together(moments, gradients, c):
    moments = updated(moments, gradients, c)
    zeros = [jnp.float32(0)] * MOMENTS
    add = lambda a, b: [x + y for x, y in zip(a, b)]
    return moments, jax.lax.reduce([m * m for m in moments], zeros, add, (0,))


def compiled(step):
    """(fusions, copies, bytes of temporary memory) of a step."""
    [device] = topologies.get_topology_desc(
        platform="cuda", target_config=H200, topology="1x1x1"
    ).devices
    place = NamedSharding(Mesh(np.array([device]), "x"), PartitionSpec())
    array = jax.ShapeDtypeStruct((NUMBERS,), "float32", sharding=place)
    arguments = [array] * MOMENTS, [array] * MOMENTS, array
    program = jax.jit(step, donate_argnums=0).lower(*arguments).compile(
        compiler_options={"xla_gpu_enable_command_buffer": ""}
    )
    text = program.as_text()
    kernels = re.findall(r"= .*? (fusion|copy)\(", text[text.index("ENTRY") :])
    temporary = program.memory_analysis().temp_size_in_bytes
    return kernels.count("fusion"), kernels.count("copy"), temporary


for step in (separate, together):
    print(step.__name__, "fusions, copies, temporary bytes:", compiled(step))
fusions, copies, temporary = compiled(separate)
assert copies == MOMENTS - 1 and temporary > 3 * 4 * NUMBERS - 1
fusions, copies, temporary = compiled(together)
assert copies == 0 and temporary < NUMBERS
PY
