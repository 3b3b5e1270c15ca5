"""The parts of the report as HTML: headline, overview, tables, runs, notes.

Each function takes what `runs` and `reconstruction` found and returns HTML that a
notebook shows. All of it goes through Jinja templates that escape every value; the
look is in `templates/views.css`.
"""

import base64
import functools
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from lamb_keras.results import paper, reconstruction
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.runs import Run

TEMPLATES = Path(__file__).parent / "templates"


class Html(str):
    """HTML that a notebook shows as such."""

    def _repr_html_(self):
        return str(self)

    def __repr__(self):
        # A notebook stores this beside the HTML, which need not be there twice.
        return f"<HTML, {len(self)} characters>"


def headline(found: Sequence[Run], results: Sequence[Result], scale: str) -> Html:
    """What was run, when and where, in one paragraph and a row of facts.

    Example:
        >>> "none of the paper's 25 tables" in headline([], [], "laptop")
        True
    """
    tables = reconstruction.by_table(results)
    done = [run for run in found if run.succeeded]
    environments = [run.scraps.get("environment", {}) for run in done]
    return render(
        "headline.html",
        scale=scale,
        style=Markup((TEMPLATES / "views.css").read_text(encoding="utf-8")),
        tables_run=[
            number
            for number, cells in tables.items()
            if reconstruction.table_status(cells) in ("run", "partly run")
        ],
        statuses=Counter(result.status for result in results),
        cells=len(results),
        trials=sum(len(run.scraps.get("trials", ())) for run in done),
        seconds=sum(run.seconds or 0 for run in done),
        stand_ins=_distinct(
            (run.dataset["title"], run.dataset.get("stands_in_for"))
            for run in done
            if run.dataset
        ),
        devices=_distinct(_device(environment) for environment in environments),
        commits=_distinct(run.commit for run in done),
        when=max((run.started for run in done), default=None),
        failures=[run for run in found if run.later_failure or not run.succeeded],
    )


def overview(results: Sequence[Result]) -> Html:
    """The 25 tables at a glance, grouped by experiment, each with its status.

    Example:
        >>> 'href="#table-7"' in overview(reconstruction.reconstruct([]))
        True
    """
    groups = {title: [] for title in paper.experiments().values()}
    for number, cells in reconstruction.by_table(results).items():
        table = paper.tables()[number]
        groups[table.experiment_title].append(
            {
                "table": table,
                "status": reconstruction.table_status(cells),
                "done": sum(cell.status in ("run", "diverged") for cell in cells),
                "cells": len(cells),
            }
        )
    counts = Counter(
        entry["status"] for entries in groups.values() for entry in entries
    )
    return render("overview.html", groups=groups, counts=counts)


def tables(
    results: Sequence[Result], found: Sequence[Run] = (), links: str = "."
) -> Html:
    """All 25 tables, published beside ours; those not run folded away.

    `links` is the way from the page to the folder of the runs.

    Example:
        >>> tables(reconstruction.reconstruct([])).count("<details")
        25
    """
    extra = reconstruction.by_table(reconstruction.unpublished(found))
    sections = [
        _section(paper.tables()[number], cells, extra.get(number, []), found)
        for number, cells in reconstruction.by_table(results).items()
    ]
    return render("tables.html", sections=sections, links=links)


def runs(found: Sequence[Run], links: str = ".") -> Html:
    """Every run with its figures, parameters, environment and trials.

    Example:
        >>> "No run has been made" in runs([])
        True
    """
    shown = [
        {
            "run": run,
            "pictures": {
                name: (_data_uri(picture.png), picture)
                for name, picture in run.pictures().items()
            },
        }
        for run in found
    ]
    return render("runs.html", shown=shown, links=links)


def notes() -> Html:
    """Where the paper contradicts itself, table by table.

    Example:
        >>> "88.540" in notes()
        True
    """
    noted = [table for table in paper.tables().values() if table.notes]
    return render("notes.html", tables=noted)


def _section(table, cells, extra, found):
    """What the template needs to know of one table."""
    by_name = {run.name: run for run in found}
    names = _distinct(cell.run for cell in (*cells, *extra))
    return {
        "table": table,
        "status": reconstruction.table_status(cells),
        "lines": _with_plots([_line(table, cell) for cell in cells]),
        "extra": _with_plots([_line(table, cell) for cell in extra]),
        "runs": [by_name[name] for name in names if name in by_name],
        "best": _best_first(table, cells),
    }


