"""LAMB: Adam's update, rescaled layer by layer to the size of the weights it moves."""

from collections import namedtuple
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import keras

from lamb_keras.optimizers.arguments import Hyperparameter, require_choice
from lamb_keras.optimizers.layerwise import LayerwiseOptimizer
from lamb_keras.optimizers.presets import preset_arguments
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

WEIGHT_DECAY_MODES = ("layerwise", "decoupled")


def reference_step(w, g, m, v, t, lr, b1=0.9, b2=0.999, eps=1e-6, wd=0.01):
    """(w, m, v) after a step of one variable: Algorithm 2 of the paper, version 5.

    It defines what `lamb_update` computes, which does so in other passes over memory.

    Args:
        w, g, m, v: weights, gradient and moments, arrays of one shape; the moments are
            zeros at first.
        t: the number of the step, 1 at first.
        lr, b1, b2, eps, wd: η, β₁, β₂, ε and λ.
    """
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    u = m_hat / (jnp.sqrt(v_hat) + eps) + wd * w
    ratio = trust_ratio(jnp.sqrt(jnp.sum(w**2)), jnp.sqrt(jnp.sum(u**2)))
    return w - lr * ratio * u, m, v


class LambStep(NamedTuple):
    """What one step of LAMB leaves behind: lists with one array for each variable.

    Ratios and norms are scalars, of `stacked` variables arrays of the shape (n, 1, …).
    """

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
    """One step of `Lamb` on lists of arrays: a pure function, to be jitted.

    `reference_step` is the same of one variable, as the paper writes it.

    Every scalar and norm is float32, or wider where the weights are wider, whatever
    the dtype of the arrays; each result is cast to the dtype of the array it replaces.

    Gradients through it are finite where a variable or its gradient is zero.

    Args:
        weights, gradients, first_moments, second_moments: w, g, m and v, lists of
            arrays of the same shapes; the moments are zeros at first.
        step: t, an integer that is 1 at the first step.
        learning_rate ... trust_ratio_bounds: `Lamb`'s; the numbers may be traced.
        decayed: whether a variable has weight decay: a bool, or a list of one for each.
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
    """
    widest = working_dtype(*(w.dtype for w in weights))
    eta, b1, b2, eps = (
        jnp.asarray(x, widest) for x in (learning_rate, beta_1, beta_2, epsilon)
    )
    wd = None if weight_decay is None else jnp.asarray(weight_decay, widest)
    if bias_correction:
        bc1, bc2 = _one_minus_power(b1, step), _one_minus_power(b2, step)
    else:
        bc1 = bc2 = jnp.ones((), widest)

    def rate(kind, w_squares, u_squares):
        (adapted,) = kind
        w_norm, u_norm = root(w_squares), root(u_squares)
        ratio = trust_ratio(w_norm, u_norm, phi_bounds, trust_ratio_bounds)
        ratio = jnp.where(adapted, ratio, 1)
        return ratio, w_norm, u_norm, eta.astype(ratio.dtype) * ratio

    of_all = {
        "scalars": _Scalars(eta, b1, b2, eps, wd, bc1, bc2),
        "decoupled": weight_decay_mode == "decoupled",
    }
    each = treatments(len(weights), decayed, adapted, stacked, weight_decay)
    after = two_passes(
        partial(_first_pass, **of_all),
        rate,
        partial(_second_pass, **of_all),
        (weights, gradients, first_moments, second_moments),
        each,
        kinds=[(treatment.adapted,) for treatment in each],
        unstored=[True] * len(each),
        tracked=tracked,
    )
    return LambStep(*after)


# The numbers of a step, the same for every variable.
_Scalars = namedtuple("_Scalars", "eta b1 b2 eps wd bc1 bc2")

# Both passes are traced once for all variables that are alike.


@partial(jax.jit, inline=True, static_argnames=("treatment", "decoupled"))
def _first_pass(w, g, m, v, treatment, scalars, decoupled):
    """m, v and, of the decoupled decay, w; and w and u for their norms."""
    eta, b1, b2, _, wd, *_ = scalars
    work = working_dtype(w.dtype)
    w, g, m, v = (x.astype(work) for x in (w, g, m, v))
    m = b1.astype(work) * m + (1 - b1).astype(work) * g
    v = b2.astype(work) * v + (1 - b2).astype(work) * jnp.square(g)
    if treatment.decayed and decoupled:
        w = w - (eta * wd).astype(work) * w
    return (w, m, v), w, _update(w, m, v, treatment, scalars, decoupled)


