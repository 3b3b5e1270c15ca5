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
    drawings,
    evidence,
    html,
    paper,
    pretraining,
    reconstruction,
    statistics,
    wording,
)
from lamb_keras.results import scale_rule as sizes
from lamb_keras.results import trials as every
from lamb_keras.results.html import Html
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.runs import Run

# What tells one training of a run from another; BERT's is fine-tuned several times.
TRAINING = ("solver", *statistics.SETTING, "seed")


def claims(verdicts: pd.DataFrame, found: Sequence[Run], scale: str) -> Html:
    """The paper's claims with their verdicts, and the runs that these rest on."""
    told = by_claim(verdicts, scale)
    return html.render(
        "claims.html",
        scale=scale,
        style=Markup((html.TEMPLATES / html.STYLE).read_text(encoding="utf-8")),
        claims=known.claims(),
        verdicts=told,
        counts=counts(told),
        evidence=evidence,
        comparisons=comparisons,
        rests=_rests_on(every.frame(found)),
    )


def by_claim(verdicts: pd.DataFrame, scale: str) -> dict[int, dict]:
    """The verdict of every claim at a scale; where nothing was run, none is tested."""
    nothing = evidence.Verdict(evidence.NOT_TESTED, "nothing was run")._asdict()
    plain = verdicts.astype(object).where(verdicts.notna(), None).to_dict("index")
    return {number: plain.get((scale, number), nothing) for number in known.claims()}


def counts(told: dict[int, dict]) -> dict[str, int]:
    """How many claims have each verdict, of those that any has."""
    found = Counter(row["verdict"] for row in told.values())
    return {name: found[name] for name in evidence.VERDICTS if found[name]}


def headline(found: Sequence[Run], results: Sequence[Result], scale: str) -> Html:
    """What was run, when and where, in one paragraph and a row of facts."""
    done = [run for run in found if run.succeeded]
    trials = every.frame(done)
    return html.render(
        "headline.html",
        scale=scale,
        found=found,
        done=done,
        results=results,
        trials=len(trials.drop_duplicates(["run", *TRAINING])),
        fine_tunings=trials.finetuning_seed.count(),
        clock=_by_the_clock(done),
        stand_ins=_stand_ins(done),
        devices=[*filter(None, map(_device, done))],
    )


def overview(
    results: Sequence[Result], verdicts: pd.DataFrame, found: Sequence[Run], scale: str
) -> Html:
    """The 25 tables at a glance, by the verdicts of their claims, and LAMB's figure."""
    told = by_claim(verdicts, scale)
    cells = reconstruction.by_table(r for r in results if r.published is not None)
    states = {
        number: reconstruction.table_status(of_it) for number, of_it in cells.items()
    }
    return html.render(
        "overview.html",
        experiments=paper.experiments(),
        tables=paper.tables(),
        states=states,
        claims=known.claims(),
        verdicts={number: row["verdict"] for number, row in told.items()},
        names=evidence.VERDICTS,
        drawn=drawings.over_batches(every.frame(found)),
    )


def scale_rule(found: Sequence[Run], scale: str) -> Html:
    """How a scale was made: its rule, each table's numbers, what was seen before."""
    images, bert = sizes.rows(found)
    looked = paper.read("decisions.yaml")["after_looking"]
    looked = [each for each in looked if scale in each.get("scales", [scale])]
    return html.render(
        "scale_rule.html", rows=images, bert=bert, after_looking=looked, scale=scale
    )


def references(found: Sequence[Run]) -> Html:
    """What pre-training is worth, by run: loss and F1 beside doing without it."""
    told = [run for run in found if run.scraps.get("references")]
    worth = [pretraining.worth(run.trials, run.scraps["references"]) for run in told]
    return html.render("references.html", entries=[*zip(told, worth, strict=True)])


def runs(found: Sequence[Run]) -> Html:
    """Every run with its figures, parameters, environment and trials.

    A figure that was shown with an earlier run, or with the table, is not shown again.
    """
    entries, first = [], {}
    for run in found:
        # Tables of a project's own have no drawing.
        beside = drawings.NAMES if run.table in paper.tables() else ()
        new = {n: p for n, p in run.pictures().items() if n not in beside}
        with_run = {n: first.setdefault(p.png, run) for n, p in new.items()}
        about = {"run": run, "tried": _tried(run), "beside": bool(beside)}
        about["pictures"] = {n: p for n, p in new.items() if with_run[n] is run}
        about["as_with"] = {n: r for n, r in with_run.items() if r is not run}
        entries.append(about)
    return html.render("runs.html", entries=entries)


def notes() -> Html:
    """Where the paper contradicts itself, table by table."""
    return html.render("notes.html", tables=paper.tables().values())


def _rests_on(trials):
    """The trials of each claim: a row a run and solver, with seeds and failures."""
    trials = trials.assign(failed=evidence.failed_to_train(trials))
    once, rows = trials.drop_duplicates(["run", *TRAINING]), []
    for number, claim in known.claims().items():
        sides = [claim["first"], *claim.get("second", ())] if "first" in claim else []
        of_claim = pd.concat([once[:0], *(known.matching(once, s) for s in sides)])
        runs = of_claim.drop_duplicates().groupby(["run", "solver"], sort=False)
        for (run, solver), group in runs:
            fresh = group.seed[group.confirmation.astype(bool)]
            about = {"claim": number, "run": run, "solver": solver}
            about |= {"settings": len(group.drop_duplicates([*statistics.SETTING]))}
            about |= {"trainings": len(group), "failed": int(group.failed.sum())}
            chose = group.seed.drop(fresh.index).tolist()
            about |= {"seeds": wording.span(chose), "fresh": fresh.tolist()}
            rows.append(about)
    return rows


def _stand_ins(done):
    """The data sets used, each with the paper's data sets in whose place it was."""
    originals = {}
    for run in filter(lambda run: run.dataset, done):
        of_it = originals.setdefault(run.dataset["title"], {})
        of_it |= {run.stands_in_for: None} if run.stands_in_for else {}
    return originals


def _by_the_clock(done):
    """The seconds in which at least one of the runs went on."""
    seconds, until = 0, -math.inf
    for run in sorted(done, key=lambda run: run.started):
        if run.started and run.seconds:
            start = datetime.fromisoformat(run.started).timestamp()
            seconds += max(0, start + run.seconds - max(start, until))
            until = max(until, start + run.seconds)
    return seconds


def _device(run):
    environment = run.scraps.get("environment", {})
    name = environment.get("device") or environment.get("platform")
    if name == "cpu":
        # JAX calls every processor "cpu"; which one it was is worth knowing.
        cores = environment.get("cpu_count")
        return f"{environment.get('processor', 'cpu')}, {cores} cores"
    count = environment.get("device_count") or 1
    return f"{count} × {name}" if count > 1 else name


def _tried(run):
    """What each solver of a run was given to try: numbers of settings and trials."""
    trials = every.frame([run])
    once = trials.drop_duplicates([*TRAINING])
    return [
        {
            "solver": solver,
            "settings": len(own.drop_duplicates([*statistics.SETTING])),
            "trials": len(own),
            "fine_tunings": trials.finetuning_seed[trials.solver == solver].count(),
            "diverged": (own.outcome == "diverged").sum(),
        }
        for solver, own in once.groupby("solver", sort=False)
    ]
