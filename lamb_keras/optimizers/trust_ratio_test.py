"""Norms and ratios: float32 or wider, with the convention for zeros."""

import jax.numpy as jnp
import numpy as np
import pytest

from lamb_keras import optimizers
from lamb_keras.optimizers.trust_ratio import sum_of_squares, trust_ratio, working_dtype
from lamb_keras.optimizers.two_passes import at_once, neighbors


@pytest.fixture(scope="module")
def kit():
    return optimizers


@pytest.mark.parametrize(
    "weight_norm, update_norm, arguments, expected",
    [
        (6.0, 2.0, {}, 3.0),
        (0.0, 2.0, {}, 1.0),
        (6.0, 0.0, {}, 1.0),
        (0.0, 0.0, {}, 1.0),
        (6.0, 2.0, {"phi_bounds": (0, 4)}, 2.0),
        (1.0, 2.0, {"phi_bounds": (4, 8)}, 2.0),
        (0.0, 2.0, {"phi_bounds": (4, 8)}, 2.0),  # φ(0) = γₗ is no zero
        (6.0, 2.0, {"trust_ratio_bounds": (0, 1)}, 1.0),
        (6.0, 2.0, {"trust_ratio_bounds": (4, 10)}, 4.0),
        (0.0, 2.0, {"trust_ratio_bounds": (4, 10)}, 1.0),  # no ratio to be bounded
        (6.0, 2.0, {"trust_coefficient": 0.5}, 1.5),
        (0.0, 2.0, {"trust_coefficient": 0.5}, 1.0),
        (6.0, 2.0, {"trust_coefficient": 0.5, "trust_ratio_bounds": (0, 1)}, 1.0),
    ],
)
def test_a_ratio_is_of_norms_and_1_where_one_is_zero(
    weight_norm, update_norm, arguments, expected, kit
):
    ratio = kit.trust_ratio(
        jnp.float32(weight_norm), jnp.float32(update_norm), **arguments
    )
    assert float(ratio) == expected
    assert ratio.dtype == "float32"


def test_ratios_of_a_stack_are_guarded_one_by_one(kit):
    weights, updates = jnp.array([6.0, 0.0, 6.0]), jnp.array([2.0, 2.0, 0.0])
    assert kit.trust_ratio(weights, updates).tolist() == [3, 1, 1]


def test_squares_are_summed_over_all_axes_or_over_all_but_the_first():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert float(sum_of_squares(jnp.asarray(x))) == pytest.approx(np.sum(x**2))
    slices = sum_of_squares(jnp.asarray(x), stacked=True)
    assert slices.shape == (2, 1, 1)
    assert slices.ravel().tolist() == pytest.approx(np.sum(x**2, (1, 2)).tolist())


def test_what_is_computed_at_once_belongs_to_neighbors_of_one_kind_that_are_not_large():
    asked = []

    def twice(kind, x, y):
        asked.append((kind, x.shape))
        return 2 * x, x + y

    sizes = [10**6, 10, 10**6, 10**6, 4 * 10**6, 10, 10]
    kinds = ["a", "a", "a", "a", "a", "b", "b"]
    ones = [jnp.ones(()) for _ in sizes[:-1]] + [jnp.ones((3, 1, 1))]
    doubled, summed = at_once(twice, kinds, neighbors(sizes, kinds), ones, ones)
    # A million, ten and a million; a million; four millions; and the other kind.
    assert asked == [("a", (3,)), ("a", ()), ("a", ()), ("b", (4,))]
    assert [x.shape for x in doubled] == 6 * [()] + [(3, 1, 1)]
    assert all((x == 2).all() for x in doubled + summed)


def test_half_precision_is_worked_on_in_float32_and_float64_in_itself():
    assert working_dtype("bfloat16") == working_dtype("float16") == "float32"
    assert working_dtype("float32", "float64", "float16") == "float64"
    assert working_dtype() == "float32"


def test_the_exported_ratio_is_this_one():
    assert optimizers.trust_ratio is trust_ratio
