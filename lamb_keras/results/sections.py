"""The parts of the report around its tables as HTML, for a notebook to show."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import pandas as pd
from markupsafe import Markup

from lamb_keras.results import claims as known
from lamb_keras.results import (
    comparisons,
    evidence,
    html,
    paper,
    pretraining,
    reconstruction,
    statistics,
)
from lamb_keras.results import scale_rule as sizes
from lamb_keras.results import tables as shown
from lamb_keras.results import trials as every
from lamb_keras.results.html import Html
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.runs import Run


def claims(verdicts: pd.DataFrame, found: Sequence[Run], scale: str) -> Html:
    """The paper's claims with their verdicts, and the runs that these rest on."""
    told = by_claim(verdicts, scale)
    counts = Counter(row["verdict"] for row in told.values())
    return html.render(
        "claims.html",
        scale=scale,
        style=Markup((html.TEMPLATES / html.STYLE).read_text(encoding="utf-8")),
        claims=known.claims(),
        verdicts=told,
        counts={name: counts[name] for name in evidence.VERDICTS if counts[name]},
        evidence=evidence,
        comparisons=comparisons,
        rests=_rests_on(every.frame(found)),
    )


def by_claim(verdicts: pd.DataFrame, scale: str) -> dict[int, dict]:
    """The verdict of every claim at a scale; where nothing was run, none is tested."""
    nothing = evidence.Verdict(evidence.NOT_TESTED, "nothing was run")._asdict()
    told = {number: dict(nothing) for number in known.claims()}
    for (of_scale, number), row in verdicts.iterrows():
        if of_scale == scale:
            told[number] = row.astype(object).where(row.notna(), None).to_dict()
    return told


def headline(found: Sequence[Run], results: Sequence[Result], scale: str) -> Html:
    """What was run, when and where, in one paragraph and a row of facts."""
    done = [run for run in found if run.succeeded]
    devices = (_device(run.scraps.get("environment", {})) for run in done)
    return html.render(
        "headline.html",
        scale=scale,
        tables_run=[
            number
            for number, cells in reconstruction.by_table(results).items()
            if any(cell.done for cell in cells)
        ],
        cells=[result.done for result in results if result.published is not None],
        trials=sum(len(pretraining.once(run.trials)) for run in done),
        fine_tunings=sum(_fine_tunings(run.trials) for run in done),
        seconds=sum(run.seconds or 0 for run in done),
        clock=_by_the_clock(done),
        archived=[run for run in done if run.archived],
        stand_ins=_stand_ins(done),
        devices=list(dict.fromkeys(filter(None, devices))),
        commits=list(dict.fromkeys(run.commit for run in done if run.commit)),
        when=max((run.started for run in done), default=None),
        failures=[run for run in found if run.later_failure or not run.succeeded],
    )


def overview(results: Sequence[Result]) -> Html:
    """The 25 tables at a glance, with the status of each."""
    published = [result for result in results if result.published is not None]
    entries = [
        {
            "table": paper.tables()[number],
            "status": reconstruction.table_status(cells),
            "cells": cells,
        }
        for number, cells in reconstruction.by_table(published).items()
    ]
    return html.render(
        "overview.html",
        experiments=paper.experiments(),
        entries=entries,
        counts=Counter(entry["status"] for entry in entries),
    )


def scale_rule(found: Sequence[Run], scale: str) -> Html:
    """How a scale was made: its rule, each table's numbers, what was seen before."""
    images, bert = sizes.rows(found)
    looked = [
        choice
        for choice in sizes.decisions()["after_looking"]
        if scale in choice.get("scales", [scale])
    ]
    return html.render(
        "scale_rule.html", rows=images, bert=bert, after_looking=looked, scale=scale
    )


def references(found: Sequence[Run]) -> Html:
    """What pre-training is worth, by run: loss and F1 beside doing without it."""
    told = [run for run in found if run.scraps.get("references")]
    worth = [pretraining.worth(run.trials, run.scraps["references"]) for run in told]
    return html.render("references.html", entries=[*zip(told, worth, strict=True)])


