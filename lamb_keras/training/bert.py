"""The trials of the BERT experiment: two stages of pre-training, then fine-tunings."""

import itertools

import jax
import numpy as np

from lamb_keras import models
from lamb_keras.data.text_data import TextDataset
from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.bert import BertExperiment
from lamb_keras.models.precision import dtype_policy
from lamb_keras.names import base
from lamb_keras.training.history import History, Sweep
from lamb_keras.training.masked_lm import Batch, MaskedLM, held_out_batches
from lamb_keras.training.preemption import Preempted
from lamb_keras.training.question_answering import FineTuner
from lamb_keras.training.sharding import Sharding, chunk, to_evaluate, whole
from lamb_keras.training.step import Constants, initial_weights
from lamb_keras.training.trainer import (
    Period,
    Program,
    period_inputs,
    unstack_trials,
)
from lamb_keras.training.trials import Trials, once

# Held-out sequences that a pre-training is evaluated on, at most.
_HELD_OUT = 512
# Of these, so many at once.
_CHUNK = 64
# Checkpoints, also the one before the end, come after a call of a program. It has so
# many micro-batches at most, or as many as take so many FLOPs (seconds on one
# TensorCore), but a step at least.
_MICRO_BATCHES, _FLOPS = 512, 2e14


def sweep(
    experiment: BertExperiment,
    texts: TextDataset,
    threads: int | None = None,
    width: int | None = None,
) -> Sweep:
    """Pre-trains every trial and fine-tunes from it, as `Trials.sweep` says.

    A batch is shared by all devices of all processes, of which each calls this alike. A
    diverged trial is not fine-tuned. A pre-training that was ended before goes on from
    its last checkpoint; fine-tunings of a trial begin anew.

    Args:
        experiment: what is run.
        texts: its text and questions, from `BertExperiment.open`.
        threads, width: as of the images' `lamb_keras.training.sweep`; `width` is also
            that of fine-tunings.

    Raises:
        lamb_keras.experiments.ParameterError, lamb_keras.data.DataError: for what the
            text or the questions do not allow, before anything trains.
        lamb_keras.training.Preempted: as of the images'.
    """
    return BertTrials(experiment, texts, width).sweep(threads)


