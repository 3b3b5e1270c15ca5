"""The experiments and their parameters, and what is refused before anything starts.

The command line checks every value here before a kernel starts, and the notebook checks
again, because plain Papermill and JupyterLab skip the command line: Papermill only
warns of a misspelt parameter. Nothing here imports Keras or JAX.
"""

from lamb_keras.experiments.grids import (
    DECAYING_SOLVERS,
    NOTEBOOKS,
    SOLVERS,
    Notebook,
    of_solver,
    settings,
    trials,
)
from lamb_keras.experiments.types import ParameterError
from lamb_keras.experiments.validation import VOCABULARY, validate

__all__ = ["DECAYING_SOLVERS", "NOTEBOOKS", "SOLVERS", "VOCABULARY", "Notebook"]
__all__ += ["ParameterError", "of_solver", "settings", "trials", "validate"]