def runs(found: Sequence[Run], links: str = ".") -> Html:
    """Every run with its figures, parameters, environment and trials.

    A figure that was shown with an earlier run, or with the table, is not shown again.
    """
    entries, first = [], {}
    for run in found:
        pictures, beside = run.pictures(), shown.figures_of(run.table)
        new = {n: p for n, p in pictures.items() if n not in beside}
        shown_with = {n: first.setdefault(p.png, run) for n, p in new.items()}
        entries.append(
            {
                "run": run,
                "tried": _tried(run.trials),
                "beside": any(name in beside for name in pictures),
                "pictures": {n: p for n, p in new.items() if shown_with[n] is run},
                "as_with": {n: r for n, r in shown_with.items() if r is not run},
            }
        )
    return html.render("runs.html", entries=entries, links=links)


def notes() -> Html:
    """Where the paper contradicts itself, table by table."""
    return html.render("notes.html", tables=paper.tables().values())


def _rests_on(trials):
    """The trials of each claim: a row a run and solver, with seeds and failures."""
    rows = []
    trials = trials.assign(failed=evidence.failed_to_train(trials))
    setting = ["run", "solver", *statistics.SETTING]
    once = trials.drop_duplicates([*setting, "seed"])
    for number, claim in known.claims().items():
        sides = [claim[side] for side in ("first",) if side in claim]
        sides += claim.get("second", [])
        of_claim = pd.concat([_matching(once, side) for side in sides] or [once[:0]])
        for (run, solver), group in of_claim.drop_duplicates().groupby(
            ["run", "solver"], sort=False
        ):
            fresh = group.confirmation.astype(bool)
            rows.append(
                {
                    "claim": number,
                    "run": run,
                    "solver": solver,
                    "settings": len(group.drop_duplicates(setting)),
                    "trainings": len(group),
                    "seeds": html.span(group.seed[~fresh].tolist()),
                    "fresh": html.span(group.seed[fresh].tolist())
                    if fresh.any()
                    else "",
                    "failed": int(group.failed.sum()),
                }
            )
    return rows


def _matching(trials, side):
    """The trials that have all numbers of a side of a claim."""
    for name, wanted in side.items():
        wanted = [str(each) for each in (wanted if type(wanted) is list else [wanted])]
        trials = trials[trials[name].astype(str).isin(wanted)]
    return trials


def _stand_ins(done):
    """The data sets used, each with the paper's data sets in whose place it was."""
    originals = {}
    for run in done:
        if run.dataset:
            of_it = originals.setdefault(run.dataset["title"], {})
            of_it |= {run.stands_in_for: None} if run.stands_in_for else {}
    return originals


def _fine_tunings(trials):
    return sum(trial.get("finetuning_seed") is not None for trial in trials)


def _by_the_clock(done):
    """The seconds in which at least one of the runs went on."""
    spans = [
        (start, start + run.seconds)
        for run in done
        if run.started and run.seconds
        for start in [datetime.fromisoformat(run.started).timestamp()]
    ]
    seconds, until = 0, -math.inf
    for start, end in sorted(spans):
        seconds += max(0, end - max(start, until))
        until = max(until, end)
    return seconds


def _device(environment):
    name = environment.get("device") or environment.get("platform")
    if name == "cpu":
        # JAX calls every processor "cpu"; which one it was is worth knowing.
        cores = environment.get("cpu_count")
        return f"{environment.get('processor', 'cpu')}, {cores} cores"
    count = environment.get("device_count") or 1
    return f"{count} × {name}" if count > 1 else name


def _tried(trials):
    """What each solver of a run was given to try: numbers of settings and trials."""
    return [
        {
            "solver": solver,
            "settings": len({tuple(map(t.get, statistics.SETTING)) for t in group}),
            "trials": len(once),
            "fine_tunings": _fine_tunings(group),
            "diverged": sum(trial["outcome"] == "diverged" for trial in once),
        }
        for solver, group in statistics.grouped(trials, "solver").items()
        for once in [pretraining.once(group)]
    ]
