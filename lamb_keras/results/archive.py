"""What runs found, kept beside the report for those that are made elsewhere.

Single runs stay on the machine that made them; `runs.jsonl` and the runs' pages are
shared with the report. It has a line a run: its record, its scraps, and of its figures
what tells them on its page, where they are.

A run that is made again and finds the same, times apart, changes nothing: its line
stays, and so does its page, so that a report tells the commit and the date at which
what it shows was found first. Table 1's minutes are times. A later run that finds
anything else, draws another figure or has another line in its notebook takes the place
of the one before; what ran below it, versions and machine, is not compared.
"""

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from markupsafe import Markup

from lamb_keras.results import runs
from lamb_keras.results.runs import Run
from lamb_keras.store import atomic, scraps
from lamb_keras.store.scraps import Picture

FILE = "runs.jsonl"
# What a cell's code has become on a page.
CODE = re.compile(r'(?s)<div class="highlight hl-ipython3"><pre>(.*?)</pre>')
# What two runs need not have in common to have found the same: when they were made, on
# what and at which commit, and how long that took, also as a column of Table 1.
PASSING = {
    *("started", "seconds", "minutes", "time_minutes", "compilations"),
    *("commit", "environment"),
}
FIELDS = ("name", *runs.RECORDED, "scraps", "figures")


class ReportError(ValueError):
    """The report cannot be made, and why, in one sentence."""


@dataclass(frozen=True)
class ArchivedRun(Run):
    """A run as an earlier report knows it."""

    # By name, the hash, width and description of each.
    figures: dict = field(default_factory=dict)

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


def read(folder: Path, renewed: Container[str] = ()) -> list[Run]:
    """The runs in `folder`, and those that only an earlier report there knows.

    Where a run failed here, its results are those of the archive, and the failure is
    noted on it. Where one found the same as the archived run, or is the older of both,
    it is the archived one, unless its name is in `renewed`. Raises ReportError where
    the archive is damaged.
    """
    found = {run.name: run for run in runs.read(folder)}
    for run in _archived(folder):
        here = found.setdefault(run.name, run)
        if not here.succeeded:
            found[run.name] = replace(run, later_failure=here)
        elif run.name not in renewed and (
            (here.started or "") < (run.started or "") or _found_the_same(here, run)
        ):
            found[run.name] = replace(run, later_failure=here.later_failure)
    return sorted(found.values(), key=lambda run: (run.table, run.name))


def write(found: Iterable[Run], folder: Path) -> Path:
    """Writes the archive of the runs that succeeded, whole or not at all."""
    every = (_about(run) for run in found if run.succeeded)
    lines = (json.dumps(about, ensure_ascii=False) + "\n" for about in every)
    return atomic.write(folder / FILE, "".join(lines))


def _archived(folder):
    archive = folder / FILE
    text = archive.read_text(encoding="utf-8") if archive.exists() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            about = scraps.decode(json.loads(line))
            path = folder / f"{about['name']}.ipynb"
            yield ArchivedRun(**about, path=path, status="succeeded")
        except (ValueError, TypeError, KeyError) as error:
            raise ReportError(
                f"line {number} of {archive} is no run ({error}); restore the file, or "
                "delete it to do without the runs of earlier reports."
            ) from None


def _about(run):
    """What the archive tells of a run, in JSON."""
    about = {name: getattr(run, name, None) for name in FIELDS}
    if not isinstance(run, ArchivedRun):
        pictures = run.pictures().items()
        about["figures"] = {n: (_hash(p.png), p.width, p.alt) for n, p in pictures}
    return scraps.encode(about)


def _found_the_same(here, archived):
    """Whether a run is another than the archived one, and its equal but for times."""
    return (
        here.started != archived.started
        and _lasting(_about(here)) == _lasting(_about(archived))
        and archived.has_page
        and _page_has_the_code_of(here.path)
    )


def _page_has_the_code_of(notebook):
    cells = json.loads(notebook.read_bytes())["cells"]
    here = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    page = notebook.with_suffix(".html").read_text(encoding="utf-8")
    shown = Markup("\n".join(CODE.findall(page))).striptags()
    return shown.split() == here.split()


def _lasting(value):
    if isinstance(value, list):
        return [_lasting(each) for each in value]
    if not isinstance(value, dict):
        return value
    cell = {"value", "spread"} if value.get("column") in PASSING else set()
    names = value.keys() - PASSING - cell
    return {name: _lasting(value[name]) for name in names}


def replaced(planned: Iterable, folder: Path) -> list[str]:
    """The names of the tables' own runs whose place runs set by hand will take.

    Solvers of one's own are not meant: their rows stand beside the table's.
    """
    with contextlib.suppress(ReportError):  # which the report will raise
        own = {r.name: r.parameters for r in _archived(folder) if not r.overrides}
        return [
            run.name
            for run in planned
            if run.overrides.keys() - {"own_solvers"}
            and own.get(run.name, run.parameters) != run.parameters
        ]
    return []


def _hash(png):
    return hashlib.sha256(png).hexdigest()[:16]
