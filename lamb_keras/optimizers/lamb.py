"""LAMB: Adam's update, rescaled layer by layer to the size of the weights it moves."""

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

WEIGHT_DECAY_MODES = ("layerwise", "decoupled")


class LambStep(NamedTuple):
    """What one step of LAMB leaves behind: lists with one array a variable."""

    weights: list
    first_moments: list
    second_moments: list
    trust_ratios: list
    weight_norms: list
    update_norms: list


def lamb_update(
    weights,
    gradients,
    first_moments,
    second_moments,
    step,
    *,
    learning_rate,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-6,
    weight_decay=0.01,
    bias_correction=True,
    weight_decay_mode="layerwise",
    phi_bounds=None,
    trust_ratio_bounds=None,
    decayed=True,
    adapted=True,
    stacked=False,
    tracked=False,
):
    """One step of LAMB on lists of arrays: a pure function, to be traced by `jax.jit`.

    For each variable w with gradient g at step t (Algorithm 2 of the paper, version 5):

        m ← β₁m + (1 - β₁)g        v ← β₂v + (1 - β₂)g²
        u = (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε) + λw
        w ← w - η (φ(‖w‖) / ‖u‖) u

    Every scalar and norm is float32, or wider where the weights are wider, whatever
    the dtype of the arrays; each result is cast to the dtype of the array it replaces.

    Args:
        weights: w, a list of arrays.
        gradients: g, a list of arrays of the same shapes.
        first_moments: m, likewise; zeros at first.
        second_moments: v, likewise; zeros at first.
        step: t, an integer that is 1 at the first step.
        learning_rate: η. This and the four numbers below may be traced.
        beta_1: β₁.
        beta_2: β₂.
        epsilon: ε, added to the root after bias correction.
        weight_decay: λ, or None.
        bias_correction: False leaves out both divisions (version 3 of the paper).
        weight_decay_mode: "layerwise" as above. "decoupled" shrinks w by 1 - ηλ first
            and leaves λ out of u, which is what `keras.optimizers.Lamb` does.
        phi_bounds: (γₗ, γᵤ), the bounds of φ, or None for φ(z) = z.
        trust_ratio_bounds: bounds of the whole ratio, or None.
        decayed: whether a variable has weight decay: a bool, or one a variable.
        adapted: whether a variable has a trust ratio other than 1, likewise.
        stacked: whether norms are taken of each slice of axis 0, likewise.
        tracked: whether ratios and norms will be kept. It changes no number, but a
            TPU then computes those of variables not `adapted` with the others'.

    Returns:
        A `LambStep`.

    Example:
        >>> w, g = jnp.array([3.0, 4.0]), jnp.array([1e-3, 1e-3])
        >>> zeros = [jnp.zeros(2)]
        >>> after = lamb_update([w], [g], zeros, zeros, 1, learning_rate=0.1)
        >>> round(float(jnp.linalg.norm(after.weights[0] - w)), 4)  # = 0.1 · ‖(3, 4)‖
        0.5

    Reference:
        You et al., 2020, Large Batch Optimization for Deep Learning: Training BERT in
        76 minutes, https://arxiv.org/abs/1904.00962
    """
    count = len(weights)
    widest = working_dtype(*(w.dtype for w in weights))
    eta, b1, b2, eps = (
        jnp.asarray(x, widest) for x in (learning_rate, beta_1, beta_2, epsilon)
    )
    wd = None if weight_decay is None else jnp.asarray(weight_decay, widest)
    if bias_correction:
        bc1, bc2 = _one_minus_power(b1, step), _one_minus_power(b2, step)
    else:
        bc1 = bc2 = jnp.ones((), widest)

    scalars = _Scalars(eta, b1, b2, eps, wd, bc1, bc2)
    treatments = [
        _Treatment(
            weight_decay_mode if decay and wd is not None else None, ratio, stack
        )
        for decay, ratio, stack in zip(
            flags(decayed, count), flags(adapted, count), flags(stacked, count),
            strict=True,
        )
    ]  # fmt: skip

    def scales(has_ratio, w_squares, u_squares):
        w_norm, u_norm = jnp.sqrt(w_squares), jnp.sqrt(u_squares)
        ratio = trust_ratio(w_norm, u_norm, phi_bounds, trust_ratio_bounds)
        ratio = jnp.where(has_ratio, ratio, 1)
        return ratio, w_norm, u_norm, eta.astype(ratio.dtype) * ratio

    between = [
        _first_pass(*arrays, scalars, treatment)
        for *arrays, treatment in zip(
            weights, gradients, first_moments, second_moments, treatments, strict=True
        )
    ]
    *_, w_squares, u_squares = zip(*between, strict=True)
    ratios, w_norms, u_norms, rates = at_once(
        scales,
        [w.size for w in weights],
        w_squares,
        u_squares,
        kinds=[treatment.has_ratio for treatment in treatments],
        tracked=tracked,
    )
    dtypes = [
        tuple(x.dtype for x in stored)
        for stored in zip(weights, first_moments, second_moments, strict=True)
    ]
    after = [
        _second_pass(w, m, v, rate, scalars, treatment, stored)
        for (w, m, v, *_), rate, treatment, stored in zip(
            between, rates, treatments, dtypes, strict=True
        )
    ]
    return LambStep(
        *(list(column) for column in zip(*after, strict=True)), ratios, w_norms, u_norms
    )


