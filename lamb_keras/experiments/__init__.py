"""The experiments and their parameters, and what is refused before anything starts.

Papermill only warns about a misspelt parameter and then runs the notebook at its
default; YAML 1.1 reads `1e-3` as text. So the command line checks every value here
before a kernel starts, and the notebook checks again, because plain Papermill and
JupyterLab skip the command line. Each refusal is one sentence: what was received,
what was expected, how to mend it. Nothing here imports Keras or JAX.
"""

from lamb_keras.experiments.grids import of_solver, settings, trials
from lamb_keras.experiments.names import (
    AUGMENTATIONS,
    DTYPE_POLICIES,
    NOTEBOOKS,
    Notebook,
)
from lamb_keras.experiments.types import ParameterError
from lamb_keras.experiments.validation import VOCABULARY, validate
from lamb_keras.names import DECAYING_SOLVERS, SOLVERS, WEIGHT_DECAY_FORMS

__all__ = [
    "AUGMENTATIONS",
    "DECAYING_SOLVERS",
    "DTYPE_POLICIES",
    "NOTEBOOKS",
    "SOLVERS",
    "VOCABULARY",
    "WEIGHT_DECAY_FORMS",
    "Notebook",
    "ParameterError",
    "of_solver",
    "settings",
    "trials",
    "validate",
]
