"""The paper's claims, each with the verdict of the trials there are.

`claims.yaml` says what tests each claim, `evidence` when data speak for it. Here trials
become comparisons: those that failed to train are left out, fine-tunings are averaged,
of a tuned solver the best setting is taken on seeds that had no say in the choice, and
what is left is paired by seed.
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from lamb_keras.results import evidence, statistics
from lamb_keras.results.evidence import NOT_TESTED, Verdict

# What a setting is chosen by: never what is compared.
HELD_OUT = "validation_accuracy"
OUTCOMES = {True: "failed", False: "finished"}


@functools.cache
def claims() -> dict[int, dict]:
    """The claims by number, in the order of `claims.yaml`.

    Example:
        >>> claims()[6]["test"], claims()[6]["margin"]
        ('alike', 0.02)
    """
    text = Path(__file__).with_name("claims.yaml").read_text(encoding="utf-8")
    return {claim["number"]: claim for claim in yaml.safe_load(text)}


def verdicts(trials: pd.DataFrame) -> pd.DataFrame:
    """The verdict of each claim at each scale: a row each, with the numbers behind it.

    Args:
        trials: a row a trial: scale, table, solver, the numbers of its setting, seed
            (and finetuning_seed), outcome and metrics; unigram_entropy of text or
            classes of images, which say what guessing comes to.

    Example:
        >>> trials = pd.DataFrame(
        ...     {"scale": "laptop", "table": 5, "solver": "lamb", "batch_size": batch,
        ...      "seed": seed, "outcome": "finished", "classes": 10,
        ...      "test_accuracy": 0.97 + 0.001 * seed}
        ...     for batch in (512, 1024, 2048) for seed in range(5))
        >>> verdicts(trials).verdict["laptop", 6]
        'supported'
    """
    made = {
        (scale, number): _verdict(claim, rows)._asdict()
        for scale, rows in trials.groupby("scale", sort=False)
        for number, claim in claims().items()
    }
    index = pd.MultiIndex.from_tuples(made, names=["scale", "claim"])
    frame = pd.DataFrame(made.values(), index, Verdict._fields)
    return frame.convert_dtypes()


class _NoEvidence(Exception):
    """Why a claim is not tested here."""


def _verdict(claim, trials):
    try:
        return _judged(claim, trials)
    except _NoEvidence as why:
        return Verdict(NOT_TESTED, f"{why}; needs {claim['needs']}")


def _judged(claim, trials):
    if claim["test"] == "none":
        return Verdict(NOT_TESTED, claim["why"])
    trials = trials.assign(failed=evidence.failed_to_train(trials))
    first, *others = (
        _of(trials, s) for s in [claim["first"], *claim.get("second", ())]
    )
    if claim["test"] == "fails":
        return evidence.judge_shares(*_failed(first), *_trained(*others))
    if claim["test"] == "weak":
        both = first[~first.failed].reindex(columns=claim["metric"])
        return evidence.judge_correlation(*both.T.to_numpy(float), claim["below"])
    over, metric, margin = claim.get("over"), claim["metric"], claim.get("margin", 0)
    if claim["test"] == "alike":
        levels = [first[first[over] == x] for x in sorted(first[over].unique())]
        pairs = [(level, levels[0]) for level in levels[1:]]
    elif over:
        (second,) = others
        both = sorted(set(first[over]) & set(second[over]), key=str)
        pairs = [(first[first[over] == x], second[second[over] == x]) for x in both]
    else:
        pairs = [(first, second) for second in others]
    if not pairs:
        raise _NoEvidence(f"nothing to compare over {over}")
    comparisons = [_by_seed(a, metric) - _by_seed(b, metric) for a, b in pairs]
    high = margin if claim["test"] == "alike" else np.inf
    return evidence.judge([each.dropna() for each in comparisons], -margin, high)


def _of(trials, side):
    """The trials of a side: those with all its numbers."""
    named = ", ".join(f"{name.replace('_', ' ')} {side[name]}" for name in side)
    for name, wanted in side.items():
        wanted = wanted if isinstance(wanted, list) else [wanted]
        # As text: of a file with a batch of "65536/32768" every batch is read as text.
        of_it = trials.get(name, pd.Series(index=trials.index)).astype(str)
        trials = trials[of_it.isin(map(str, wanted))]
    if trials.empty:
        raise _NoEvidence(f"no trial of {named}")
    return trials


def _by_seed(rows, metric):
    """The metric of each seed, of one setting.

    Fine-tunings of one pre-training are averaged: they are no further seeds. Of several
    settings the best by held-out accuracy is taken, but only on seeds that no other
    setting has: those that chose it flatter it.
    """
    rows = rows.assign(setting=_settings(rows))
    name = f"{rows.solver.iloc[0]} of table {rows.table.iloc[0]}"
    if rows.setting.nunique() > 1:
        settings = rows.groupby("seed").setting.transform("nunique")
        tuning = rows[settings > 1].assign(outcome=rows.failed.map(OUTCOMES))
        if tuning.empty:
            raise _NoEvidence(f"the settings of {name} have no seed in common")
        best = statistics.choose(tuning.to_dict("records"), HELD_OUT, ["setting"])
        rows = rows[(rows.setting == best.setting["setting"]) & (settings == 1)]
        if rows.empty:
            raise _NoEvidence(f"the best setting of {name} has no fresh seeds")
    alive = rows[~rows.failed]
    # What mostly failed was run wrongly, and the rest of it is what luck left.
    if len(alive) <= len(rows) / 2:
        failed = f"{rows.failed.sum()} of {statistics.count(len(rows), 'trial')}"
        raise _NoEvidence(f"{failed} of {name} failed to train")
    return alive.groupby("seed")[metric].mean()


def _settings(rows):
    """A number of each row's setting: the same hyperparameters of the same table."""
    names = [name for name in ("solver", *statistics.SETTING, "table") if name in rows]
    return rows.groupby(names, dropna=False).ngroup()


def _failed(rows):
    """How many settings failed with every seed, and of how many."""
    settings = rows.failed.groupby(_settings(rows)).all()
    return int(settings.sum()), len(settings)


def _trained(rows):
    failed, of = _failed(rows)
    return of - failed, of
