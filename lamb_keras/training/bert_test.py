"""BERT's trials: pre-training, fine-tunings, and what survives a stop."""

import json

import numpy as np
import pytest

from lamb_keras import models
from lamb_keras.data import squad
from lamb_keras.experiments import ParameterError
from lamb_keras.training import Preempted, bert, checkpoints, memory
from lamb_keras.training.bert import BertTrials, sweep
from lamb_keras.training.checkpoints import Checkpoints
from lamb_keras.training.conftest import changed
from lamb_keras.training.preemption import Notice
from lamb_keras.training.question_answering import answers
from lamb_keras.training.sweep_test import outcome
from lamb_keras.training.trial_cache import FOLDER_VARIABLE

# At 512, 20 steps of 8 sequences, and at 1024 ten of 16: two micro-batches each.
TWO = {
    "batch_size": [512, 1024],
    "solvers": ["adamw", "lamb"],
    "learning_rates": {"adamw": [0.001], "lamb": [0.01]},
    "finetuning_seeds": [0, 1],
}
# Two trials that are given the same sequences, in steps of two micro-batches.
ALIKE = {
    "batch_size": [1024],
    "learning_rates": [0.01, 0.02],
    "finetuning_seeds": [0, 1, 2],
}


@pytest.fixture(scope="module")
def found(texts):
    return sweep(changed(**TWO), texts, threads=2)


@pytest.fixture(scope="module")
def at_once(texts):
    return sweep(changed(**ALIKE), texts, threads=1, width=2)


def test_every_trial_is_pretrained_and_finetuned_from_every_seed(found):
    rows = found.trials
    assert len(rows) == 2 * 2 * 2
    assert {row["outcome"] for row in rows} == {"finished"}
    for row in rows:
        assert 0 <= row["exact_match"] <= row["f1"] <= 100
        assert row["steps"] == row["last_step"] == 20 * 512 // row["batch_size"]
        assert np.isfinite(row["last_loss"]) and row["minutes"] > 0
        assert 0 <= row["validation_accuracy"] <= 1
    assert found.late_compilations == 0
    assert {row["finetuning_seed"] for row in rows} == {0, 1}
    json.dumps(rows)


def test_what_it_is_compared_with_starts_from_the_same_weights(found, texts):
    references = found.references
    assert references["questions"] == {"train": 72, "dev": 36}
    assert references["unigram_entropy"] == texts.unigram_entropy
    seeds = [row["finetuning_seed"] for row in references["without_pretraining"]]
    assert seeds == [0, 1]
    assert 0 <= references["untrained"]["f1"] <= 100


def test_the_held_out_loss_falls_in_two_stages(found):
    for history in found.histories:
        rows = history.evaluations
        assert [row["stage"] for row in rows] == [1, 1, 1, 1, 2]
        assert rows[-1]["validation_loss"] < rows[0]["validation_loss"]
        assert rows[-1]["step"] == history.last_step
    assert len(found.curves()) == 4 * 5
    lamb, adamw = found.of(solver="lamb")[0], found.of(solver="adamw")[0]
    layers = found.histories[0].layers
    assert len(found.trust_ratios(lamb)) == 5 * len(layers)
    assert found.trust_ratios(adamw) == []
    # Excluded variables have none: 1. A kernel's is the ratio of its norms.
    for row in found.trust_ratios(lamb):
        ratio = row["weight_norm"] / row["update_norm"]
        excluded = row["layer"].endswith(("bias", "gamma", "beta"))
        expected = 1 if excluded else pytest.approx(ratio, rel=1e-5)
        assert row["trust_ratio"] == expected


