"""Many trials of one experiment through few compiled programs."""

import functools
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import jax
import numpy as np

from lamb_keras.cpu import processors
from lamb_keras.data import Images, Streamed
from lamb_keras.experiments.image import ImageExperiment, Trial
from lamb_keras.models.layers import CHANNELS_LAST
from lamb_keras.models.precision import dtype_policy
from lamb_keras.optimizers import solvers
from lamb_keras.training import memory
from lamb_keras.training.accumulation import losses_taken
from lamb_keras.training.compilations import compilations, compile_seconds
from lamb_keras.training.history import History
from lamb_keras.training.kept import Kept
from lamb_keras.training.program import Chunks, Judge, Program
from lamb_keras.training.progress import progress
from lamb_keras.training.step import Step, initial_weights
from lamb_keras.training.together import apart, in_turns


@dataclass
class Sweep:
    """All trials of an experiment, in the experiment's order."""

    experiment: ImageExperiment
    histories: list[History]
    seconds: float
    # Summed over the threads that compile.
    compile_seconds: float
    # Whether the trials of a solver share a compiled program. On streamed data each
    # has its own: to compile is nothing beside its training.
    shares_programs: bool = True
    # Trials kept from earlier sittings, and from which: each sitting had to compile.
    sittings: dict[Trial, str] = field(default_factory=dict)

    @property
    def trials(self) -> list[dict]:
        """One dict a trial, as `History.summary` gives it."""
        return [history.summary() for history in self.histories]

    @property
    def late_compilations(self) -> int:
        """Programs compiled by trials that should have found theirs compiled."""
        if not self.shares_programs:
            return 0
        seen, late = set(), 0
        for history in sorted(self.histories, key=lambda h: -h.compilations):
            solver = solvers.base(history.trial.solver)
            program = solver, self.sittings.get(history.trial)
            if program in seen:
                late += history.compilations
            seen.add(program)
        return late

    @property
    def steps(self) -> list[dict]:
        """The lengths of the trainings, a row a batch size, ours and the paper's."""
        by_batch = {h.trial.batch_size: h.steps for h in self.histories}
        return [
            {
                "batch_size": batch_size,
                "images_per_step": steps.images_per_step,
                "steps": steps.total,
                "warmup_steps": steps.warmup,
                "published_steps": self.experiment.published_steps,
            }
            for batch_size, steps in by_batch.items()
        ]

    def of(self, **setting) -> list[Trial]:
        """The trials whose fields have these values, in order.

        `sweep.of(solver="lamb", learning_rate=0.01)[0]` is that setting's first seed.
        """
        return [
            history.trial
            for history in self.histories
            if all(getattr(history.trial, name) == v for name, v in setting.items())
        ]

    def curves(self, chosen: dict[str, dict] | None = None) -> list[dict]:
        """A row a trial and epoch: its numbers, train_loss and validation_accuracy.

        Args:
            chosen: solver to setting; only these trials are told. None: all.
        """
        return [
            {
                **history.trial._asdict(),
                "epoch": epoch,
                "train_loss": loss,
                "validation_accuracy": accuracy,
            }
            for history in self.histories
            if chosen is None or _is_chosen(history.trial, chosen)
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


def _is_chosen(trial, chosen):
    setting = chosen.get(trial.solver)
    return setting is not None and setting.items() <= trial.setting.items()


def sweep(
    experiment: ImageExperiment,
    images: Images | Streamed,
    make_model: Callable,
    threads: int | None = None,
    width: int | None = None,
) -> Sweep:
    """Trains every trial of an experiment and judges it.

    Each solver is compiled once. On the CPU the trials of a solver go one after
    another through that program, several at a time in threads (XLA computes outside
    Python's lock); on an accelerator as many as its memory holds are one `vmap`. A
    trial whose loss is beyond use has diverged: it stops there and is told so.

    Where LAMB_KERAS_TRIALS names a folder, a sweep that was ended and is started again
    trains only what had not finished: see `lamb_keras.training.kept`.

    On data that are streamed, the trials go one after another, each on all devices, and
    can be interrupted and gone on with: see `lamb_keras.training.one_by_one`.

    Args:
        experiment: what is run.
        images: the data, with its held-out part, from `lamb_keras.data.open`.
        make_model: a function of (image_shape, classes, seed=) to a Keras model; the
            trials of one seed start from the same weights, whatever their solver. On
            streamed data it is given `form=` too, as `lamb_keras.models.resnet50` is.
        threads: how many trials are trained at once on a CPU; by default what
            LAMB_KERAS_THREADS says, else one a processor.
        width: trials in one `vmap` on an accelerator; by default as many as fit, or a
            part of them where LAMB_KERAS_WIDTH_DIVISOR is set: half of them for 2. On a
            CPU there is no gain in it, and 1 is the default.

    Returns:
        A `Sweep`.

    Raises:
        lamb_keras.experiments.ParameterError: for trials that the data or the length of
            the training does not allow, before any starts.
    """
    if isinstance(images, Streamed):
        return _sweep_streamed(experiment, images, make_model)
    on_cpu = jax.default_backend() == "cpu"
    if threads is None:
        chosen = os.environ.get("LAMB_KERAS_THREADS", processors())
        threads = int(chosen) if on_cpu else 1
    started = time.perf_counter()
    trials = experiment.trials()
    if width is None and on_cpu:
        width = 1
    kept = Kept(experiment, images)
    runner = _Runner(experiment, images, make_model, width, kept)
    known = kept.histories
    # Grouped as if none were known: a program's width is part of its numbers.
    groups = [
        [trial for trial in group if trial not in known]
        for group in _groups(trials, runner.widths)
    ]

    with (
        progress(len(trials), len(known)) as tell,
        ThreadPoolExecutor(threads) as pool,
    ):

        def run(group):
            for history in runner.run(group):
                tell(history)

        futures = [pool.submit(run, group) for group in groups if group]
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
        kept.seconds + time.perf_counter() - started,
        kept.compile_seconds + runner.compile_seconds,
        sittings=kept.sittings,
    )


