"""BERT's pre-training in two stages, and its fine-tuning on questions."""

from lamb_keras.training.bert.sweep import Sweep, sweep

__all__ = ["Sweep", "sweep"]
