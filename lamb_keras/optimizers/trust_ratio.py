"""How far a layer may move: norms and the trust ratio, on arrays."""

import jax
import jax.numpy as jnp


def working_dtype(*dtypes):
    """The dtype a step is computed in: float32, or wider where a variable is wider.

    Half precision is never enough: ‖w‖² overflows float16 at ‖w‖ = 256, and
    β₂ = 0.999 is 1 in bfloat16, which would stop every step.
    """
    dtype = jnp.dtype("float32")
    for other in dtypes:
        dtype = jnp.promote_types(dtype, other)
    return dtype


def widened(x):
    """An array in the dtype it is worked on in."""
    x = jnp.asarray(x)
    return x.astype(working_dtype(x.dtype))


def sum_of_squares(x, stacked=False):
    """‖x‖² of a whole array, or of each slice of axis 0 if `stacked`.

    Those of slices keep their axes, so that they broadcast against the array.
    """
    axes = tuple(range(1, x.ndim)) if stacked else None
    return jnp.sum(jnp.square(x), axis=axes, keepdims=stacked)


@jax.custom_jvp
def root(x):
    """√x, of derivative 0 at 0, for gradients through a step to stay finite."""
    return jnp.sqrt(x)


@root.defjvp
def _root_derivative(primals, tangents):
    (x,), (dx,) = primals, tangents
    positive = x > 0
    y = jnp.sqrt(x)
    return y, dx * jnp.where(positive, 0.5 / jnp.where(positive, y, 1), 0)


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
        >>> float(trust_ratio(jnp.float32(50.0), jnp.float32(2.0), phi_bounds=(0, 10)))
        5.0
    """
    numerator = clip(weight_norm, phi_bounds)
    defined = jnp.minimum(numerator, update_norm) > 0
    ratio = trust_coefficient * numerator / jnp.where(defined, update_norm, 1)
    return jnp.where(defined, clip(ratio, trust_ratio_bounds), 1)
