"""How many kernels a compiled program starts, and how many bytes they move."""

import math
import re
from typing import NamedTuple

# Results that are views of, or waits for, what another instruction made.
_NO_KERNEL = {
    "after-all",
    "bitcast",
    "constant",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "tuple",
}
# Copies beside the kernels: which of their results is what they move.
_COPIES = {"copy-start": 0, "slice-start": 1}
_SCALAR = 8  # bytes
_BITS = re.compile(r"[a-z]+(\d+)")
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\](?:\{([^{}]*)\})?")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*)$")
_OPERATION = re.compile(r"^([\w-]+)\(")


class Traffic(NamedTuple):
    """What the instructions of a program's entry are together."""

    kernels: int
    bytes: int
    # Of the kernels, those that read and write nothing but single numbers.
    scalar_kernels: int


def traffic(program: str) -> Traffic:
    """Counts the instructions of a program's entry that do something.

    Each is one kernel (on a TPU: one operation of the device), which reads its operands
    and writes its results once. One that reads a part of an operand is counted as
    if it read the whole. Copies that run beside the kernels, to and from a TPU's fast
    memory, are bytes but no kernels; what lies in that memory costs no bytes.

    Args:
        program: `compiled.as_text()`.

    Example:
        >>> program = [
        ...     "ENTRY %main (x: f32[8]) -> f32[8] {",
        ...     "  %x = f32[8]{0} parameter(0)",
        ...     "  ROOT %y = f32[8]{0} negate(%x)",
        ...     "}",
        ... ]
        >>> traffic(chr(10).join(program))
        Traffic(kernels=1, bytes=64, scalar_kernels=0)
    """
    arrays, kernels, moved, scalars = {}, 0, 0, 0
    for name, result, operation, operands, rest in _entry(program):
        arrays[name] = _arrays(result)
        sources = [array for each in operands for array in arrays[each]]
        if operation in _COPIES:
            piece = arrays[name][_COPIES[operation]]
            ends = [piece, *sources[:1]]
            moved += piece.bytes * sum(array.in_memory for array in ends)
        if _is_no_kernel(operation, rest):
            continue
        used = arrays[name] + sources
        kernels += 1
        moved += sum(array.bytes for array in used if array.in_memory)
        scalars += all(array.bytes <= _SCALAR for array in used)
    return Traffic(kernels, moved, scalars)


def _is_no_kernel(operation, text):
    # A TPU's slices, fetched one by one, are an array without any doing.
    joins = operation == "custom-call" and '"ConcatBitcast"' in text
    beside = operation in _COPIES or operation.endswith("-done")
    return operation in _NO_KERNEL or beside or joins


def _entry(program):
    """(name, type of the result, operation, names of operands, text) of each line."""
    lines = program.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("ENTRY "))
    for line in lines[start + 1 :]:
        if line.startswith("}"):
            return
        name, rest = _INSTRUCTION.match(line).groups()
        result, rest = _split_type(rest)
        operation = _OPERATION.match(rest)[1]
        inside = _parenthesized(rest[len(operation) :])
        yield name, result, operation, re.findall(r"%([\w.-]+)", inside), rest


def _split_type(text):
    """The type before an operation and the rest; a tuple's has blanks within."""
    if text.startswith("("):
        inside = _parenthesized(text)
        return inside, text[len(inside) + 2 :].lstrip()
    result, _, rest = text.partition(" ")
    return result, rest


def _parenthesized(text):
    """What stands between the first parenthesis of a text and its partner."""
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[1:i]
    raise ValueError(f"there is no end to the parenthesis in {text[:60]!r}.")


class _Array(NamedTuple):
    bytes: int
    in_memory: bool


def _arrays(result):
    """The arrays of a type, which may be a tuple."""
    found = []
    for dtype, shape, layout in _ARRAY.findall(result):
        if dtype == "token":
            continue
        bits = 8 if dtype == "pred" else int(_BITS.match(dtype)[1])
        count = math.prod(int(n) for n in shape.split(",") if n)
        found.append(_Array(math.ceil(bits * count / 8), "S(" not in layout))
    return found
