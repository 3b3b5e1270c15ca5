"""From trials to table cells: the setting chosen without peeking, its mean and spread.

Pure functions on the trials a run records: dicts with `solver`, the hyperparameters,
`seed`, `outcome` ("finished", "diverged" or "failed") and the metrics.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Choice(NamedTuple):
    """The setting chosen among those tried, and the trials that speak for it.

    Attributes:
        setting: the tuned hyperparameters of the chosen setting.
        status: "run", or "diverged" or "failed" where no trial finished.
        trials: the finished trials of the chosen setting.
        settings_tried: how many settings were compared.
    """

    setting: dict
    status: str
    trials: list[dict]
    settings_tried: int


def mean(values: Iterable[float]) -> float:
    """The arithmetic mean, not rounded on the way; NaN if a value is not finite.

    Example:
        >>> mean([0.1] * 10)
        0.1
    """
    values = list(values)
    if not all(map(math.isfinite, values)):
        return math.nan
    return float(statistics.mean(values))


def spread(values: Iterable[float]) -> float | None:
    """The sample standard deviation (n - 1); None of a single value, which has none.

    Example:
        >>> spread([1.0, 2.0, 3.0])
        1.0
        >>> spread([1.0]) is None
        True
    """
    values = list(values)
    if len(values) < 2:
        return None
    if not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values)


def choose(
    trials: Sequence[dict],
    by: str = "validation_accuracy",
    tuned: Sequence[str] = ("learning_rate",),
) -> Choice:
    """The best setting of one solver, by the mean over seeds of a held-out metric.

    A setting with a seed that did not finish ranks below every setting whose seeds
    all did. Means equal to six digits go to the smaller learning rate (the first of
    `tuned`, then the next): the choice is then the same on every machine.

    Example:
        >>> trials = [
        ...     {"learning_rate": 0.1, "seed": 0, "outcome": "finished",
        ...      "validation_accuracy": 0.9},
        ...     {"learning_rate": 1.0, "seed": 0, "outcome": "diverged",
        ...      "validation_accuracy": float("nan")},
        ... ]
        >>> choose(trials).setting
        {'learning_rate': 0.1}
    """
    settings = _by_setting(trials, tuned)
    finished = {
        setting: [trial for trial in members if _finished(trial, by)]
        for setting, members in settings.items()
    }

    def rank(setting):
        lost = len(settings[setting]) - len(finished[setting])
        held_out = [trial[by] for trial in finished[setting]]
        # Six digits: a metric computed in float32 carries no more, and what is behind
        # them must not decide between equal settings.
        quality = float(f"{mean(held_out):.6g}") if held_out else -math.inf
        return (not held_out, lost, -quality, setting)

    best = min(settings, key=rank)
    return Choice(
        dict(zip(tuned, best, strict=True)),
        "run" if finished[best] else _status_without_result(trials),
        finished[best],
        len(settings),
    )


def cells(
    trials: Sequence[dict],
    table: int,
    column: str,
    metric: str = "test_accuracy",
    by: str = "validation_accuracy",
    tuned: Sequence[str] = ("learning_rate",),
) -> list[dict]:
    """One table cell a solver: `metric` of the setting that is best by `by`.

    `metric` is never looked at before the setting is chosen. A cell says how many
    settings were tried and how many trials that took, besides mean, spread and n; a
    solver of which no trial finished has no value but the status "diverged".

    Example:
        >>> trial = {"solver": "lamb", "learning_rate": 0.01, "outcome": "finished",
        ...          "validation_accuracy": 0.9}
        >>> trials = [{**trial, "seed": 0, "test_accuracy": 0.8},
        ...           {**trial, "seed": 1, "test_accuracy": 0.9}]
        >>> found = cells(trials, table=7, column="mean_accuracy_5_runs")
        >>> found[0]["row"], round(found[0]["value"], 4), found[0]["n"]
        ('lamb', 0.85, 2)
    """
    if by == metric or by.startswith("test"):
        raise ValueError(
            f"the setting would be chosen by {by!r}, a metric of the test set; choose "
            "it by one of a held-out part of the training set."
        )
    by_solver = {}
    for trial in trials:
        by_solver.setdefault(trial["solver"], []).append(trial)
    return [
        _cell(choose(group, by, tuned), group, table, solver, column, metric)
        for solver, group in by_solver.items()
    ]


def _cell(choice, trials, table, row, column, metric):
    measured = [trial[metric] for trial in choice.trials]
    return {
        "table": table,
        "row": row,
        "column": column,
        "value": mean(measured) if measured else None,
        "spread": spread(measured),
        "n": len(measured),
        "status": choice.status,
        "chosen": choice.setting,
        "settings_tried": choice.settings_tried,
        "trials": len(trials),
        "diverged": sum(trial["outcome"] == "diverged" for trial in trials),
    }


def _by_setting(trials, tuned):
    if not trials:
        raise ValueError("there are no trials to choose from; run at least one.")
    settings, seen = {}, set()
    for trial in trials:
        setting = tuple(trial[name] for name in tuned)
        if (setting, trial["seed"]) in seen:
            raise ValueError(
                f"two trials have {', '.join(tuned)} = {setting} and seed "
                f"{trial['seed']}; name whatever else tells them apart in `tuned`."
            )
        seen.add((setting, trial["seed"]))
        settings.setdefault(setting, []).append(trial)
    return settings


def _finished(trial, by):
    # A trial whose held-out metric is not a number has diverged, whatever it says.
    return trial["outcome"] == "finished" and math.isfinite(trial[by])


def _status_without_result(trials):
    if any(trial["outcome"] != "failed" for trial in trials):
        return "diverged"
    return "failed"
