"""A step of all variables at once, in two passes over each, in the forms XLA runs fast.

The first pass computes moments and norms, the second the step, which needs the norms:
no layerwise update can do with less. Between them stand the trust ratios. Why each form
is as it is was measured: benchmarks/UPDATE.md.
"""

import itertools
import math
from functools import partial
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
# How many variables share a GPU's kernel, large ones and others: with more, too few
# threads would find room beside one another.
_BUNDLE_OF_LARGE, _BUNDLE = 4, 8
# Their ratios: as many second passes are one kernel, since XLA's take up to 96 arrays.
_RATIOS = 22


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


def two_passes(first, rate, second, arrays, treatments, *, kinds, unstored, tracked):
    """A step of every variable, and what it was scaled by.

    Args:
        first: from the arrays of a variable (weights, gradient, moments) and its
            treatment to (what the second pass takes, w and u, whose norms are taken).
        rate: from a kind, ‖w‖² and ‖u‖² to (ratio, ‖w‖, ‖u‖, factor of the step),
            element by element.
        second: from what the first gave, the factor, the treatment and the dtypes of
            weights and moments to these after the step.
        arrays: a list of arrays for each of weights, gradients and moments.
        treatments: a `Treatment` for each variable.
        kinds: what of it `rate` depends on, a tuple of bools for each variable.
        unstored: for each variable, whether u is computed for its norm alone.
        tracked: whether ratios and norms are wanted. On a TPU those of all kinds are
            then computed together: in another order of operations, for the sake of a
            few small variables, less of the large ones would lie in the fast memory.

    Returns:
        Lists with an array a variable: weights, each of the moments, ratios, ‖w‖, ‖u‖.
    """
    variables = list(zip(*arrays, treatments, strict=True))
    if not variables:
        return [[] for _ in range(len(arrays) + 2)]
    carried, ws, us = zip(*(first(*v) for v in variables), strict=True)
    stacked = [treatment.stacked for treatment in treatments]
    sizes = [w.size for w in ws]

    def from_sums(w_squares, u_squares, keys):
        return at_once(rate, kinds, neighbors(sizes, keys), w_squares, u_squares)

    def on_cpu(ws, us):
        u_squares = [
            _sum_by_blocks(u)
            if alone and is_large(u) and not of_slices
            else _sum_of_squares(u, of_slices)
            for u, alone, of_slices in zip(us, unstored, stacked, strict=True)
        ]
        return from_sums(map(_sum_of_squares, ws, stacked), u_squares, kinds)

    def on_tpu(ws, us):
        sums = (map(_sum_of_squares, each, stacked) for each in (ws, us))
        return from_sums(*sums, [None] * len(kinds) if tracked else kinds)

    def on_gpu(ws, us):
        if jax.device_count() > 1:  # over which each variable may be spread as it likes
            return on_tpu(ws, us)
        return _in_bundles(rate, kinds, stacked, ws, us)

    *scales, rates = jax.lax.platform_dependent(
        ws, us, cpu=on_cpu, cuda=on_gpu, default=on_tpu
    )
    after = [
        second(*passed, factor, treatment, (w.dtype, *(m.dtype for m in moments)))
        for passed, factor, (w, _, *moments, treatment) in zip(
            carried, rates, variables, strict=True
        )
    ]
    return *map(list, zip(*after, strict=True)), *scales


# Sums too are traced once for all variables that are alike.
_sum_of_squares = jax.jit(sum_of_squares, inline=True, static_argnums=1)


# On a CPU: u is computed once for its norm and once more for the step


def is_large(x):
    """Whether a variable is worth the forms for a CPU.

    Where there are several CPU devices, none is: it may be spread over them, and its
    blocks would have to be brought together.
    """
    spread = jax.default_backend() == "cpu" and jax.device_count() > 1
    return x.size >= LARGE and not spread


@partial(jax.jit, inline=True)
def _sum_by_blocks(x):
    """‖x‖² of an array that is computed for it, and not stored: on a CPU, faster.

    There XLA makes one loop, of vector instructions, of the array's own arithmetic and
    a sum over the middle axis of (blocks, 16, 16), provided that it does not take the
    sum for one: it then has a library add up the array, which has to be stored for it.
    So squares are added up as their absolute values, which are the same numbers.
    """
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


# On a GPU: variables of one size share kernels


def _in_bundles(rate, kinds, stacked, ws, us):
    """What `at_once` gives of norms, with few kernels for many variables.

    XLA puts a variable's moments and sums into one kernel, in place. It puts those of
    several variables into one only where their sums are one operation. Rows are summed
    up by it, and the sums of rows, of many variables, by another; and where factors
    are parts of one array, XLA makes one kernel of the steps that they are for.
    """
    shapes = [_rows(*each) for each in zip(ws, stacked, strict=True)]
    sums = [None] * len(ws)
    for members in _bundles(
        {i: (shapes[i], w.dtype) for i, w in enumerate(ws)},
        lambda i: _BUNDLE_OF_LARGE if ws[i].size >= LARGE else _BUNDLE,
    ):
        both = [x[i] for x in (ws, us) for i in members]
        of_rows = _sums_of_rows(both, shapes[members[0]])
        of_w, of_u = of_rows[: len(members)], of_rows[len(members) :]
        for i, *both in zip(members, of_w, of_u, strict=True):
            sums[i] = both
    results = [None] * len(ws)
    for members in _of_ratios([of_w.shape[1] for of_w, _ in sums], ws):
        length = max(sums[i][0].shape[1] for i in members)
        rows = jnp.concatenate(
            [_padded(sums[i][k], length) for k in range(2) for i in members]
        )
        squares = jnp.split(jnp.sum(rows, 1), 2)
        slices = [shapes[i][0] for i in members]
        *scales, factors = rate(_kind([kinds[i] for i in members], slices), *squares)
        factors = jax.lax.optimization_barrier(factors)
        like = [(-1,) + (1,) * (ws[i].ndim - 1) if stacked[i] else () for i in members]
        _part(results, members, like, slices, (*scales, factors))
    return tuple(map(list, zip(*results, strict=True)))


