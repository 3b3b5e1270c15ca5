"""The tests of this folder reject every wrong LAMB and LARS below.

A mutant is the real source with a few words replaced. It is loaded beside the real
package, and the test named with it, which is one of the suite's own, has to fail.
"""

import itertools
import re
import sys
import types
from pathlib import Path
from typing import NamedTuple

import keras
import pytest

from lamb_keras import optimizers
from lamb_keras.optimizers import (
    lamb_test,
    lars_test,
    layerwise_test,
    trust_ratio_logger_test,
    trust_ratio_test,
)

HERE = Path(__file__).parent
MODULES = ("trust_ratio", "layerwise", "lamb", "lars", "trust_ratio_logger")
EXPORTS = {
    "trust_ratio": ["trust_ratio"],
    "lamb": ["Lamb", "lamb_update"],
    "lars": ["Lars", "lars_update"],
    "trust_ratio_logger": ["TrustRatioLogger"],
}


class Mutant(NamedTuple):
    name: str
    module: str
    edits: dict  # from a text that occurs exactly once to what replaces it
    caught_by: object  # a test that takes the package under test as `kit`


def load(name, module=None, edits=None):
    """The optimizers' modules, one of them edited, under a name of their own."""
    package = types.ModuleType("mutant_" + re.sub("[^a-z]", "_", name.lower()))
    package.__path__ = []
    loaded = {package.__name__: package}
    sources = {}
    for each in MODULES:
        source = (HERE / f"{each}.py").read_text()
        for old, new in (edits or {}).items() if each == module else ():
            assert source.count(old) == 1, (
                f"The mutant {name!r} is stale: {each}.py has {source.count(old)} times"
                f"\n{old}"
            )
            source = source.replace(old, new)
        # Keras keeps one class a name; the real ones have to stay registered.
        source = source.replace('package="lamb_keras"', f"package={package.__name__!r}")
        sources[each] = source.replace("lamb_keras.optimizers.", f"{package.__name__}.")
    try:
        sys.modules.update(loaded)
        for each, source in sources.items():
            copy = types.ModuleType(f"{package.__name__}.{each}")
            sys.modules[copy.__name__] = loaded[copy.__name__] = copy
            exec(compile(source, f"{each}.py of {name}", "exec"), vars(copy))
            for export in EXPORTS.get(each, []):
                setattr(package, export, getattr(copy, export))
    finally:
        for each in loaded:
            sys.modules.pop(each, None)
    return package


def run(test, kit):
    """Runs a test of the suite on `kit`, with all its parameters."""
    marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
    choices = []
    for mark in marks:
        names, rows = mark.args
        names = [name.strip() for name in names.split(",")]
        rows = rows if len(names) > 1 else [[row] for row in rows]
        choices.append([dict(zip(names, row, strict=True)) for row in rows])
    for chosen in itertools.product(*choices):
        test(**{name: value for row in chosen for name, value in row.items()}, kit=kit)


# The lines of the real source that several mutants replace.
M = "m = b1.astype(work) * m + (1 - b1).astype(work) * g\n"
V = "v = b2.astype(work) * v + (1 - b2).astype(work) * jnp.square(g)\n"
M_HAT = "m_hat = m / bc1.astype(work)\n"
V_HAT = "v_hat = v / bc2.astype(work)\n"
U = "u = m_hat / (jnp.sqrt(v_hat) + eps.astype(work))\n"
DECAY = "u = u + wd.astype(work) * w\n"
DECOUPLED = "w = w - (eta * wd).astype(work) * w\n"
OUTSIDE = 'if treatment.decay == "decoupled":'
SQUARES = "return w, m, v, sum_of_squares(w, treatment.is_stacked), u_squares"
U_SQUARES = "u_squares = sum_of_squares(u, treatment.is_stacked)\n"
RATIO = "ratio = trust_ratio(w_norm, u_norm, phi_bounds, trust_ratio_bounds)\n"
RATE = "eta.astype(ratio.dtype) * ratio\n"
STEP = "w = w - rate * _update(w, m, v, scalars, treatment)\n"
WD = "(0 if scalars.wd is None else scalars.wd)"
NORM = "jnp.sum(jnp.square(x), axis=axes, keepdims=stacked)"
DEFINED = "jnp.minimum(numerator, update_norm) > 0"
GUARD = "return jnp.where(defined, clip(ratio, trust_ratio_bounds), 1)"
SEARCH = "or any(pattern.search(variable.path)"
MOMENTS = "self.moments_dtype or str(working_dtype(v.dtype))"
EMA = "jnp.where(self.iterations == 0, 0.0, self.ema_momentum)"
FLATTENED = """
def lamb_update(
    weights, gradients, first_moments, second_moments, step,
    decayed=True, adapted=True, stacked=False, **arguments
):
    flat = lambda arrays: [jnp.concatenate([jnp.ravel(x) for x in arrays])]
    after = _lamb_update(
        flat(weights), flat(gradients), flat(first_moments), flat(second_moments),
        step, **arguments
    )
    ends = np.cumsum([w.size for w in weights])[:-1]
    unflat = lambda x: [
        part.reshape(w.shape) for part, w in zip(jnp.split(x[0], ends), weights)
    ]
    return LambStep(*map(unflat, after[:3]), *(x * len(weights) for x in after[3:]))


def _one_minus_power("""