def _sweep_streamed(experiment, images, make_model):
    from lamb_keras.training import one_by_one  # Grain and Orbax take seconds

    started, compiling = time.perf_counter(), compile_seconds()
    # The form that suits a batch which is shared by several devices.
    make_model = functools.partial(make_model, form=CHANNELS_LAST)
    trained = one_by_one.histories(
        experiment, images, functools.partial(_model, experiment, images, make_model)
    )
    histories = []
    with progress(len(experiment.trials())) as tell:
        for history in trained:
            histories.append(history)
            tell(history)
    return Sweep(
        experiment,
        histories,
        time.perf_counter() - started,
        compile_seconds() - compiling,
        shares_programs=False,
    )


def _groups(trials, widths):
    """Trials that run together: of one solver and batch size, as many as its width.

    The solvers take turns, so that several threads begin by compiling different ones.
    """
    by_solver = {}
    for trial in trials:
        name = solvers.base(trial.solver)
        groups = by_solver.setdefault(name, [])
        alike = [g for g in groups if g[0].batch_size == trial.batch_size]
        if alike and len(alike[-1]) < widths[name]:
            alike[-1].append(trial)
        else:
            groups.append([trial])
    return in_turns(by_solver.values())


class _Runner:
    """What the threads of one sweep share."""

    def __init__(self, experiment, images, make_model, width, kept):
        self.experiment = experiment
        self.stop = threading.Event()
        self._programs = {}
        self.histories = dict(kept.histories)
        self._kept = kept
        self._images = images
        self._make_model = make_model
        names = {solvers.base(name) for name in experiment.solvers}
        self._locks = {name: threading.Lock() for name in names}
        self._judges, self._judging = {}, threading.Lock()
        for trial in experiment.trials():  # so that what can't be run is refused now
            steps = experiment.steps(trial, images.training_set)
            experiment.weight_decays_by_step(trial, steps)
        self._data = jax.device_put((images.train_images, images.train_labels))
        chunks = Chunks(images)
        self._held_out = jax.device_put(chunks.validation)
        self._test = jax.device_put(chunks.test)
        # One is traced by all solvers; of the others only the weights are of use.
        self._traced = self._model(experiment.seeds[0])
        self._initial = {
            seed: initial_weights(self._model(seed) if n else self._traced)
            for n, seed in enumerate(experiment.seeds)
        }
        self.widths = {name: width or self._fitting_width(name) for name in names}

    def _fitting_width(self, name):
        """How many trials of a solver the device holds at once."""
        size, _ = self.experiment.micro_batches()
        step = self._step(name)
        state = step.start(self._initial[self.experiment.seeds[0]])
        needed = memory.trial_bytes(
            state,
            jax.eval_shape(step.unpacked, state.weights),
            lambda weights, *batch: step.loss(weights, state.others, *batch),
            jax.ShapeDtypeStruct((size, *self._images.image_shape), "float32"),
            jax.ShapeDtypeStruct((size,), "int32"),
        )
        trials = self.experiment.trials()
        count = sum(solvers.base(trial.solver) == name for trial in trials)
        return memory.fitting(count, needed)

    def run(self, group: list[Trial]) -> list[History]:
        started, compiled = time.perf_counter(), compilations()
        program, judge = self._compiled(solvers.base(group[0].solver))
        histories = [
            History(
                trial,
                program.layers,
                self.experiment.steps(trial, self._images.training_set),
            )
            for trial in group
        ]
        feeds = [program.feed(trial) for trial in group]
        constants = program.constants(group)
        progress = program.start([self._initial[trial.seed] for trial in group])

        for period in zip(*feeds, strict=True):
            if self.stop.is_set():
                return []
            progress, losses, ratios = program.run_period(
                progress, list(period), constants, self._data
            )
            judged = judge(progress, self._held_out)
            told = (losses, progress.diverged_at_step, judged, ratios)
            told = apart(jax.tree.map(np.asarray, told), program.width)
            # A last group may be short: what else its program tells are copies.
            for history, feed, one in zip(histories, period, told, strict=False):
                if history.outcome == "finished":
                    self._record(history, feed, *one)
            if all(history.outcome == "diverged" for history in histories):
                break
        else:
            judged = apart(judge(progress, self._test), program.width)
            for history, one in zip(histories, judged, strict=False):
                if history.outcome == "finished":
                    history.finish(one, len(self._images.test_labels))

        for history in histories:
            history.seconds = (time.perf_counter() - started) / len(group)
            history.compilations = compilations() - compiled
            self.histories[history.trial] = history
            self._kept.finish(history, self.compile_seconds)
        return histories

    @property
    def compile_seconds(self):
        # Copied at once: other threads may be adding theirs.
        programs = [program for program, _ in list(self._programs.values())]
        compiled = [*programs, *self._judges.values()]
        return sum(each.compile_seconds for each in compiled)

    def _record(self, history, feed, losses, diverged_at_step, judged, ratios):
        history.record(
            losses_taken(feed, losses, diverged_at_step),
            feed.number.max(),
            diverged_at_step,
            judged,
            len(self._images.validation_labels),
            ratios,
        )

    def _compiled(self, name):
        """The program of a solver, and its judge: those of equal solvers are one."""
        width = self.widths[name]
        with self._locks[name]:
            if name not in self._programs:
                step = self._step(name)
                program = Program(self.experiment, step, self._images, width)
                with self._judging:
                    kind = width, step.packs
                    if kind not in self._judges:
                        self._judges[kind] = Judge(step, width, self._test[0])
                self._programs[name] = program, self._judges[kind]
        return self._programs[name]

    def _step(self, name):
        return Step(self.experiment, name, self._traced, self._images.normalize)

    def _model(self, seed):
        return _model(self.experiment, self._images, self._make_model, seed)


def _model(experiment, images, make_model, seed):
    with dtype_policy(experiment.dtype_policy):
        return make_model(images.image_shape, images.classes, seed=seed)
