"""From the BERT experiment's parameters to the outcome of every trial."""

import os
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import jax
import numpy as np

from lamb_keras import models
from lamb_keras.data import squad
from lamb_keras.data.library import Library
from lamb_keras.models.precision import dtype_policy
from lamb_keras.parameters import ParameterError
from lamb_keras.processors import processors
from lamb_keras.training import accumulation
from lamb_keras.training.bert import checkpoint
from lamb_keras.training.bert.experiment import Experiment, Trial
from lamb_keras.training.bert.finetuning import FineTuner
from lamb_keras.training.bert.history import History
from lamb_keras.training.bert.pretraining import (
    Judge,
    PretrainingStep,
    Program,
)
from lamb_keras.training.compilations import compilations, compile_seconds
from lamb_keras.training.kept import Kept
from lamb_keras.training.progress import progress as told_progress
from lamb_keras.training.step import initial_weights

# Held-out sequences that a pre-training is judged by, at most.
_HELD_OUT = 512


@dataclass
class Sweep:
    """All trials of an experiment, in the experiment's order.

    Attributes:
        histories: of the trials.
        references: what the F1 of the trials is to be compared with: see `sweep`.
        seconds: that it took.
        compile_seconds: of these, those of compiling, summed over threads.
    """

    experiment: Experiment
    library: Library = field(repr=False)
    histories: list[History] = field(repr=False)
    references: dict
    seconds: float
    compile_seconds: float
    # Programs compiled by trials that should have found theirs compiled.
    late_compilations: int

    @property
    def trials(self) -> list[dict]:
        """One dict a trial and fine-tuning, as `History.summaries` gives them."""
        return [line for history in self.histories for line in history.summaries()]

    @property
    def steps(self) -> list[dict]:
        """The lengths of the pre-trainings, a row a batch size."""
        rows = {}
        for history in self.histories:
            first, second = history.stages
            rows[history.trial.batch_size] = {
                "batch_size": history.trial.batch_size,
                "sequences_per_step": first.sequences_per_step,
                "second_sequences_per_step": second.sequences_per_step,
                "steps": first.steps + second.steps,
                "second_stage_steps": second.steps,
                "warmup_steps": self.experiment.warmup_steps(history.trial),
                "published_steps": self.experiment.published_steps(history.trial).total,
            }
        return list(rows.values())

    def curves(self) -> list[dict]:
        """A row a trial and look: its setting, stage, step, losses and accuracy."""
        return [
            {
                **history.trial._asdict(),
                "stage": look.stage,
                "step": look.step,
                "train_loss": look.train_loss,
                "validation_loss": look.validation_loss,
                "validation_accuracy": look.validation_accuracy,
            }
            for history in self.histories
            for look in history.looks
        ]

    def of(self, **setting) -> list[Trial]:
        """The trials whose fields have these values, in order."""
        return [
            history.trial
            for history in self.histories
            if all(getattr(history.trial, name) == v for name, v in setting.items())
        ]

    def trust_ratios(self, trial: Trial) -> list[dict]:
        """A row a look and variable: trust_ratio, weight_norm, update_norm.

        Empty for solvers that have no trust ratio.
        """
        (history,) = (h for h in self.histories if h.trial == trial)
        return [
            {
                "step": look.step,
                "layer": layer,
                "trust_ratio": float(ratio),
                "weight_norm": float(weight_norm),
                "update_norm": float(update_norm),
            }
            for look in history.looks
            for layer, (ratio, weight_norm, update_norm) in zip(
                history.layers, look.trust_ratios.T, strict=False
            )
        ]

    def answers(self, count: int) -> list[dict]:
        """Some dev questions, and what the best fine-tuning answers to them.

        Half of them right and half not, as far as there are such, in the questions'
        order.
        """
        tuned = [
            each
            for history in self.histories
            for each in history.finetunings
            if each.f1 is not None
        ]
        if not tuned:
            return []
        best = max(tuned, key=lambda each: each.f1)
        lines = [
            {
                "question": each.question,
                "context": each.context,
                "answers": each.references,
                "predicted": best.predictions[each.id],
                "f1": 100 * squad.f1(best.predictions[each.id], each.references),
            }
            for each in self.library.dev_questions
        ]
        right = [line for line in lines if line["f1"] == 100][: count // 2]
        wrong = [line for line in lines if line["f1"] < 100][: count - len(right)]
        return [line for line in lines if line in right or line in wrong]


def sweep(experiment: Experiment, library: Library, threads: int | None = None):
    """Pre-trains every trial of an experiment, fine-tunes from it and judges it.

    Each solver is compiled once for each stage and micro-batch. On the CPU several
    trials are trained at once, in threads. A trial whose loss is beyond use has
    diverged: it stops there, is told so, and is not fine-tuned.

    Where LAMB_KERAS_TRIALS names a folder, a sweep that was ended and is started again
    goes on where it was: finished trials are not trained again, and one that was under
    way goes on from its last look.

    To compare with, `references` has the unigram entropy of the held-out text, the
    number of questions, F1 and exact match of the net as it starts ("untrained") and
    of fine-tunings from there ("without_pretraining"), one a fine-tuning seed.

    Args:
        experiment: what is run.
        library: its text and questions, from `Experiment.open`.
        threads: how many trials are trained at once; by default what
            LAMB_KERAS_THREADS says, else one a processor, and one on an accelerator.

    Returns:
        A `Sweep`.

    Raises:
        lamb_keras.parameters.ParameterError, lamb_keras.data.DataError: for what the
            text or the questions do not allow, before anything trains.
    """
    started = time.perf_counter()
    if threads is None:
        on_cpu = jax.default_backend() == "cpu"
        threads = int(os.environ.get("LAMB_KERAS_THREADS", processors()))
        threads = threads if on_cpu else 1
    trials = experiment.trials()
    kept = Kept(experiment, library, history=History)
    runner = _Runner(experiment, library, kept)
    waiting = [trial for trial in trials if trial not in kept.histories]
    with (
        told_progress(len(trials), len(kept.histories)) as tell,
        ThreadPoolExecutor(threads) as pool,
    ):
        references = pool.submit(runner.references)
        futures = [
            pool.submit(lambda trial: tell(runner.run(trial)), trial)
            for trial in _in_turns(waiting)
        ]
        try:
            for future in wait(
                [references, *futures], return_when=FIRST_EXCEPTION
            ).done:
                future.result()
        except BaseException:
            # The other threads stop at their next look; nothing new is begun.
            runner.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return Sweep(
        experiment,
        library,
        [runner.histories[trial] for trial in trials],
        references.result(),
        kept.seconds + time.perf_counter() - started,
        kept.compile_seconds + runner.compile_seconds,
        runner.late_compilations,
    )


def _in_turns(trials):
    """The solvers take turns, so that threads begin by compiling different ones."""
    by_solver = {}
    for trial in trials:
        by_solver.setdefault(trial.solver, []).append(trial)
    longest = max(map(len, by_solver.values()), default=0)
    return [
        group[i]
        for i in range(longest)
        for group in by_solver.values()
        if i < len(group)
    ]


class _Runner:
    """What the threads of one sweep share. Whatever is compiled is compiled once."""

    def __init__(self, experiment: Experiment, library: Library, kept: Kept):
        self.stop = threading.Event()
        self.histories = dict(kept.histories)
        self._experiment = experiment
        self._library = library
        self._kept = kept
        self._vocabulary = library.vocabulary
        self._made, self._making, self._locks = {}, threading.Lock(), {}
        self._compile_seconds, self._late = [], []
        self._counted = threading.local()

    @property
    def compile_seconds(self) -> float:
        return sum(self._compile_seconds)

    @property
    def late_compilations(self) -> int:
        """Programs compiled by trials, other than those that all trials share."""
        return sum(self._late)

    def run(self, trial: Trial) -> History:
        """Pre-trains, unless the weights are given, and fine-tunes."""
        started, compiled, compiling = (
            time.perf_counter(),
            compilations(),
            compile_seconds(),
        )
        self._counted.made = 0
        stages = self._experiment.stages(trial)
        history = History(
            trial,
            self._once(self._layers),
            list(stages),
            self._experiment.peak_learning_rate(trial),
        )
        if self._experiment.preset:
            encoder = self._once(self._encoder, trial.seed)
        else:
            progress, history = self._pretrained(trial, history)
            if self.stop.is_set():
                return history
            step = self._once(self._step, trial.solver)
            weights = [np.asarray(array) for array in progress.state.weights]
            encoder = self._named(step.unpacked(weights))
        if history.outcome == "finished":
            tuner = self._once(self._tuner)
            for seed in self._experiment.finetuning_seeds:
                if self.stop.is_set():
                    return history
                head = self._once(self._head, seed)
                history.finetunings.append(tuner(encoder, head, seed))
        history.seconds += time.perf_counter() - started
        history.compilations = compilations() - compiled
        self._compile_seconds.append(compile_seconds() - compiling)
        self._late.append(history.compilations - self._counted.made)
        self.histories[trial] = history
        self._kept.finish(history, self.compile_seconds)
        if path := self._kept.unfinished(trial):
            path.unlink(missing_ok=True)
        return history

    def references(self) -> dict:
        """F1 of a net that has not been pre-trained, and what text alone tells."""
        seed = self._experiment.seeds[0]
        tuner = self._once(self._tuner)
        encoder = self._once(self._encoder, seed)
        tuned = []
        for each in self._experiment.finetuning_seeds:
            found = tuner(encoder, self._once(self._head, each), each)
            tuned.append(
                {
                    "finetuning_seed": each,
                    "f1": found.f1,
                    "exact_match": found.exact_match,
                }
            )
        return {
            "unigram_entropy": self._library.unigram_entropy,
            "questions": {
                part: len(self._library.questions(part)) for part in ("train", "dev")
            },
            "untrained": tuner.untrained(encoder),
            "without_pretraining": tuned,
        }

    def _pretrained(self, trial, history):
        """(the trial after its last step, its history)."""
        step = self._once(self._step, trial.solver)
        begun = accumulation.begin(step.start(self._once(self._initial, trial.seed)))
        progress, path = begun, self._kept.unfinished(trial)
        if path:
            plain = begun._replace(state=step.plain(begun.state))
            if found := checkpoint.find(path, plain, trial):
                progress, history = found
                progress = progress._replace(state=step.own(progress.state))
        done, judge = len(history.looks), self._once(self._judge, step.packs)
        for number, stage in enumerate(history.stages):
            program = self._once(self._program, trial.solver, number, stage.micro_batch)
            ends = program.ends(trial)
            if done >= len(ends):
                done -= len(ends)
                continue
            feeds = program.feeds(trial, first=done)
            for end in ends[done:]:
                if self.stop.is_set() or history.diverged_at_step:
                    return progress, history
                begin = time.perf_counter()
                feed = next(feeds)
                progress, losses, ratios = program.run_period(progress, feed, trial)
                losses = np.asarray(losses)
                history.pretraining_seconds += time.perf_counter() - begin
                diverged = int(progress.diverged_at_step)
                history.record(
                    number + 1,
                    end,
                    accumulation.losses_taken(feed, losses, diverged),
                    diverged,
                    judge(progress.state),
                    np.asarray(ratios),
                )
                if path:
                    state = step.plain(jax.tree.map(np.asarray, progress.state))
                    checkpoint.keep(path, progress._replace(state=state), history)
            done = 0
        return progress, history

    def _once(self, make, *of):
        """What `make` makes of its arguments, made once for all threads."""
        key = make.__name__, *of
        with self._making:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                before = compilations() - getattr(self._counted, "made", 0)
                self._made[key] = make(*of)
                self._counted.made = compilations() - before
            return self._made[key]

    # What is made once

    def _backbone(self, seed):
        """The encoder as it starts."""
        experiment = self._experiment
        with dtype_policy(experiment.dtype_policy):
            if experiment.preset:
                return self._published()
            return models.bert(
                self._vocabulary.size,
                layers=experiment.layers,
                width=experiment.width,
                heads=experiment.heads,
                sequence_length=max(experiment.sequence_lengths),
                dropout=experiment.dropout,
                seed=seed,
            )

    def _published(self):
        """The encoder of a preset; it must know the tokens and the lengths."""
        name = self._experiment.preset
        backbone = models.preset(name)
        if backbone.vocabulary_size != self._vocabulary.size:
            raise ParameterError(
                f"preset {name} has {backbone.vocabulary_size:,} tokens and the "
                f"vocabulary {self._vocabulary.size:,}; set vocabulary to the path of "
                "the preset's own vocab.txt."
            )
        longest = max(self._experiment.sequence_lengths)
        if backbone.max_sequence_length < longest:
            raise ParameterError(
                f"sequence_lengths has {longest}, and preset {name} takes at most "
                f"{backbone.max_sequence_length} tokens; shorten the windows."
            )
        return backbone

    def _pretraining_model(self, seed):
        backbone = self._once(self._backbone, seed)
        with dtype_policy(self._experiment.dtype_policy):
            return models.pretraining(backbone, seed)

    def _answering_model(self, seed):
        backbone = self._once(self._backbone, self._experiment.seeds[0])
        with dtype_policy(self._experiment.dtype_policy):
            return models.answering(backbone, seed)

    def _initial(self, seed):
        return initial_weights(self._once(self._pretraining_model, seed))

    def _layers(self):
        model = self._once(self._pretraining_model, self._experiment.seeds[0])
        return [variable.path for variable in model.trainable_variables]

    def _encoder(self, seed):
        """The encoder's weights as it starts, by path."""
        backbone = self._once(self._backbone, seed)
        return {v.path: np.asarray(v.value) for v in backbone.trainable_variables}

    def _head(self, seed):
        """The answer head's weights as it starts, by path."""
        model = self._once(self._answering_model, seed)
        return {
            variable.path: np.asarray(variable.value)
            for variable in model.get_layer("answer_span").trainable_variables
        }

    def _named(self, weights):
        return dict(
            zip(self._once(self._layers), map(np.asarray, weights), strict=True)
        )

    def _step(self, solver):
        return PretrainingStep(
            self._experiment,
            solver,
            self._once(self._pretraining_model, self._experiment.seeds[0]),
            self._vocabulary,
        )

    def _sequences(self, length):
        return self._library.sequences(length)

    def _program(self, solver, number, micro_batch):
        return Program(
            self._experiment,
            self._once(self._step, solver),
            number,
            micro_batch,
            self._once(self._sequences, self._experiment.sequence_lengths[number]),
            self._vocabulary,
        )

    def _judge(self, packs):
        """On the first stage's length: one measure for all looks."""
        length = self._experiment.sequence_lengths[0]
        steps = (self._once(self._step, name) for name in self._experiment.solvers)
        return Judge(
            next(step for step in steps if step.packs == packs),
            self._library.held_out_sequences(length, _HELD_OUT),
        )

    def _tuner(self):
        return FineTuner(
            self._experiment,
            self._library,
            self._once(self._answering_model, self._experiment.finetuning_seeds[0]),
        )