ORACLE = lamb_test.test_other_betas_and_epsilon_are_the_papers_too
STEP_LENGTH = lamb_test.test_a_step_moves_a_layer_by_learning_rate_times_its_norm
ZERO_START = lamb_test.test_a_zero_layer_steps_with_a_ratio_of_1_and_then_with_its_own
HALF = lamb_test.test_half_precision_rounds_only_the_result_of_a_step
PATTERNS = layerwise_test.test_a_pattern_excludes_the_paths_it_is_found_in
ASSIGNED = layerwise_test.test_numbers_assigned_between_steps_are_used_by_the_next
TRACED = layerwise_test.test_numbers_traced_by_stateless_apply_change_without_compiling
ACCUMULATED = layerwise_test.test_accumulating_micro_batches_is_one_batch_of_their_mean
AVERAGED = layerwise_test.test_the_average_is_taken_once_per_real_update
TOGETHER = lamb_test.test_variables_step_together_as_they_do_alone
PASSES = lamb_test.test_a_large_variable_steps_as_the_papers_does
REORDERED = layerwise_test.test_variables_in_another_order_keep_their_own_state
LAMB_CONFIG = lamb_test.test_every_argument_survives_the_config
LARS_CONFIG = lars_test.test_every_argument_survives_the_config
TABLE_OF_RATIOS = trust_ratio_test.test_a_ratio_is_of_norms_and_1_where_one_is_zero

