"""BERT's pre-training in two stages, and its fine-tuning on questions."""

from lamb_keras.training.bert.experiment import Experiment, Stage, Trial
from lamb_keras.training.bert.sweep import Sweep, sweep

__all__ = ["Experiment", "Stage", "Sweep", "Trial", "sweep"]