class _Scalars(NamedTuple):
    """The numbers of a step, the same for every variable."""

    eta: jax.Array
    b1: jax.Array
    b2: jax.Array
    eps: jax.Array
    wd: jax.Array | None
    bc1: jax.Array
    bc2: jax.Array


class _Treatment(NamedTuple):
    """What tells the steps of two variables of one shape apart."""

    decay: str | None  # a mode, or None
    has_ratio: bool
    is_stacked: bool


# Both passes are traced once for all variables that are alike.


@partial(jax.jit, inline=True, static_argnames="treatment")
def _first_pass(w, g, m, v, scalars, treatment):
    """m, v and, of the decoupled decay, w, with ‖w‖² and ‖u‖²."""
    eta, b1, b2, _, wd, *_ = scalars
    work = working_dtype(w.dtype)
    w, g, m, v = (x.astype(work) for x in (w, g, m, v))
    m = b1.astype(work) * m + (1 - b1).astype(work) * g
    v = b2.astype(work) * v + (1 - b2).astype(work) * jnp.square(g)
    if treatment.decay == "decoupled":
        w = w - (eta * wd).astype(work) * w
    u = _update(w, m, v, scalars, treatment)
    if _is_in_passes(w, treatment):
        u_squares = sum_of_squares_in_passing(u)
    else:
        u_squares = sum_of_squares(u, treatment.is_stacked)
    return w, m, v, sum_of_squares(w, treatment.is_stacked), u_squares


@partial(jax.jit, inline=True, static_argnames=("treatment", "dtypes"))
def _second_pass(w, m, v, rate, scalars, treatment, dtypes):
    """w after the step, m and v, in the dtypes they are stored in."""
    if _is_in_passes(w, treatment):
        # To keep u until ‖u‖ is known costs a CPU more than to compute it again.
        rate, scalars = apart(rate, scalars)
    w = w - rate * _update(w, m, v, scalars, treatment)
    return tuple(x.astype(d) for x, d in zip((w, m, v), dtypes, strict=True))


def _update(w, m, v, scalars, treatment):
    """u, of the moments after a step and the weights before it."""
    _, _, _, eps, wd, bc1, bc2 = scalars
    work = w.dtype
    m_hat = m / bc1.astype(work)
    v_hat = v / bc2.astype(work)
    u = m_hat / (jnp.sqrt(v_hat) + eps.astype(work))
    if treatment.decay == "layerwise":
        u = u + wd.astype(work) * w
    return u


def _is_in_passes(w, treatment):
    return not treatment.is_stacked and is_large(w)


def _one_minus_power(beta, step):
    """1 - βᵗ to full precision: the plain difference loses five digits at t = 2."""
    return -jnp.expm1(jnp.asarray(step, beta.dtype) * jnp.log1p(beta - 1))


_NORMALIZATION = "layer_norm|batch_norm|LayerNorm|(gamma|beta)$"