def _line(table, cell):
    """One cell as a line of its table: the row's own columns, then the numbers."""
    row = table.labeled_rows().get(cell.row, {})
    column = table.column(cell.column)
    difference = cell.difference
    return {
        "cell": cell,
        "keys": [row.get(key, cell.row) for key in table.keys],
        "settings": [
            table.column(name).write(row.get(name, "")) for name in table.settings
        ],
        "column": column.label,
        "published": "" if cell.published is None else column.write(cell.published),
        "ours": "" if cell.ours is None else column.write(cell.ours),
        "spread": None if cell.spread is None else column.write(cell.spread),
        "difference": None if difference is None else _signed(column.write(difference)),
    }


def _best_first(table, cells):
    """The rows of a table of solvers, best first, as the paper has it and as we do."""
    if table.keys != ("optimizer",) or len(table.results) != 1:
        return None
    measured = [cell for cell in cells if _finite(cell.ours)]
    if len(measured) < 2:
        return None
    column = table.column(table.results[0])
    return {
        "paper": _ranked(column, {cell.row: cell.published for cell in measured}),
        "ours": _ranked(column, {cell.row: cell.ours for cell in measured}),
    }


def _ranked(column, values):
    """Rows by falling value in words; "=" between those that are shown as equal."""
    ordered = sorted(values, key=values.get, reverse=True)
    words = ordered[0]
    for before, row in itertools.pairwise(ordered):
        equal = column.write(values[before]) == column.write(values[row])
        words += f"{' = ' if equal else ', '}{row}"
    return words


def _with_plots(lines):
    """Adds to each line where its values lie between the least and the greatest.

    Positions are in per cent, one scale for each column of results.
    """
    spans = {}
    for line in lines:
        cell = line["cell"]
        reach = cell.spread if _finite(cell.spread) else 0
        both = [cell.published] if _finite(cell.published) else []
        if _finite(cell.ours):
            both += [cell.ours - reach, cell.ours + reach]
        spans.setdefault(cell.column, []).extend(both)
    for line in lines:
        cell, span = line["cell"], spans[line["cell"].column]
        low, width = min(span, default=0), max(span, default=0) - min(span, default=0)

        def place(value, low=low, width=width):
            return round(3 + 94 * (value - low) / width, 2) if width else 50.0

        line["plot"] = {}
        if _finite(cell.published):
            line["plot"]["published"] = place(cell.published)
        if _finite(cell.ours):
            reach = cell.spread if _finite(cell.spread) else 0
            line["plot"]["ours"] = place(cell.ours)
            line["plot"]["from"] = place(cell.ours - reach)
            line["plot"]["to"] = place(cell.ours + reach)
    return lines


def _data_uri(png):
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _device(environment):
    name = environment.get("device") or environment.get("platform")
    if name == "cpu":
        # JAX calls every processor "cpu"; which one it was is worth knowing.
        cores = environment.get("cpu_count")
        return f"{environment.get('processor', 'cpu')}, {cores} cores"
    count = environment.get("device_count") or 1
    return f"{count} × {name}" if count > 1 else name


def _distinct(values):
    return list(dict.fromkeys(value for value in values if value))


def _finite(value):
    return isinstance(value, float | int) and math.isfinite(value)


def _signed(number):
    return f"−{number[1:]}" if number.startswith("-") else f"+{number}"


def _moment(iso):
    """An ISO date and time as people write it."""
    try:
        moment = datetime.fromisoformat(iso)
    except (TypeError, ValueError):
        return iso or ""
    zone = moment.tzname() or ""
    return f"{moment.day} {moment:%B %Y, %H:%M} {zone}".strip()


def _duration(seconds):
    """Seconds as people say them."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _value(value):
    """A parameter or an environment's entry as one line of text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} = {_value(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


@functools.cache
def _environment():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": _moment, "duration": _duration, "value": _value}
    return environment


def render(template: str, **context) -> Html:
    return Html(_environment().get_template(template).render(**context))
