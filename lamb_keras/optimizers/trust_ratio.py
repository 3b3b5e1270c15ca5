"""How far a layer may move: norms and the trust ratio, on arrays."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

# Variables of as many numbers are worth a form of their own on a CPU.
LARGE = 65_536
# More rows, and XLA would split the sum again; fewer, and the sums fill more memory.
_ROWS, _LANES = 16, 16
# Variables that follow one another have their ratios computed at once, up to as many
# numbers: more would have left a TPU's fast memory before their second pass.
_TOGETHER = 2_200_000


def working_dtype(*dtypes):
    """The dtype a step is computed in: float32, or wider where a variable is wider.

    Half precision is never enough: ‖w‖² overflows float16 at ‖w‖ = 256, and
    β₂ = 0.999 is 1 in bfloat16, which would stop every step.

    Example:
        >>> str(working_dtype("bfloat16")), str(working_dtype("float16", "float32"))
        ('float32', 'float32')
    """
    dtype = jnp.dtype("float32")
    for other in dtypes:
        dtype = jnp.promote_types(dtype, other)
    return dtype


def norm(x, stacked=False):
    """‖x‖ over a whole array, or of each slice of axis 0 if `stacked`.

    The norms of slices keep their axes, so that they multiply the array they belong to.

    Example:
        >>> float(norm(jnp.array([[3.0, 0.0], [0.0, 4.0]])))
        5.0
        >>> norm(jnp.array([[3.0, 0.0], [0.0, 4.0]]), stacked=True).tolist()
        [[3.0], [4.0]]
    """
    return jnp.sqrt(sum_of_squares(x, stacked))


def sum_of_squares(x, stacked=False):
    """‖x‖², as `norm`."""
    axes = tuple(range(1, x.ndim)) if stacked else None
    return jnp.sum(jnp.square(x), axis=axes, keepdims=stacked)


def sum_of_squares_in_passing(x):
    """‖x‖² of an array that is computed for it, and not kept: on a CPU, a faster form.

    There XLA makes one loop, of vector instructions, of the array's own arithmetic and
    a sum over the middle axis of (blocks, 16, 16), provided that it does not take the
    sum for one: it then has a library add up the array, which has to be stored for it.
    So squares are added up as their absolute values, which are the same numbers.

    Example:
        >>> float(sum_of_squares_in_passing(jnp.array([3.0, 4.0])))
        25.0
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


def is_large(x):
    """Whether a variable is worth the forms for a CPU.

    Where there are several CPU devices, none is: it may be spread over them, and its
    blocks would have to be brought together.
    """
    spread = jax.default_backend() == "cpu" and jax.device_count() > 1
    return x.size >= LARGE and not spread


def apart(*numbers):
    """The same numbers; on a CPU the compiler does not know them to be the same.

    What is computed from them is then computed once more, instead of being kept in
    memory since it was computed the first time. Compilers for GPUs and TPUs do so of
    themselves.
    """
    return jax.lax.platform_dependent(
        *numbers,
        cpu=lambda *numbers: jax.lax.optimization_barrier(numbers),
        default=lambda *numbers: numbers,
    )


def after(arrays, numbers):
    """The same numbers; on a TPU they are not to be had before the arrays are.

    For numbers that are only kept: a compiler that sees them wanted early orders its
    operations for that, and what lay in the fast memory meanwhile has to leave it.
    """
    return jax.lax.platform_dependent(
        list(arrays),
        numbers,
        tpu=lambda arrays, numbers: jax.lax.optimization_barrier((arrays, numbers))[1],
        default=lambda arrays, numbers: numbers,
    )


def clip(x, bounds):
    """`x` held within `bounds`, a pair or None for no bounds."""
    return x if bounds is None else jnp.clip(x, *bounds)


def trust_ratio(
    weight_norm,
    update_norm,
    phi_bounds=None,
    trust_ratio_bounds=None,
    trust_coefficient=1,
):
    """κ φ(‖w‖) / ‖u‖, or 1 where either norm is 0.

    φ(z) = min(max(z, γₗ), γᵤ). The paper's formula taken literally would keep a weight
    that starts at zero there for ever; every implementation steps by 1 · u instead.

    Args:
        weight_norm: ‖w‖, float32 or wider.
        update_norm: ‖u‖, of the same shape.
        phi_bounds: (γₗ, γᵤ), or None for φ(z) = z.
        trust_ratio_bounds: (lowest, highest) ratio, or None.
        trust_coefficient: κ, which LARS has and LAMB does not.

    Example:
        >>> float(trust_ratio(jnp.float32(5.0), jnp.float32(2.0)))
        2.5
        >>> float(trust_ratio(jnp.float32(0.0), jnp.float32(2.0)))
        1.0
        >>> float(trust_ratio(jnp.float32(50.0), jnp.float32(2.0), phi_bounds=(0, 10)))
        5.0
    """
    numerator = clip(weight_norm, phi_bounds)
    defined = jnp.minimum(numerator, update_norm) > 0
    ratio = trust_coefficient * numerator / jnp.where(defined, update_norm, 1)
    return jnp.where(defined, clip(ratio, trust_ratio_bounds), 1)


def at_once(function, sizes, *numbers, kinds, tracked=False):
    """A function of each variable's numbers, computed for several variables at once.

    XLA makes several operations of a formula for single numbers on a TPU, and a kernel
    on a GPU, but no more than that for a vector. So the numbers of variables that
    follow one another and are of one kind and dtype are put together.

    Args:
        function: takes a kind and as many arrays of one shape as there are lists of
            numbers, and gives a tuple of arrays of that shape. It has to treat each of
            their elements alone.
        sizes: how many numbers each variable has.
        *numbers: lists of an array a variable: its single number, or its slices'.
        kinds: one bool a variable, or one tuple of them. Where variables of several
            kinds are put together, the function is given arrays instead.
        tracked: whether all results are wanted. On a TPU those of all kinds are then
            put together: in another order of operations, for the sake of a few small
            variables, less of the large ones would lie in the fast memory.

    Returns:
        As many lists of one array a variable as the function gives arrays.

    Example:
        >>> def root(is_doubled, x):
        ...     return (jnp.where(is_doubled, 2, 1) * jnp.sqrt(x),)
        >>> squares = [jnp.array(4.0), jnp.array(9.0)]
        >>> (roots,) = at_once(root, [1000, 1000], squares, kinds=[True, True])
        >>> [float(x) for x in roots]
        [4.0, 6.0]
    """

    def by_kind(*numbers):
        return _computed(function, sizes, numbers, kinds, kinds)

    def whatever_kind(*numbers):
        return _computed(function, sizes, numbers, kinds, [None] * len(kinds))

    if not tracked:
        return by_kind(*numbers)
    return jax.lax.platform_dependent(*numbers, tpu=whatever_kind, default=by_kind)


def _computed(function, sizes, numbers, kinds, keys):
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
            kind = jax.tree.map(
                lambda *flags, lengths=lengths: np.repeat(flags, lengths),
                *(kinds[i] for i in members),
            )
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
        if held[kind] > _TOGETHER:
            runs.setdefault(kind, []).append([])
            held[kind] = size
        runs[kind][-1].append(i)
    return [members for of_kind in runs.values() for members in of_kind]
