"""Many trials of one experiment through few compiled programs."""

import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import jax
import numpy as np
from tqdm import tqdm

from lamb_keras import events
from lamb_keras.data import Split
from lamb_keras.processors import processors
from lamb_keras.training.compilations import compilations
from lamb_keras.training.experiment import DECAYING_SOLVERS, Experiment, Trial
from lamb_keras.training.program import Program, initial_weights


@dataclass
class History:
    """One trial from its first epoch to its outcome."""

    trial: Trial
    layers: list[str]
    # A value an epoch; shorter than the training if it diverged.
    train_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    trust_ratios: list[np.ndarray] = field(default_factory=list)
    test_accuracy: float | None = None
    # The first step whose loss, or after which the loss, was not a finite number.
    diverged_at_step: int | None = None
    seconds: float = 0.0
    compilations: int = 0

    @property
    def outcome(self) -> str:
        return "finished" if self.diverged_at_step is None else "diverged"

    def summary(self, weight_decay: float) -> dict:
        """One line about the trial: what it was and what came of it."""
        finished = self.outcome == "finished"
        return {
            **self.trial._asdict(),
            "weight_decay": (
                weight_decay if self.trial.solver in DECAYING_SOLVERS else None
            ),
            "outcome": self.outcome,
            "diverged_at_step": self.diverged_at_step,
            "validation_accuracy": self.validation_accuracy[-1] if finished else None,
            "test_accuracy": self.test_accuracy,
            "train_loss": self.train_loss[-1],
            "seconds": self.seconds,
            "compilations": self.compilations,
        }


@dataclass
class Sweep:
    """All trials of an experiment, in the experiment's order."""

    experiment: Experiment
    histories: list[History]
    seconds: float
    # Summed over the threads that compile.
    compile_seconds: float

    @property
    def trials(self) -> list[dict]:
        """One dict a trial, as `History.summary` gives it."""
        return [h.summary(self.experiment.weight_decay) for h in self.histories]

    @property
    def late_compilations(self) -> int:
        """Programs compiled by trials that were not the first of their solver."""
        seen, late = set(), 0
        for history in sorted(self.histories, key=lambda h: -h.compilations):
            if history.trial.solver in seen:
                late += history.compilations
            seen.add(history.trial.solver)
        return late

    def curves(self, chosen: dict[str, float] | None = None) -> list[dict]:
        """A row a trial and epoch: its numbers, train_loss and validation_accuracy.

        Args:
            chosen: solver to learning rate; only these trials are told. None: all.
        """
        return [
            {
                **history.trial._asdict(),
                "epoch": epoch,
                "train_loss": loss,
                "validation_accuracy": accuracy,
            }
            for history in self.histories
            if chosen is None
            or chosen.get(history.trial.solver) == history.trial.learning_rate
            for epoch, (loss, accuracy) in enumerate(
                zip(history.train_loss, history.validation_accuracy, strict=True), 1
            )
        ]

    def trust_ratios(self, trial: Trial) -> list[dict]:
        """A row an epoch and layer: trust_ratio, weight_norm, update_norm.

        Empty for solvers that have no trust ratio.
        """
        (history,) = (h for h in self.histories if h.trial == trial)
        return [
            {
                "epoch": epoch,
                "layer": layer,
                "trust_ratio": float(ratio),
                "weight_norm": float(weight_norm),
                "update_norm": float(update_norm),
            }
            for epoch, record in enumerate(history.trust_ratios, 1)
            for layer, (ratio, weight_norm, update_norm) in zip(
                history.layers, record.T, strict=False
            )
        ]


