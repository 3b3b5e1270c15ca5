"""The figures of the notebooks and the report, one look for all of them.

Every function returns a Matplotlib figure. A solver has the same color and marker
everywhere, from Okabe and Ito's palette that color-blind readers can tell apart; with
Goyal's recipe ("+") it is hollow and dashed. LAMB is drawn last and heaviest.
"""

from lamb_keras.results.figures.learning import learning_curves, trust_ratios
from lamb_keras.results.figures.pictures import examples
from lamb_keras.results.figures.pretraining import (
    f1_by_batch,
    masked_language_model,
    pretraining_curves,
    trust_ratios_by_type,
)
from lamb_keras.results.figures.sweeps import forms, sweep
from lamb_keras.results.figures.tuning import accuracy_by_learning_rate

__all__ = [
    "accuracy_by_learning_rate",
    "examples",
    "f1_by_batch",
    "forms",
    "learning_curves",
    "masked_language_model",
    "pretraining_curves",
    "sweep",
    "trust_ratios",
    "trust_ratios_by_type",
]