class BertTrials(Trials):
    """The trials of the BERT experiment on a text with questions.

    Several devices compute a part of every micro-batch. All evaluations are on
    sequences of the first stage's length: one measure for both. All arguments are as of
    `sweep`.
    """

    def __init__(self, experiment, texts, width=None):
        sharding = Sharding.of_all()
        super().__init__(experiment, texts, width, sharding)
        self._devices = sharding.size if sharding else 1
        self._stages = {trial: self.stages(trial) for trial in experiment.trials()}
        self._all_stages = list(itertools.chain(*self._stages.values()))

    def stages(self, trial):
        """The two stages of a trial, whose micro-batches all devices share."""
        return self.experiment.stages(trial, self._devices)

    def alike(self, trial):
        return trial.seed, self.stages(trial)

    def width(self, solver):
        return 1 if self.experiment.preset else super().width(solver)

    def task(self):
        model = self._pretraining_model(self.experiment.seeds[0])
        scanned = models.Scanned(model) if self.sharding else None
        rate = self.experiment.masking_rate
        return MaskedLM(model, self.data.vocabulary, rate, scanned)

    @once
    def initial(self, seed):
        return initial_weights(self._pretraining_model(seed))

    def example(self):
        sizes = {(s.micro_batch, s.sequence_length) for s in self._all_stages}
        shape = max(sizes, key=lambda size: size[0] * size[1])
        tokens = jax.ShapeDtypeStruct(shape, "int32")
        rows = jax.ShapeDtypeStruct(shape[:1], "int32")
        mask = jax.ShapeDtypeStruct(shape, "bool")
        predictions = jax.ShapeDtypeStruct((), "float32")
        return Batch(tokens, tokens, mask, rows, rows, predictions)

    # Pre-training

    @once
    def program(self, solver, number, micro_batch):
        """The compiled pre-training of a solver in a stage, of such micro-batches."""
        step, width = self.step(solver), self.width(solver)
        accumulates = any(stage.micro_batches > 1 for stage in self._all_stages)
        return Program(step, width, accumulates, self.sharding)

    def periods(self, trials, done):
        first, before = trials[0], 0
        rates_and_decays = self.rates_and_decays(trials)
        for number, stage in enumerate(self.stages(first)):
            solver = base(first.solver)
            program = self.program(solver, number, stage.micro_batch)
            constants = Constants(
                np.uint32(first.seed), micro_batches=np.int32(stage.micro_batches)
            )
            constants = program.together([constants] * len(trials))
            length = self._length()
            periods = [
                _calls(max(begin, done - before), end, length // stage.micro_batches)
                for begin, end in self._bounds(number, stage)
                if before + end > done
            ]
            batches = self.step(solver).task.micro_batches(
                self._sequences(number),
                stage,
                seed=2 * first.seed + number,
                bounds=list(itertools.chain(*periods)),
                length=length,
            )
            for calls in periods:
                last = before + calls[-1][1]
                inputs = self._inputs(calls, batches, before, program, rates_and_decays)
                # The first now, before the time is taken; others while devices compute.
                inputs = itertools.chain([next(inputs)], inputs)
                yield Period(program, constants, inputs, last, number + 1)
            before += stage.steps

    def _inputs(self, calls, batches, before, program, rates_and_decays):
        """Of each call, made when it is asked for."""
        for (begin, end), batch in zip(calls, batches, strict=False):
            span = before + begin, before + end
            inputs = [
                period_inputs(batch, *span, by_step, self._length())
                for by_step in rates_and_decays
            ]
            yield program.together(inputs)

    def _bounds(self, number, stage):
        """Of each period: the steps of the stage before it, and those up to its end."""
        # The second stage has its part of the evaluations, at least one.
        looks = self.experiment.looks
        second = max(1, round(looks * self.experiment.second_stage))
        periods = (looks - second, second)[number]
        ends = [stage.steps * period // periods for period in range(periods + 1)]
        return [pair for pair in itertools.pairwise(ends) if pair[0] < pair[1]]

    @once
    def _length(self):
        """Rows of the inputs of all calls, a row a micro-batch."""
        weights, _ = self.initial(self.experiment.seeds[0])
        tokens = self.example().token_ids.size // self._devices
        flops = 6 * sum(each.size for each in weights) * tokens
        steps = (stage.micro_batches for stage in self._all_stages)
        return max(min(_MICRO_BATCHES, int(_FLOPS // flops)), *steps)

    def held_out(self, trial):
        return self._held_out()

    @once
    def _held_out(self):
        length = self.experiment.sequence_lengths[0]
        sequences = self.data.held_out_sequences(length, _HELD_OUT)
        size = chunk(min(_CHUNK, len(sequences)), self.sharding)
        batches = held_out_batches(sequences, size)
        return to_evaluate(batches, self.sharding)

    @once
    def _sequences(self, number):
        return self.data.sequences(self.experiment.sequence_lengths[number])

    # Fine-tuning

    def trained(self, group):
        if not self.experiment.preset:
            return super().trained(group)
        histories = [History(trial, []) for trial in group]
        for history in histories:
            encoder = self._encoder(history.trial.seed)
            history.finetunings = self._finetuned(encoder)
        return histories

    def complete(self, step, evaluator, progress, histories):
        width = self.width(base(histories[0].trial.solver))
        each = unstack_trials(whole(progress.state.weights), width)
        for history, weights in zip(histories, each, strict=False):
            if history.outcome == "finished":
                weights = step.model_weights(list(map(np.asarray, weights)))
                encoder = dict(zip(step.layers, weights, strict=True))
                history.finetunings = self._finetuned(encoder)

    def _finetuned(self, encoder):
        """A fine-tuning from each seed."""
        tuner, tuned = self.tuner(), []
        seeds = self.experiment.finetuning_seeds
        for at in range(0, len(seeds), tuner.width):
            self.go_on()
            if self.notice.reached():
                raise Preempted("asked to end between fine-tunings: start it again.")
            some = seeds[at : at + tuner.width]
            heads = [self._head(seed) for seed in some]
            tuned += tuner(encoder, heads, some)
        return tuned

    @once
    def tuner(self):
        """The fine-tuning of all pre-trainings."""
        model = self._answering_model(self.experiment.finetuning_seeds[0])
        return FineTuner(self.experiment, self.data, model, self._width, self.sharding)

    def references(self):
        """The entropy of words, the number of questions, and F1 without pre-training.

        That of the net as it starts, and of fine-tunings from there.
        """
        encoder = self._encoder(self.experiment.seeds[0])
        shown = ("finetuning_seed", "f1", "exact_match")
        return {
            "unigram_entropy": self.data.unigram_entropy,
            "questions": {
                part: len(self.data.questions(part)) for part in ("train", "dev")
            },
            "untrained": self.tuner().untrained(encoder),
            "without_pretraining": [
                {name: tuned[name] for name in shown}
                for tuned in self._finetuned(encoder)
            ],
        }

    # Models

    @once
    def _backbone(self, seed):
        """The encoder as it starts."""
        experiment, size = self.experiment, self.data.vocabulary.size
        longest = max(experiment.sequence_lengths)
        with dtype_policy(experiment.dtype_policy):
            if experiment.preset:
                return _published(experiment.preset, size, longest)
            return models.bert(
                size,
                layers=experiment.layers,
                width=experiment.width,
                heads=experiment.heads,
                sequence_length=longest,
                dropout=experiment.dropout,
                seed=seed,
            )

    @once
    def _pretraining_model(self, seed):
        backbone = self._backbone(seed)
        with dtype_policy(self.experiment.dtype_policy):
            return models.pretraining(backbone, seed)

    @once
    def _answering_model(self, seed):
        backbone = self._backbone(self.experiment.seeds[0])
        with dtype_policy(self.experiment.dtype_policy):
            return models.answering(backbone, seed)

    @once
    def _encoder(self, seed):
        return _by_path(self._backbone(seed))

    @once
    def _head(self, seed):
        model = self._answering_model(seed)
        return _by_path(model.get_layer("answer_span"))

    # Rows

    def measured(self, history):
        about = {
            "last_loss": history.last_loss,
            "last_step": history.last_step,
            "validation_loss": history.held_out.get("validation_loss"),
            "minutes": history.training_seconds / 60,
        }
        names = ("finetuning_seed", "f1", "exact_match")
        rows = [
            about | {name: tuned.get(name) for name in names}
            for tuned in history.finetunings or [{}]
        ]
        return [
            row | {"outcome": "diverged"} if row["f1"] is None else row for row in rows
        ]

    def length(self, trial):
        first, second = self.experiment.stages(trial)
        return {
            "sequences_per_step": first.sequences_per_step,
            "second_sequences_per_step": second.sequences_per_step,
            "steps": first.steps + second.steps,
            "second_stage_steps": second.steps,
            "warmup_steps": self.experiment.warmup_steps(trial),
            "published_steps": self.experiment.published_steps(trial).total,
        }


def _published(name, vocabulary_size, longest):
    """The encoder of a preset, which must know the tokens and the lengths."""
    backbone = models.preset(name)
    if backbone.vocabulary_size != vocabulary_size:
        raise ParameterError(
            f"preset {name} has {backbone.vocabulary_size:,} tokens and the "
            f"vocabulary {vocabulary_size:,}; set vocabulary to the path of the "
            "preset's own vocab.txt."
        )
    if backbone.max_sequence_length < longest:
        raise ParameterError(
            f"sequence_lengths has {longest}, and preset {name} takes at most "
            f"{backbone.max_sequence_length} tokens; shorten the windows."
        )
    return backbone


def _by_path(layer):
    return {v.path: np.asarray(v.value) for v in layer.trainable_variables}


def _calls(begin, end, most):
    """The steps from begin to end in parts of so many at most."""
    return [(at, min(at + most, end)) for at in range(begin, end, most)]