LAMB = [
    (
        "no trust ratio",
        {"jnp.where(has_ratio, ratio, 1)": "jnp.ones_like(ratio)"},
        STEP_LENGTH,
    ),
    (
        "ratio upside down",
        {RATIO: RATIO.replace("w_norm, u_norm", "u_norm, w_norm")},
        STEP_LENGTH,
    ),
    (
        "ratio to the norm of the gradient",
        {U_SQUARES: U_SQUARES.replace("(u,", "(g,")},
        STEP_LENGTH,
    ),
    (
        "ratio to the norm of the momentum",
        {U_SQUARES: U_SQUARES.replace("(u,", "(m,")},
        STEP_LENGTH,
    ),
    (
        "ratio to the norm of the update without decay",
        {DECAY: "pass\n", STEP: f"{STEP[:-1]} - rate * {WD} * w\n"},
        STEP_LENGTH,
    ),
    (
        "decay outside the ratio and before it",
        {DECAY: "pass\n", OUTSIDE: "if treatment.decay:"},
        lamb_test.test_a_zero_gradient_shrinks_a_decayed_layer_by_the_learning_rate,
    ),
    (
        "decay outside the ratio and after it",
        {DECAY: "pass\n", STEP: f"{STEP[:-1]} - scalars.eta * {WD} * w\n"},
        lamb_test.test_a_zero_gradient_shrinks_a_decayed_layer_by_the_learning_rate,
    ),
    (
        "decay added to the gradient",
        {DECAY: "pass\n", M: f"g = g + {WD} * w\n    {M}"},
        ORACLE,
    ),
    ("decay twice", {OUTSIDE: "if treatment.decay:"}, ORACLE),
    (
        "decay times the learning rate",
        {DECAY: "u = u + scalars.eta * wd * w\n"},
        ORACLE,
    ),
    ("decay with the wrong sign", {DECAY: "u = u - wd * w\n"}, ORACLE),
    ("no decay", {DECAY: "pass\n"}, ORACLE),
    ("no bias correction", {M_HAT: "m_hat = m\n", V_HAT: "v_hat = v\n"}, ORACLE),
    ("no bias correction of the first moment", {M_HAT: "m_hat = m\n"}, ORACLE),
    ("no bias correction of the second moment", {V_HAT: "v_hat = v\n"}, ORACLE),
    (
        "bias correction always",
        {"if bias_correction:": "if True:"},
        lamb_test.test_cybertronais_is_version_3_with_phi_up_to_10,
    ),
    (
        "bias correction on the step size",
        {
            M_HAT: "m_hat = m\n",
            V_HAT: "v_hat = v\n",
            RATE: f"jnp.sqrt(bc2) / bc1 * {RATE}",
        },
        STEP_LENGTH,
    ),
    (
        "bias correction with the powers of the other beta",
        {
            "_one_minus_power(b1, step), _one_minus_power(b2, step)": (
                "_one_minus_power(b2, step), _one_minus_power(b1, step)"
            )
        },
        ORACLE,
    ),
    (
        "bias correction stops at the first step",
        {"jnp.asarray(step, beta.dtype)": "1"},
        ORACLE,
    ),
    ("epsilon inside the root", {U: "u = m_hat / jnp.sqrt(v_hat + eps)\n"}, ORACLE),
    (
        "epsilon squared inside the root",
        {U: "u = m_hat / jnp.sqrt(v_hat + eps**2)\n"},
        ORACLE,
    ),
    (
        "epsilon before bias correction",
        {U: "u = m_hat / ((jnp.sqrt(v) + eps) / jnp.sqrt(bc2))\n"},
        ORACLE,
    ),
    (
        "epsilon in the ratio",
        {RATIO: RATIO.replace("u_norm", "u_norm + eps")},
        ORACLE,
    ),
    ("no epsilon", {U: "u = m_hat / jnp.sqrt(v_hat)\n"}, ORACLE),
    ("betas swapped", {"eta, b1, b2, eps = (": "eta, b2, b1, eps = ("}, ORACLE),
    ("first moment without (1 - beta_1)", {M: "m = b1 * m + g\n"}, ORACLE),
    ("second moment without (1 - beta_2)", {V: "v = b2 * v + jnp.square(g)\n"}, ORACLE),
    ("no first moment", {M: "m = g\n"}, ORACLE),
    (
        "the gradient taken up twice by the first moment",
        {M: f"{M}    {M}"},
        ORACLE,
    ),
    (
        "second moment of the first",
        {V: "v = b2 * v + (1 - b2) * jnp.square(m)\n"},
        ORACLE,
    ),
    (
        "second moment of the absolute gradient",
        {V: "v = b2 * v + (1 - b2) * jnp.abs(g)\n"},
        ORACLE,
    ),
    ("no root of the second moment", {U: "u = m_hat / (v_hat + eps)\n"}, ORACLE),
    (
        "norm of the weights after the update",
        {SQUARES: SQUARES.replace("squares(w,", "squares(w - eta * u,")},
        STEP_LENGTH,
    ),
    ("uphill", {STEP: STEP.replace("w - ", "w + ")}, ORACLE),
    ("learning rate squared", {RATE: RATE.replace("eta", "(eta**2)")}, STEP_LENGTH),
    (
        "one ratio over all variables",
        {
            "\nimport keras\n\n": "\nimport keras\nimport numpy as np\n\n",
            "def lamb_update(": "def _lamb_update(",
            "\ndef _one_minus_power(": FLATTENED,
        },
        ORACLE,
    ),
    (
        "ratio applied to excluded variables",
        {"jnp.where(has_ratio, ratio, 1)": "ratio"},
        lamb_test.test_a_variable_that_is_not_adapted_takes_adams_step,
    ),
    (
        "decay of excluded variables",
        {"mode if decay and wd is not None else": "mode if wd is not None else"},
        lamb_test.test_a_variable_that_is_not_decayed_takes_the_step_without_decay,
    ),
    (
        "arithmetic in the dtype of the variable",
        {"work = working_dtype(w.dtype)": "work = w.dtype"},
        HALF,
    ),
    (
        "numbers in the dtype of the variable",
        {"jnp.asarray(x, widest) for": "jnp.asarray(x, weights[0].dtype) for"},
        lamb_test.test_a_bfloat16_variable_moves_where_keras_lamb_does_not,
    ),
    (
        "decoupled decay of the decayed weights' square",
        {DECOUPLED: "w = w * (1 - (eta * wd) ** 2)\n"},
        lamb_test.test_a_zero_gradient_shows_which_decay_is_inside_the_ratio,
    ),
    (
        "decoupled decay without the learning rate",
        {DECOUPLED: "w = w - wd * w\n"},
        lamb_test.test_a_zero_gradient_shows_which_decay_is_inside_the_ratio,
    ),
    (
        "decoupled decay that the norm does not see",
        {
            "work = working_dtype(w.dtype)": "work, start = working_dtype(w.dtype), w",
            SQUARES: SQUARES.replace("squares(w,", "squares(start.astype(work),"),
        },
        lamb_test.test_the_keras_preset_decays_before_the_ratio,
    ),
    (
        "a large variable's second pass with the numbers in another order",
        {
            "apart(rate, scalars)": (
                "apart(rate, scalars._replace(bc1=scalars.bc2, bc2=scalars.bc1))"
            )
        },
        PASSES,
    ),
    (
        "a large variable's second pass without bias correction",
        {
            "apart(rate, scalars)": (
                "apart(rate, scalars._replace(bc1=jnp.ones(()), bc2=jnp.ones(())))"
            )
        },
        PASSES,
    ),
    ("steps counted from 0", {"self.iterations + 1": "self.iterations"}, ORACLE),
    ("steps counted from 2", {"self.iterations + 1": "self.iterations + 2"}, ORACLE),
    (
        "first moments forgotten",
        {"self._assign_all(first_moments, after.first_moments)": "pass"},
        ORACLE,
    ),
    (
        "second moments forgotten",
        {"self._assign_all(second_moments, after.second_moments)": "pass"},
        ORACLE,
    ),
    ("beta_1 a constant", {"beta_1=self.beta_1.value": "beta_1=0.9"}, ASSIGNED),
    ("beta_2 a constant", {"beta_2=self.beta_2.value": "beta_2=0.999"}, ASSIGNED),
    ("epsilon a constant", {"epsilon=self.epsilon.value": "epsilon=1e-6"}, ASSIGNED),
    ("beta_1 baked", {"beta_1=self.beta_1.value": "beta_1=self.beta_1._value"}, TRACED),
    (
        "learning rate baked",
        {
            "learning_rate=self.learning_rate,\n            beta_1": (
                "learning_rate=self._learning_rate._value,\n            beta_1"
            )
        },
        TRACED,
    ),
    (
        "config without bias correction",
        {'"bias_correction": self.bias_correction,': ""},
        LAMB_CONFIG,
    ),
    ("config with the default beta_1", {'self._number("beta_1")': "0.9"}, LAMB_CONFIG),
    (
        "no decay by default",
        {"weight_decay=0.01,\n        bias": "weight_decay=None,\n        bias"},
        lamb_test.test_the_defaults_are_version_5_with_the_papers_hyperparameters,
    ),
    (
        "author's preset with bias correction",
        {
            '"author": {\n        "bias_correction": False,': (
                '"author": {\n        "bias_correction": True,'
            )
        },
        lamb_test.test_the_authors_and_alberts_code,
    ),
    (
        "author's preset that always adapts",
        {'WEIGHT_DECAY = ("author", "timm")': 'WEIGHT_DECAY = ("timm",)'},
        lamb_test.test_the_authors_and_alberts_code,
    ),
    (
        "nvlamb's preset that adapts only what decays",
        {
            '"exclude_from_layer_adaptation": [],\n        "global_clipnorm": 1.0,': (
                '"global_clipnorm": 1.0,'
            )
        },
        lamb_test.test_nvlamb_decays_neither_normalization_nor_biases_but_adapts_them,
    ),
    (
        "keras preset with decay in the ratio",
        {'"weight_decay_mode": "decoupled",\n        "ep': '"ep'},
        lamb_test.test_a_zero_gradient_shows_which_decay_is_inside_the_ratio,
    ),
    (
        "keras preset with the paper's epsilon",
        {'"epsilon": 1e-7,': '"epsilon": 1e-6,'},
        lamb_test.test_the_keras_preset_decays_before_the_ratio,
    ),
]

