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
    """Keeps what there is of a failed attempt; an earlier success stays as it is."""
    _forget_failure(run)
    _write(run.file("failed.json"), {**record, "status": "failed", "reason": reason})
    left = _read(notebook)
    if left is not None:
        # Whoever opens it is told, whatever ended the process that was writing it.
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
        try:
            record = json.loads((folder / f"{notebook}.{ending}").read_bytes())
            return record["status"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return None


def _forget_failure(run):
    # The page is the report's, which would not know that it is out of date.
    for ending in ("failed.json", "failed.ipynb", "failed.html"):
        run.file(ending).unlink(missing_ok=True)


def _write(path, record):
    atomic.write(path, json.dumps(record, indent=2) + "\n")


def _read(notebook):
    try:
        found = json.loads(notebook.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "cells" in found else None