def test_answers_are_shown_with_what_was_asked(found, texts):
    rows = answers(found, texts, 6)
    assert len(rows) == 6
    for row in rows:
        assert row["predicted"] in row["context"]
        assert row["f1"] == 100 * squad.f1(row["predicted"], row["answers"])


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """Runs a sweep that ends after some evaluations; gives those it was saved after."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0)
    monkeypatch.setattr(checkpoints, "TIMES_BETWEEN", 0)
    save = Checkpoints.save

    def run(last, *experiment, **options):
        saved = []

        def save_and_end(self, step, progress, histories, losses):
            save(self, step, progress, histories, losses)
            saved.append(len(histories[0].evaluations))
            if saved[-1] == last:
                raise KeyboardInterrupt

        monkeypatch.setattr(Checkpoints, "save", save_and_end)
        with pytest.raises(KeyboardInterrupt):
            sweep(*experiment, **options)
        monkeypatch.setattr(Checkpoints, "save", save)
        return saved

    return run


def test_a_training_that_was_ended_goes_on_to_the_last_bit(
    found, texts, tmp_path, ended
):
    lamb = {"solvers": ["lamb"], "batch_size": [1024], "learning_rates": [0.01]}
    experiment = changed(**TWO | lamb)
    assert ended(2, experiment, texts, threads=1) == [1, 2]
    # The boundary of the stages.
    assert ended(4, experiment, texts, threads=1) == [3, 4]
    (history,) = sweep(experiment, texts, threads=1).histories
    (whole,) = (h for h in found.histories if h.trial == history.trial)
    assert outcome(history) == outcome(whole)
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_periods_in_several_calls_are_as_in_one_and_may_be_left_within(
    found, texts, tmp_path, monkeypatch
):
    lamb = {"solvers": ["lamb"], "batch_size": [1024], "learning_rates": [0.01]}
    experiment = changed(**TWO | lamb)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(bert, "_MICRO_BATCHES", 1)  # a step is the least
    seconds, save = [], Checkpoints.save

    def note(self, step, progress, histories, losses):
        seconds.append(histories[0].training_seconds)
        save(self, step, progress, histories, losses)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", note)
        # A training asks with the seconds until it asks again.
        patch.setattr(Notice, "reached", lambda _, *seconds: bool(seconds))
        with pytest.raises(Preempted, match="has saved its step 1: start it again"):
            sweep(experiment, texts, threads=1)
    (history,) = sweep(experiment, texts, threads=1).histories
    (whole,) = (h for h in found.histories if h.trial == history.trial)
    assert whole.evaluations[0]["step"] > 1 and outcome(history) == outcome(whole)
    assert 0 < seconds[0] < history.training_seconds


def test_inputs_of_one_call_are_made_before_the_time_is_taken(texts, monkeypatch):
    made, period_inputs = [], bert.period_inputs

    def note(*given):
        made.append(given[1:3])
        return period_inputs(*given)

    monkeypatch.setattr(bert, "period_inputs", note)
    trials = BertTrials(changed(**TWO), texts)
    period = next(trials.periods(trials.experiment.trials()[:1], 0))
    assert made == [(0, period.last_step)]
    assert [int(inputs.steps) for inputs in period.inputs] == [period.last_step]


def test_a_packed_training_is_as_a_plain_one_and_goes_on(found, texts, ended):
    lamb = {"solvers": ["lamb"], "batch_size": [1024], "learning_rates": [0.01]}
    packed = changed(**TWO | lamb, packed_update=True)
    assert ended(3, packed, texts, threads=1) == [1, 2, 3]
    result = sweep(packed, texts, threads=1)
    assert result.late_compilations == 0
    (history,) = result.histories
    (plain,) = (h for h in found.histories if h.trial == history.trial)
    for ours, its in zip(history.evaluations, plain.evaluations, strict=True):
        assert ours["train_loss"] == pytest.approx(its["train_loss"], rel=1e-4)
    # Not the norms: a key's bias has gradients of rounding errors alone.
    for ours, its in zip(history.ratios, plain.ratios, strict=True):
        np.testing.assert_allclose(ours[0], its[0], rtol=1e-3)


@pytest.mark.parametrize("width", [1, 2])
def test_a_lost_trial_stops_and_is_not_finetuned_and_another_goes_on(texts, width):
    experiment = changed(solvers=["momentum"], learning_rates=[1e30, 0.01])
    lost, whole = sweep(experiment, texts, width=width).trials
    assert lost["outcome"] == "diverged" and lost["f1"] is None
    assert lost["last_step"] == lost["diverged_at_step"] < 5
    assert whole["outcome"] == "finished" and whole["f1"] is not None


def test_trials_and_finetunings_at_once_are_as_one_by_one(at_once, texts):
    one_by_one = sweep(changed(**ALIKE), texts, threads=1)
    assert at_once.late_compilations == 0
    # The two have the same share of the time.
    assert len({h.training_seconds for h in at_once.histories}) == 1
    for ours, alone in zip(at_once.histories, one_by_one.histories, strict=True):
        assert ours.trial == alone.trial
        for row, its in zip(ours.evaluations, alone.evaluations, strict=True):
            del row["validation_accuracy"], its["validation_accuracy"]
            assert row == pytest.approx(its, rel=1e-4)
        assert [each["finetuning_seed"] for each in ours.finetunings] == [0, 1, 2]
        for tuned, its in zip(ours.finetunings, alone.finetunings, strict=True):
            same = [
                answer == its["predictions"][question]
                for question, answer in tuned["predictions"].items()
            ]
            # Of two spans that are as good, rounding chooses.
            assert np.mean(same) > 0.9
    assert len({h.evaluations[0]["train_loss"] for h in at_once.histories}) == 2


def test_trials_at_once_that_were_ended_go_on_to_the_last_bit(
    at_once, texts, tmp_path, ended
):
    assert ended(2, changed(**ALIKE), texts, threads=1, width=2) == [1, 2]
    again = sweep(changed(**ALIKE), texts, threads=1, width=2)
    for one, other in zip(again.histories, at_once.histories, strict=True):
        assert one.ratios == other.ratios and one.finetunings == other.finetunings
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}


@pytest.mark.parametrize(("usable", "widths"), [(10**9, [2]), (10**3, [1, 1])])
def test_an_accelerator_is_given_as_many_trials_as_its_memory_holds(
    texts, monkeypatch, usable, widths
):
    monkeypatch.setattr(memory, "usable_bytes", lambda: usable)
    experiment = changed(**ALIKE)
    trials = BertTrials(experiment, texts)
    monkeypatch.setattr(trials, "_width", None)  # as on an accelerator
    assert [len(group) for group in trials.groups(experiment.trials())] == widths
    assert trials.tuner().width == (3 if widths == [2] else 1)


def test_whatever_pretrained_finetunings_spare_biases_and_norms_and_are_clipped(texts):
    pretraining = {"exclude_from_weight_decay": [], "global_clipnorm": {"lamb": None}}
    experiment = changed(**pretraining)
    trials = BertTrials(experiment, texts)
    adamw = trials.tuner()._step._plain
    assert adamw.global_clipnorm == 1.0
    paths = trials.tuner()._step.layers
    spared = [not adamw._use_weight_decay(v) for v in adamw._trainable_variables]
    assert spared == [path.endswith(("bias", "gamma", "beta")) for path in paths]
    assert 0 < sum(spared) < len(paths)


def test_a_preset_is_finetuned_in_place_of_a_pretraining(texts, tmp_path):
    size = texts.vocabulary.size
    encoder = models.bert(size, layers=1, width=16, heads=2, sequence_length=64)
    encoder.save_to_preset(str(tmp_path / "small"))
    result = sweep(changed(preset=str(tmp_path / "small")), texts)
    assert result.curves() == [] and result.trials[0]["f1"] is not None


@pytest.mark.parametrize(
    ("tokens", "length", "message"),
    [
        (40, 64, r"has 40 tokens and the vocabulary 400; set vocabulary to the path"),
        (400, 48, r"sequence_lengths has 64, and preset .* takes at most 48 tokens"),
    ],
)
def test_a_preset_of_other_tokens_or_lengths_is_refused(
    texts, tmp_path, tokens, length, message
):
    encoder = models.bert(tokens, layers=1, width=8, heads=2, sequence_length=length)
    encoder.save_to_preset(str(tmp_path / "other"))
    with pytest.raises(ParameterError, match=message):
        sweep(changed(preset=str(tmp_path / "other")), texts)
