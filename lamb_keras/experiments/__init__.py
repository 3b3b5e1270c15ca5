"""The vocabulary of a run's parameters, and what is refused before anything starts.

Papermill only warns about a misspelt parameter and then runs the notebook at its
default; YAML 1.1 reads `1e-3` as text. So the command line checks every value here
before a kernel starts, and the notebook checks again, because plain Papermill and
JupyterLab skip the command line. Each refusal is one sentence: what was received,
what was expected, how to mend it.
"""

from lamb_keras.experiments.grids import of_solver, settings, trials
from lamb_keras.experiments.schema import (
    DECAYING_SOLVERS,
    NOTEBOOKS,
    SOLVERS,
    VOCABULARY,
    Notebook,
    Parameter,
)
from lamb_keras.experiments.validation import ParameterError, validate

__all__ = [
    "DECAYING_SOLVERS",
    "NOTEBOOKS",
    "SOLVERS",
    "VOCABULARY",
    "Notebook",
    "Parameter",
    "ParameterError",
    "of_solver",
    "settings",
    "trials",
    "validate",
]
