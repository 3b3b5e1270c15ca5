#!/usr/bin/env bash
# jax 0.10.2 with libtpu 0.0.42.1, compiled for slices of TPUs without one: a
# jax.lax.psum_scatter over all chips of a slice is no reduce-scatter.
#
# Expected: in jax.shard_map over a mesh of one axis, all 16 chips of a v5e:4x4,
# psum_scatter(x, "chips", scatter_dimension=0, tiled=True) sends each chip its part of
# the sum: half of what an all-reduce sends.
# What happens: the program all-reduces the whole array and then cuts each chip's part out
# of it. So it does where one call is given both axes of a mesh of 4 x 4, and on v5p:2x2x4
# and v6e:4x4. Over one side of the slice after the other, two calls, none is left.
# Mend: a mesh with an axis for each side of the slice, and a psum_scatter for each. (In a
# larger program the compiler may still put several into one all-reduce.)
# Seen: all-reduces of the whole in the program: 1 and 1, by two calls 0, on all three.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    jax==0.10.2 libtpu==0.0.42.1
export ALLOW_MULTIPLE_LIBTPU_LOAD=1
"$folder/env/bin/python" - 2>"$folder/log" <<'PY' || { tail "$folder/log"; exit 1; }
import re

import jax
from jax.experimental import mesh_utils, topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

jax.config.update("jax_platforms", "cpu")  # there is no TPU here to be looked for
SIDE = 4096


def whole_all_reduces(topology, sides, calls):
    """All-reduces of the whole array, outside of fusions that scatter."""
    devices = topologies.get_topology_desc(
        platform="tpu", topology_name=topology
    ).devices
    names = ("a", "b")[: len(sides)]
    mesh = Mesh(mesh_utils.create_device_mesh(sides, devices), names)

    def scattered(x):
        for axes in calls:
            x = jax.lax.psum_scatter(x, axes, scatter_dimension=0, tiled=True)
        return x

    step = jax.shard_map(
        scattered,
        mesh=mesh,
        in_specs=PartitionSpec(),
        out_specs=PartitionSpec(names),
        check_vma=False,
    )
    place = NamedSharding(mesh, PartitionSpec())
    x = jax.ShapeDtypeStruct((SIDE, SIDE), "float32", sharding=place)
    program = jax.jit(step).lower(x).compile().as_text()
    entry = program[program.index("\nENTRY") :]
    return len(re.findall(rf"= f32\[{SIDE},{SIDE}\]\S* all-reduce(?:-start)?\(", entry))


print(f"jax {jax.__version__}")
for topology in ("v5e:4x4", "v5p:2x2x4", "v6e:4x4"):
    found = [
        whole_all_reduces(topology, (16,), ["a"]),
        whole_all_reduces(topology, (4, 4), [("a", "b")]),
        whole_all_reduces(topology, (4, 4), ["a", "b"]),
    ]
    print(topology, "one axis, two axes at once, one after the other:", found)
    assert found == [1, 1, 0], found
PY
echo "as described"
