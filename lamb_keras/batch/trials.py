"""The folder in which a run keeps its finished trials until it has succeeded.

It is beside the run's notebook and named by the run's content key, so that trials of
other code, data or parameters are never taken for its own. `lamb_keras.training.kept`
reads and writes what is in it.
"""

import shutil
import time

VARIABLE = "LAMB_KERAS_TRIALS"
SECONDS_KEPT = 30 * 24 * 60 * 60


def folder(run):
    """The folder of a `PlannedRun`; None for one without a key.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from lamb_keras.batch.plan import Project, plan
        >>> [run] = plan(Project.find(), "laptop", Path("outputs"), ["7"])
        >>> folder(run) is None
        True
        >>> folder(replace(run, key={"sha256": "0" * 64})).relative_to(run.folder)
        PosixPath('.lenet_mnist.trials/0000000000000000')
    """
    if run.key is None:
        return None
    return _parent(run) / run.key["sha256"][:16]


def forget(run):
    """Removes the trials of a run, and of other keys those that nobody came back to."""
    if run.key is not None:
        shutil.rmtree(folder(run), ignore_errors=True)
    try:
        for path in _parent(run).iterdir():
            if time.time() - path.stat().st_mtime > SECONDS_KEPT:
                shutil.rmtree(path, ignore_errors=True)
        _parent(run).rmdir()
    except OSError:
        # There are others, or there never was any.
        pass


def _parent(run):
    return run.folder / f".{run.notebook.stem}.trials"
