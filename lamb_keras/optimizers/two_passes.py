"""A step of all variables at once, in two passes over each, in the forms XLA runs fast.

The first pass computes moments and norms, the second the step, which needs the norms:
no layerwise update can do with less. Between them stand the trust ratios. Why each form
is as it is was measured: benchmarks/UPDATE.md.
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamb_keras.optimizers.trust_ratio import sum_of_squares

# Variables of as many numbers are worth a form of their own on a CPU.
LARGE = 65_536
# More rows, and XLA would split the sum again; fewer, and the sums fill more memory.
_ROWS, _LANES = 16, 16
# Variables that follow one another have their ratios computed at once, up to as many
# numbers: more would have left a TPU's fast memory before their second pass.
_MOST_AT_ONCE = 2_200_000


class Treatment(NamedTuple):
    """What tells the steps of two variables of one shape apart."""

    decayed: bool
    adapted: bool
    stacked: bool


def treatments(count, decayed, adapted, stacked, weight_decay):
    """One `Treatment` a variable, from bools for all of them or lists of bools."""
    columns = []
    for flags in (decayed, adapted, stacked):
        if isinstance(flags, (bool, np.bool_)):
            flags = [bool(flags)] * count
        if len(flags) != count:
            raise ValueError(
                f"There are {len(flags)} flags for {count} variables; "
                "expected one bool, or one for each variable."
            )
        columns.append(flags)
    return [
        Treatment(decay and weight_decay is not None, adapt, stack)
        for decay, adapt, stack in zip(*columns, strict=True)
    ]


def two_passes(first, rate, second, arrays, treatments, kinds, tracked):
    """A step of every variable, and what it was scaled by.

    Args:
        first: from the arrays of a variable (weights, gradient, moments) and its
            treatment to (what the second pass takes, ‖w‖², ‖u‖²).
        rate: from a kind, ‖w‖² and ‖u‖² to (ratio, ‖w‖, ‖u‖, factor of the step),
            element by element.
        second: from what the first gave, the factor, the treatment and the dtypes of
            weights and moments to these after the step.
        arrays: a list of arrays for each of weights, gradients and moments.
        treatments: a `Treatment` for each variable.
        kinds: what of it `rate` depends on, a tuple of bools for each variable.
        tracked: whether ratios and norms are wanted, see `at_once`.

    Returns:
        Lists with an array a variable: weights, each of the moments, ratios, ‖w‖, ‖u‖.
    """
    variables = list(zip(*arrays, treatments, strict=True))
    if not variables:
        return [[] for _ in range(len(arrays) + 2)]
    carried, w_squares, u_squares = zip(*(first(*v) for v in variables), strict=True)
    *scales, rates = at_once(
        rate,
        [w.size for w in arrays[0]],
        w_squares,
        u_squares,
        kinds=kinds,
        tracked=tracked,
    )
    after = [
        second(*passed, factor, treatment, (w.dtype, *(m.dtype for m in moments)))
        for passed, factor, (w, _, *moments, treatment) in zip(
            carried, rates, variables, strict=True
        )
    ]
    return *map(list, zip(*after, strict=True)), *scales


# On a CPU: u is computed once for its norm and once more for the step


def is_large(x):
    """Whether a variable is worth the forms for a CPU.

    Where there are several CPU devices, none is: it may be spread over them, and its
    blocks would have to be brought together.
    """
    spread = jax.default_backend() == "cpu" and jax.device_count() > 1
    return x.size >= LARGE and not spread


def sum_of_squares_unstored(x):
    """‖x‖² of an array that is computed for it, and not stored: on a CPU, faster.

    There XLA makes one loop, of vector instructions, of the array's own arithmetic and
    a sum over the middle axis of (blocks, 16, 16), provided that it does not take the
    sum for one: it then has a library add up the array, which has to be stored for it.
    So squares are added up as their absolute values, which are the same numbers.
    """
    return jax.lax.platform_dependent(x, cpu=_sum_by_blocks, default=sum_of_squares)


def _sum_by_blocks(x):
    squares = jnp.square(jnp.ravel(x))
    whole = x.size - x.size % (_ROWS * _LANES)
    sums = jax.lax.reduce(
        squares[:whole].reshape(-1, _ROWS, _LANES),
        np.zeros((), x.dtype),
        lambda total, square: total + jnp.abs(square),
        (1,),
    )
    return jnp.sum(sums) + jnp.sum(squares[whole:])


def opaque(*numbers):
    """The same numbers; on a CPU the compiler does not know them to be the same.

    What is computed from them is then computed once more, instead of being stored since
    it was computed the first time. Compilers for GPUs and TPUs do so of themselves.
    """
    return jax.lax.platform_dependent(
        *numbers,
        cpu=lambda *numbers: jax.lax.optimization_barrier(numbers),
        default=lambda *numbers: numbers,
    )


# On a GPU and a TPU: single numbers are put together, and wait


def wait_for(arrays, numbers):
    """The same numbers; on a TPU they are not to be had before the arrays are.

    For numbers that are only recorded: a compiler that sees them wanted early orders
    its operations for that, and what lay in the fast memory meanwhile has to leave it.
    """
    return jax.lax.platform_dependent(
        list(arrays),
        numbers,
        tpu=lambda arrays, numbers: jax.lax.optimization_barrier((arrays, numbers))[1],
        default=lambda arrays, numbers: numbers,
    )


def at_once(function, sizes, *numbers, kinds, tracked=False):
    """A function of each variable's numbers, computed for several variables at once.

    XLA makes several operations of a formula for single numbers on a TPU, and a kernel
    on a GPU, but no more than that for a vector. So the numbers of variables that
    follow one another and are of one kind and dtype are put together.

    Args:
        function: from a kind and arrays of one shape, one for each of `numbers`, to a
            tuple of arrays of that shape, element by element.
        sizes: how many numbers each variable has.
        *numbers: lists of an array a variable: its single number, or its slices'.
        kinds: a tuple of bools a variable; arrays of bools, where variables of several
            kinds are put together.
        tracked: whether all results are wanted. On a TPU those of all kinds are then
            put together: in another order of operations, for the sake of a few small
            variables, less of the large ones would lie in the fast memory.

    Returns:
        As many lists of one array a variable as the function gives arrays.
    """

    def by_kind(*numbers):
        return _at_once(function, sizes, numbers, kinds, kinds)

    def whatever_kind(*numbers):
        return _at_once(function, sizes, numbers, kinds, [None] * len(kinds))

    if not tracked:
        return by_kind(*numbers)
    return jax.lax.platform_dependent(*numbers, tpu=whatever_kind, default=by_kind)


def _at_once(function, sizes, numbers, kinds, keys):
    """`at_once`, of those variables together that have the same key."""
    results = [None] * len(sizes)
    dtypes = [x.dtype for x in numbers[0]]
    for members in _neighbors(sizes, list(zip(keys, dtypes, strict=True))):
        if len(members) == 1:
            (i,) = members
            results[i] = function(kinds[i], *(column[i] for column in numbers))
            continue
        shapes = [numbers[0][i].shape for i in members]
        lengths = [math.prod(shape) for shape in shapes]
        kind = kinds[members[0]]
        if any(kinds[i] != kind for i in members):
            flags = zip(*(kinds[i] for i in members), strict=True)
            kind = tuple(np.repeat(flag, lengths) for flag in flags)
        joined = (
            jnp.concatenate([jnp.ravel(column[i]) for i in members])
            for column in numbers
        )
        ends = list(itertools.accumulate(lengths))
        parts = (jnp.split(x, ends[:-1]) for x in function(kind, *joined))
        for i, shape, *each in zip(members, shapes, *parts, strict=True):
            results[i] = tuple(x.reshape(shape) for x in each)
    return tuple(list(column) for column in zip(*results, strict=True))


def _neighbors(sizes, kinds):
    """The indices of variables whose numbers are put together."""
    runs, held = {}, {}
    for i, (size, kind) in enumerate(zip(sizes, kinds, strict=True)):
        held[kind] = held.get(kind, math.inf) + size
        if held[kind] > _MOST_AT_ONCE:
            runs.setdefault(kind, []).append([])
            held[kind] = size
        runs[kind][-1].append(i)
    return [members for of_kind in runs.values() for members in of_kind]
