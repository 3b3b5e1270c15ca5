"""From trials to table cells: the setting chosen without peeking, its mean and spread.

A trial is a dict with `solver`, the hyperparameters, `seed`, `outcome` ("finished",
"diverged" or "failed") and metrics. A cell is what the best setting of some trials,
chosen by a held-out metric, reaches by another. With `confirmation` it is one of the
seeds with which the chosen setting was trained again: they had no say in the choice,
and what the choice is worth is told by them alone.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from lamb_keras.results import paper

# What tells one setting of a solver from another. Of equally good settings, the one
# whose first number here is smaller is chosen, then the next.
SETTING = (
    *("learning_rate", "weight_decay", "l2_regularization", "batch_size"),
    *("weight_decay_form", "warmup_fraction", "rewarmup"),
)
# At chance is what gets less than this many times what guessing does.
CHANCE_BAND = 2


class Choice(NamedTuple):
    """The setting chosen among those tried, and the trials that speak for it."""

    setting: dict
    status: str  # "run", or "diverged" or "failed" where no trial finished
    trials: list[dict]  # the finished ones of the chosen setting; see `choose`
    settings_tried: int


def is_finite(value) -> bool:
    """Whether a value is a number, neither infinite nor NaN."""
    return isinstance(value, float | int) and math.isfinite(value)


def count(number: int, noun: str) -> str:
    """So many of something, in words: "1 setting", "2 settings"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def grouped(rows: Iterable, key: str | Callable) -> dict:
    """The rows of each value of a key (a name, or a function), in their order."""
    groups = {}
    for row in rows:
        group = row[key] if isinstance(key, str) else key(row)
        groups.setdefault(group, []).append(row)
    return groups


def mean(values: Iterable[float]) -> float:
    """The arithmetic mean, not rounded on the way; NaN if a value is not finite."""
    values = list(values)
    return float(statistics.mean(values)) if all(map(is_finite, values)) else math.nan


def spread(values: Iterable[float]) -> float | None:
    """The sample standard deviation (n - 1); None of a single value, which has none."""
    values = list(values)
    if len(values) < 2:
        return None
    return statistics.stdev(values) if all(map(is_finite, values)) else math.nan


def choose(
    trials: Sequence[dict],
    by: str = "validation_accuracy",
    tuned: Sequence[str] = SETTING,
) -> Choice:
    """The best setting of one solver, by the mean over seeds of a held-out metric.

    A setting with a seed that did not finish ranks below every setting whose seeds
    all did. Means equal to six digits go to the smaller learning rate (the first of
    `tuned`, then the next): the choice is then the same on every machine.

    Confirmation trials have no say. Of several settings, those of the best one speak
    for it, if there are any: the seeds that chose it flatter it. Where there was
    nothing to choose, all its trials do.

    Example:
        >>> def trial(rate, seed, accuracy, confirmation=False):
        ...     return {"learning_rate": rate, "seed": seed, "outcome": "finished",
        ...             "validation_accuracy": accuracy, "confirmation": confirmation}
        >>> trials = [trial(0.1, 0, 0.8), trial(0.2, 0, 0.9), trial(0.2, 1, 0.7, True)]
        >>> choice = choose(trials)
        >>> choice.setting, [trial["seed"] for trial in choice.trials]
        ({'learning_rate': 0.2}, [1])
    """
    if not (sweep := of_sweep(trials)):
        raise ValueError("there are no trials to choose from; run at least one.")
    tuned = [name for name in tuned if any(name in trial for trial in trials)]

    def setting_of(trial):
        return tuple(map(trial.get, tuned))

    for setting, group in grouped(trials, setting_of).items():
        _check_seeds(group, f"{', '.join(tuned)} = {setting}")
    settings = grouped(sweep, setting_of)

    def rank(setting):
        group = settings[setting]
        held_out = [trial[by] for trial in group if _finished(trial, by)]
        # Six digits: a metric computed in float32 carries no more, and what is behind
        # them must not decide between equal settings.
        quality = float(f"{mean(held_out):.6g}") if held_out else -math.inf
        # None, of a parameter that is not used, comes before any number.
        order = [(value is not None, value) for value in setting]
        return not held_out, len(group) - len(held_out), -quality, order

    best = min(settings, key=rank)
    of_best = [trial for trial in trials if setting_of(trial) == best]
    told = of_setting(of_best, len(settings))
    finished = [trial for trial in told if _finished(trial, by)]
    failed = all(trial["outcome"] == "failed" for trial in trials)
    status = "run" if finished else "failed" if failed else "diverged"
    setting = dict(zip(tuned, best, strict=True))
    return Choice(setting, status, finished, len(settings))


def chosen(trials: Sequence[dict]) -> dict[str, dict]:
    """The best setting of each solver: the solver and all that tells settings apart."""
    return {
        solver: {"solver": solver, **choose(group).setting}
        for solver, group in grouped(of_first_form(trials), "solver").items()
    }


def of_setting(trials: Sequence[dict], settings_tried: int) -> list[dict]:
    """The trials that tell a setting: if it is one of several, its confirmations."""
    fresh = [trial for trial in trials if trial.get("confirmation")]
    return fresh if fresh and settings_tried > 1 else list(trials)


def of_sweep(trials: Sequence[dict]) -> list[dict]:
    """The trials that were there to choose from: all but confirmations."""
    return [trial for trial in trials if not trial.get("confirmation")]


