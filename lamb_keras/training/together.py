"""Several trials in one program, along a leading axis that `vmap` takes away again."""

import itertools

import jax
import numpy as np


def together(each: list, width: int):
    """The trials' arrays as a program of that width takes them.

    Of width 1 they are those of the only trial. Else they are stacked along a new axis,
    and where trials are fewer the last one's fill it up.

    Example:
        >>> together([np.array([1, 2])], 1).tolist()
        [1, 2]
        >>> together([np.array([1, 2]), np.array([3, 4])], 3).tolist()
        [[1, 2], [3, 4], [3, 4]]
    """
    if width == 1:
        return each[0]
    each = each + [each[-1]] * (width - len(each))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


def apart(trees, width: int) -> list:
    """Of what `together` has put together, or a program has made of it, each trial's.

    Of a width above 1 they are NumPy's arrays.

    Example:
        >>> [array.tolist() for array in apart(np.array([[1, 2], [3, 4]]), 2)]
        [[1, 2], [3, 4]]
    """
    if width == 1:
        return [trees]
    # On the device each slice would be a program of its own.
    host = jax.tree.map(np.asarray, trees)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], host) for i in range(width)]


def in_turns(groups_of_solvers) -> list:
    """The first group of each solver, then the second of each that has one, and so on.

    So threads begin by compiling different solvers.

    Example:
        >>> in_turns([["lamb 1", "lamb 2", "lamb 3"], ["lars 1"]])
        ['lamb 1', 'lars 1', 'lamb 2', 'lamb 3']
    """
    rounds = itertools.zip_longest(*groups_of_solvers)
    return [group for each in rounds for group in each if group is not None]
