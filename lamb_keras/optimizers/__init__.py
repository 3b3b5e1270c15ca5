"""LAMB, LARS and AdamW as Keras 3 optimizers on JAX, the first two as functions too."""

from lamb_keras.backend import require_jax

require_jax()

from lamb_keras.optimizers.adamw import AdamW  # noqa: E402
from lamb_keras.optimizers.lamb import (  # noqa: E402
    Lamb,
    LambStep,
    lamb_update,
    reference_step,
)
from lamb_keras.optimizers.lars import Lars, LarsStep, lars_update  # noqa: E402
from lamb_keras.optimizers.packed import Packed  # noqa: E402
from lamb_keras.optimizers.presets import PRESETS  # noqa: E402
from lamb_keras.optimizers.record import TrustRatio  # noqa: E402
from lamb_keras.optimizers.trust_ratio import trust_ratio  # noqa: E402
from lamb_keras.optimizers.trust_ratio_logger import TrustRatioLogger  # noqa: E402

__all__ = [
    "PRESETS",
    "AdamW",
    "Lamb",
    "LambStep",
    "Lars",
    "LarsStep",
    "Packed",
    "TrustRatio",
    "TrustRatioLogger",
    "lamb_update",
    "lars_update",
    "reference_step",
    "trust_ratio",
]
