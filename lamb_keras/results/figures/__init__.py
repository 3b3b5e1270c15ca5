"""The figures of the notebooks and the report, one style for all of them.

Every function returns a Matplotlib figure. A solver has the same color and marker
everywhere; with Goyal's recipe ("+") it is hollow and dashed. LAMB is drawn last and
heaviest.
"""

from lamb_keras.results.figures.batches import over_batches
from lamb_keras.results.figures.curves import (
    learning_curves,
    masked_language_model,
    pretraining_curves,
    trust_ratios,
    trust_ratios_by_type,
)
from lamb_keras.results.figures.pictures import examples
from lamb_keras.results.figures.sweeps import (
    accuracy_by_learning_rate,
    f1_by_batch,
    forms,
    sweep,
)

__all__ = [
    "accuracy_by_learning_rate",
    "examples",
    "f1_by_batch",
    "forms",
    "learning_curves",
    "masked_language_model",
    "over_batches",
    "pretraining_curves",
    "sweep",
    "trust_ratios",
    "trust_ratios_by_type",
]