def of_settings(trials: Sequence[dict]) -> list[dict]:
    """The trials that compare settings: with confirmations where nothing was chosen.

    Of several settings of a solver at a batch, one alone was confirmed: its further
    seeds would make it another than those beside it.
    """
    tried = grouped(trials, solver_and_batch)
    several = {
        key
        for key, group in tried.items()
        if len({tuple(map(trial.get, SETTING)) for trial in group}) > 1
    }
    return [
        trial
        for trial in trials
        if not trial.get("confirmation") or solver_and_batch(trial) not in several
    ]


def solver_and_batch(trial: dict) -> tuple:
    """What a setting is chosen for: a solver, at each batch if there are several."""
    return trial["solver"], trial.get("batch_size")


def by_form(trials: Sequence[dict]) -> dict[str, list[dict]]:
    """The trials of each form of weight decay, in the order in which the forms come."""
    forms = grouped(trials, lambda trial: trial.get("weight_decay_form"))
    return {form: group for form, group in forms.items() if form}


def of_first_form(trials: Sequence[dict]) -> list[dict]:
    """The trials of the form of weight decay of which a table is made: the first."""
    first = next(iter(by_form(trials)), None)
    return [t for t in trials if t.get("weight_decay_form") in (None, first)]


def cells(trials: Sequence[dict], table: int) -> list[dict]:
    """The cells of a table that these trials make.

    In a table of solvers, one a solver: the test accuracy of the setting that is best
    on held-out data. In a table whose rows are settings, one a setting and result
    column, of the seeds with which all were tried, or of every seed of a setting that
    was the only one of its solver and batch; what the paper has no row for has one of
    its own, named by what is different. Another solver is tuned there, too: of what is
    not the row's, its best setting is taken. Where no trial finished, a cell's value is
    None and its status "diverged".

    Example:
        >>> trial = {"solver": "lamb", "learning_rate": 0.01, "outcome": "finished",
        ...          "validation_accuracy": 0.9}
        >>> trials = [{**trial, "seed": 0, "test_accuracy": 0.8},
        ...           {**trial, "seed": 1, "test_accuracy": 0.9}]
        >>> found = cells(trials, table=7)
        >>> found[0]["row"], round(found[0]["value"], 4), found[0]["n"]
        ('lamb', 0.85, 2)
    """
    published = paper.table(table)
    if published.solver:
        return _rows(trials, published)
    made = []
    for solver, group in grouped(of_first_form(trials), "solver").items():
        row = published.solver_rows.get(solver, solver)
        place = {"table": table, "row": row, "column": published.results[0]}
        made.append(place | best(group))
    return made


def best(
    trials: Sequence[dict],
    metric: str = "test_accuracy",
    tuned: Sequence[str] = SETTING,
) -> dict:
    """What a cell says of the best setting among these trials, by held-out accuracy."""
    choice = choose(trials, tuned=tuned)
    told = {
        name: value
        for name, value in choice.setting.items()
        if name == "learning_rate" or len({trial.get(name) for trial in trials}) > 1
    }
    return cell(choice, trials, metric) | {"chosen": told}


def cell(choice: Choice, trials: Sequence[dict], metric: str) -> dict:
    """What a cell says of a metric of the chosen trials, and of all that were tried."""
    values = [trial[metric] for trial in choice.trials]
    return {
        "value": mean(values) if values else None,
        "spread": spread(values),
        "n": len(values),
        "status": choice.status,
        "chosen": {},
        "settings_tried": choice.settings_tried,
        "trials": len(trials),
        "diverged": sum(trial["outcome"] == "diverged" for trial in trials),
    }


def _rows(trials, published):
    """The cells of a table whose rows are settings."""
    every = of_first_form(trials)
    trials = of_settings([t for t in every if t["solver"] == published.solver])
    others = [t for t in every if t["solver"] != published.solver]
    groups = grouped(trials, lambda trial: _row(trial, trials[0], published))
    made = []
    for row, group in groups.items():
        _check_seeds(group, f"table {published.number}, row {row}")
        for name in published.results:
            place = {"table": published.number, "row": row, "column": name}
            metric = published.columns[name].metric
            of_it = cell(choose(group, metric, tuned=()), group, metric)
            made.append(place | of_it | {"settings": len(groups)})
    tuned = grouped(others, lambda t: f"{published.label_of(t)}, {t['solver']}")
    for row, group in tuned.items():
        for name in published.results:
            place = {"table": published.number, "row": row, "column": name}
            made.append(place | best(group, published.columns[name].metric))
    return made


def _row(trial, first, published):
    """The name of a trial's row, and what makes it another one than the paper's."""
    name = published.label_of(trial)
    keys = {published.columns[key].field for key in published.keys}
    for number in SETTING:
        if number not in keys and trial.get(number) != first.get(number):
            name += f", {number.replace('_', ' ')} {trial[number]}"
    return name


def _check_seeds(trials, what):
    # A pre-training that was fine-tuned several times is as many trials.
    seeds = Counter((trial["seed"], trial.get("finetuning_seed")) for trial in trials)
    (seed, finetuning), times = seeds.most_common(1)[0]
    if times > 1:
        finetuned = "" if finetuning is None else f" and finetuning_seed {finetuning}"
        raise ValueError(
            f"two trials have {what} and seed {seed}{finetuned}; expected one, so "
            "name whatever tells them apart in `tuned`."
        )


def _finished(trial, by):
    # A trial whose metric is not a number has diverged, whatever it says.
    return trial["outcome"] == "finished" and is_finite(trial.get(by))
