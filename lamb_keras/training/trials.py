"""What the trials of one experiment share: compiled programs, data, initial weights."""

import contextlib
import functools
import itertools
import threading
import time

import jax

from lamb_keras.optimizers import solvers
from lamb_keras.training import compilations, memory
from lamb_keras.training.checkpoints import Checkpoints
from lamb_keras.training.history import History
from lamb_keras.training.sharding import Sharding
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

    - `step(solver)`: the `Step` of a solver; `initial(seed)`: the `initial_weights`;
    - `alike(trial)`: what trials that train at once have in common but the solver;
    - `example()`: the shapes of the largest micro-batch, as `Task.loss` takes it;
    - `periods(trials, done)`: yields the `Period`s of alike trials after `done` steps;
    - `held_out(trial)`: the batches to evaluate on;
    - `complete(step, evaluator, progress, histories)`: adds what trained nets can do;
    - `summary(history)`: rows about a trial; `lengths()`: of the trainings.

    `width` is that of one `vmap`, None for as many trials as an accelerator holds;
    devices of a `sharding` train one trial at a time. `histories` has those of finished
    trials, by trial; `stopped` is to be set where one has failed and the others are to
    end.
    """

    # Arrays that lie on the device for all programs: see `Task.batch`.
    resident = ()
    # Steps between two checkpoints; None: after evaluations.
    steps_between_checkpoints: int | None = None

    def __init__(
        self,
        experiment,
        data,
        cache: TrialCache,
        width: int | None = None,
        sharding: Sharding | None = None,
    ):
        self.experiment, self.data, self.sharding = experiment, data, sharding
        self.histories, self._cache = {}, cache
        self.stopped = threading.Event()
        on_cpu = jax.default_backend() == "cpu"
        self._width = 1 if width is None and (on_cpu or sharding) else width
        self.made, self.locks, self.making = {}, {}, threading.Lock()  # of `once`
        self._compile_seconds = []

    @property
    def compile_seconds(self) -> float:
        return sum(self._compile_seconds)

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
            every = found.setdefault(solvers.base(trial.solver), {})
            every.setdefault(self.alike(trial), []).append(trial)
        return {solver: list(every.values()) for solver, every in found.items()}

    def run(self, group: list) -> list[History]:
        """Trains some trials at once, and saves what came of them."""
        started, before = time.perf_counter(), compilations.counts()
        histories = self.trained(group)
        counts = zip(compilations.counts(), before, strict=True)
        total, late, seconds = (now - then for now, then in counts)
        self._compile_seconds.append(seconds)
        for history in histories:
            history.seconds += (time.perf_counter() - started) / len(group)
            history.compilations, history.late_compilations = total, late
            self.histories[history.trial] = history
            self._cache.save(history, self.compile_seconds)
        self._cache.forget_checkpoints(group)
        return histories

    def trained(self, group: list) -> list[History]:
        """What came of some trials that train at once."""
        first, solver = group[0], solvers.base(group[0].solver)
        step, width = self.step(solver), self.width(solver)
        evaluator = self.evaluator(step.is_packed, width, self.size(first))
        histories = [History(trial, step.layers) for trial in group]
        initial = [self.initial(trial.seed) for trial in group]
        progress = start(step, initial, width, self.sharding)
        done, losses = 0, []
        with contextlib.ExitStack() as stack:
            checkpoints = None
            if folder := self._cache.checkpoints(group):
                checkpoints = Checkpoints(folder, self.steps_between_checkpoints)
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
        if self.stopped.is_set():
            raise Stopped

    @once
    def evaluator(self, packed: bool, width: int, size) -> Evaluator:
        """The evaluation of nets, which solvers share."""
        names = map(solvers.base, self.experiment.solvers)
        steps = (self.step(name) for name in names)
        step = next(step for step in steps if step.is_packed == packed)
        return Evaluator(step, width, self.sharding)

    def size(self, trial):
        """The part of a setting that decides the shapes of programs, if one does."""

    def report(self, histories: list[History], done: int, evaluated: bool):
        """Says how far a training is, after each call of its program."""

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
