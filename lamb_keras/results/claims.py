"""The paper's claims, each with the verdict of the trials there are.

`claims.yaml` says what tests each claim, `evidence` when data speak for it. Here trials
become comparisons: those that failed to train are left out, fine-tunings are averaged,
of a tuned solver the best setting is taken on the seeds that confirm it, which had no
say in the choice, and what is left is compared over seeds.
"""

import functools

import numpy as np
import pandas as pd

from lamb_keras.results import comparisons, evidence, paper, statistics
from lamb_keras.results.comparisons import Failures, Means, Nothing, Pairs
from lamb_keras.results.evidence import NOT_TESTED, Verdict


@functools.cache
def claims() -> dict[int, dict]:
    """The claims by number, in the order of `claims.yaml`, which tells their fields."""
    return {claim["number"]: claim for claim in paper.read("claims.yaml")}


def verdicts(trials: pd.DataFrame) -> pd.DataFrame:
    """The verdict of each claim at each scale: a row each, with the numbers behind it.

    Trials are those of `trials.frame`, or as `pandas.read_csv` reads `trials.csv`.

    Example:
        >>> trials = pd.DataFrame(
        ...     {"scale": "laptop", "table": 5, "solver": "lamb", "batch_size": batch,
        ...      "seed": seed, "outcome": "finished", "classes": 10,
        ...      "test_accuracy": 0.97 + 0.001 * seed}
        ...     for batch in (512, 1024, 2048) for seed in range(5))
        >>> verdicts(trials).verdict["laptop", 6]
        'supported'
    """
    trials = _plain(trials)
    made = {
        (scale, number): _verdict(claim, rows)._asdict()
        for scale, rows in trials.groupby("scale", sort=False)
        for number, claim in claims().items()
    }
    index = pd.MultiIndex.from_tuples(made, names=["scale", "claim"])
    frame = pd.DataFrame(made.values(), index, Verdict._fields)
    return frame.convert_dtypes()


# Words for what is compared.
METRICS = {
    "f1": "F1",
    "test_accuracy": "test accuracy",
    "validation_loss": "held-out loss, the lower the better",
}
VALUES = {
    "batch_size": "batch {}".format,
    "learning_rate": "rate {:g}".format,
    "rewarmup": {True: "with a second warm-up", False: "without one"}.get,
}


class _NoEvidence(Exception):
    """Why a claim is not tested here."""


def _verdict(claim, trials):
    if claim["test"] == "none":
        return Verdict(NOT_TESTED, claim["why"])
    try:
        found = _judged(claim, trials)
    except _NoEvidence as why:
        found = Verdict(NOT_TESTED, str(why))
    lacking = f"; needs {claim['needs']}" if found.verdict == NOT_TESTED else ""
    return found._replace(why=found.why + lacking)


def _plain(trials):
    """The same trials whether they come from runs or were read from a file."""
    told = {"failed": evidence.failed_to_train(trials), "confirmation": False}
    if "confirmation" in trials:
        told["confirmation"] = trials.confirmation.eq(True)
    if "batch_size" in trials:
        # Beside "65536/32768" a reader of files takes all batches for text.
        sizes = trials.batch_size.astype(object)
        told["batch_size"] = sizes.map(
            lambda size: size if "/" in str(size) else int(size), na_action="ignore"
        )
    return trials.assign(**told).reset_index(drop=True)