TRUST_RATIO = [
    (
        "no guard for zeros",
        {GUARD: "return clip(ratio, trust_ratio_bounds)"},
        ZERO_START,
    ),
    (
        "no guard for zero weights",
        {DEFINED: "update_norm > 0"},
        ZERO_START,
    ),
    (
        "no guard for zero updates",
        {
            DEFINED: "numerator > 0",
            "jnp.where(defined, update_norm, 1)": "update_norm",
        },
        TABLE_OF_RATIOS,
    ),
    (
        "guard for small weights",
        {DEFINED: "(numerator > 1e-3) & (update_norm > 0)"},
        STEP_LENGTH,
    ),
    ("a ratio of 0 for zeros", {GUARD: GUARD.replace(", 1)", ", 0)")}, ZERO_START),
    (
        "ratio clipped at 10",
        {GUARD: f"ratio = jnp.minimum(ratio, 10)\n    {GUARD}"},
        STEP_LENGTH,
    ),
    (
        "bounds of the ratio for zeros too",
        {GUARD: "return clip(jnp.where(defined, ratio, 1), trust_ratio_bounds)"},
        TABLE_OF_RATIOS,
    ),
    (
        "bounds of the ratio ignored",
        {GUARD: GUARD.replace("clip(ratio, trust_ratio_bounds)", "ratio")},
        lamb_test.test_ratio_bounds_hold_the_ratio,
    ),
    (
        "phi on the ratio",
        {
            "numerator = clip(weight_norm, phi_bounds)": "numerator = weight_norm",
            GUARD: GUARD.replace("ratio,", "clip(ratio, phi_bounds),"),
        },
        lamb_test.test_phi_bounds_the_norm_a_step_is_measured_by,
    ),
    (
        "phi without its lower bound",
        {
            "clip(weight_norm, phi_bounds)": (
                "clip(weight_norm, phi_bounds and (0, phi_bounds[1]))"
            )
        },
        lamb_test.test_phi_bounds_the_norm_a_step_is_measured_by,
    ),
    (
        "phi without its upper bound",
        {
            "clip(weight_norm, phi_bounds)": (
                "clip(weight_norm, phi_bounds and (phi_bounds[0], None))"
            )
        },
        lamb_test.test_phi_bounds_the_norm_a_step_is_measured_by,
    ),
    (
        "L1 norms",
        {NORM: "jnp.square(jnp.sum(jnp.abs(x), axis=axes, keepdims=stacked))"},
        STEP_LENGTH,
    ),
    (
        "largest element for a norm",
        {NORM: "jnp.square(jnp.max(jnp.abs(x), axis=axes, keepdims=stacked))"},
        STEP_LENGTH,
    ),
    (
        "squares of norms",
        {NORM: f"jnp.square({NORM})"},
        STEP_LENGTH,
    ),
    (
        "root mean squares for norms",
        {NORM: NORM.replace("jnp.sum", "jnp.mean")},
        lamb_test.test_phi_bounds_the_norm_a_step_is_measured_by,
    ),
    (
        "bfloat16 norms",
        {
            NORM: NORM.replace("square(x", 'square(x.astype("bfloat16")')
            + "+ 0 * x.sum()"
        },
        STEP_LENGTH,
    ),
    (
        "float16 norms",
        {
            NORM: NORM.replace("square(x", 'square(x.astype("float16")')
            + "+ 0 * x.sum()"
        },
        lamb_test.test_weights_whose_squares_overflow_float16_step_by_their_norm,
    ),
    (
        "norms of rows",
        {
            "tuple(range(1, x.ndim)) if stacked": "-1 if x.ndim > 1",
            "keepdims=stacked": "keepdims=x.ndim > 1",
        },
        ORACLE,
    ),
    (
        "one norm for a stack",
        {"tuple(range(1, x.ndim)) if stacked else None": "None"},
        lamb_test.test_a_stack_of_layers_steps_as_its_layers_do,
    ),
    (
        "numbers after the last whole block forgotten",
        {"jnp.sum(sums) + jnp.sum(squares[whole:])": "jnp.sum(sums)"},
        PASSES,
    ),
    (
        "blocks that overlap the numbers after them",
        {"jnp.sum(squares[whole:])": "jnp.sum(squares[whole - 256 :])"},
        PASSES,
    ),
    (
        "a block's first row only",
        {"lambda total, square: total + jnp.abs(square)": "jnp.maximum"},
        PASSES,
    ),
    (
        "neighbors with each other's ratios",
        {"zip(members, shapes, *parts": "zip(members[::-1], shapes, *parts"},
        TOGETHER,
    ),
    (
        "neighbors all treated as the first",
        {
            "enumerate(zip(sizes, kinds, strict=True))": "enumerate(zip(sizes, sizes))",
            "if any(kinds[i] != kind for i in members)": "if False",
        },
        TOGETHER,
    ),
    (
        "neighbors of all kinds treated as the first",
        {"if any(kinds[i] != kind for i in members)": "if False"},
        lambda kit: layerwise_test.test_a_tpus_form_of_the_step_is_the_same_step(
            "Lamb", kit
        ),
    ),
    (
        "half precision worked on as it is",
        {'dtype = jnp.dtype("float32")': 'dtype = jnp.dtype("bfloat16")'},
        HALF,
    ),
    (
        "trust coefficient ignored",
        {"trust_coefficient * numerator": "numerator"},
        TABLE_OF_RATIOS,
    ),
    (
        "trust coefficient after the bounds",
        {
            "trust_coefficient * numerator": "numerator",
            GUARD: GUARD.replace("clip(", "trust_coefficient * clip("),
        },
        TABLE_OF_RATIOS,
    ),
]

