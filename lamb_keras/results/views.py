"""The parts of the report as HTML: headline, overview, tables, runs, notes.

Each function takes what `runs` and `reconstruction` found and returns HTML that a
notebook shows. All of it goes through Jinja templates that escape every value; the
look is in `templates/views.css`.
"""

import base64
import functools
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from lamb_keras.results import agreement, paper, pretraining, reconstruction, statistics
from lamb_keras.results import scale_rule as rule
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.runs import Run

TEMPLATES = Path(__file__).parent / "templates"
# Figures of a sweep that stand with its table, and not once more with its run.
OF_SETTINGS = ("sweep", "weight_decay_forms")
# Those of any table.
OF_ANY_TABLE = ("f1_by_batch",)
# A table with more rows than this is folded where a figure says the same.
ROWS_SHOWN = 14


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
        stand_ins=_stand_ins(done),
        devices=_distinct(_device(environment) for environment in environments),
        commits=_distinct(run.commit for run in done),
        when=max((run.started for run in done), default=None),
        failures=[run for run in found if run.later_failure or not run.succeeded],
    )


def _stand_ins(done):
    """The data sets used, each with the paper's data sets in whose place it was."""
    originals = {}
    for run in done:
        if run.dataset:
            of_it = originals.setdefault(run.dataset["title"], [])
            if run.stands_in_for and run.stands_in_for not in of_it:
                of_it.append(run.stands_in_for)
    return originals


def overview(results: Sequence[Result], found: Sequence[Run] = ()) -> Html:
    """The 25 tables at a glance, grouped by experiment, each with its status.

    And which of them agree with the paper: of every comparison, of some, of none.

    Example:
        >>> 'href="#table-7"' in overview(reconstruction.reconstruct([]))
        True
    """
    groups = {experiment.title: [] for experiment in paper.experiments().values()}
    verdicts = {"agrees": [], "agrees in part": [], "differs": []}
    for number, cells in reconstruction.by_table(results).items():
        table = paper.tables()[number]
        verdict = agreement.verdict(agreement.compare(table, cells, found))
        if verdict:
            verdicts[verdict].append(number)
        groups[table.experiment_title].append(
            {
                "table": table,
                "verdict": verdict,
                "status": reconstruction.table_status(cells),
                "done": sum(cell.status in ("run", "diverged") for cell in cells),
                "cells": len(cells),
            }
        )
    counts = Counter(
        entry["status"] for entries in groups.values() for entry in entries
    )
    return render(
        "overview.html",
        groups=groups,
        counts=counts,
        verdicts=verdicts if any(verdicts.values()) else {},
    )


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
    shown, seen = [], {}
    for run in found:
        pictures = run.pictures()
        entry = {"run": run, "tried": _tried(run), "pictures": {}, "as_with": {}}
        beside = _beside(run.table)
        entry["beside"] = any(name in beside for name in pictures)
        for name, picture in pictures.items():
            if name in beside:
                continue
            first = seen.setdefault(picture.png, run)
            if first is run:
                entry["pictures"][name] = _data_uri(picture.png), picture
            else:
                entry["as_with"][name] = first
        shown.append(entry)
    return render("runs.html", shown=shown, links=links)


def _tried(run):
    """What each solver of a run was given to try, in words."""
    groups = {}
    for trial in run.scraps.get("trials", ()):
        groups.setdefault(trial["solver"], []).append(trial)
    return [
        {
            "solver": solver,
            "settings": len({_setting(trial) for trial in trials}),
            "trials": len(trials),
            "diverged": sum(trial["outcome"] == "diverged" for trial in trials),
        }
        for solver, trials in groups.items()
    ]


def _beside(number):
    """The figures that stand with a table; a run may name a table that is none."""
    table = paper.tables().get(number)
    if table is None:
        return ()
    return OF_ANY_TABLE + (OF_SETTINGS if table.solver else ())


def _setting(trial):
    return tuple(trial.get(name) for name in statistics.SETTING)


def scale_rule(found: Sequence[Run], scale: str) -> Html:
    """What a scale keeps of the paper and what it rescales, and each table's sizes.

    Example:
        >>> "One rule makes every table smaller" in scale_rule([], "laptop")
        True
    """
    return render(
        "scale_rule.html",
        rows=rule.sizes(found),
        bert=rule.of_pretraining(found),
        scale=scale,
    )