def _judged(claim, trials):
    first, *others = (
        _of(trials, s) for s in [claim["first"], *claim.get("second", ())]
    )
    if claim["test"] in ("fails", "weak", "explains"):
        # Each setting counts alike, the confirmed ones too.
        first, *others = (side[~side.confirmation] for side in (first, *others))
    alive = first[~first.failed]
    if claim["test"] == "fails":
        _check_decay(first, claim)
        (lost, of), (idle, controls) = (
            _lost(side, _settings(side)) for side in (first, *others)
        )
        return evidence.judge_shares(lost, of, controls - idle, controls)
    if claim["test"] == "weak":
        both = alive.reindex(columns=claim["metric"])
        return evidence.judge_correlation(*both.T.to_numpy(float), claim["below"])
    if claim["test"] == "explains":
        factors = dict(alive.reindex(columns=claim["factors"]))
        return evidence.judge_explained(alive[claim["metric"]], factors)
    over, margin = claim.get("over"), claim.get("margin", 0)
    if claim["test"] == "alike":
        plain = [x for x in first[over].unique() if not isinstance(x, str)]
        levels = [first[first[over] == x] for x in sorted(plain)]
        pairs = [(level, levels[0]) for level in levels[1:]]
    elif over:
        pairs = [
            (first[first[over] == level], second[second[over] == level])
            for second in others
            for level in dict.fromkeys(first[over])
            if level in set(second[over])
        ]
    else:
        pairs = [(first, second) for second in others]
    if margin and claim["metric"] == "f1":
        _check_worth(others[0] if others else first, margin)
    compared = [_named(claim, *pair, _compared(claim, trials, *pair)) for pair in pairs]
    if not (compared := [each for each in compared if each]):
        raise _NoEvidence(f"nothing to compare over {over}")
    high = margin if claim["test"] == "alike" else np.inf
    return evidence.judge(compared, claim.get("by", -margin), high)


def matching(trials: pd.DataFrame, side: dict) -> pd.DataFrame:
    """The trials of a side of a claim: those with all its numbers."""
    for name, wanted in side.items():
        wanted = wanted if isinstance(wanted, list) else [wanted]
        # As text: of a file with a batch of "65536/32768" every batch is read as text.
        of_it = trials.get(name, pd.Series(index=trials.index)).astype(str)
        trials = trials[of_it.isin(map(str, wanted))]
    return trials


def _of(trials, side):
    named = ", ".join(
        f"{name.replace('_', ' ')} {' or '.join(map(str, np.atleast_1d(side[name])))}"
        for name in side
    )
    if (found := matching(trials, side)).empty:
        raise _NoEvidence(f"no trial of {named}")
    return found


def _check_decay(rows, claim):
    """Refuses trainings so short that their decay alone erases what they learn."""
    if not {"weight_decay", "steps"} <= {*rows}:
        raise _NoEvidence("the trials do not tell their weight decay and steps")
    # A shorter training takes more off at a step: decay x steps is kept.
    applied = (rows.weight_decay * claim["published_steps"] / rows.steps).max()
    if not applied < claim["decay_below"]:
        raise _NoEvidence(
            f"a step takes {applied:.0%} off a weight, whatever the learning rate"
        )


def _compared(claim, trials, *sides):
    """What there is to compare of two sides; None where it is not to count.

    Where one side failed to train with most seeds, it has no metric. If it is what the
    claim says to be behind, or not to be, and its solver trains in another setting, the
    failures are counted: a solver that never trains was run wrongly. A reference that
    failed is none: not to be worse than it says nothing. Of other numbers of the same
    solver, it only says that they are not better.
    """
    try:
        rows = [_chosen(side) for side in sides]
        (failed, of), (second_failed, second_of) = (_lost(r, r.seed) for r in rows)
        lost = [failed >= of / 2, second_failed >= second_of / 2]
        if any(lost):
            row = rows[lost.index(True)]
            n = statistics.count(len(row), "trial")
            why = Nothing(f"{row.failed.sum()} of {n} of {_name(row)} failed to train")
            if all(lost) or not _trains(row, trials):
                return why
            if lost[1] and claim["test"] != "ahead":
                same = rows[0].solver.iloc[0] == rows[1].solver.iloc[0]
                return None if same and claim["test"] == "not_worse" else why
            return Failures(failed, of, second_failed, second_of)
        metric = claim["metric"]
        first, second = (_by_seed(each, metric) for each in rows)
    except _NoEvidence as why:
        return Nothing(str(why))
    both = (first - second).dropna()
    if len(both) >= comparisons.SIGN_FLIPS_FROM:
        return Pairs(both)
    tables = {*sides[0].table, *sides[1].table}
    pool = trials[trials.table.isin(tables) & ~trials.failed]
    spreads = (_spread(pool[pool.solver == r.solver.iloc[0]], metric) for r in rows)
    return Means(first, second, *spreads)


