"""What users bring to a batch, tried in processes of their own.

For here are neither Keras nor JAX, nor may a user's code have a GPU, or the memory of
the command.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from lamb_keras import own
from lamb_keras.batch import BatchError

SCRIPT = """
import json, pkgutil, sys
name, *arguments = json.loads(sys.argv[1])
from lamb_keras.data import DataError
from lamb_keras.own import OwnError
try:
    found = {"found": pkgutil.resolve_name(name)(*arguments)}
except (DataError, OwnError) as error:
    found = {"error": str(error)}
print("\\n" + json.dumps(found))
"""


def inside(project, option, place):
    """A place as it was given, with its file's path from the project's root."""
    source, colon, name = place.rpartition(":")
    if not colon or not source:
        raise BatchError(
            f"{option} {place}: expected a function's place, such as mine.py:make"
        )
    if not (path := Path(source).expanduser().absolute()).is_file():
        if source.endswith(".py"):
            raise BatchError(f"{option} {place}: there is no file {source}")
        return place
    path = Path(os.path.normpath(path))
    inside = path.is_relative_to(project.root)
    return f"{path.relative_to(project.root) if inside else path}:{name}"


def solver(place, root):
    """A solver by its place with the grid that it states, tried once."""
    try:
        files = own.files(place, root)
    except own.OwnError as error:
        raise BatchError(str(error)) from None
    return dict(_solver(place, root, tuple(files.items())))


@functools.cache
def _solver(place, root, files):
    return apart("lamb_keras.optimizers.own:tried", root, place)


def asked(function, root, dataset, *arguments):
    """What a function of `lamb_keras.data` says of a data set, of a user's own apart.

    A `DataError` becomes a `BatchError`.
    """
    from lamb_keras import data

    if own.is_place(dataset):
        return apart(f"lamb_keras.data:{function}", root, dataset, *arguments)
    try:
        return getattr(data, function)(dataset, *arguments)
    except data.DataError as error:
        raise BatchError(str(error)) from error


def apart(function, root, place, *arguments):
    """What a function of the kit makes of a place, in a project; a `BatchError`."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([function, place, *arguments])],
        cwd=root,
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    *_, last = ["", *done.stdout.splitlines()]
    if done.returncode or not last:
        *_, reason = [f"exit code {done.returncode}", *done.stderr.splitlines()]
        raise BatchError(f"{place} could not be tried: {reason}")
    found = json.loads(last)
    if "error" in found:
        raise BatchError(found["error"])
    return found["found"]