def _rows(w, stacked):
    """(slices, rows, columns): how a variable is looked at to be summed by rows."""
    slices = w.shape[0] if stacked else 1
    size = w.size // slices
    columns = math.gcd(size, 1024 if size >= LARGE else 128)
    if columns < 32:  # fewer than the threads that would share a row
        columns = size
    return slices, size // columns, columns


def _bundles(keys, most):
    """The indices of variables of one key each, as many at once as `most(i)` says."""
    alike = {}
    for i, key in keys.items():
        alike.setdefault(key, []).append(i)
    return [
        members[start : start + most(members[0])]
        for members in alike.values()
        for start in range(0, len(members), most(members[0]))
    ]


@partial(jax.jit, inline=True, static_argnums=1)
def _sums_of_rows(arrays, shape):
    """The sums of squares of rows, for arrays of one size, as one operation."""
    squares = [jnp.square(x.reshape(shape)) for x in arrays]
    zeros = [np.zeros((), x.dtype) for x in arrays]
    return jax.lax.reduce(
        squares,
        zeros,
        lambda totals, more: [a + b for a, b in zip(totals, more, strict=True)],
        (2,),
    )


def _of_ratios(lengths, ws):
    """The indices of variables whose ratios are computed at once.

    First those of one size that are as many, since XLA compiles equal kernels once: in
    them no operand's place may depend on which other variables there are. The others
    go together by length, up to which zeros follow.
    """
    alike = _bundles(
        {i: (w.size, lengths[i], w.dtype) for i, w in enumerate(ws)}, lambda i: _RATIOS
    )
    alike.sort(key=lambda members: ws[members[0]].size)
    rest = {
        i: (next((n for n in (64, 4096) if lengths[i] <= n), lengths[i]), ws[i].dtype)
        for members in alike
        if len(members) < _RATIOS
        for i in members
    }
    whole = [members for members in alike if len(members) == _RATIOS]
    return whole + _bundles(rest, lambda i: _RATIOS)


def _padded(rows, length):
    return jnp.pad(rows, [(0, 0), (0, length - rows.shape[1])])


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


def at_once(function, kinds, groups, *numbers):
    """A function of each variable's numbers, computed for several variables at once.

    XLA makes several operations of a formula for single numbers on a TPU, and a kernel
    on a GPU, but no more than that for a vector. So the numbers of variables that
    follow one another are put together.

    Args:
        function: from a kind and arrays of one shape, one for each of `numbers`, to a
            tuple of arrays of that shape, element by element.
        kinds: a tuple of bools a variable; arrays of bools, where variables of several
            kinds are put together.
        groups: lists of indices: whose numbers are put together, see `neighbors`.
        *numbers: an array a variable: its single number, or its slices'.

    Returns:
        As many lists of one array a variable as the function gives arrays.
    """
    columns = [list(each) for each in numbers]
    results = [None] * len(kinds)
    for members in groups:
        if len(members) == 1:
            (i,) = members
            results[i] = function(kinds[i], *(column[i] for column in columns))
            continue
        shapes = [columns[0][i].shape for i in members]
        lengths = [math.prod(shape) for shape in shapes]
        joined = (
            jnp.concatenate([jnp.ravel(column[i]) for i in members])
            for column in columns
        )
        kind = _kind([kinds[i] for i in members], lengths)
        _part(results, members, shapes, lengths, function(kind, *joined))
    return tuple(map(list, zip(*results, strict=True)))


def _kind(kinds, lengths):
    """The kind of numbers put together: with flags for each, where they differ."""
    if len(set(kinds)) == 1:
        return kinds[0]
    return tuple(np.repeat(flags, lengths) for flags in zip(*kinds, strict=True))


def _part(results, members, shapes, lengths, joined):
    """Gives each member what is its own of arrays put together."""
    ends = list(itertools.accumulate(lengths))
    parts = (jnp.split(x, ends[:-1]) for x in joined)
    for i, shape, *each in zip(members, shapes, *parts, strict=True):
        results[i] = tuple(x.reshape(shape) for x in each)


def neighbors(sizes, keys):
    """The indices of variables whose numbers are put together: neighbors of one key."""
    runs, held = {}, {}
    for i, (size, key) in enumerate(zip(sizes, keys, strict=True)):
        held[key] = held.get(key, math.inf) + size
        if held[key] > _MOST_AT_ONCE:
            runs.setdefault(key, []).append([])
            held[key] = size
        runs[key][-1].append(i)
    return [members for of_key in runs.values() for members in of_key]
