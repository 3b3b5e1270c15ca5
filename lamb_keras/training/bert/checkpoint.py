"""A pre-training under way, kept in one file after each look.

In the folder that LAMB_KERAS_TRIALS names (`training.kept`), from where the trial goes
on when its run is started again. It is gone when the trial is finished.
"""

import io
import json
import zipfile
from pathlib import Path

import jax
import numpy as np

from lamb_keras.store import atomic
from lamb_keras.training.accumulation import Progress
from lamb_keras.training.bert.history import History


def keep(path: Path, progress: Progress, history: History):
    """Keeps a trial as it stands; a full disk is no reason to lose it.

    Args:
        path: of the file.
        progress: the trial after its last look.
        history: of it so far.
    """
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(progress)]
    file = io.BytesIO()
    told = np.array(json.dumps(history.as_plain()))
    np.savez(file, *arrays, history=told)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, file.getvalue())
    except OSError:
        path.unlink(missing_ok=True)


def find(path: Path, like: Progress, trial) -> tuple[Progress, History] | None:
    """The trial as `keep` left it; None where there is none, or of another kind.

    Args:
        path: of the file.
        like: the trial before its first step.
        trial: whose history it must be.
    """
    leaves, tree = jax.tree.flatten(like)
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = [kept[f"arr_{n}"] for n in range(len(leaves))]
            history = History.of_plain(json.loads(str(kept["history"])))
            known = len(kept.files)
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        return None
    same = known == len(leaves) + 1 and all(
        one.shape == np.shape(other) and one.dtype == np.asarray(other).dtype
        for one, other in zip(arrays, leaves, strict=True)
    )
    if not same or history.trial != trial:
        return None
    return jax.tree.unflatten(tree, arrays), history
