"""LARS: momentum, rescaled layer by layer; Keras has none."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import keras

from lamb_keras.optimizers.layerwise import Hyperparameter, LayerwiseOptimizer, flags
from lamb_keras.optimizers.trust_ratio import (
    apart,
    at_once,
    is_large,
    sum_of_squares,
    sum_of_squares_in_passing,
    trust_ratio,
    working_dtype,
)

VARIANTS = ("gradient", "momentum")
DENOMINATORS = ("sum_of_norms", "norm_of_sum")


class LarsStep(NamedTuple):
    """What one step of LARS leaves behind: lists with one array a variable."""

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
    """One step of LARS on lists of arrays: a pure function, to be traced by `jax.jit`.

    `variant="gradient"`, the LARS paper of 2017, for each variable w with gradient g:

        r = κ φ(‖w‖) / (‖g‖ + λ‖w‖ + ε)        (or κ φ(‖w‖) / (‖g + λw‖ + ε))
        m ← βm + η r (g + λw)
        w ← w - m                              (Nesterov: βm + η r (g + λw))

    `variant="momentum"`, Algorithm 1 of the LAMB paper:

        m ← βm + (1 - β)(g + λw)
        w ← w - η κ (φ(‖w‖) / (‖m‖ + ε)) m

    r is 1 where ‖w‖ or the gradient's norm is 0, and for variables not `adapted`.
    Scalars and norms are float32 or wider, as in `lamb_update`.

    Args:
        weights: w, a list of arrays.
        gradients: g, a list of arrays of the same shapes.
        moments: m, likewise; zeros at first.
        learning_rate: η. This and the four numbers below may be traced.
        momentum: β.
        weight_decay: λ, or None.
        trust_coefficient: κ; None is 0.001 for "gradient" and 1 for "momentum".
        epsilon: ε.
        nesterov: look ahead by one more momentum step ("gradient" only).
        variant: "gradient" or "momentum", as above.
        denominator: "sum_of_norms", ‖g‖ + λ‖w‖ (MLPerf, timm), or "norm_of_sum",
            ‖g + λw‖ (optax, TensorFlow's models); for "gradient".
        learning_rate_in_momentum: η inside m, as above (MLPerf, optax), or applied to
            it, w ← w - ηm (the PyTorch family); for "gradient".
        phi_bounds: bounds of φ, or None for φ(z) = z.
        trust_ratio_bounds: bounds of r, or None.
        decayed: whether a variable has weight decay: a bool, or one a variable.
        adapted: whether a variable has a trust ratio other than 1, likewise.
        stacked: whether norms are taken of each slice of axis 0, likewise.
        tracked: whether ratios and norms will be kept, as in `lamb_update`.

    Returns:
        A `LarsStep`; its update norms are the denominators of r.

    Example:
        >>> w, g = jnp.array([3.0, 4.0]), jnp.array([1e-3, 1e-3])
        >>> after = lars_update([w], [g], [jnp.zeros(2)], learning_rate=0.1,
        ...                     weight_decay=None, variant="momentum")
        >>> round(float(jnp.linalg.norm(after.weights[0] - w)), 4)  # = 0.1 · ‖(3, 4)‖
        0.5

    Reference:
        You, Gitman and Ginsburg, 2017, Large Batch Training of Convolutional Networks,
        https://arxiv.org/abs/1708.03888
    """
    count = len(weights)
    widest = working_dtype(*(w.dtype for w in weights))
    if trust_coefficient is None:
        trust_coefficient = default_trust_coefficient(variant)
    scalars = (learning_rate, momentum, weight_decay, trust_coefficient, epsilon)
    eta, beta, wd, kappa, eps = (
        None if x is None else jnp.asarray(x, widest) for x in scalars
    )

    scalars = _Scalars(eta, beta, wd, kappa, eps)
    form = _Form(variant, denominator, nesterov, learning_rate_in_momentum)
    treatments = [
        _Treatment(decay and wd is not None, ratio, stack)
        for decay, ratio, stack in zip(
            flags(decayed, count), flags(adapted, count), flags(stacked, count),
            strict=True,
        )
    ]  # fmt: skip

    def scales(kind, w_squares, d_squares):
        has_decay, has_ratio = kind
        work = w_squares.dtype
        w_norm, d_norm = jnp.sqrt(w_squares), jnp.sqrt(d_squares)
        size = d_norm
        if wd is not None and form.adds_norms:
            size = size + jnp.where(has_decay, wd.astype(work) * w_norm, 0)
        size = size + eps.astype(work)
        ratio = trust_ratio(
            w_norm,
            # A zero gradient has ratio 1 even where decay keeps size above 0.
            jnp.where(d_norm > 0, size, 0),
            phi_bounds,
            trust_ratio_bounds,
            kappa.astype(work),
        )
        ratio = jnp.where(has_ratio, ratio, 1)
        rate = eta.astype(work) * ratio if form.has_rate_inside else ratio
        return ratio, w_norm, size, rate

    between = [
        _first_pass(*arrays, scalars, form, treatment)
        for *arrays, treatment in zip(
            weights, gradients, moments, treatments, strict=True
        )
    ]
    *_, w_squares, d_squares = zip(*between, strict=True)
    ratios, w_norms, sizes, rates = at_once(
        scales,
        [w.size for w in weights],
        w_squares,
        d_squares,
        kinds=[(treatment.has_decay, treatment.has_ratio) for treatment in treatments],
        tracked=tracked,
    )
    after = [
        _second_pass(w, g, m, rate, scalars, form, treatment, (w.dtype, stored.dtype))
        for w, g, stored, (m, *_), rate, treatment in zip(
            weights, gradients, moments, between, rates, treatments, strict=True
        )
    ]
    weights, moments = (list(column) for column in zip(*after, strict=True))
    return LarsStep(weights, moments, ratios, w_norms, sizes)


class _Scalars(NamedTuple):
    """The numbers of a step, the same for every variable."""

    eta: jax.Array
    beta: jax.Array
    wd: jax.Array | None
    kappa: jax.Array
    eps: jax.Array


class _Form(NamedTuple):
    """Which LARS it is."""

    variant: str
    denominator: str
    nesterov: bool
    learning_rate_in_momentum: bool

    @property
    def has_rate_inside(self):
        """Whether η is a factor of what the moment takes up, or of the whole step."""
        return self.variant == "momentum" or self.learning_rate_in_momentum

    @property
    def adds_norms(self):
        """Whether the ratio is to ‖g‖ + λ‖w‖, so that g + λw needs no norm."""
        return self.variant == "gradient" and self.denominator == "sum_of_norms"


class _Treatment(NamedTuple):
    """What tells the steps of two variables of one shape apart."""

    has_decay: bool
    has_ratio: bool
    is_stacked: bool


# Both passes are traced once for all variables that are alike.


@partial(jax.jit, inline=True, static_argnames=("form", "treatment"))
def _first_pass(w, g, m, scalars, form, treatment):
    """m of the momentum variant, ‖w‖², and ‖d‖² of what the ratio is to."""
    beta, wd = scalars.beta, scalars.wd
    work = working_dtype(w.dtype)
    w, g, m = (x.astype(work) for x in (w, g, m))
    d = g if form.adds_norms else _direction(w, g, wd, treatment)
    if form.variant == "momentum":
        d = m = beta.astype(work) * m + (1 - beta).astype(work) * d
        d_squares = sum_of_squares(d, treatment.is_stacked)
    elif _is_in_passes(w, treatment) and not form.adds_norms:
        d_squares = sum_of_squares_in_passing(d)
    else:
        d_squares = sum_of_squares(d, treatment.is_stacked)
    return m, sum_of_squares(w, treatment.is_stacked), d_squares


@partial(jax.jit, inline=True, static_argnames=("form", "treatment", "dtypes"))
def _second_pass(w, g, m, rate, scalars, form, treatment, dtypes):
    """w and m after the step, in the dtypes they are stored in."""
    eta, beta, wd, *_ = scalars
    work = m.dtype
    w, g = w.astype(work), g.astype(work)
    eta, beta = eta.astype(work), beta.astype(work)
    if form.variant == "momentum":
        w = w - rate * m
    else:
        if _is_in_passes(w, treatment):
            # As in LAMB: to keep d costs a CPU more than to compute it again.
            rate, wd = apart(rate, wd)
        d = rate * _direction(w, g, wd, treatment)
        m = beta * m + d
        ahead = beta * m + d if form.nesterov else m
        w = w - (ahead if form.has_rate_inside else eta * ahead)
    return tuple(x.astype(dtype) for x, dtype in zip((w, m), dtypes, strict=True))


def _direction(w, g, wd, treatment):
    """d = g + λw"""
    return g + wd.astype(w.dtype) * w if treatment.has_decay else g


def _is_in_passes(w, treatment):
    return treatment.has_decay and not treatment.is_stacked and is_large(w)


def default_trust_coefficient(variant):
    """κ where none is given: the 2017 paper's 0.001; Algorithm 1 has none, that is 1.

    Example:
        >>> default_trust_coefficient("momentum")
        1.0
    """
    return 1.0 if variant == "momentum" else 0.001


@keras.saving.register_keras_serializable(package="lamb_keras")
class Lars(LayerwiseOptimizer):
    """Momentum, rescaled layer by layer to the size of the weights it moves.

    For each variable w with gradient g (`variant="gradient"`, the LARS paper of 2017):

        r = κ φ(‖w‖) / (‖g‖ + λ‖w‖ + ε)
        m ← βm + η r (g + λw)
        w ← w - m

    or (`variant="momentum"`, Algorithm 1 of the LAMB paper):

        m ← βm + (1 - β)(g + λw)
        w ← w - η (φ(‖w‖) / ‖m‖) m

    so that the second moves a nonzero layer by exactly η of its own norm. The defaults
    are MLPerf's; `optax.lars` is `denominator="norm_of_sum"`, timm's and lightly's is
    `learning_rate_in_momentum=False`. Hyperparameters are variables, as in `Lamb`.

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
        phi_bounds: bounds of φ(z) = min(max(z, γₗ), γᵤ); None is φ(z) = z.
        trust_ratio_bounds: bounds of r.
        exclude_from_weight_decay: a list of regular expressions searched for in
            `variable.path`; the variables that match are not decayed.
        exclude_from_layer_adaptation: a list likewise, of those whose r is 1. None:
            those that are not decayed; []: no variable.
        stacked_variables: a list likewise, of those that hold one layer a slice of
            axis 0.
        moments_dtype: the dtype m is stored in; None is float32 or wider.
        track_trust_ratios: keep r and the norms for `trust_ratios()`.
        **kwargs: as for every Keras optimizer; see `Lamb`.

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
        phi_bounds=None,
        trust_ratio_bounds=None,
        exclude_from_weight_decay=None,
        exclude_from_layer_adaptation=None,
        stacked_variables=None,
        moments_dtype=None,
        track_trust_ratios=False,
        name="lars",
        **kwargs,
    ):
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            phi_bounds=phi_bounds,
            trust_ratio_bounds=trust_ratio_bounds,
            exclude_from_weight_decay=exclude_from_weight_decay,
            exclude_from_layer_adaptation=exclude_from_layer_adaptation,
            stacked_variables=stacked_variables,
            moments_dtype=moments_dtype,
            track_trust_ratios=track_trust_ratios,
            name=name,
            **kwargs,
        )
        for argument, value, choices in (
            ("variant", variant, VARIANTS),
            ("denominator", denominator, DENOMINATORS),
        ):
            if value not in choices:
                raise ValueError(
                    f"{argument} is {value!r}; "
                    f"expected one of {', '.join(map(repr, choices))}."
                )
        if nesterov and variant == "momentum":
            raise ValueError(
                "nesterov=True has no meaning for variant='momentum': Algorithm 1 "
                "normalizes the momentum itself. Use variant='gradient'."
            )
        if trust_coefficient is None:
            trust_coefficient = default_trust_coefficient(variant)
        self.momentum = momentum
        self.trust_coefficient = trust_coefficient
        self.epsilon = epsilon
        self.nesterov = nesterov
        self.variant = variant
        self.denominator = denominator
        self.learning_rate_in_momentum = learning_rate_in_momentum

    def _build_moments(self, variables):
        self._moments = self._add_moments(variables, "momentum")

    def _step(self, weights, gradients, indices):
        moments = [self._moments[i] for i in indices]
        after = lars_update(
            [w.value for w in weights],
            gradients,
            [m.value for m in moments],
            learning_rate=self.learning_rate,
            momentum=self.momentum.value,
            weight_decay=self._current_weight_decay(),
            trust_coefficient=self.trust_coefficient.value,
            epsilon=self.epsilon.value,
            nesterov=self.nesterov,
            variant=self.variant,
            denominator=self.denominator,
            learning_rate_in_momentum=self.learning_rate_in_momentum,
            **self._layer_arguments(indices),
        )
        self._assign_all(moments, after.moments)
        self._assign_all(weights, after.weights)
        return after

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self._number("momentum"),
            "trust_coefficient": self._number("trust_coefficient"),
            "epsilon": self._number("epsilon"),
            "nesterov": self.nesterov,
            "variant": self.variant,
            "denominator": self.denominator,
            "learning_rate_in_momentum": self.learning_rate_in_momentum,
        }
