"""The training of all trials of an experiment, through few compiled programs."""

import contextlib
import functools
import itertools
import math
import os
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import jax

from lamb_keras.cpu import processors
from lamb_keras.deadline import Deadline
from lamb_keras.names import base
from lamb_keras.results import statistics
from lamb_keras.training import compilations, memory, processes
from lamb_keras.training.checkpoints import Checkpoints
from lamb_keras.training.history import History, Sweep
from lamb_keras.training.preemption import Notice, Preempted
from lamb_keras.training.progress_bar import ProgressBar
from lamb_keras.training.sharding import Sharding
from lamb_keras.training.step import Step, optimizer
from lamb_keras.training.trainer import Evaluator, start, train
from lamb_keras.training.trial_cache import TrialCache


class Stopped(Exception):
    """Another thread has failed: this one ends too."""


def once(method):
    """A method of `Trials` that makes what it returns once, for all threads."""

    @functools.wraps(method)
    def wrapper(self, *of):
        key = method.__name__, *of
        with self.making:
            lock = self.locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self.made:
                with compilations.expected():
                    self.made[key] = method(self, *of)
            return self.made[key]

    return wrapper


class Trials:
    """The trials of an experiment, which several threads may run.

    Subclasses say what an experiment trains, and on what:

    - `task()`: the `Task`; `initial(seed)`: the `initial_weights`;
    - `alike(trial)`: what trials that train at once have in common but the solver;
    - `example()`: the shapes of the largest micro-batch, as `Task.loss` takes it;
    - `periods(trials, done)`: yields the `Period`s of alike trials after `done` steps;
    - `held_out(trial)`: the batches to evaluate on;
    - `complete(step, evaluator, progress, histories)`: adds what trained nets can do;
    - `length(trial)`: of its training; `measured(history)`: what the rows of a trial,
      of which it has one or several, tell besides what all experiments' do.

    `sweep` has `groups` of trials, each by `_run`: `trained` gives the `periods` to
    `trainer.train`, then comes `complete`; `rows` tell what came of it.

    `width` is that of one `vmap`, None for as many trials as an accelerator holds;
    devices of a `sharding` train one trial at a time. `histories` has those of finished
    trials, by trial.
    """

    # Whether data are read while it trains, one trial at a time.
    streamed = False
    # Arrays that lie on the device for all programs: see `Task.batch`.
    resident = ()
    # Steps between two checkpoints; None: after evaluations.
    steps_between_checkpoints: int | None = None

    def __init__(self, experiment, data, width: int | None, sharding: Sharding | None):
        self.experiment, self.data, self.sharding = experiment, data, sharding
        self.histories, self._cache = {}, TrialCache(experiment, data, self.streamed)
        self._stopped = threading.Event()  # where a trial failed, and all are to end
        self._deadline = Deadline.of(os.environ)
        self.notice = Notice(self._deadline)
        self._preempted = None  # by what a training ended before its end
        self._compiled = set()  # the solvers that have trained here
        on_cpu = jax.default_backend() == "cpu"
        self._width = 1 if sharding or (width is None and on_cpu) else width
        if sharding:
            experiment.check_devices(sharding.size)
        self.made, self.locks, self.making = {}, {}, threading.Lock()  # of `once`
        self._compile_seconds = []

    def sweep(self, threads: int | None = None) -> Sweep:
        """Trains every trial and evaluates it.

        Each solver is compiled once. On the CPU several trials are trained at once, in
        threads (XLA computes outside Python's lock); on an accelerator those that are
        alike but for their numbers are one `vmap`, as many as its memory holds. A trial
        whose loss is beyond use has diverged: it stops there and is recorded so.

        Where there are `confirmation_seeds`, the setting of each solver and batch that
        is best on held-out data is then trained with these seeds.

        A sweep that was ended and is started again trains only what had not finished;
        see `lamb_keras.training.trial_cache`. Until a `lamb_keras.deadline` it trains
        what can end in time, and then raises `Preempted` if anything is left.

        Args:
            threads: how many train at once on a CPU; by default what LAMB_KERAS_THREADS
                says, else one a processor.
        """
        if threads is None:
            threads = int(os.environ.get("LAMB_KERAS_THREADS", processors()))
        if self.streamed or self.sharding or jax.default_backend() != "cpu":
            threads = 1
        planned, seeds = self.experiment.trials(), self.experiment.confirmation_seeds
        groups, known = self.groups(planned), len(self.histories)
        choices = statistics.grouped(planned, lambda t: (t.solver, t.batch_size))
        total = len(planned) + len(choices) * len(seeds)
        with contextlib.ExitStack() as stack:
            self._bar = stack.enter_context(ProgressBar(total, known))
            if self._cache.folder:
                stack.enter_context(self.notice)

            def run(groups, *first):
                jobs = [functools.partial(self._run, group) for group in groups]
                _in_threads(threads, [*first, *jobs], self._stopped)
                left = sum(t not in self.histories for group in groups for t in group)
                if left:
                    raise self._preempted or Preempted(
                        f"{left} of {total} trials are left, which would not end in "
                        "time: start it again to go on."
                    )

            # Where the time is limited, trials, which are kept, come first.
            unlimited = processes.told(self._deadline.left == math.inf)
            run(groups, *[self._references][:unlimited])
            best = [self._best(alike) for alike in choices.values()]
            confirmations = [t._replace(seed=seed) for t in best for seed in seeds]
            groups = self.groups(confirmations)
            for trial in confirmations:
                if trial in self.histories:
                    self._bar.finish(self.histories[trial])
            run(groups)
            references = self._references()
        self._cache.close()
        histories = [self.histories[trial] for trial in (*planned, *confirmations)]
        of_batches = {trial.batch_size: trial for trial in planned}
        return Sweep(
            histories,
            [row for history in histories for row in self.rows(history)],
            [{"batch_size": n, **self.length(t)} for n, t in of_batches.items()],
            references,
            self._cache.seconds,
            self._cache.compile_seconds + sum(self._compile_seconds),
        )

    def _best(self, alike):
        """A trial of the chosen one of these settings."""
        rows = [row for trial in alike for row in self.rows(self.histories[trial])]
        setting = statistics.choose(statistics.of_first_form(rows)).setting
        return next(t for t in alike if setting.items() <= t._asdict().items())

    def rows(self, history: History) -> list[dict]:
        """What a trial was and what came of it, of BERT a row a fine-tuning."""
        trial, held_out = history.trial, history.held_out
        about = {
            **trial._asdict(),
            "outcome": history.outcome,
            "diverged_at_step": history.diverged_at_step,
            "peak_learning_rate": self.experiment.peak_learning_rate(trial),
            "train_loss": history.last.get("train_loss"),
            "validation_accuracy": held_out.get("validation_accuracy"),
            "steps": self.length(trial)["steps"],
            "seconds": history.seconds,
            "compilations": history.compilations,
            "confirmation": trial.seed in self.experiment.confirmation_seeds,
        }
        return [about | measured for measured in self.measured(history)]

    @once
    def step(self, solver: str) -> Step:
        """The step of a solver, which all its trials take."""
        experiment = self.experiment
        of_solver = optimizer(experiment, solver)
        return Step(self.task(), of_solver, experiment.packed_update)

    def rates_and_decays(self, trials: list, *steps) -> list[tuple]:
        """Of each trial, the learning rate and the weight decay of every step."""
        rates = self.experiment.learning_rates_by_step
        decays = self.experiment.weight_decays_by_step
        return [(rates(trial, *steps), decays(trial, *steps)) for trial in trials]

    def groups(self, trials: list) -> list[list]:
        """Those of the trials that are left, as they train at once.

        The solvers take turns.
        """
        self.histories |= self._cache.find(trials)
        groups = [
            [some for each in alike for some in _batched(each, self.width(solver))]
            for solver, alike in self._by_solver(trials).items()
        ]
        # Grouped as if none were known: a program's width is part of its numbers.
        left = [
            [trial for trial in group if trial not in self.histories]
            for group in round_robin(groups)
        ]
        return [group for group in left if group]

    def width(self, solver: str) -> int:
        """How many trials of a solver train at once."""
        most = max(map(len, self._by_solver(self.experiment.trials())[solver]))
        if self._width is not None:
            return min(most, self._width)
        return self._fitting(solver, most)

    @once
    def _fitting(self, solver, most):
        step = self.step(solver)
        initial = self.initial(self.experiment.seeds[0])
        return memory.width(most, memory.trial_bytes(step, initial, self.example()))

    def _by_solver(self, trials):
        """Solver to lists of trials that may train at once."""
        found = {}
        for trial in trials:
            every = found.setdefault(base(trial.solver), {})
            every.setdefault(self.alike(trial), []).append(trial)
        return {solver: list(every.values()) for solver, every in found.items()}

    def _run(self, group):
        """Trains some trials at once, saves what came of them and tells of it.

        Nothing is begun that is not expected to end in time, or after a notice of the
        end; a training that this ends has saved a checkpoint.
        """
        begun = self._cache.checkpoints(group)
        seconds = None if begun and begun.exists() else self._expected(group)
        if self._preempted:
            return
        if self.notice.reached():
            self._preempted = Preempted("asked to end between trials: start it again.")
            return
        # Processes train together, and their clocks differ.
        if not processes.told(self._deadline.allows(seconds)):
            return
        started, before = time.perf_counter(), compilations.counts()
        try:
            histories = self.trained(group)
        except Preempted as error:
            self._preempted = error
            return
        counts = zip(compilations.counts(), before, strict=True)
        total, late, seconds = (now - then for now, then in counts)
        self._compile_seconds.append(seconds)
        device = jax.devices()[0].device_kind
        for history in histories:
            history.seconds += (time.perf_counter() - started) / len(group)
            history.at_once, history.device = len(group), device
            history.compilations, history.late_compilations = total, late
            self.histories[history.trial] = history
            self._cache.save(history, sum(self._compile_seconds))
        self._cache.forget_checkpoints(group)
        self._compiled.add(base(group[0].solver))
        for history in histories:
            self._bar.finish(history)

    def _expected(self, group):
        """The seconds that some trials take, by those of their length; None if unknown.

        Where their program is compiled already, by those that found theirs compiled.
        """
        length, solver = self.length(group[0]), base(group[0].solver)
        known = [
            history
            for history in list(self.histories.values())
            if self.length(history.trial) == length and history.outcome == "finished"
        ]
        if solver in self._compiled:
            known = [each for each in known if not each.compilations] or known
        return max((each.seconds * each.at_once for each in known), default=None)

    def trained(self, group: list) -> list[History]:
        """What came of some trials that train at once."""
        first, solver = group[0], base(group[0].solver)
        step, width = self.step(solver), self.width(solver)
        evaluator = self.evaluator(step.is_packed, width, self.size(first))
        histories = [History(trial, step.layers) for trial in group]
        initial = [self.initial(trial.seed) for trial in group]
        weights = jax.tree.leaves(initial)
        processes.check_alike(f"what {first} starts from", weights)
        progress = start(step, initial, width, self.sharding)
        done, losses = 0, []
        with contextlib.ExitStack() as stack:
            checkpoints = None
            if folder := self._cache.checkpoints(group):
                every = self.steps_between_checkpoints
                checkpoints = Checkpoints(folder, every, self.notice)
                stack.enter_context(checkpoints)
                if found := checkpoints.restore(progress, group):
                    done, progress, histories, losses = found
            progress = train(
                progress,
                histories,
                stack.enter_context(contextlib.closing(self._periods(group, done))),
                lambda progress: evaluator.metrics(progress, self.held_out(first)),
                data=self.resident,
                checkpoints=checkpoints,
                losses=losses,
                report=self.report,
            )
        if any(history.outcome == "finished" for history in histories):
            self.complete(step, evaluator, progress, histories)
        return histories

    def _periods(self, group, done):
        with contextlib.closing(self.periods(group, done)) as periods:
            for period in periods:
                self.go_on()
                yield period

    def go_on(self):
        """Raises `Stopped` where this thread is to end."""
        if self._stopped.is_set():
            raise Stopped

    @once
    def evaluator(self, packed: bool, width: int, size) -> Evaluator:
        """The evaluation of nets, which solvers share."""
        names = map(base, self.experiment.rows)
        steps = (self.step(name) for name in names)
        step = next(step for step in steps if step.is_packed == packed)
        return Evaluator(step, width, self.sharding)

    def size(self, trial):
        """The part of a setting that decides the shapes of programs, if one does."""

    def report(self, histories: list[History], done: int, evaluated: bool):
        """Says how far a training is, after each call of its program."""
        trials = [history.trial for history in histories]
        self._bar.steps(trials, done, self.length(trials[0])["steps"])

    @once
    def _references(self):
        return self.references()

    def references(self) -> dict:
        """What the trials are to be compared with."""
        return {}


def _batched(items, size):
    return [items[at : at + size] for at in range(0, len(items), size)]


def round_robin(groups_of_solvers) -> list:
    """The first group of each solver, then the second of each that has one, and so on.

    So threads begin by compiling different solvers.

    Example:
        >>> round_robin([["lamb 1", "lamb 2", "lamb 3"], ["lars 1"]])
        ['lamb 1', 'lars 1', 'lamb 2', 'lamb 3']
    """
    rounds = itertools.zip_longest(*groups_of_solvers)
    return [group for each in rounds for group in each if group is not None]


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
