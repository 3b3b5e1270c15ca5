"""Values that processes which train together agree on; one alone keeps its own."""

import hashlib
import json

import jax
import numpy as np
from jax.experimental import multihost_utils

from lamb_keras.experiments import ParameterError
from lamb_keras.training import compilations


def told(value):
    """Process 0's value, of a type that JSON can hold, on every process."""
    if jax.process_count() == 1:
        return value
    text = np.frombuffer(json.dumps(value).encode(), "uint8")
    size = int(same_array(np.int32(len(text))))
    return json.loads(bytes(same_array(np.resize(text, size))))


def same_array(array: np.ndarray) -> np.ndarray:
    """Process 0's array to the last bit; others give any of its shape and type."""
    if jax.process_count() == 1:
        return array
    # As bytes: JAX broadcasts by a sum, which loses negative zeros, and 64 bits.
    own = np.ascontiguousarray(array).reshape(-1).view("uint8")
    with compilations.expected():
        found = multihost_utils.broadcast_one_to_all(own)
    return np.asarray(found).view(array.dtype).reshape(array.shape)


def check_alike(what: str, arrays: list):
    """Raises `ParameterError` on all processes where these arrays are not the same."""
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    with compilations.expected():
        own = np.frombuffer(digest.digest(), "uint8")
        each = np.asarray(multihost_utils.process_allgather(own))
    if others := [n for n, row in enumerate(each) if bytes(row) != bytes(each[0])]:
        raise ParameterError(
            f"{what} on process {others[0]} is another than on process 0, expected the "
            "same on all: give every host the same parameters, data and versions."
        )
