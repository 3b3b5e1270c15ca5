"""The one place that asks which backend Keras runs on."""

import os
import sys

from lamb_keras import hosts


def require_jax() -> None:
    """Raises unless Keras runs on JAX, and says how to get there.

    JAX joins the hosts that `hosts.VARIABLE` names, as under plain Papermill.
    """
    backend = _backend()
    if backend != "jax":
        raise RuntimeError(
            f"lamb_keras computes with JAX, but Keras was started on {backend!r}: "
            "unset KERAS_BACKEND or set it to 'jax', and import lamb_keras first."
        )
    hosts.join()


def _backend():
    # To import Keras on a backend that is not installed fails, and does not say this.
    if "keras" not in sys.modules and "KERAS_BACKEND" in os.environ:
        return os.environ["KERAS_BACKEND"]
    import keras

    return keras.config.backend()