LAYERWISE = [
    (
        "exclusions by name and not by path",
        {SEARCH: SEARCH.replace("path", "name")},
        PATTERNS,
    ),
    (
        "exclusions at the beginning of the path only",
        {SEARCH: SEARCH.replace("search", "match")},
        PATTERNS,
    ),
    (
        "an empty list excludes from adaptation what is not decayed",
        {"self._patterns[kind] is None and": "not self._patterns[kind] and"},
        PATTERNS,
    ),
    (
        "everything adapted by default",
        {"= list(self._decayed)": "= [True] * len(variables)"},
        PATTERNS,
    ),
    (
        "exclusions turned round",
        {
            'not excluded\n            for excluded in self._matches("exclude_from_w': (
                'excluded\n            for excluded in self._matches("exclude_from_w'
            )
        },
        PATTERNS,
    ),
    (
        "exclusions of other variables",
        {"[self._decayed[i] for i in indices]": "self._decayed[: len(indices)]"},
        REORDERED,
    ),
    (
        "adaptations of other variables",
        {"[self._adapted[i] for i in indices]": "self._adapted[: len(indices)]"},
        REORDERED,
    ),
    (
        "exclusions lost in the config",
        {"            **self._patterns,\n": ""},
        layerwise_test.test_exclusions_survive_the_config,
    ),
    (
        "variables excluded by identity forgotten",
        {"id(variable) in self._excluded_ids[kind]\n            or ": ""},
        layerwise_test.test_kerass_methods_exclude_as_the_arguments_do,
    ),
    (
        "a second exclusion replaces the first",
        {"self._patterns[kind] = known + _patt": "self._patterns[kind] = _patt"},
        layerwise_test.test_kerass_methods_exclude_as_the_arguments_do,
    ),
    (
        "stacks never stacked",
        {"[self._stacked[i] for i in indices]": "False"},
        layerwise_test.test_a_stacked_variable_is_its_slices,
    ),
    (
        "bounds of phi never given",
        {
            'return {\n            "phi_bounds": self.phi_bounds,': (
                'return {\n            "phi_bounds": None,'
            )
        },
        lamb_test.test_nnablas_is_version_5_with_both_bounds_of_phi,
    ),
    (
        "weight decay baked",
        {"else weight_decay.value": "else weight_decay._value"},
        TRACED,
    ),
    (
        "weight decay's schedule stays at its first step",
        {"return weight_decay(self._iterations)": "return weight_decay(0)"},
        layerwise_test.test_a_schedule_of_the_weight_decay_follows_the_steps,
    ),
    (
        "learning rate in half precision",
        {"self._widen_learning_rate(learning_rate)\n": "pass\n"},
        layerwise_test.test_numbers_are_float32_in_every_floatx,
    ),
    (
        "numbers in the config rounded to float32",
        {"return float(str(value))": "return float(value)"},
        lamb_test.test_overrides_replace_a_presets_arguments,
    ),
    (
        "moments in half precision",
        {MOMENTS: "self.moments_dtype or v.dtype"},
        layerwise_test.test_half_precision_variables_have_float32_moments,
    ),
    (
        "moments' dtype ignored",
        {MOMENTS: "str(working_dtype(v.dtype))"},
        layerwise_test.test_moments_are_stored_as_asked_and_computed_in_float32,
    ),
    (
        "no clipping",
        {"self._clip_gradients(grads)": "grads"},
        layerwise_test.test_global_clipping_sees_all_variables_together,
    ),
    (
        "half precision gradients unscaled and clipped as they are",
        {"[g if g is None else _widened(g) for g in grads]": "grads"},
        layerwise_test.test_a_loss_scale_does_not_lose_small_float16_gradients,
    ),
    (
        "accumulation without division",
        {"(g + total) / steps": "g + total"},
        ACCUMULATED,
    ),
    (
        "accumulation without the last",
        {"(g + total) / steps": "total / steps"},
        layerwise_test.test_clipping_acts_on_the_mean_of_the_micro_batches,
    ),
    ("accumulation of the last only", {"(g + total) / steps": "g"}, ACCUMULATED),
    (
        "accumulators never emptied",
        {"self._assign_all(accumulators, map(jnp.zeros_like, grads))": "pass"},
        ACCUMULATED,
    ),
    (
        "accumulators overwritten",
        {
            "[g + total for g, total in zip(grads, acc": (
                "[g for g, total in zip(grads, acc"
            )
        },
        ACCUMULATED,
    ),
    (
        "real updates one micro-step late",
        {"(self._iterations + 1) % self.gradient": "self._iterations % self.gradient"},
        ACCUMULATED,
    ),
    (
        "the update computed at every micro-step",
        {
            "jax.lax.cond(": "_select(",
            "def flags(value, count):": """
def _select(condition, if_true, if_false, values):
    return [
        jnp.where(condition, a, b)
        for a, b in zip(if_true(values), if_false(values))
    ]


def flags(value, count):""",
        },
        layerwise_test.test_micro_steps_compute_nothing_but_the_sum,
    ),
    (
        "averages at every micro-step",
        {
            "def accumulate():\n": (
                "def accumulate():\n            if self.use_ema: self._average()\n"
            )
        },
        AVERAGED,
    ),
    ("averages that start at zero", {EMA: "self.ema_momentum"}, AVERAGED),
    (
        "averages with the momentum turned round",
        {EMA: f"1 - {EMA}"},
        AVERAGED,
    ),
    (
        "averages in half precision",
        {EMA: f"{EMA}.astype(self._trainable_variables[0].dtype)"},
        layerwise_test.test_the_average_of_bfloat16_weights_moves,
    ),
    (
        "averages of weights not constrained",
        {"variable.assign(variable.constraint(variable))": "pass"},
        layerwise_test.test_a_constraint_holds_for_the_weights_and_their_average,
    ),
    (
        "weights overwritten by their average one update late",
        {"(self.iterations + 1) % self.ema": "self.iterations % self.ema"},
        layerwise_test.test_the_average_overwrites_the_weights_every_so_many_real_updates,
    ),
    (
        "norms in each other's place",
        {
            "step.weight_norms, step.update_norms": (
                "step.update_norms, step.weight_norms"
            )
        },
        layerwise_test.test_trust_ratios_are_the_last_steps,
    ),
    (
        "ratios in other variables' place",
        {"jnp.ravel(latest[i]).astype": "jnp.ravel(latest[max(latest) - i]).astype"},
        layerwise_test.test_trust_ratios_are_the_last_steps,
    ),
]

