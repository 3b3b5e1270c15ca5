"""The 25 tables as HTML, each published value beside ours."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from lamb_keras.results import (
    claims,
    descriptions,
    drawings,
    paper,
    reconstruction,
    statistics,
)
from lamb_keras.results.html import Html, render
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.runs import Run
from lamb_keras.results.statistics import is_finite

# A table with more rows than this is folded where a figure says the same.
ROWS_SHOWN = 14


def tables(
    results: Sequence[Result],
    found: Sequence[Run] = (),
    verdicts: pd.DataFrame | None = None,
) -> Html:
    """All 25 tables, published beside ours, and a project's own.

    Those not run are folded away. With each stand the claims that it serves, with their
    verdicts, and what the kit decided where the paper leaves it open.
    """
    cells = reconstruction.by_table(results)
    # One of a project's own that failed has no cells.
    every = cells | {run.table: [] for run in found if run.table not in cells}
    sections = [
        _section(paper.table(number, [c.column for c in every[number]]), own, found)
        for number, own in sorted(every.items())
    ]
    told = {} if verdicts is None else verdicts.droplevel("scale").verdict
    return render(
        "tables.html",
        sections=sections,
        claims=claims.claims(),
        verdicts=told,
        left_open=paper.read("decisions.yaml")["left_open"],
    )


def _section(table, cells, found):
    """What the template needs to know of one table."""
    published = [cell for cell in cells if cell.published is not None]
    extra = [cell for cell in cells if cell.published is None]
    names = dict.fromkeys(cell.run for cell in cells)
    names |= {} if cells else {r.name: None for r in found if r.table == table.number}
    made_by = [run for name in names for run in found if run.name == name]
    own = [run for run in made_by if run.table == table.number]
    drawn = {n: d for run in own for n, d in drawings.of_run(run).items()}
    lines, more = _lines(table, published), _lines(table, extra)
    state = reconstruction.table_status(published or cells) if cells else "failed"
    if state == "not run" and any(cell.done for cell in extra):
        state = "partly run"
    return {
        "table": table,
        "status": state,
        "lines": lines,
        "extra": more,
        "plotted": any(line["plot"] for line in lines + more),
        "compared": any(line["compared"] for line in lines),
        # The runs of other tables are introduced there, if cells are the best of them.
        "runs": table.best_of and own or made_by,
        "sentences": descriptions.sentences(table, published),
        "forms": _forms(table, own),
        "drawings": drawn,
        "folded": bool(drawn) and len(published) > ROWS_SHOWN,
    }


def _lines(table, cells):
    """Each cell with the row of the paper that it stands in, and its plot.

    A plot is where values lie between the least and the greatest of their column, in
    per cent: "published", "ours", and "from" and "to", an end each of its spread. What
    is "compared" has a difference that means something.
    """
    rows, columns = table.labeled_rows(), table.columns
    values = [_values(cell, columns[cell.column]) for cell in cells]
    of_column = {name: [] for name in table.results}
    for cell, own in zip(cells, values, strict=True):
        of_column[cell.column] += own.values()

    def place(value, column):
        low, high = min(of_column[column]), max(of_column[column])
        return round(3 + 94 * (value - low) / (high - low), 2) if high > low else 50.0

    return [
        {
            "cell": cell,
            "column": columns[cell.column],
            "row": rows.get(cell.row, {table.keys[0]: cell.row}),
            "plot": {name: place(value, cell.column) for name, value in own.items()},
            "compared": cell.status == "run" and {"published", "ours"} <= own.keys(),
        }
        for cell, own in zip(cells, values, strict=True)
    ]


def _values(cell, column):
    if column.metric == "minutes":  # of another machine and another amount of work
        return {}
    values = {"published": cell.published} if is_finite(cell.published) else {}
    if is_finite(cell.ours):
        spread = cell.spread if is_finite(cell.spread) else 0
        values |= {"ours": cell.ours}
        values |= {"from": cell.ours - spread, "to": cell.ours + spread}
    return values


def _forms(table, own):
    """Both forms of weight decay side by side, of a table whose run tried both."""
    with_forms = ((run, statistics.by_form(run.trials)) for run in own if table.solver)
    run, trials = next((each for each in with_forms if len(each[1]) > 1), (None, {}))
    results = {}
    for form, of_form in trials.items():
        of_it = {"cells": statistics.cells(of_form, table.number), "trials": of_form}
        alone = replace(run, scraps=run.scraps | of_it)
        rebuilt = reconstruction.by_table(reconstruction.reconstruct([alone]))
        results[form] = {r.row: r for r in rebuilt[table.number] if r.run}
    return results and {
        "names": list(trials),
        "column": table.columns[table.results[0]],
        "rows": [
            (row, [of_form.get(label) for of_form in results.values()])
            for label, row in table.labeled_rows().items()
            if any(label in of_form for of_form in results.values())
        ],
        # What the first form gives is the table itself.
        "sentences": [
            (form, descriptions.sentences(table, [*results[form].values()]))
            for form in [*trials][1:]
        ],
    }
