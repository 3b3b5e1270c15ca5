"""The networks of the paper's tables."""

from lamb_keras.models.lenet import lenet

__all__ = ["lenet"]
