"""Several trials in one program, along a leading axis that `vmap` takes away again."""

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
