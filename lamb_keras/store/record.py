"""What is kept beside each executed notebook: what truly happened to the run.

Papermill's own metadata is not believed: a killed kernel looks completed there. A
notebook is a result if its record says "succeeded", and not otherwise.
"""

import contextlib
import json
import os

from lamb_keras.store import atomic, banner


def blank(run):
    """A record of a `PlannedRun` of which nothing is known yet but what was planned."""
    from lamb_keras.store import environment

    return {
        "run": run.name,
        "notebook": run.notebook.stem,
        "table": run.table,
        "scale": run.scale,
        "status": None,
        "reason": None,
        "ended": None,
        "attempts": None,
        "parameters": run.parameters,
        "overrides": run.overrides,
        "started": None,
        "seconds": None,
        "commit": environment.commit(),
        "key": run.key,
    }


def succeeded(run, notebook, record):
    """Makes the finished `notebook` the run's output, with its record.

    The old record goes first: between these steps there is a notebook without a
    record, which nobody believes, and never one with another run's record.
    """
    run.file("json").unlink(missing_ok=True)
    os.replace(notebook, run.file("ipynb"))
    _write(run.file("json"), {**record, "status": "succeeded", "reason": None})
    _forget_failure(run)


def failed(run, notebook, record, reason):
    """Keeps what there is of a failed attempt; an earlier success stays as it is.

    Args:
        run: the `PlannedRun`.
        notebook: as far as it was executed; it need not be there, nor whole.
        record: of the attempt.
        reason: why it failed, which the notebook then says at its top, too.
    """
    _forget_failure(run)
    _write(run.file("failed.json"), {**record, "status": "failed", "reason": reason})
    left = read(notebook)
    if left and "cells" in left:
        banner.unfinished(left, reason)
        text = json.dumps(left, indent=1, sort_keys=True, ensure_ascii=False)
        with contextlib.suppress(OSError):
            atomic.write(notebook, text + "\n")
        # Renamed, it needs no room, were the disk full.
        os.replace(notebook, run.file("failed.ipynb"))


def state(folder, notebook):
    """How the last attempt at a run ended: "succeeded", "failed", or None.

    Example:
        >>> from pathlib import Path
        >>> state(Path("outputs/laptop/table26"), "lenet_mnist") is None
        True
    """
    for ending in ("failed.json", "json"):
        if status := (read(folder / f"{notebook}.{ending}") or {}).get("status"):
            return status
    return None


def read(path):
    """The record at `path`; {} for a damaged one, None where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _forget_failure(run):
    # The page is the report's, which would not know that it is out of date.
    for ending in ("failed.json", "failed.ipynb", "failed.html"):
        run.file(ending).unlink(missing_ok=True)


def _write(path, record):
    atomic.write(path, json.dumps(record, indent=2) + "\n")