ADDS = 'self.variant == "gradient" and self.denominator == "sum_of_norms"'
INSIDE = 'self.variant == "momentum" or self.learning_rate_in_momentum'
AHEAD = "beta * m + d if form.nesterov"
DIRECTION = "_direction(w, g, wd, treatment)"

LARS = [
    (
        "no trust ratio",
        {"jnp.where(has_ratio, ratio, 1)": "jnp.ones_like(ratio)"},
        lars_test.test_algorithm_1_moves_a_layer_by_learning_rate_times_its_norm,
    ),
    (
        "ratio for all",
        {"jnp.where(has_ratio, ratio, 1)": "ratio"},
        lars_test.test_a_variable_that_is_not_adapted_takes_the_plain_step,
    ),
    (
        "no decay in the sum of norms",
        {"if wd is not None and form.adds_norms:": "if False:"},
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "always the sum of norms",
        {ADDS: 'self.variant == "gradient"'},
        lars_test.test_exclusions_are_optax_masks,
    ),
    (
        "always the norm of the sum",
        {ADDS: "False"},
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "epsilon ignored",
        {"size = size + eps.astype(work)": "pass"},
        lars_test.test_other_numbers_are_mlperfs_too,
    ),
    (
        "trust coefficient of 1",
        {"            kappa.astype(work),\n": ""},
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "decay outside the ratio",
        {f"d = rate * {DIRECTION}": f"d = rate * g + eta * ({DIRECTION} - g)"},
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "no decay",
        {"return g + wd.astype(w.dtype) * w if treatment.has_decay else g": "return g"},
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "decay of excluded variables",
        {"_Treatment(decay and wd": "_Treatment(wd"},
        lars_test.test_exclusions_are_optax_masks,
    ),
    (
        "learning rate on the wrong side of the momentum",
        {INSIDE: INSIDE.replace("or self", "or not self")},
        lars_test.test_a_learning_rate_that_changes_tells_inside_from_outside,
    ),
    (
        "Nesterov ignored inside",
        {AHEAD: f"{AHEAD} and not form.has_rate_inside"},
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "Nesterov ignored outside",
        {AHEAD: f"{AHEAD} and form.has_rate_inside"},
        lars_test.test_a_learning_rate_that_changes_tells_inside_from_outside,
    ),
    (
        "no momentum inside",
        {"m = beta * m + d\n": "m = d\n"},
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "ratio on the momentum too",
        {"m = beta * m + d\n": "m = rate / eta * beta * m + d\n"},
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "Algorithm 1 without (1 - beta)",
        {"(1 - beta).astype(work) * d\n": "d\n"},
        lars_test.test_the_momentum_variant_is_algorithm_1,
    ),
    (
        "Algorithm 1 with the norm of the gradient",
        {
            "* d\n        d_squares = sum_of_squares(d,": (
                "* d\n        d_squares = sum_of_squares(g,"
            )
        },
        lars_test.test_algorithm_1_moves_a_layer_by_learning_rate_times_its_norm,
    ),
    (
        "Algorithm 1 without momentum",
        {"d = m = beta.astype(work) * m + (1 - beta)": "d = m = 0 * m + (1 - beta)"},
        lars_test.test_the_momentum_variant_is_algorithm_1,
    ),
    (
        "a zero gradient scaled by its decay",
        {"jnp.where(d_norm > 0, size, 0)": "size"},
        lars_test.test_a_zero_gradient_decays_at_the_plain_rate,
    ),
    (
        "ratio of the gradient to the weights",
        {
            "w_norm,\n            # A": (
                "jnp.where(w_norm > 0, 1 / w_norm, 0),\n            # A"
            )
        },
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "default coefficients swapped",
        {"return 1.0 if variant ==": "return 1.0 if variant !="},
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "arithmetic in the dtype of the variable",
        {"work = working_dtype(w.dtype)": "work = w.dtype"},
        lars_test.test_weights_whose_squares_overflow_float16_step_by_their_norm,
    ),
    (
        "moments forgotten",
        {"self._assign_all(moments, after.moments)": "pass"},
        lars_test.test_the_defaults_are_mlperfs,
    ),
    (
        "momentum a constant",
        {"momentum=self.momentum.value": "momentum=0.9"},
        lars_test.test_other_numbers_are_mlperfs_too,
    ),
    (
        "trust coefficient a constant",
        {"trust_coefficient=self.trust_coefficient.value": "trust_coefficient=0.001"},
        lars_test.test_other_numbers_are_mlperfs_too,
    ),
    ("config without Nesterov", {'"nesterov": self.nesterov,': ""}, LARS_CONFIG),
]

