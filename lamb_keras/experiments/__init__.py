"""The experiments and their parameters, and what is refused before anything starts.

The command line checks every value here before a kernel starts, and the notebook checks
again, because plain Papermill and JupyterLab skip the command line: Papermill only
warns of a misspelt parameter. Nothing here imports Keras or JAX.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from lamb_keras.experiments import types
from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.experiments.cells import check_injected
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.experiments.schema import (
    NOTEBOOKS,
    Notebook,
    check_together,
    count_trials,
    of_solver,
    parameters,
    required,
    settings,
)
from lamb_keras.experiments.types import ParameterError

__all__ = ["NOTEBOOKS", "VOCABULARY", "Notebook", "ParameterError"]
__all__ += ["check_devices", "check_injected", "count_trials", "of_solver"]
__all__ += ["kind", "settings", "validate"]

# The type of each parameter there is.
VOCABULARY = {**parameters(BertExperiment), **parameters(ImageExperiment)}


def validate(
    given: Mapping,
    known: Mapping = VOCABULARY,
    source: Mapping[str, str] | None = None,
) -> dict:
    """The parameters in their plain types, or a `ParameterError` of one sentence.

    Values are checked one by one, and together if they are all of an experiment.

    Args:
        given: name to value.
        known: the names that this notebook accepts, and their defaults: a parameter
            that only this notebook has must keep the type of its default.
        source: where a value came from, by name ("--set", a YAML file), so that the
            sentence can say where to mend it.

    Example:
        >>> validate({"epochs": 30, "learning_rates": {"lamb": [0.001, 1]}})
        {'epochs': 30, 'learning_rates': {'lamb': [0.001, 1.0]}}
        >>> validate({"seed": [0]})
        Traceback (most recent call last):
        lamb_keras...ParameterError: unknown parameter seed; did you mean seeds?
    """
    try:
        return _validate(given, known)
    except ParameterError as error:
        places = [(source or {}).get(name) for name in error.names]
        # The last word is the command line's, so that is where to mend it.
        place = "--set" if "--set" in places else places[0]
        sentence = f"{place}: {error}" if place else str(error)
        raise ParameterError(sentence, error.names) from None


def check_devices(parameters: Mapping, devices: int):
    """Raises `ParameterError` where so many devices cannot share a run's batches."""
    if experiment := kind(parameters):
        experiment.of(parameters).check_devices(devices)


def kind(parameters: Mapping) -> type | None:
    """The kind of experiment whose parameters these are all; else None."""
    notebook = NOTEBOOKS.get(str(parameters.get("notebook")))
    found = BertExperiment if notebook and notebook.pretrains else ImageExperiment
    return found if notebook and parameters.keys() >= {*required(found)} else None


def _validate(given, known):
    for name in given:
        if name not in known:
            raise ParameterError(types.unknown(name, given[name], known), [name])
    notebook = NOTEBOOKS.get(str(given.get("notebook")))
    experiment = BertExperiment if notebook and notebook.pretrains else ImageExperiment
    adapters, valid = VOCABULARY | parameters(experiment), {}
    for name, value in given.items():
        adapter = adapters.get(name) or _like(known[name])
        valid[name] = types.check(name, adapter, value)
    check_together(valid)
    if complete := kind(valid):
        complete.of(valid)
    return valid


def _like(default):
    """The validator of a parameter that only its notebook has.

    It is JSON's, for YAML has dates and sets, and a parameters cell has neither.
    """
    json = {list: list[JsonValue], dict: dict[str, JsonValue], type(None): JsonValue}
    return types.adapter(json.get(type(default), type(default)))
