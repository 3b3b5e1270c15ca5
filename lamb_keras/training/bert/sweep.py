"""From the BERT experiment's parameters to the outcome of every trial."""

import os
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np

from lamb_keras import models
from lamb_keras.cpu import processors
from lamb_keras.data import squad
from lamb_keras.data.text_data import TextDataset
from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.bert import BertExperiment, Trial
from lamb_keras.models.precision import dtype_policy
from lamb_keras.training import accumulation, memory
from lamb_keras.training.bert import checkpoint
from lamb_keras.training.bert.finetuning import FineTuner
from lamb_keras.training.bert.history import FineTuning, History
from lamb_keras.training.bert.pretraining import (
    Judge,
    PretrainingStep,
    Program,
    described,
)
from lamb_keras.training.compilations import compilations, compile_seconds
from lamb_keras.training.kept import Kept
from lamb_keras.training.progress import progress as told_progress
from lamb_keras.training.spread import every_device
from lamb_keras.training.step import initial_weights
from lamb_keras.training.together import apart, in_turns, together

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

    experiment: BertExperiment
    library: TextDataset = field(repr=False)
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


def sweep(
    experiment: BertExperiment,
    library: TextDataset,
    threads: int | None = None,
    width: int | None = None,
):
    """Pre-trains every trial of an experiment, fine-tunes from it and judges it.

    Each solver is compiled once for each stage and micro-batch. On the CPU several
    trials are trained at once, in threads. On an accelerator those that are alike but
    for their numbers, as learning rates and warm-ups, are one `vmap`, as many as its
    memory holds, and so are the fine-tunings of a trial. A trial whose loss is beyond
    use has diverged: it stops there, is told so, and is not fine-tuned.

    Where LAMB_KERAS_TRIALS names a folder, a sweep that was ended and is started again
    goes on where it was: finished trials are not trained again, and one that was under
    way goes on from its last look.

    To compare with, `references` has the unigram entropy of the held-out text, the
    number of questions, F1 and exact match of the net as it starts ("untrained") and
    of fine-tunings from there ("without_pretraining"), one a fine-tuning seed.

    Args:
        experiment: what is run.
        library: its text and questions, from `BertExperiment.open`.
        threads: how many trials are trained at once; by default what
            LAMB_KERAS_THREADS says, else one a processor, and one on an accelerator.
        width: trials, and fine-tunings, in one `vmap`; by default as many as fit on an
            accelerator, or a part of them where LAMB_KERAS_WIDTH_DIVISOR is set, and 1
            on a CPU and where several devices share a batch.

    Returns:
        A `Sweep`.

    Raises:
        lamb_keras.experiments.ParameterError, lamb_keras.data.DataError: for what the
            text or the questions do not allow, before anything trains.
    """
    started = time.perf_counter()
    on_cpu = jax.default_backend() == "cpu"
    if threads is None:
        threads = int(os.environ.get("LAMB_KERAS_THREADS", processors()))
        threads = threads if on_cpu else 1
    if width is None and (on_cpu or every_device().size > 1):
        width = 1
    trials = experiment.trials()
    kept = Kept(experiment, library, history=History)
    runner = _Runner(experiment, library, kept, width)

    def run(group):
        for history in runner.run(group):
            tell(history)

    with (
        told_progress(len(trials), len(kept.histories)) as tell,
        ThreadPoolExecutor(threads) as pool,
    ):
        references = pool.submit(runner.references)
        futures = [pool.submit(run, group) for group in runner.groups]
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


class _Group(NamedTuple):
    """Trials that run at once: in all but their numbers they are alike."""

    trials: list[Trial]  # that are still to be run
    width: int  # how many they were at first: a program's width is part of its numbers


