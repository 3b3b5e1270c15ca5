"""Kernels and bytes are read off a compiled program's text."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.traffic import Traffic, traffic

# As XLA prints programs for GPUs and TPUs: fusions with several results, layouts with
# tiles, asynchronous copies, what is no kernel at all.
PROGRAM = """
HloModule jit_f, is_scheduled=true

%fused (p: f32[4,8]) -> (f32[], f32[4,8]) {
  %p = f32[4,8]{1,0} parameter(0)
  %inner = f32[4,8]{1,0} negate(%p)
  ROOT %t = (f32[], f32[4,8]{1,0}) tuple(%p, %inner)
}

ENTRY %main.2 (x.1: f32[4,8], n.1: s32[]) -> (f32[4,8], bf16[4,8]) {
  %x.1 = f32[4,8]{1,0:T(8,128)} parameter(0), metadata={op_name="x"}
  %n.1 = s32[]{:T(128)} parameter(1)
  %c = f32[] constant(1)
  %f.1 = (f32[]{:T(128)}, f32[4,8]{1,0:T(8,128)S(1)}) fusion(%x.1), calls=%fused
  %sum = f32[]{:T(128)} get-tuple-element(%f.1), index=0
  %y = f32[4,8]{1,0:T(8,128)S(1)} get-tuple-element(%f.1), index=1
  %root = f32[]{:T(128)S(6)} sqrt(%sum), metadata={op_name="jit(f)/sqrt"}
  %copy-start = (f32[4,8]{1,0}, f32[4,8]{1,0:S(1)}, u32[]{:S(2)}) copy-start(%y)
  %copy-done = f32[4,8]{1,0} copy-done(%copy-start)
  %slice-start = ((f32[4,8]{1,0}), f32[1,8]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%x.1)
  %slice-done = f32[1,8]{1,0:S(1)} slice-done(%slice-start)
  %one = f32[4,8]{1,0:S(1)} custom-call(%slice-done), custom_call_target="ConcatBitcast"
  %half = bf16[4,8]{1,0} convert(%copy-done)
  ROOT %all = (f32[4,8]{1,0}, /*index=1*/bf16[4,8]{1,0}) tuple(%copy-done, %half)
}
"""


def test_instructions_of_the_entry_are_counted_with_operands_and_results():
    array, half = 4 * 8 * 4, 4 * 8 * 2
    fusion = array + 4  # and an array in fast memory, S(1)
    root = 4  # to fast memory
    copy = array  # from fast memory
    piece = 8 * 4  # to fast memory
    convert = array + half
    assert traffic(PROGRAM) == Traffic(
        kernels=3, bytes=fusion + root + copy + piece + convert, scalar_kernels=1
    )


@pytest.mark.parametrize(
    "dtype, bytes_of_one",
    [("bool", 1), ("int8", 1), ("bfloat16", 2), ("float8_e4m3fn", 1), ("int32", 4)],
)
def test_a_compiled_copy_reads_and_writes_the_bytes_of_its_dtype(dtype, bytes_of_one):
    x = jnp.zeros((16, 16), dtype)
    compiled = jax.jit(lambda x: x.T).lower(x).compile()
    assert traffic(compiled.as_text())[:2] == (1, 2 * 256 * bytes_of_one)
