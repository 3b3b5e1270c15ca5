"""What of a plan is already done, and why anything else is to be done.

A run is done if the outputs hold a finished run of the same content key. Whether it
finished is for `results.runs` to say, by which the report believes it too.
"""

import json
from dataclasses import dataclass, replace

from lamb_keras.batch import key
from lamb_keras.batch.plan import PlannedRun

LONGEST_REASON = 80  # characters of why an attempt failed


@dataclass(frozen=True)
class Decision:
    """Whether a run is to be executed.

    Attributes:
        run: the `PlannedRun`, with its key.
        reason: why it is to be executed; None if it is already done.
        started: when the one that is done was started, in ISO 8601.
        again: whether there was an attempt before.
    """

    run: PlannedRun
    reason: str | None
    started: str = ""
    again: bool = True

    @property
    def done(self):
        return self.reason is None


def decide(runs, project, again=False):
    """A `Decision` for each of the runs; reads, and touches nothing.

    Args:
        runs: the `PlannedRun`s of one scale, as `plan` returns them.
        project: the `Project`.
        again: whether to execute what is already done, too.
    """
    from lamb_keras.results import runs as results

    folders = {run.folder.parent for run in runs}
    found = {each.name: each for folder in folders for each in results.read(folder)}
    keys = key.Keys(project)
    keyed = [replace(run, key=keys.of(run)) for run in runs]
    return [_decide(run, found.get(run.name), again) for run in keyed]


def _decide(run, found, again):
    if found is None:
        if run.file("ipynb").exists():
            return Decision(run, "its record is missing")
        return Decision(run, "never run", again=False)
    reason = _failure(run, found) or _change(run, found)
    if reason is None and again:
        reason = "asked for with --again"
    return Decision(run, reason, found.started)


def _failure(run, found):
    """Why what was found on disk is no result, or None."""
    later = found.later_failure
    if later and _of_other_content(run):
        # Such as a --set that was a mistake: nothing against the result before it.
        later = None
    if not found.succeeded and found.path == run.file("failed.ipynb"):
        later = found
    if later:
        return f"the last attempt failed: {_shortened(later.reason)}"
    if found.succeeded:
        return None
    if str(found.reason).startswith("its record"):
        return "its record is damaged"
    if not run.file("ipynb").exists():
        return "its notebook is missing"
    return "its notebook is damaged"


def _change(run, found):
    """Why a result is not that of the planned run, or None."""
    record = _record(run, "json") or {}
    kept = record.get("key")
    if kept is None:
        return record.get("note") or "its record has no content key"
    if not key.is_key(kept):
        return "its record's key cannot be compared"
    if kept == run.key:
        return None
    reasons = key.differences(kept, run.key, found.parameters, run.parameters)
    return "; ".join(reasons)


def _of_other_content(run):
    """Whether the failed attempt was at something else than this run is now."""
    kept = (_record(run, "failed.json") or {}).get("key")
    return key.is_key(kept) and kept != run.key


def _record(run, ending):
    try:
        record = json.loads(run.file(ending).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _shortened(text):
    line = " ".join(str(text).split())
    if len(line) > LONGEST_REASON:
        line = line[: LONGEST_REASON - 1] + "…"
    return line