class _Runner:
    """What the threads of one sweep share. Whatever is compiled is compiled once."""

    def __init__(
        self,
        experiment: BertExperiment,
        library: TextDataset,
        kept: Kept,
        width: int | None,
    ):
        self.stop = threading.Event()
        self.histories = dict(kept.histories)
        self._experiment = experiment
        self._library = library
        self._kept = kept
        self._width = width
        self._vocabulary = library.vocabulary
        self._made, self._making, self._locks = {}, threading.Lock(), {}
        self._compile_seconds, self._late = [], []
        self._counted = threading.local()
        self.groups = self._grouped()

    def _grouped(self) -> list[_Group]:
        """The trials that are still to be run, as they run at once."""
        alike = {}
        for trial in self._experiment.trials():
            key = trial.solver, trial.seed, self._experiment.stages(trial)
            alike.setdefault(key, []).append(trial)
        by_solver = {}
        for (solver, *_), trials in alike.items():
            width = self._most_at_once(solver, len(trials))
            for at in range(0, len(trials), width):
                whole = trials[at : at + width]
                rest = [trial for trial in whole if trial not in self.histories]
                if rest:
                    group = _Group(rest, len(whole))
                    by_solver.setdefault(solver, []).append(group)
        return in_turns(by_solver.values())

    def _most_at_once(self, solver, count):
        """How many of so many trials of a solver are one `vmap`."""
        if self._experiment.preset or count == 1:
            return 1
        if self._width is not None:
            return min(count, self._width)
        return memory.fitting(count, self._once(self._trial_bytes, solver))

    def _trial_bytes(self, solver):
        """What a trial of a solver needs on the device, at its largest micro-batch."""
        step = self._once(self._step, solver)
        state = step.start(self._once(self._initial, self._experiment.seeds[0]))
        stages = (self._experiment.stages(t) for t in self._experiment.trials())
        stage = max(
            (stage for both in stages for stage in both),
            key=lambda stage: stage.micro_batch * stage.sequence_length,
        )
        return memory.trial_bytes(
            state,
            jax.eval_shape(step.unpacked, state.weights),
            lambda weights, batch: step.loss(weights, state.others, batch, 0),
            described(stage.micro_batch, stage.sequence_length),
        )

    @property
    def compile_seconds(self) -> float:
        return sum(self._compile_seconds)

    @property
    def late_compilations(self) -> int:
        """Programs compiled by trials, other than those that all trials share."""
        return sum(self._late)

    def run(self, group: _Group) -> list[History]:
        """Pre-trains, unless the weights are given, and fine-tunes."""
        started, compiled, compiling = (
            time.perf_counter(),
            compilations(),
            compile_seconds(),
        )
        self._counted.made = 0
        histories = [
            History(
                trial,
                self._once(self._layers),
                list(self._experiment.stages(trial)),
                self._experiment.peak_learning_rate(trial),
            )
            for trial in group.trials
        ]
        if self._experiment.preset:
            encoders = [self._once(self._encoder, t.seed) for t in group.trials]
        else:
            step = self._once(self._step, group.trials[0].solver)
            progress, histories = self._pretrained(group, step, histories)
            encoders = [
                self._named(step.unpacked(list(map(np.asarray, weights))))
                for weights in apart(progress.state.weights, group.width)
            ]
        for encoder, history in zip(encoders, histories, strict=False):
            if history.outcome == "finished":
                history.finetunings.extend(self._finetuned(encoder))
                if len(history.finetunings) < len(self._experiment.finetuning_seeds):
                    return []
        made = compilations() - compiled
        self._compile_seconds.append(compile_seconds() - compiling)
        self._late.append(made - self._counted.made)
        for history in histories:
            history.seconds += (time.perf_counter() - started) / len(histories)
            history.compilations = made
            self.histories[history.trial] = history
            self._kept.finish(history, self.compile_seconds)
            if path := self._kept.unfinished(history.trial):
                path.unlink(missing_ok=True)
        return histories

    def _finetuned(self, encoder) -> list[FineTuning]:
        """A fine-tuning from each seed; fewer where all is to stop."""
        tuner, tuned = self._once(self._tuner), []
        seeds = self._experiment.finetuning_seeds
        for at in range(0, len(seeds), tuner.width):
            if not self.stop.is_set():
                some = seeds[at : at + tuner.width]
                heads = [self._once(self._head, seed) for seed in some]
                tuned += tuner(encoder, heads, some)
        return tuned

    def references(self) -> dict:
        """F1 of a net that has not been pre-trained, and what text alone tells."""
        seed = self._experiment.seeds[0]
        tuner = self._once(self._tuner)
        encoder = self._once(self._encoder, seed)
        return {
            "unigram_entropy": self._library.unigram_entropy,
            "questions": {
                part: len(self._library.questions(part)) for part in ("train", "dev")
            },
            "untrained": tuner.untrained(encoder),
            "without_pretraining": [
                {
                    "finetuning_seed": tuned.seed,
                    "f1": tuned.f1,
                    "exact_match": tuned.exact_match,
                }
                for tuned in self._finetuned(encoder)
            ],
        }

    def _pretrained(self, group, step, histories):
        """(the trials after their last step, together, and their histories)."""
        trial, judge = group.trials[0], self._once(self._judge, step.packs)
        each, histories = self._found(step, histories)
        progress = together(each, group.width)
        done = max(len(history.looks) for history in histories)
        for number, stage in enumerate(histories[0].stages):
            program = self._once(
                self._program, trial.solver, number, stage.micro_batch, group.width
            )
            ends = program.ends(trial)
            if done >= len(ends):
                done -= len(ends)
                continue
            feeds = program.feeds(group.trials, first=done)
            for end in ends[done:]:
                going_on = [h for h in histories if h.outcome == "finished"]
                if self.stop.is_set() or not going_on:
                    return progress, histories
                begin = time.perf_counter()
                feed = next(feeds)
                progress, losses, ratios = program.run_period(progress, feed, trial)
                losses = np.asarray(losses)
                seconds = time.perf_counter() - begin
                told = apart((progress, losses, ratios), group.width)
                for history, (one, *its) in zip(histories, told, strict=False):
                    if history.outcome == "finished":
                        history.pretraining_seconds += seconds / len(histories)
                        self._look(step, judge, history, number, end, feed, one, *its)
            done = 0
        return progress, histories

    def _found(self, step, histories):
        """The trials as they were left, or before their first step.

        Those that go on at once have to have been looked at as often.
        """
        begun = [
            accumulation.begin(step.start(self._once(self._initial, h.trial.seed)))
            for h in histories
        ]
        progresses, found = [], []
        for start, history in zip(begun, histories, strict=True):
            path = self._kept.unfinished(history.trial)
            plain = start._replace(state=step.plain(start.state))
            left = checkpoint.find(path, plain, history.trial) if path else None
            if left is None:
                return begun, histories
            progress, history = left
            progresses.append(progress._replace(state=step.own(progress.state)))
            found.append(history)
        looks = {len(h.looks) for h in found if h.outcome == "finished"}
        return (progresses, found) if len(looks) < 2 else (begun, histories)

    def _look(self, step, judge, history, number, end, feed, progress, losses, ratios):
        """Records a look at one trial, and keeps how it stands."""
        diverged = int(progress.diverged_at_step)
        history.record(
            number + 1,
            end,
            accumulation.losses_taken(feed, losses, diverged),
            diverged,
            judge(progress.state),
            np.asarray(ratios),
        )
        if path := self._kept.unfinished(history.trial):
            state = step.plain(jax.tree.map(np.asarray, progress.state))
            checkpoint.keep(path, progress._replace(state=state), history)

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

    def _program(self, solver, number, micro_batch, width):
        return Program(
            self._experiment,
            self._once(self._step, solver),
            number,
            micro_batch,
            self._once(self._sequences, self._experiment.sequence_lengths[number]),
            self._vocabulary,
            width,
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
            self._width,
        )