def _check_worth(rows, margin):
    """Refuses an F1 of which pre-training makes no more than a margin: all is alike."""
    without = rows.get("f1_without_pretraining", pd.Series(dtype=float))
    if without.isna().all():
        raise _NoEvidence("F1 without pre-training is not known")
    added = (rows.f1 - without)[~rows.failed].astype(float).mean()
    if added <= margin:
        raise _NoEvidence(
            f"pre-training adds {added:.2g} to F1, and the margin is {margin:g}"
        )


def _named(claim, first, second, compared):
    """The comparison, with words for what is compared."""
    if isinstance(compared, Pairs | Means | Failures):
        sides = _told(first, second), _told(second, first)
        compared.name = f"{METRICS[claim['metric']]}, {sides[0]} against {sides[1]}"
        if "second" in claim and "over" in claim:
            compared.name += f", {_value(first, claim['over'])}"
    return compared


def _told(side, other):
    """The solver of a side, or what tells it from the other one if that is the same."""
    solver = side.solver.iloc[0]
    if solver != other.solver.iloc[0]:
        return solver
    names = [name for name in VALUES if name in side]
    different = [_value(side, n) for n in names if _value(side, n) != _value(other, n)]
    return ", ".join([solver, *filter(None, different)])


def _value(side, name):
    return VALUES[name](side[name].iloc[0])


def _chosen(rows):
    """The trials of one setting: of several, the confirmations of the best.

    The best is so by held-out accuracy on the seeds that are no confirmations.
    """
    rows = rows.assign(setting=_settings(rows))
    if rows.setting.nunique() == 1:
        return rows
    tuning = rows[~rows.confirmation]
    if tuning.empty:
        raise _NoEvidence(f"of {_name(rows)} there are confirmations alone")
    best = statistics.choose(tuning.to_dict("records"), tuned=["setting"])
    fresh = rows[(rows.setting == best.setting["setting"]) & rows.confirmation]
    if fresh.empty:
        raise _NoEvidence(f"the best setting of {_name(rows)} has no fresh seeds")
    return fresh


def _by_seed(rows, metric):
    """The metric of each seed that trained, the greater the better.

    Fine-tunings of one pre-training are averaged: they are no further seeds.
    """
    alive = rows[~rows.failed]
    values = alive[metric].astype(float).groupby(alive.seed).mean()
    return (-values if metric.endswith("_loss") else values).dropna()


def _spread(rows, metric):
    """How a solver's seeds spread about their setting's mean, over all its settings."""
    of_seeds = rows[metric].astype(float).groupby([_settings(rows), rows.seed]).mean()
    values = of_seeds.dropna().rename_axis(["setting", "seed"]).reset_index("setting")
    return comparisons.spread(values[metric], values.setting)


def _lost(rows, groups):
    """How many groups of trials (seeds, settings) failed to train, and of how many."""
    lost = rows.failed.groupby(groups).all()
    return int(lost.sum()), len(lost)


def _trains(rows, trials):
    """Whether the solver of these rows trains in some setting of their experiment."""
    experiment = trials.table.map(lambda table: paper.table(table).experiment)
    same = experiment == experiment[rows.index[0]]
    others = trials[same & (trials.solver == rows.solver.iloc[0])]
    return bool((others.failed.groupby(_settings(others)).mean() < 0.5).any())


def _name(rows):
    return f"{rows.solver.iloc[0]} of table {rows.table.iloc[0]}"


def _settings(rows):
    """A number of each row's setting: the same hyperparameters of the same table."""
    names = [name for name in ("solver", *statistics.SETTING, "table") if name in rows]
    return rows.groupby(names, dropna=False).ngroup()