@partial(jax.jit, inline=True, static_argnames=("treatment", "decoupled", "dtypes"))
def _second_pass(w, m, v, rate, treatment, dtypes, scalars, decoupled):
    """w after the step, m and v, in the dtypes they are stored in."""
    if is_large(w) and not treatment.stacked:
        # To store u until ‖u‖ is known costs a CPU more than to compute it again.
        rate, scalars = opaque(rate, scalars)
    w = w - rate * _update(w, m, v, treatment, scalars, decoupled)
    return tuple(x.astype(d) for x, d in zip((w, m, v), dtypes, strict=True))


def _update(w, m, v, treatment, scalars, decoupled):
    """u, of the moments after a step and the weights before it."""
    _, _, _, eps, wd, bc1, bc2 = scalars
    work = w.dtype
    m_hat = m / bc1.astype(work)
    v_hat = v / bc2.astype(work)
    u = m_hat / (root(v_hat) + eps.astype(work))
    if treatment.decayed and not decoupled:
        u = u + wd.astype(work) * w
    return u


def _one_minus_power(beta, step):
    """1 - βᵗ to full precision: the plain difference loses five digits at t = 2."""
    return -jnp.expm1(jnp.asarray(step, beta.dtype) * jnp.log1p(beta - 1))


@keras.saving.register_keras_serializable(package="lamb_keras")
class Lamb(LayerwiseOptimizer):
    """Adam's update, rescaled layer by layer to the size of the weights it moves.

    For a variable w with gradient g at step t (Algorithm 2 of the paper, version 5)::

        m ← β₁m + (1 - β₁)g        v ← β₂v + (1 - β₂)g²
        u = (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε) + λw
        w ← w - η (φ(‖w‖) / ‖u‖) u

    So a step moves a nonzero layer by exactly η of its own norm, however large or
    small the gradient. `keras.optimizers.Lamb` decays the weights before this and
    outside the trust ratio, which is another algorithm once λ > 0; `optax.lamb` is
    this one, without exclusions or bounds.

    η, λ, both betas and ε are float32 variables of the optimizer: they can be assigned
    during training, or be traced inputs of `stateless_apply`, and nothing is compiled
    again. A pure bfloat16 variable still rounds each step to bfloat16; under Keras's
    mixed precision policies variables are float32 anyway. A saved model compiled with
    it loads once `lamb_keras.optimizers` is imported, without `custom_objects`.

    Args:
        learning_rate: η, a float, a `LearningRateSchedule` or a callable.
        beta_1: β₁, the decay of the first moment.
        beta_2: β₂, the decay of the second moment.
        epsilon: ε, added to the root after bias correction (Keras's Adam: before).
        weight_decay: λ, a float, a `LearningRateSchedule`, or None for none at all.
        bias_correction: False leaves out both divisions, as version 3 of the paper and
            its first author's code do.
        weight_decay_mode: "layerwise", as above. "decoupled" shrinks w by 1 - ηλ first
            and leaves λ out of u, as Keras's does.
        phi_bounds: (γₗ, γᵤ), the bounds of φ(z) = min(max(z, γₗ), γᵤ). The paper does
            not give them; None is φ(z) = z.
        trust_ratio_bounds: bounds of the whole ratio; (0.01, 10) is DeepSpeed's.
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
    numbers = ("beta_1", "beta_2", "epsilon")
    choices = ("bias_correction", "weight_decay_mode")
    moments = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate=0.001,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        weight_decay=0.01,
        bias_correction=True,
        weight_decay_mode="layerwise",
        *,
        name="lamb",
        **kwargs,
    ):
        require_choice(weight_decay_mode=(weight_decay_mode, WEIGHT_DECAY_MODES))
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.bias_correction = bias_correction
        self.weight_decay_mode = weight_decay_mode

    @classmethod
    def from_preset(cls, preset, **overrides):
        """A `Lamb` that computes what another implementation computes.

        Args:
            preset: a name in `lamb_keras.optimizers.PRESETS`: paper_v5, paper_v3,
                author, albert, nvlamb, tfa, timm, keras, pytorch_lamb, fastai, paddle,
                lambc.
            **overrides: arguments of `Lamb` that replace the preset's.

        Raises:
            ValueError: for an unknown preset.

        Example:
            >>> Lamb.from_preset("nvlamb", learning_rate=0.01).global_clipnorm
            1.0
        """
        return cls(**preset_arguments(preset, overrides))

    def update(self, *arrays, **arguments):
        return lamb_update(*arrays, self.iterations + 1, **arguments)