# What each neighbor computes, as arguments of `Lamb`. The sources are named in
# `Lamb.from_preset`.
PRESETS = {
    "paper_v5": {},
    "paper_v3": {"bias_correction": False},
    "author": {
        "bias_correction": False,
        "exclude_from_weight_decay": [_NORMALIZATION],
        "global_clipnorm": 1.0,
    },
    "albert": {
        "bias_correction": False,
        "exclude_from_weight_decay": [_NORMALIZATION + "|bias"],
        "global_clipnorm": 1.0,
    },
    "nvlamb": {
        "exclude_from_weight_decay": [_NORMALIZATION + "|bias"],
        "exclude_from_layer_adaptation": [],
        "global_clipnorm": 1.0,
    },
    "tfa": {"weight_decay": 0.0},
    "timm": {
        "exclude_from_weight_decay": [_NORMALIZATION + "|bias"],
        "global_clipnorm": 1.0,
    },
    "keras": {
        "weight_decay": None,
        "weight_decay_mode": "decoupled",
        "epsilon": 1e-7,
        "exclude_from_layer_adaptation": [],
    },
}
# These two switch the trust ratio off altogether where there is no weight decay.
_ADAPT_ONLY_WITH_WEIGHT_DECAY = ("author", "timm")


@keras.saving.register_keras_serializable(package="lamb_keras")
class Lamb(LayerwiseOptimizer):
    """Adam's update, rescaled layer by layer to the size of the weights it moves.

    For a variable w with gradient g at step t (Algorithm 2 of the paper, version 5):

        m ← β₁m + (1 - β₁)g        v ← β₂v + (1 - β₂)g²
        u = (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε) + λw
        w ← w - η (φ(‖w‖) / ‖u‖) u

    So a step moves a nonzero layer by exactly η of its own norm, however large or
    small the gradient. `keras.optimizers.Lamb` decays the weights before this and
    outside the trust ratio, which is another algorithm once λ > 0; `optax.lamb` is
    this one, without exclusions or bounds.

    The learning rate, the weight decay, both betas and epsilon are float32 variables
    of the optimizer: they can be assigned during training, or be traced inputs of
    `stateless_apply`, and nothing is compiled again. Moments are float32 (float64 for
    float64 variables). A pure bfloat16 variable still rounds each step to bfloat16;
    under Keras's mixed precision policies variables are float32 anyway.

    A saved model compiled with it loads once `lamb_keras.optimizers` is imported
    (`import lamb_keras` alone imports no optimizer); no `custom_objects` are needed.

    Args:
        learning_rate: η, a float, a `LearningRateSchedule` or a callable.
        beta_1: β₁, the decay of the first moment.
        beta_2: β₂, the decay of the second moment.
        epsilon: ε, added to the root after bias correction (Keras's Adam: before).
        weight_decay: λ, a float, a `LearningRateSchedule`, or None for none at all.
        bias_correction: False leaves out both divisions, as version 3 of the paper and
            its first author's code do.
        weight_decay_mode: "layerwise", as above, or "decoupled", as Keras's.
        phi_bounds: (γₗ, γᵤ), the bounds of φ(z) = min(max(z, γₗ), γᵤ). The paper does
            not give them; None is φ(z) = z.
        trust_ratio_bounds: bounds of the whole ratio: (0, 1) is LAMBC, (0.01, 10) is
            DeepSpeed's.
        exclude_from_weight_decay: a list of regular expressions, each searched for in
            `variable.path`; the variables that match are not decayed.
        exclude_from_layer_adaptation: a list likewise; the trust ratio of the variables
            that match is 1. None: those that are not decayed; []: no variable.
        stacked_variables: a list likewise; the variables that match hold one layer a
            slice of axis 0, and each slice has a trust ratio of its own.
        moments_dtype: the dtype m and v are stored in; None is float32 or wider. The
            arithmetic is float32 or wider regardless.
        track_trust_ratios: keep the ratios and norms of the last step for
            `trust_ratios()`. Off costs nothing.
        **kwargs: `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`, `ema_momentum`,
            `ema_overwrite_frequency`, `loss_scale_factor`,
            `gradient_accumulation_steps` and `name`, as for every Keras optimizer.
            Under accumulation nothing but the sum is computed between real steps;
            schedules count micro-steps, as Keras's do.

    Raises:
        ValueError: for a value out of range, a bare string where a list of regular
            expressions is expected, or an unknown mode.

    Example:
        >>> import keras
        >>> w = keras.Variable([3.0, 4.0])
        >>> Lamb(learning_rate=0.1).apply([keras.ops.array([1e-3, 1e-3])], [w])
        >>> round(float(keras.ops.norm(w - keras.ops.array([3.0, 4.0]))), 4)
        0.5

    Reference:
        You et al., 2020, Large Batch Optimization for Deep Learning: Training BERT in
        76 minutes, https://arxiv.org/abs/1904.00962
    """

    beta_1 = Hyperparameter(minimum=0, below=1)
    beta_2 = Hyperparameter(minimum=0, below=1)
    epsilon = Hyperparameter(minimum=0)

    def __init__(
        self,
        learning_rate=0.001,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        weight_decay=0.01,
        bias_correction=True,
        weight_decay_mode="layerwise",
        phi_bounds=None,
        trust_ratio_bounds=None,
        exclude_from_weight_decay=None,
        exclude_from_layer_adaptation=None,
        stacked_variables=None,
        moments_dtype=None,
        track_trust_ratios=False,
        name="lamb",
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
        if weight_decay_mode not in WEIGHT_DECAY_MODES:
            raise ValueError(
                f"weight_decay_mode is {weight_decay_mode!r}; "
                f"expected one of {', '.join(map(repr, WEIGHT_DECAY_MODES))}."
            )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.bias_correction = bias_correction
        self.weight_decay_mode = weight_decay_mode

    @classmethod
    def from_preset(cls, preset, **overrides):
        """A `Lamb` that computes what another implementation computes.

        Args:
            preset: one of these names.

                - `paper_v5`: Algorithm 2 with bias correction (arXiv versions 1 and 5).
                - `paper_v3`: Algorithm 2 without it (arXiv version 3).
                - `author`: the first author's ResNet-50 code: no bias correction,
                  gradients clipped to a global norm of 1, normalization variables with
                  neither decay nor trust ratio, no trust ratio without weight decay.
                - `albert`: google-research/albert: the same, biases excluded too.
                - `nvlamb`: NVIDIA's: bias correction, clipped to 1, no decay of
                  normalization and biases, every variable adapted.
                - `tfa`: TensorFlow Addons: no decay unless asked for.
                - `timm`: pytorch-image-models: as nvlamb, but what is not decayed is
                  not adapted.
                - `keras`: `keras.optimizers.Lamb`: decay outside the trust ratio.
            **overrides: arguments of `Lamb` that replace the preset's.

        Raises:
            ValueError: for an unknown preset.

        Example:
            >>> Lamb.from_preset("nvlamb", learning_rate=0.01).global_clipnorm
            1.0
        """
        if preset not in PRESETS:
            raise ValueError(
                f"There is no preset {preset!r}; expected one of {', '.join(PRESETS)}."
            )
        arguments = {**PRESETS[preset], **overrides}
        if preset in _ADAPT_ONLY_WITH_WEIGHT_DECAY:
            if not arguments.get("weight_decay", True):
                arguments.setdefault("exclude_from_layer_adaptation", [".*"])
        return cls(**arguments)

    def _build_moments(self, variables):
        self._first_moments = self._add_moments(variables, "momentum")
        self._second_moments = self._add_moments(variables, "velocity")

    def _step(self, weights, gradients, indices):
        first_moments = [self._first_moments[i] for i in indices]
        second_moments = [self._second_moments[i] for i in indices]
        after = lamb_update(
            [w.value for w in weights],
            gradients,
            [m.value for m in first_moments],
            [v.value for v in second_moments],
            self.iterations + 1,
            learning_rate=self.learning_rate,
            beta_1=self.beta_1.value,
            beta_2=self.beta_2.value,
            epsilon=self.epsilon.value,
            weight_decay=self._current_weight_decay(),
            bias_correction=self.bias_correction,
            weight_decay_mode=self.weight_decay_mode,
            **self._layer_arguments(indices),
        )
        self._assign_all(first_moments, after.first_moments)
        self._assign_all(second_moments, after.second_moments)
        self._assign_all(weights, after.weights)
        return after

    def get_config(self):
        return {
            **super().get_config(),
            "beta_1": self._number("beta_1"),
            "beta_2": self._number("beta_2"),
            "epsilon": self._number("epsilon"),
            "bias_correction": self.bias_correction,
            "weight_decay_mode": self.weight_decay_mode,
        }
