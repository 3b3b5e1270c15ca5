"""Measurements: ratios against peers in the same process, never timed tests."""

import lamb_keras  # noqa: F401  (puts Keras on JAX, before anything here imports it)