def sweep(
    experiment: Experiment,
    images: Split,
    make_model: Callable,
    threads: int | None = None,
    width: int | None = None,
) -> Sweep:
    """Trains every trial of an experiment and judges it.

    Each solver is compiled once. On the CPU the trials of a solver go one after
    another through that program, several solvers at a time in threads (XLA computes
    outside Python's lock); on an accelerator all trials of a solver are one `vmap`.
    A trial whose loss is no longer finite has diverged: it stops there and is told so.

    Args:
        experiment: what is run.
        images: the data, with its held-out part.
        make_model: a function of (image_shape, classes, seed) to a Keras model; the
            trials of one seed start from the same weights, whatever their solver.
        threads: how many trials are trained at once on a CPU; by default what
            LAMB_KERAS_THREADS says, else one a processor.
        width: trials in one `vmap`; by default 1 on a CPU, else a solver's all.

    Returns:
        A `Sweep`.
    """
    on_cpu = jax.default_backend() == "cpu"
    if threads is None:
        chosen = os.environ.get("LAMB_KERAS_THREADS", processors())
        threads = int(chosen) if on_cpu else 1
    if width is None:
        width = 1 if on_cpu else len(experiment.learning_rates) * len(experiment.seeds)
    started = time.perf_counter()
    trials = experiment.trials()
    runner = _Runner(experiment, images, make_model, width)
    events.emit("trials planned", total=len(trials))

    watched = events.VARIABLE in os.environ
    with (
        tqdm(total=len(trials), unit="trial", mininterval=1, disable=watched) as bar,
        ThreadPoolExecutor(threads) as pool,
    ):

        def run(group):
            for history in runner.run(group):
                bar.set_postfix_str(str(history.trial), refresh=False)
                bar.update()
                events.emit(
                    "trial finished",
                    done=len(runner.histories),
                    total=len(trials),
                    label=str(history.trial),
                    outcome=history.outcome,
                    seconds=history.seconds,
                )

        futures = [pool.submit(run, group) for group in _groups(trials, width)]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            # The other threads stop at their next epoch; nothing new is begun.
            runner.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return Sweep(
        experiment,
        [runner.histories[trial] for trial in trials],
        time.perf_counter() - started,
        sum(program.compile_seconds for program in runner.programs.values()),
    )


def _groups(trials, width):
    """Trials that run together: of one solver, at most `width`.

    The solvers take turns, so that several threads begin by compiling different ones.
    """
    by_solver = {}
    for trial in trials:
        groups = by_solver.setdefault(trial.solver, [[]])
        if len(groups[-1]) == width:
            groups.append([])
        groups[-1].append(trial)
    rounds = max(len(groups) for groups in by_solver.values())
    return [
        groups[i]
        for i in range(rounds)
        for groups in by_solver.values()
        if i < len(groups)
    ]


class _Runner:
    """What the threads of one sweep share."""

    def __init__(self, experiment, images, make_model, width):
        self.experiment = experiment
        self.stop = threading.Event()
        self.programs = {}
        self.histories = {}
        self._images = images
        self._make_model = make_model
        self._width = width
        self._locks = {name: threading.Lock() for name in experiment.solvers}
        self._data = jax.device_put(
            (
                images.train_images,
                images.train_labels,
                images.validation_images,
                images.validation_labels,
                images.test_images,
                images.test_labels,
            )
        )
        self._initial = {
            seed: initial_weights(
                make_model(images.train_images.shape[1:], images.classes, seed)
            )
            for seed in experiment.seeds
        }

    def run(self, group: list[Trial]) -> list[History]:
        started, compiled = time.perf_counter(), compilations()
        program = self._program(group[0].solver)
        histories = [History(trial, program.layers) for trial in group]
        # A last group may be short: its places are filled by copies, and not told.
        padded = group + [group[-1]] * (program.width - len(group))
        learning_rates = [trial.learning_rate for trial in padded]
        seeds = [trial.seed for trial in padded]
        state = program.start([self._initial[seed] for seed in seeds])

        for epoch in range(self.experiment.epochs):
            if self.stop.is_set():
                return []
            state, report = program.run_epoch(
                state, learning_rates, seeds, epoch, self._data
            )
            report = jax.tree.map(np.asarray, report)
            for i, history in enumerate(histories):
                if history.outcome == "finished":
                    one = report if program.width == 1 else _at(report, i)
                    _record(history, one, len(self._images.validation_labels))
            if all(history.outcome == "diverged" for history in histories):
                break
        else:
            correct = np.atleast_1d(program.run_test(state, self._data)[1])
            for history, answers in zip(histories, correct, strict=False):
                if history.outcome == "finished":
                    history.test_accuracy = int(answers) / len(self._images.test_labels)

        for history in histories:
            history.seconds = (time.perf_counter() - started) / len(group)
            history.compilations = compilations() - compiled
            self.histories[history.trial] = history
        return histories

    def _program(self, name):
        with self._locks[name]:
            if name not in self.programs:
                self.programs[name] = Program(
                    self.experiment, name, self._images, self._make_model, self._width
                )
            return self.programs[name]


def _at(report, i):
    return jax.tree.map(lambda leaf: leaf[i], report)


def _record(history, report, held_out):
    """Adds an epoch to a trial's history, or finds that it diverged."""
    steps_before = len(history.train_loss) * len(report.losses)
    history.train_loss.append(float(np.mean(report.losses)))
    history.validation_accuracy.append(int(report.validation_correct) / held_out)
    history.trust_ratios.append(report.trust_ratios)
    lost = np.flatnonzero(~np.isfinite(report.losses))
    if lost.size:
        history.diverged_at_step = steps_before + int(lost[0]) + 1
    elif not math.isfinite(report.validation_loss):
        history.diverged_at_step = steps_before + len(report.losses)
