"""From trials to table cells: the setting chosen without peeking, its mean and spread.

Pure functions on the trials a run records: dicts with `solver`, the hyperparameters,
`seed`, `outcome` ("finished", "diverged" or "failed") and the metrics.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lamb_keras.results import paper

# What tells one setting of a solver from another. Of equally good settings, the one
# whose first number here is smaller is chosen, then the next.
SETTING = (
    "learning_rate",
    "weight_decay",
    "l2_regularization",
    "batch_size",
    "weight_decay_form",
    "warmup_fraction",
)


class Choice(NamedTuple):
    """The setting chosen among those tried, and the trials that speak for it.

    Attributes:
        setting: the hyperparameters of the chosen setting.
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
    tuned: Sequence[str] = SETTING,
) -> Choice:
    """The best setting of one solver, by the mean over seeds of a held-out metric.

    A setting with a seed that did not finish ranks below every setting whose seeds
    all did. Means equal to six digits go to the smaller learning rate (the first of
    `tuned`, then the next): the choice is then the same on every machine. Names in
    `tuned` that no trial has are left out.

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
    tuned = [name for name in tuned if any(name in trial for trial in trials)]
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
        # None, of a parameter that is not used, comes before any number.
        order = [(value is not None, value) for value in setting]
        return (not held_out, lost, -quality, order)

    best = min(settings, key=rank)
    return Choice(
        dict(zip(tuned, best, strict=True)),
        "run" if finished[best] else _status_without_result(trials),
        finished[best],
        len(settings),
    )


def chosen(trials: Sequence[dict], by: str = "validation_accuracy") -> dict[str, dict]:
    """The best setting of each solver: the solver and all that tells settings apart.

    Example:
        >>> trial = {"solver": "lamb", "seed": 0, "outcome": "finished"}
        >>> chosen([trial | {"learning_rate": 0.1, "validation_accuracy": 0.8},
        ...         trial | {"learning_rate": 0.2, "validation_accuracy": 0.9}])
        {'lamb': {'solver': 'lamb', 'learning_rate': 0.2}}
    """
    return {
        solver: {"solver": solver, **choose(group, by).setting}
        for solver, group in _by_solver(of_first_form(trials)).items()
    }


def of_first_form(trials: Sequence[dict]) -> list[dict]:
    """The trials of the weight decay form that comes first, and those that have none.

    A run may try AdamW's other form too; its own table is made of the first.

    Example:
        >>> forms = ("per_step", "times_learning_rate", None)
        >>> len(of_first_form([{"weight_decay_form": form} for form in forms]))
        2
    """
    first = next(iter(by_form(trials)), None)
    return [t for t in trials if t.get("weight_decay_form") in (None, first)]


def by_form(trials: Sequence[dict]) -> dict[str, list[dict]]:
    """The trials of each form of weight decay, in the order in which the forms come.

    Example:
        >>> forms = ("per_step", "times_learning_rate", None)
        >>> list(by_form([{"weight_decay_form": form} for form in forms]))
        ['per_step', 'times_learning_rate']
    """
    groups = {}
    for trial in trials:
        if form := trial.get("weight_decay_form"):
            groups.setdefault(form, []).append(trial)
    return groups


def cells(
    trials: Sequence[dict],
    table: int,
    column: str | None = None,
    metric: str = "test_accuracy",
    by: str = "validation_accuracy",
    tuned: Sequence[str] = SETTING,
) -> list[dict]:
    """The cells of a table that these trials make.

    In a table of solvers, one a solver: `metric` of the setting that is best by `by`,
    in `column` (by default the table's first). `metric` is never looked at before the
    setting is chosen. A cell says how many settings were tried and how many trials
    that took, besides mean, spread and n; a solver of which no trial finished has no
    value but the status "diverged". In a table whose rows are settings there is nothing
    to choose: see `rows`.

    Example:
        >>> trial = {"solver": "lamb", "learning_rate": 0.01, "outcome": "finished",
        ...          "validation_accuracy": 0.9}
        >>> trials = [{**trial, "seed": 0, "test_accuracy": 0.8},
        ...           {**trial, "seed": 1, "test_accuracy": 0.9}]
        >>> found = cells(trials, table=7)
        >>> found[0]["row"], round(found[0]["value"], 4), found[0]["n"]
        ('lamb', 0.85, 2)
    """
    published = paper.tables()[table]
    if published.solver:
        return rows(trials, table)
    column = column or published.results[0]
    return [
        {
            "table": table,
            "row": published.row_of(solver),
            "column": column,
            **best(group, metric, by, tuned),
        }
        for solver, group in _by_solver(of_first_form(trials)).items()
    ]


def best(
    trials: Sequence[dict],
    metric: str = "test_accuracy",
    by: str = "validation_accuracy",
    tuned: Sequence[str] = SETTING,
) -> dict:
    """What a cell says of the best setting among these trials, by a held-out metric.

    Example:
        >>> best([{"learning_rate": 0.1, "seed": 0, "outcome": "finished",
        ...        "validation_accuracy": 0.9, "test_accuracy": 0.8}])["value"]
        0.8
    """
    if by == metric or by.startswith("test"):
        raise ValueError(
            f"the setting would be chosen by {by!r}, a metric of the test set; choose "
            "it by one of a held-out part of the training set."
        )
    choice = choose(trials, by, tuned)
    return {
        **_measured([trial[metric] for trial in choice.trials]),
        "status": choice.status,
        "chosen": _told(choice.setting, trials),
        "settings_tried": choice.settings_tried,
        **_cost(trials),
    }


def rows(trials: Sequence[dict], table: int) -> list[dict]:
    """The cells of a table whose rows are settings: one a setting and result column.

    A row is the mean over the seeds that finished, and says how many did not; where
    none did, it has no value but the status "diverged". Nothing is chosen: each is one
    setting of the `settings` in the table.

    Trials that the paper has no row for, of another solver, say, have rows of their
    own, whose names tell what is different about them.

    Example:
        >>> trial = {"solver": "adam", "learning_rate": 0.001, "outcome": "finished"}
        >>> trials = [{**trial, "seed": 0, "test_accuracy": 0.8},
        ...           {**trial, "seed": 1, "test_accuracy": 0.9}]
        >>> found = rows(trials, table=11)
        >>> found[0]["row"], round(found[0]["value"], 4), found[0]["n"]
        ('0.001', 0.85, 2)
    """
    published = paper.tables()[table]
    groups = _by_row(of_first_form(trials), published)
    return [
        {
            "table": table,
            "row": row,
            "column": column,
            **_row(group, published.column(column).metric),
            "settings": len(groups),
        }
        for row, group in groups.items()
        for column in published.results
    ]


def _row(trials, metric):
    finished = [trial for trial in trials if _finished(trial, metric)]
    return {
        **_measured([trial[metric] for trial in finished]),
        "status": "run" if finished else _status_without_result(trials),
        "chosen": {},
        "settings_tried": 1,
        **_cost(trials),
    }


def _by_row(trials, published):
    """The trials of each row, by its name, no seed of it twice."""
    groups, first = {}, {}
    for trial in trials:
        others = first.setdefault(trial["solver"], trial)
        name = published.label_of(trial) + _unlike(trial, others, published)
        groups.setdefault(name, []).append(trial)
    for name, group in groups.items():
        _check_seeds(group, f"table {published.number}, row {name}")
    return groups


def _unlike(trial, first, published):
    """What makes a trial another one than that which the paper's row stands for."""
    solver = trial["solver"]
    words = [] if solver == published.solver else [solver]
    keys = {published.column(key).field for key in published.keys}
    for name in SETTING:
        if name not in keys and trial.get(name) != first.get(name):
            words.append(f"{name.replace('_', ' ')} {trial[name]}")
    return "".join(f", {word}" for word in words)


def _measured(values):
    return {
        "value": mean(values) if values else None,
        "spread": spread(values),
        "n": len(values),
    }


def _cost(trials):
    diverged = sum(trial["outcome"] == "diverged" for trial in trials)
    return {"trials": len(trials), "diverged": diverged}


def _told(setting, trials):
    """Of a setting, what there was a choice of, and the learning rate in any case."""
    return {
        name: value
        for name, value in setting.items()
        if name == "learning_rate" or len({trial.get(name) for trial in trials}) > 1
    }


def _by_solver(trials):
    groups = {}
    for trial in trials:
        groups.setdefault(trial["solver"], []).append(trial)
    return groups


def _by_setting(trials, tuned):
    if not trials:
        raise ValueError("there are no trials to choose from; run at least one.")
    settings = {}
    for trial in trials:
        setting = tuple(trial.get(name) for name in tuned)
        settings.setdefault(setting, []).append(trial)
    for setting, group in settings.items():
        _check_seeds(group, f"{', '.join(tuned)} = {setting}")
    return settings


def _check_seeds(trials, what):
    # A pre-training that was fine-tuned several times is as many trials.
    seeds = [(trial["seed"], trial.get("finetuning_seed")) for trial in trials]
    if len(set(seeds)) < len(seeds):
        twice, finetuning = next(each for each in seeds if seeds.count(each) > 1)
        finetuned = "" if finetuning is None else f" and finetuning_seed {finetuning}"
        raise ValueError(
            f"two trials have {what} and seed {twice}{finetuned}; expected one, so "
            "name whatever tells them apart in `tuned`."
        )


def _finished(trial, by):
    # A trial whose metric is not a number has diverged, whatever it says.
    value = trial.get(by)
    return trial["outcome"] == "finished" and value is not None and math.isfinite(value)


def _status_without_result(trials):
    if any(trial["outcome"] != "failed" for trial in trials):
        return "diverged"
    return "failed"
