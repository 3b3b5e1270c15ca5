"""Every trial of every run as one table, from which all verdicts follow."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lamb_keras.results import statistics
from lamb_keras.results.runs import Run
from lamb_keras.store import atomic

# What runs say of a trial, after the place where it was made.
OF_TRIALS = (
    *("solver", "batch_size", "learning_rate", "peak_learning_rate", "weight_decay"),
    *("weight_decay_form", "l2_regularization", "warmup_fraction", "rewarmup"),
    *("seed", "finetuning_seed", "confirmation", "outcome", "steps", "train_loss"),
    *("validation_loss", "validation_accuracy", "test_accuracy", "test_top5"),
    *("f1", "exact_match"),
)
COLUMNS = (
    *("scale", "table", "run", "dataset", *OF_TRIALS),
    # What guessing comes to: of words by their frequency, of images among classes; and
    # the mean F1 of fine-tunings from the start.
    *("unigram_entropy", "classes", "f1_without_pretraining"),
)


def frame(runs: Iterable[Run]) -> pd.DataFrame:
    """A row a trial of every run that succeeded, with the numbers of its setting.

    Of BERT a row is a fine-tuning of a pre-training. What a trial does not have is
    None. `confirmation` tells the seeds that had no say in the choice of a setting.
    """
    rows = [
        {name: trial.get(name) for name in OF_TRIALS}
        | {"scale": run.scale, "table": run.table, "run": run.name}
        | {"dataset": run.dataset.get("name"), "classes": run.dataset.get("classes")}
        | _references(run.scraps.get("references", {}))
        | {"confirmation": bool(trial.get("confirmation"))}
        for run in runs
        if run.succeeded
        for trial in run.trials
    ]
    # Whole numbers stay whole where others of the column are unknown.
    whole = dict.fromkeys(("finetuning_seed", "classes"), "Int64")
    every = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    return every.astype(whole).infer_objects()


def _references(known):
    without = [tuned["f1"] for tuned in known.get("without_pretraining", ())]
    return {
        "unigram_entropy": known.get("unigram_entropy"),
        "f1_without_pretraining": statistics.mean(without) if without else None,
    }


def write_csv(trials: pd.DataFrame, path: Path) -> Path:
    """Writes a line a trial to `path`, whole or not at all.

    Numbers are written so that they read back equal; what is not known is empty.
    """
    return atomic.write(path, trials.to_csv(index=False, lineterminator="\n"))
