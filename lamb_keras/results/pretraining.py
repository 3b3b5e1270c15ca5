"""From BERT's trials to the cells of Tables 1, 2, 4 and 8, and what pre-training gave.

A trial here is one fine-tuning of one pre-training, with the numbers of both: `seed` is
the pre-training's and `finetuning_seed` its own. A pre-training that diverged is one
trial, which was never fine-tuned.

A run may have controls, which no cell of the paper's is made of: a mixed batch without
a second warm-up, rates around the rule's, other solvers in Table 4.
"""

from collections.abc import Iterable, Sequence

from lamb_keras.results import paper, statistics
from lamb_keras.results.statistics import count, is_finite


def cells(trials: Sequence[dict], table: int) -> list[dict]:
    """The cells that the trials of a run make: of its table, and of those it fills too.

    Where a cell's trials have several settings, it is of the one with the best
    accuracy in predicting masked words of held-out text. F1 is the mean over all
    fine-tunings, minutes over the pre-trainings. Rows of other tables that the paper
    does not have are left out.
    """
    own, made = paper.tables()[table], []
    for published in (own, *(paper.tables()[number] for number in own.fills)):
        places = _places(trials, published, own)
        rows = len({row for row, _ in places})
        for (row, column), group in places.items():
            place = {"table": published.number, "row": row, "column": column}
            if own.solver and len(set(map(_setting, group))) == 1:
                group = statistics.of_sweep(group)  # a row of settings
            cell = place | _cell(group, published.columns[column].metric)
            if cell["settings_tried"] > 1:
                cell["chosen"] |= _peak(cell["chosen"], group)
            else:
                # Nothing was chosen; in a table of settings a row is one of so many.
                cell["chosen"] = {}
                cell |= {"settings": rows} if published.solver else {}
            made.append(cell)
    return made


def of_chosen(curves: Iterable[dict], trials: Sequence[dict], table: int) -> list[dict]:
    """Of curves, those of the settings that cells of the table are made of.

    Each gets the `steps` of its whole pre-training. Controls and confirmations are left
    out.
    """
    published, steps = paper.tables()[table], {}
    own = [trial for trial in trials if not _besides(trial, published, trials)]
    for group in _places(own, published, published).values():
        setting = {"solver": group[0]["solver"]} | statistics.choose(group).setting
        steps[_setting(setting)] = group[0].get("steps")
    shown = ((row, _setting(row)) for row in statistics.of_sweep(curves))
    return [row | {"steps": steps[key]} for row, key in shown if key in steps]


def once(trials: Iterable[dict]) -> list[dict]:
    """One trial of each pre-training, for what does not depend on the fine-tuning."""
    by_pretraining = statistics.grouped(trials, lambda t: (_setting(t), t["seed"]))
    return [first for first, *_ in by_pretraining.values()]


def worth(trials: Sequence[dict], references: dict) -> list[str]:
    """What the pre-training of a run is worth, in sentences: by its loss, and by F1.

    `references` are unigram_entropy in nats, the f1 of an untrained net, and f1 by
    finetuning seed without_pretraining.
    """
    sentences, every = [], once(trials)
    entropy = references.get("unigram_entropy")
    losses = sorted(filter(is_finite, (t.get("validation_loss") for t in every)))
    if losses and is_finite(entropy):
        low, high = losses[0], losses[-1]
        below, least = (
            f"{abs(entropy - n):.3f} nats {'below' if n <= entropy else 'above'}"
            for n in (low, high)
        )
        ends = f"at {low:.3f}, {below}"
        if len(losses) > 1:
            ends = (
                f"between {low:.3f} and {high:.3f} ({len(losses)} of {len(every)} "
                f"pre-trainings came through), from {below} to {least}"
            )
        sentences.append(
            f"The held-out loss on masked words ends {ends} the {entropy:.3f} of "
            "guessing words by their frequency."
        )
    finished = [trial for trial in trials if trial["outcome"] == "finished"]
    without = [row["f1"] for row in references.get("without_pretraining", ())]
    untrained = references.get("untrained", {}).get("f1")
    if finished and without and is_finite(untrained):
        best = max(finished, key=lambda trial: trial["validation_accuracy"])
        ours = [t["f1"] for t in finished if once([best, t]) == [best]]
        gain = statistics.mean(ours) - statistics.mean(without)
        sentences.append(
            "F1 of the pre-training with the best held-out accuracy is "
            f"{_mean(ours)} over {count(len(ours), 'fine-tuning')}, without "
            f"pre-training {_mean(without)} over {len(without)}, of an untrained net "
            f"{untrained:.3f}: pre-training {'adds' if gain >= 0 else 'takes'} "
            f"{abs(gain):.3f}."
        )
    return sentences


def _mean(values):
    spread = statistics.spread(values)
    shown = "" if spread is None else f" ± {spread:.3f}"
    return f"{statistics.mean(values):.3f}{shown}"


def _setting(row):
    return tuple(row.get(name) for name in ("solver", *statistics.SETTING))


def _places(trials, table, own):
    """The trials of each cell, by row and column; `own` is the table of their run."""
    places = {}
    for trial in statistics.of_first_form(trials):
        row = table.label_of(trial) + _besides(trial, own, trials)
        if table is own or row in table.labeled_rows():
            for name in table.results:
                if table.columns[name].holds.items() <= trial.items():
                    places.setdefault((row, name), []).append(trial)
    return places


def _besides(trial, own, trials):
    """What makes a trial a control, to be added to the name of its row."""
    if trial.get("rewarmup") is False:
        return ", without a second warm-up"
    if own.solver and trial["solver"] != own.solver:
        return f", {trial['solver']}"
    if "learning_rate" in own.settings:
        # The rule's, at the batch that it is for: the largest.
        rate = own.rows[-1]["learning_rate"]
        tried = {t["learning_rate"] for t in trials if t["solver"] == own.solver}
        if rate in tried and trial["learning_rate"] != rate:
            return f", learning rate {trial['learning_rate']}"
    return ""


def _cell(trials, metric):
    trials = trials if metric == "f1" else once(trials)
    if metric != "last_step":
        return statistics.best(trials, metric)
    # The last step as the paper prints it, also where training diverged.
    lines = [f"loss={t['last_loss']:.5f}, step={t['last_step']}" for t in trials]
    told = statistics.cell(statistics.Choice({}, "run", [], 1), trials, metric)
    return told | {"value": "; ".join(lines), "n": len(lines)}


def _peak(setting, trials):
    """A setting's highest learning rate, where its own is that of another batch."""
    of_it = (t for t in trials if all(t[name] == n for name, n in setting.items()))
    peak = next(of_it, {}).get("peak_learning_rate")
    known = peak not in (None, setting["learning_rate"])
    return {"peak_learning_rate": peak} if known else {}