LOGGER = [
    (
        "a record one batch early",
        {"if self._step % self.every:": "if (self._step + 1) % self.every:"},
        trust_ratio_logger_test.test_it_records_every_so_many_batches_through_several_epochs,
    ),
    (
        "batches counted by epoch",
        {"        self._step += 1\n": "        self._step = batch + 1\n"},
        trust_ratio_logger_test.test_it_records_every_so_many_batches_through_several_epochs,
    ),
]

MUTANTS = [
    Mutant(name, module, edits, caught_by)
    for module, mutants in (
        ("lamb", LAMB),
        ("trust_ratio", TRUST_RATIO),
        ("layerwise", LAYERWISE),
        ("lars", LARS),
        ("trust_ratio_logger", LOGGER),
    )
    for name, edits, caught_by in mutants
]


@pytest.fixture(scope="module")
def unmutated():
    return load("nothing changed")


@pytest.mark.parametrize(
    "test", dict.fromkeys(m.caught_by for m in MUTANTS), ids=lambda test: test.__name__
)
def test_the_real_source_loaded_as_mutants_are_passes(test, unmutated):
    run(test, unmutated)


@pytest.mark.parametrize(
    "mutant", MUTANTS, ids=lambda m: f"{m.module}: {m.name}".replace(" ", "_")
)
def test_a_wrong_optimizer_is_rejected(mutant):
    kit = load(mutant.name, mutant.module, mutant.edits)
    # An assertion has to fail: to crash would say little about the tests.
    with pytest.raises(AssertionError):
        run(mutant.caught_by, kit)


def test_a_stale_mutant_is_noticed():
    with pytest.raises(AssertionError, match="stale: lamb.py has 0 times"):
        load("none", "lamb", {"no such text": ""})


def test_every_wrong_optimizer_has_a_name_of_its_own():
    names = [(mutant.module, mutant.name) for mutant in MUTANTS]
    assert len(set(names)) == len(names)


def test_mutants_leave_the_real_optimizers_registered():
    registered = keras.saving.get_registered_object("lamb_keras>Lamb")
    assert registered is optimizers.Lamb
