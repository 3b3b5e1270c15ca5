"""LARS: momentum, rescaled layer by layer; Keras has none."""

from collections import namedtuple
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import keras

from lamb_keras.optimizers.arguments import Hyperparameter, require_choice
from lamb_keras.optimizers.layerwise import LayerwiseOptimizer
from lamb_keras.optimizers.trust_ratio import (
    root,
    trust_ratio,
    working_dtype,
)
from lamb_keras.optimizers.two_passes import (
    is_large,
    opaque,
    treatments,
    two_passes,
)

VARIANTS = ("gradient", "momentum")
DENOMINATORS = ("sum_of_norms", "norm_of_sum")


class LarsStep(NamedTuple):
    """What one step of LARS leaves behind, as a `LambStep` does."""

    weights: list
    moments: list
    trust_ratios: list
    weight_norms: list
    update_norms: list


def lars_update(
    weights,
    gradients,
    moments,
    *,
    learning_rate,
    momentum=0.9,
    weight_decay=1e-4,
    trust_coefficient=None,
    epsilon=0.0,
    nesterov=False,
    variant="gradient",
    denominator="sum_of_norms",
    learning_rate_in_momentum=True,
    phi_bounds=None,
    trust_ratio_bounds=None,
    decayed=True,
    adapted=True,
    stacked=False,
    tracked=False,
):
    """One step of `Lars` on lists of arrays: a pure function, to be jitted.

    Scalars and norms are float32 or wider, as in `lamb_update`.

    Args:
        weights, gradients, moments: w, g and m, lists of arrays of the same shapes; the
            moments are zeros at first.
        learning_rate ... trust_ratio_bounds: `Lars`'s; the numbers may be traced.
        decayed, adapted, stacked, tracked: as `lamb_update`'s.

    Returns:
        A `LarsStep`; its update norms are the denominators of r.

    Example:
        >>> w, g = jnp.array([3.0, 4.0]), jnp.array([1e-3, 1e-3])
        >>> after = lars_update([w], [g], [jnp.zeros(2)], learning_rate=0.1,
        ...                     weight_decay=None, variant="momentum")
        >>> round(float(jnp.linalg.norm(after.weights[0] - w)), 4)  # = 0.1 · ‖(3, 4)‖
        0.5
    """
    widest = working_dtype(*(w.dtype for w in weights))
    if trust_coefficient is None:
        trust_coefficient = default_trust_coefficient(variant)
    eta, beta, wd, kappa, eps = (
        None if x is None else jnp.asarray(x, widest)
        for x in (learning_rate, momentum, weight_decay, trust_coefficient, epsilon)
    )
    form = _Form(
        variant,
        nesterov,
        adds_norms=variant == "gradient" and denominator == "sum_of_norms",
        rate_inside=variant == "momentum" or learning_rate_in_momentum,
    )

    def rate(kind, w_squares, d_squares):
        decayed, adapted = kind
        work = w_squares.dtype
        w_norm, d_norm = root(w_squares), root(d_squares)
        size = d_norm
        if wd is not None and form.adds_norms:
            size = size + jnp.where(decayed, wd.astype(work) * w_norm, 0)
        size = size + eps.astype(work)
        ratio = trust_ratio(
            w_norm,
            # A zero gradient has ratio 1 even where decay keeps size above 0.
            jnp.where(d_norm > 0, size, 0),
            phi_bounds,
            trust_ratio_bounds,
            kappa.astype(work),
        )
        ratio = jnp.where(adapted, ratio, 1)
        factor = eta.astype(work) * ratio if form.rate_inside else ratio
        return ratio, w_norm, size, factor

    of_all = {"scalars": _Scalars(eta, beta, wd), "form": form}
    each = treatments(len(weights), decayed, adapted, stacked, weight_decay)
    after = two_passes(
        partial(_first_pass, **of_all),
        rate,
        partial(_second_pass, **of_all),
        (weights, gradients, moments),
        each,
        kinds=[(treatment.decayed, treatment.adapted) for treatment in each],
        unstored=[_is_unstored(treatment, form) for treatment in each],
        tracked=tracked,
    )
    return LarsStep(*after)


_Scalars = namedtuple("_Scalars", "eta beta wd")
# Which LARS it is; `adds_norms`: the ratio is to ‖g‖ + λ‖w‖, so that g + λw needs no
# norm; `rate_inside`: η is a factor of what the moment takes up, or of the whole step.
_Form = namedtuple("_Form", "variant nesterov adds_norms rate_inside")

# Both passes are traced once for all variables that are alike.


@partial(jax.jit, inline=True, static_argnames=("treatment", "form"))
def _first_pass(w, g, m, treatment, scalars, form):
    """m of the momentum variant; and w and d, what the ratio is to, for their norms."""
    given = w, g
    beta, wd = scalars.beta, scalars.wd
    work = working_dtype(w.dtype)
    w, g, m = (x.astype(work) for x in (w, g, m))
    d = g if form.adds_norms else _direction(w, g, wd, treatment)
    if form.variant == "momentum":
        d = m = beta.astype(work) * m + (1 - beta).astype(work) * d
    return (*given, m), w, d


