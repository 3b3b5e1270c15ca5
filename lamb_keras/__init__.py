"""The LAMB paper, re-run: its optimizers for Keras on JAX, its experiments, its tables.

Importing this package loads neither Keras nor JAX: the names below are found when
they are first used, so that the command line answers at once.

Example:
    >>> import lamb_keras
    >>> lamb_keras.Lamb(learning_rate=0.01).name
    'lamb'
"""

import importlib
import os

# Keras reads this once, when it is first imported, and would otherwise look for
# TensorFlow. A backend chosen by the user stays; `lamb_keras.backend` then objects.
os.environ.setdefault("KERAS_BACKEND", "jax")

__version__ = "0.1.0"

_HOMES = {
    "AdamW": "lamb_keras.optimizers",
    "Lamb": "lamb_keras.optimizers",
    "Lars": "lamb_keras.optimizers",
    "TrustRatio": "lamb_keras.optimizers",
    "TrustRatioLogger": "lamb_keras.optimizers",
    "lamb_update": "lamb_keras.optimizers",
    "lars_update": "lamb_keras.optimizers",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lamb_keras' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOMES})
