"""All trials of an experiment, through few compiled programs."""

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

import jax
from tqdm import tqdm

from lamb_keras.cpu import processors
from lamb_keras.results import statistics
from lamb_keras.store import environment, events, scraps
from lamb_keras.training.history import History
from lamb_keras.training.trial_cache import TrialCache


@dataclass
class Sweep:
    """All trials of an experiment, in its order, and then the confirmations.

    Attributes:
        histories: of the trials.
        trials: a dict a trial, of BERT a trial and fine-tuning: what it was and what
            came of it, and whether it is a `confirmation`, by one of the
            `confirmation_seeds`.
        steps: the lengths of the trainings, a dict a batch size.
        references: what BERT's trials are to be compared with.
        seconds: that it took, in earlier sessions too.
        compile_seconds: of these, those of compiling, summed over threads.
    """

    histories: list[History]
    trials: list[dict]
    steps: list[dict]
    references: dict
    seconds: float
    compile_seconds: float

    @property
    def late_compilations(self) -> int:
        """Programs compiled by trials that should have found theirs compiled."""
        return sum(history.late_compilations for history in self.histories)

    def __str__(self):
        lost = sum(history.outcome == "diverged" for history in self.histories)
        return (
            f"{len(self.histories)} trials in {self.seconds:.0f} s, {lost} diverged; "
            f"of these, {self.compile_seconds:.0f} s compiling, summed over threads."
        )

    def glue(self, experiment, data, **more):
        """Records in a notebook what the summary of all tables has to know of a run.

        And last, that it ran to its end.
        """
        known = {
            "parameters": dataclasses.asdict(experiment),
            "dataset": data.describe(),
            "environment": environment.describe(),
            "steps": self.steps,
            "trials": self.trials,
            **({"references": self.references} if self.references else {}),
            **more,
            "finished": True,
        }
        for name, value in known.items():
            scraps.glue(name, value)

    def of(self, **setting) -> list:
        """The trials whose fields have these values, in order.

        `sweep.of(solver="lamb", learning_rate=0.01)[0]` is that setting's first seed.
        """
        return [
            history.trial
            for history in self.histories
            if setting.items() <= history.trial._asdict().items()
        ]

    def curves(self, chosen: dict[str, dict] | None = None) -> list[dict]:
        """A row a trial and evaluation, as `History.curve` gives them.

        Args:
            chosen: solver to setting: of these trials alone. None: of all.
        """
        return [
            row
            for history in self.histories
            if chosen is None or _is_chosen(history.trial, chosen)
            for row in history.curve()
        ]

    def trust_ratios(self, trial) -> list[dict]:
        """A row an evaluation and layer: trust_ratio, weight_norm, update_norm.

        Empty for solvers that have no trust ratio.
        """
        (history,) = (each for each in self.histories if each.trial == trial)
        return history.trust_ratios()


def _is_chosen(trial, chosen):
    setting = chosen.get(trial.solver)
    return setting is not None and setting.items() <= trial._asdict().items()


def run(
    make_trials: Callable, experiment, data, threads: int | None, streamed: bool = False
) -> Sweep:
    """Trains every trial of an experiment and evaluates it.

    Each solver is compiled once. On the CPU several trials are trained at once, in
    threads (XLA computes outside Python's lock); on an accelerator those that are alike
    but for their numbers are one `vmap`, as many as its memory holds. A trial whose
    loss is beyond use has diverged: it stops there and is recorded so.

    Where there are `confirmation_seeds`, the setting of each solver and batch that is
    best on held-out data is then trained with these seeds.

    A sweep that was ended and is started again trains only what had not finished; see
    `lamb_keras.training.trial_cache`.

    `make_trials` is a function of (experiment, data, a `TrialCache`) to `Trials`.
    """
    started = time.perf_counter()
    if threads is None:
        threads = int(os.environ.get("LAMB_KERAS_THREADS", processors()))
    if streamed or jax.default_backend() != "cpu" or jax.process_count() > 1:
        threads = 1
    cache = TrialCache(experiment, data, streamed)
    trials, planned = make_trials(experiment, data, cache), experiment.trials()
    groups, known = trials.groups(planned), len(trials.histories)

    with _progress(_count(experiment, planned), known) as tell:

        def run_group(group):
            for history in trials.run(group):
                tell(history)

        def run_groups(groups, *first):
            jobs = [lambda g=group: run_group(g) for group in groups]
            return _in_threads(threads, [*first, *jobs], trials.stopped)

        references, *_ = run_groups(groups, trials.references)
        confirmations = _confirmations(experiment, planned, trials)
        groups = trials.groups(confirmations)
        for trial in confirmations:
            if trial in trials.histories:
                tell(trials.histories[trial])
        run_groups(groups)
    cache.close()
    histories = [trials.histories[trial] for trial in (*planned, *confirmations)]
    return Sweep(
        histories,
        [
            row | {"confirmation": history.trial.seed in experiment.confirmation_seeds}
            for history in histories
            for row in trials.summary(history)
        ],
        trials.lengths(),
        references,
        cache.seconds + time.perf_counter() - started,
        cache.compile_seconds + trials.compile_seconds,
    )


def _count(experiment, planned):
    tuned = {(trial.solver, trial.batch_size) for trial in planned}
    return len(planned) + len(tuned) * len(experiment.confirmation_seeds)


def _confirmations(experiment, planned, trials):
    """The trials of the chosen settings with seeds that had no say in the choice."""
    found = []
    for alike in statistics.grouped(
        planned, lambda t: (t.solver, t.batch_size)
    ).values():
        rows = [
            row for trial in alike for row in trials.summary(trials.histories[trial])
        ]
        setting = statistics.choose(statistics.of_first_form(rows)).setting
        best = next(t for t in alike if setting.items() <= t._asdict().items())
        found += [best._replace(seed=seed) for seed in experiment.confirmation_seeds]
    return found


def _in_threads(threads, jobs, stopped):
    """What the jobs return; where one fails the others are stopped."""
    if threads == 1:  # where signals come, and an error is seen at once
        return [job() for job in jobs]
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            # The other threads stop at their next evaluation; nothing new is begun.
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]


@contextlib.contextmanager
def _progress(total: int, done: int):
    """A bar of finished trials; gives the function to tell it of each one's history.

    In a batch, which shows a status of its own, events say it instead.
    """
    device = jax.devices()[0].device_kind
    events.emit("trials planned", total=total, done=done, device=device)
    watched, numbers = events.VARIABLE in os.environ, itertools.count(done + 1)
    shown = {"unit": "trial", "mininterval": 1, "disable": watched}
    with tqdm(total=total, initial=done, **shown) as bar:

        def tell(history):
            bar.set_postfix_str(str(history.trial), refresh=False)
            bar.update()
            events.emit(
                "trial finished",
                done=next(numbers),
                total=total,
                label=str(history.trial),
                outcome=history.outcome,
                seconds=history.seconds,
            )

        yield tell