@partial(jax.jit, inline=True, static_argnames=("treatment", "form", "dtypes"))
def _second_pass(w, g, m, rate, treatment, dtypes, scalars, form):
    """w and m after the step, in the dtypes they are stored in."""
    eta, beta, wd = scalars
    work = m.dtype
    w, g = w.astype(work), g.astype(work)
    eta, beta = eta.astype(work), beta.astype(work)
    if form.variant == "momentum":
        w = w - rate * m
    else:
        if _is_computed_twice(w, treatment):
            # As in LAMB: to store d costs a CPU more than to compute it again.
            rate, wd = opaque(rate, wd)
        d = rate * _direction(w, g, wd, treatment)
        m = beta * m + d
        ahead = beta * m + d if form.nesterov else m
        w = w - (ahead if form.rate_inside else eta * ahead)
    return tuple(x.astype(dtype) for x, dtype in zip((w, m), dtypes, strict=True))


def _direction(w, g, wd, treatment):
    """d = g + λw"""
    return g + wd.astype(w.dtype) * w if treatment.decayed else g


def _is_unstored(treatment, form):
    """Whether d is neither the gradient nor the moment."""
    return treatment.decayed and not form.adds_norms and form.variant == "gradient"


def _is_computed_twice(w, treatment):
    return treatment.decayed and not treatment.stacked and is_large(w)


def default_trust_coefficient(variant):
    """κ where none is given: 0.001 of the 2017 paper; Algorithm 1 has none: 1."""
    return 1.0 if variant == "momentum" else 0.001


@keras.saving.register_keras_serializable(package="lamb_keras")
class Lars(LayerwiseOptimizer):
    """Momentum, rescaled layer by layer to the size of the weights it moves.

    For each variable w with gradient g (`variant="gradient"`, the LARS paper of 2017)::

        r = κ φ(‖w‖) / (‖g‖ + λ‖w‖ + ε)
        m ← βm + η r (g + λw)
        w ← w - m

    or (`variant="momentum"`, Algorithm 1 of the LAMB paper)::

        m ← βm + (1 - β)(g + λw)
        w ← w - η κ (φ(‖w‖) / (‖m‖ + ε)) m

    so that the second moves a nonzero layer by exactly ηκ of its own norm. r is 1 where
    ‖w‖ or the gradient's norm is 0, and for variables that are excluded. The defaults
    are MLPerf's; `optax.lars` is `denominator="norm_of_sum"`; timm's and lightly's are
    `learning_rate_in_momentum=False, epsilon=1e-8`, but have no ratio where there is no
    weight decay: without any, `exclude_from_layer_adaptation=[".*"]`. Where a gradient
    is zero lightly's does not decay either. Hyperparameters are variables, as in
    `Lamb`.

    Args:
        learning_rate: η, a float, a `LearningRateSchedule` or a callable.
        momentum: β.
        weight_decay: λ, a float, a `LearningRateSchedule`, or None for none at all.
        trust_coefficient: κ. None is 0.001 for "gradient" and 1 for "momentum".
        epsilon: ε, added to the denominator.
        nesterov: w ← w - (βm + η r (g + λw)) in place of w ← w - m ("gradient" only).
        variant: "gradient" or "momentum", as above.
        denominator: "sum_of_norms", as above, or "norm_of_sum", ‖g + λw‖.
        learning_rate_in_momentum: True, as above; False: m ← βm + r (g + λw) and
            w ← w - ηm, in which a change of η acts on past gradients too.
        **kwargs: as of `Lamb`: `phi_bounds`, `trust_ratio_bounds` (of r), the
            exclusions, `stacked_variables`, `moments_dtype`, `track_trust_ratios` and
            what every Keras optimizer takes.

    Raises:
        ValueError: for a value out of range, a bare string where a list of regular
            expressions is expected, an unknown variant or denominator, or Nesterov's
            momentum with `variant="momentum"`.

    Example:
        >>> import keras
        >>> w = keras.Variable([3.0, 4.0])
        >>> lars = Lars(learning_rate=0.1, variant="momentum", weight_decay=None)
        >>> lars.apply([keras.ops.array([1e-3, 1e-3])], [w])
        >>> round(float(keras.ops.norm(w - keras.ops.array([3.0, 4.0]))), 4)
        0.5

    Reference:
        You, Gitman and Ginsburg, 2017, Large Batch Training of Convolutional Networks,
        https://arxiv.org/abs/1708.03888
    """

    momentum = Hyperparameter(minimum=0, below=1)
    trust_coefficient = Hyperparameter(minimum=0)
    epsilon = Hyperparameter(minimum=0)
    numbers = ("momentum", "trust_coefficient", "epsilon")
    choices = ("nesterov", "variant", "denominator", "learning_rate_in_momentum")
    moments = ("momentum",)

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        trust_coefficient=None,
        epsilon=0.0,
        nesterov=False,
        variant="gradient",
        denominator="sum_of_norms",
        learning_rate_in_momentum=True,
        *,
        name="lars",
        **kwargs,
    ):
        require_choice(
            variant=(variant, VARIANTS), denominator=(denominator, DENOMINATORS)
        )
        if nesterov and variant == "momentum":
            raise ValueError(
                "nesterov=True has no meaning for variant='momentum': Algorithm 1 "
                "normalizes the momentum itself. Use variant='gradient'."
            )
        if trust_coefficient is None:
            trust_coefficient = default_trust_coefficient(variant)
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.momentum = momentum
        self.trust_coefficient = trust_coefficient
        self.epsilon = epsilon
        self.nesterov = nesterov
        self.variant = variant
        self.denominator = denominator
        self.learning_rate_in_momentum = learning_rate_in_momentum

    def update(self, *arrays, **arguments):
        return lars_update(*arrays, **arguments)