def references(found: Sequence[Run]) -> Html:
    """What pre-training is worth, run by run: its loss and F1 beside doing without it.

    Example:
        >>> "No run that pre-trains" in references([])
        True
    """
    entries = [
        {
            "run": run,
            "worth": pretraining.worth(run.scraps.get("trials", ()), told),
            "questions": told.get("questions", {}).get("dev"),
            "answers": run.scraps.get("answers", ()),
        }
        for run in found
        if run.succeeded and (told := run.scraps.get("references"))
    ]
    return render("references.html", entries=entries)


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
    made_by = [by_name[name] for name in names if name in by_name]
    findings = agreement.compare(table, cells, found)
    return {
        "table": table,
        "status": reconstruction.table_status(cells),
        "lines": _with_plots([_line(table, cell) for cell in cells]),
        "extra": _with_plots([_line(table, cell) for cell in extra]),
        "runs": _own(table, made_by) or made_by,
        "findings": findings,
        "verdict": agreement.verdict(findings),
        "forms": _forms(table, made_by),
        "pictures": (pictures := _pictures(table, made_by)),
        "folded": "sweep" in pictures and len(cells) > ROWS_SHOWN,
    }


def _own(table, made_by):
    """The runs to be told with a table: all, or its own where a cell tells of others.

    Cells that are the best of other tables name these in their choice.
    """
    if not table.best_of:
        return made_by
    return [run for run in made_by if run.table == table.number]


def _pictures(table, made_by):
    """The figures that stand with a table, of its own run."""
    return {
        name: (_data_uri(picture.png), picture)
        for run in made_by
        if run.table == table.number
        for name, picture in run.pictures().items()
        if name in _beside(table.number)
    }


def _forms(table, made_by):
    """Both forms of weight decay side by side, of a table whose run tried both."""
    for run in made_by:
        forms = statistics.by_form(run.scraps.get("trials", ()))
        if run.table == table.number and table.solver and len(forms) > 1:
            return _compared_forms(table, run, forms)
    return None


def _compared_forms(table, run, forms):
    column = table.column(table.results[0])
    results = {
        form: {r.row: r for r in reconstruction.of_trials(table, trials, run)}
        for form, trials in forms.items()
    }
    rows = []
    for row in table.labeled_rows():
        cells = [of_form.get(row) for of_form in results.values()]
        if any(cells):
            rows.append(_forms_row(table, column, row, cells))
    return {
        "names": list(forms),
        "rows": rows,
        "findings": [
            (form, agreement.compare(table, list(of_form.values()), [run]))
            # What the first gives is the table itself, and is said there.
            for form, of_form in list(results.items())[1:]
        ],
    }


def _forms_row(table, column, row, cells):
    values = table.labeled_rows()[row]
    seeds = sum(cell.trials for cell in cells if cell)
    return {
        "keys": [values[key] for key in table.keys],
        "published": column.write(values[column.name]),
        "ours": [_written(column, cell) for cell in cells],
        "tried": f"{len(cells)} settings, {seeds} trials",
    }


def _written(column, cell):
    if cell is None or cell.ours is None:
        return cell.status if cell else "not run"
    spread = "" if cell.spread is None else f" ± {column.write(cell.spread)}"
    return column.write(cell.ours) + spread


def _line(table, cell):
    """One cell as a line of its table: the row's own columns, then the numbers."""
    row = table.labeled_rows().get(cell.row, {})
    column = table.column(cell.column)
    difference = cell.difference
    return {
        "cell": cell,
        "keys": [row[key] for key in table.keys] if row else _own_keys(table, cell),
        "settings": [
            table.column(name).write(row.get(name, "")) for name in table.settings
        ],
        "column": column.label,
        "published": "" if cell.published is None else column.write(cell.published),
        "ours": "" if cell.ours is None else column.write(cell.ours),
        "spread": None if cell.spread is None else column.write(cell.spread),
        "difference": None if difference is None else _signed(column.write(difference)),
    }


def _own_keys(table, cell):
    """The name of a row that the paper does not have, in the first of its columns."""
    return [cell.row, *("" for _ in table.keys[1:])]


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


def _words(name):
    """The name of a parameter as people read it."""
    return name.replace("_", " ").replace("l2", "L2")


def _value(value):
    """A parameter or an environment's entry as one line of text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} = {_value(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _counts(dataset):
    """What a data set counts of itself, in words."""
    return ", ".join(
        f"{value:,} {_words(name)}"
        for name, value in dataset.items()
        if isinstance(value, int) and not isinstance(value, bool)
    )


def _span(values):
    """A number, or the least and greatest of several; a dash where there is none."""
    if not isinstance(values, list | tuple):
        values = [values]
    known = sorted({value for value in values if value is not None})
    if not known:
        return "–"
    shown = [
        f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" for value in known
    ]
    return shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]}"


def _percent(fractions):
    """Fractions as a span of per cents."""
    shown = _span([round(100 * fraction, 1) for fraction in fractions])
    return shown if shown == "–" else f"{shown} %"


@functools.cache
def _environment():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": _moment,
        "duration": _duration,
        "value": _value,
        "span": _span,
        "percent": _percent,
        "words": _words,
        "counts": _counts,
    }
    return environment


def render(template: str, **context) -> Html:
    return Html(_environment().get_template(template).render(**context))
