"""The precision that layers are made with."""

import contextlib
import threading

import keras

_lock = threading.RLock()


@contextlib.contextmanager
def dtype_policy(name: str):
    """Keras's global policy, which layers take when they are made, for a while.

    Example:
        >>> with dtype_policy("mixed_bfloat16"):
        ...     layer = keras.layers.Dense(1)
        >>> layer.compute_dtype, keras.config.dtype_policy().name
        ('bfloat16', 'float32')
    """
    with _lock:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(name)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)
