"""From an experiment's parameters to the outcome of every trial.

`sweep` is that of the image experiments, `lamb_keras.training.bert.sweep` BERT's.
"""

from lamb_keras.training.classification import Classification, sweep
from lamb_keras.training.history import Sweep
from lamb_keras.training.preemption import Preempted
from lamb_keras.training.step import optimizer

__all__ = ["Classification", "Preempted", "Sweep", "optimizer", "sweep"]
