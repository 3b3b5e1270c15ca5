"""Compiling for an accelerator on a machine that has none.

XLA's compilers for GPUs and TPUs come in packages of their own and need no device, only
its description. `make compilers` puts them (450 MB to download) into .venv/compilers,
for processes that are started with PYTHONPATH=.venv/compilers. What can be told without
a device is what a compiled program does, not how long it takes.
"""

import importlib.util
import os

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# NVIDIA's published figures of an H200 SXM (compute capability 9.0) in the form XLA
# reads them; 4.8 TB/s, 141 GB, 50 MB of L2 cache, 132 multiprocessors.
_H200 = """
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

# The packages that hold the compilers.
TARGETS = {"h200": "jax_cuda12_plugin", "v5e": "libtpu"}


def is_installed(target: str) -> bool:
    """Whether the compiler for a target is there.

    Example:
        >>> is_installed("h200") in (True, False)
        True
    """
    return importlib.util.find_spec(TARGETS[target]) is not None


def use_no_device():
    """Keeps this process on the processor, before JAX is first used.

    Where the compilers are, JAX would else look for the devices that they are for, and
    say that there are none.
    """
    jax.config.update("jax_platforms", "cpu")


def compile_for(target: str, function, *arguments, donate_argnums=()):
    """`function` compiled for one device of a target.

    Args:
        target: one of `TARGETS`: h200, v5e.
        arguments: arrays or trees of them; only shapes and dtypes matter.
        donate_argnums: as for `jax.jit`.

    Returns:
        A compiled program, which cannot be run here.
    """
    sharding = NamedSharding(Mesh(np.array(_devices(target)[:1]), "x"), PartitionSpec())
    described = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), arguments
    )
    options = {}
    if target == "h200":
        # A graph of kernels would be one instruction, in which they are not seen.
        options["xla_gpu_enable_command_buffer"] = ""
    return (
        jax.jit(function, donate_argnums=donate_argnums)
        .lower(*described)
        .compile(compiler_options=options)
    )


def _devices(target):
    if target == "h200":
        return topologies.get_topology_desc(
            platform="cuda", target_config=_H200, topology="1x1x1"
        ).devices
    return tpus("v5e:2x2")


def tpus(topology: str) -> list:
    """The devices of a slice of TPUs, such as v5e:16x16."""
    # Else libtpu asks the network for the machine that it is on.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
