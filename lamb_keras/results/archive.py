"""What runs found, kept beside the report for those that are made elsewhere.

Single runs stay on the machine that made them; `runs.jsonl` and the runs' pages are
shared with the report. It has a line a run: its record, its scraps, and of its figures
what tells them on its page, where they are.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from lamb_keras.results import runs
from lamb_keras.results.runs import Run
from lamb_keras.store import atomic, scraps
from lamb_keras.store.scraps import Picture

FILE = "runs.jsonl"
FIELDS = ("name", *runs.RECORDED, "scraps", "figures")


class ReportError(ValueError):
    """The report cannot be made, and why, in one sentence."""


@dataclass(frozen=True)
class ArchivedRun(Run):
    """A run that only an earlier report knows: its notebook is not on this machine."""

    # By name, the hash, width and description of each.
    figures: dict = field(default_factory=dict)
    archived = True

    @property
    def has_page(self) -> bool:
        return self.path.with_suffix(".html").exists()

    def pictures(self) -> dict[str, Picture]:
        """The figures as its page has them, if it is there."""
        html = self.path.with_suffix(".html").read_bytes() if self.has_page else b""
        images = re.findall(rb'src="data:image/png;base64,([^"]+)"', html)
        by_hash = {_hash(png): png for png in map(base64.b64decode, images)}
        return {
            name: Picture(by_hash[known], *about)
            for name, (known, *about) in self.figures.items()
            if known in by_hash
        }


def read(folder: Path) -> list[Run]:
    """The runs in `folder`, and those that only an earlier report there knows.

    Where a run failed here, its results are those of the archive, and the failure is
    noted on it. Raises ReportError where the archive is damaged.
    """
    found = {run.name: run for run in runs.read(folder)}
    archive = folder / FILE
    text = archive.read_text(encoding="utf-8") if archive.exists() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            about = scraps.decode(json.loads(line))
            path = folder / f"{about['name']}.ipynb"
            run = ArchivedRun(**about, path=path, status="succeeded")
        except (ValueError, TypeError, KeyError) as error:
            raise ReportError(
                f"line {number} of {archive} is no run ({error}); restore the file, or "
                "delete it to do without the runs of earlier reports."
            ) from None
        here = found.setdefault(run.name, run)
        if not here.succeeded:
            found[run.name] = replace(run, later_failure=here)
    return sorted(found.values(), key=lambda run: (run.table, run.name))


def write(found: Iterable[Run], folder: Path) -> Path:
    """Writes the archive of the runs that succeeded, whole or not at all."""
    lines = []
    for run in found:
        if run.succeeded:
            about = {name: getattr(run, name, None) for name in FIELDS}
            if not run.archived:
                pictures = run.pictures().items()
                about["figures"] = {
                    n: (_hash(p.png), p.width, p.alt) for n, p in pictures
                }
            lines.append(json.dumps(scraps.encode(about), ensure_ascii=False) + "\n")
    return atomic.write(folder / FILE, "".join(lines))


def _hash(png):
    return hashlib.sha256(png).hexdigest()[:16]
