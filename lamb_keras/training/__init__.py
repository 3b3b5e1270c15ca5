"""From an experiment's parameters to the outcome of every trial."""

from lamb_keras.training.sweep import Sweep, sweep

__all__ = ["Sweep", "sweep"]
