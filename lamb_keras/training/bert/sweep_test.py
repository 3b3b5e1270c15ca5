import dataclasses
import json

import numpy as np
import pytest

from lamb_keras.data import DataError, squad
from lamb_keras.experiments import ParameterError
from lamb_keras.training import memory
from lamb_keras.training.bert import checkpoint
from lamb_keras.training.bert.conftest import changed
from lamb_keras.training.bert.history import History
from lamb_keras.training.bert.sweep import _Runner, sweep
from lamb_keras.training.kept import FOLDER_VARIABLE, Kept

# At 512, 20 steps of 8 sequences, and at 1024 ten of 16: two micro-batches each.
TWO = {
    "batch_size": [512, 1024],
    "solvers": ["adamw", "lamb"],
    "learning_rates": {"adamw": [0.001], "lamb": [0.01]},
    "finetuning_seeds": [0, 1],
}
UNTIMED = ("seconds", "pretraining_seconds", "compilations")


def _plain(history):
    return {n: v for n, v in history.as_plain().items() if n not in UNTIMED}


@pytest.fixture(scope="module")
def found(library):
    return sweep(changed(**TWO), library, threads=2)


def test_every_trial_is_pretrained_and_finetuned_from_every_seed(found):
    lines = found.trials
    assert len(lines) == 2 * 2 * 2
    assert {line["outcome"] for line in lines} == {"finished"}
    for line in lines:
        assert 0 <= line["exact_match"] <= line["f1"] <= 100
        assert line["steps"] == line["last_step"] == 20 * 512 // line["batch_size"]
        assert np.isfinite(line["last_loss"]) and line["minutes"] > 0
        assert 0 <= line["validation_accuracy"] <= 1
    assert found.late_compilations == 0
    assert {line["finetuning_seed"] for line in lines} == {0, 1}
    json.dumps(lines)


def test_what_it_is_compared_with_starts_from_the_same_weights(found, library):
    references = found.references
    assert references["questions"] == {"train": 72, "dev": 36}
    assert references["unigram_entropy"] == library.unigram_entropy
    assert [each["finetuning_seed"] for each in references["without_pretraining"]] == [
        0,
        1,
    ]
    assert 0 <= references["untrained"]["f1"] <= 100


def test_the_held_out_loss_falls(found):
    for history in found.histories:
        looks = history.looks
        assert [look.stage for look in looks] == [1, 1, 1, 1, 2]
        assert looks[-1].validation_loss < looks[0].validation_loss
        assert looks[-1].step == history.last_step


def test_answers_are_shown_with_what_was_asked(found, library):
    answers = found.answers(6)
    assert len(answers) == 6
    for answer in answers:
        assert answer["predicted"] in answer["context"]
        assert answer["f1"] == 100 * squad.f1(answer["predicted"], answer["answers"])


def test_the_curves_and_ratios_are_of_every_look_and_variable(found):
    assert len(found.curves()) == 4 * 5
    lamb, adamw = found.of(solver="lamb")[0], found.of(solver="adamw")[0]
    layers = found.histories[0].layers
    assert len(found.trust_ratios(lamb)) == 5 * len(layers)
    assert found.trust_ratios(adamw) == []


def test_a_history_comes_back_from_json_to_the_last_bit(found):
    for history in found.histories:
        again = History.of_plain(json.loads(json.dumps(history.as_plain())))
        assert again.trial == history.trial and again.stages == history.stages
        assert json.dumps(again.as_plain()) == json.dumps(history.as_plain())


@pytest.mark.parametrize("looks_before", [2, 4])
def test_a_training_that_was_ended_goes_on_to_the_last_bit(
    found, library, tmp_path, monkeypatch, looks_before
):
    # After four looks of five: at the boundary of the stages.
    experiment = changed(
        **TWO | {"solvers": ["lamb"], "batch_size": [1024], "learning_rates": [0.01]}
    )
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    kept = checkpoint.keep

    def keep_and_end(path, progress, history):
        kept(path, progress, history)
        if len(history.looks) == looks_before:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "keep", keep_and_end)
    with pytest.raises(KeyboardInterrupt):
        sweep(experiment, library, threads=1)
    (unfinished,) = tmp_path.glob("*.npz")
    trained = []

    def keep_and_tell(path, progress, history):
        trained.append(len(history.looks))
        kept(path, progress, history)

    monkeypatch.setattr(checkpoint, "keep", keep_and_tell)
    again = sweep(experiment, library, threads=1)
    assert trained == list(range(looks_before + 1, 6))
    assert not unfinished.exists()
    (whole,) = [
        h
        for h in found.histories
        if (h.trial.solver, h.trial.batch_size) == ("lamb", 1024)
    ]
    assert _plain(again.histories[0]) == _plain(whole)

    if looks_before == 2:
        return
    monkeypatch.setattr(checkpoint, "keep", pytest.fail)
    third = sweep(experiment, library, threads=1)
    assert _plain(third.histories[0]) == _plain(whole)


def test_a_packed_training_is_as_a_plain_one_and_goes_on_from_a_plain_checkpoint(
    found, library, tmp_path, monkeypatch
):
    only = {"solvers": ["lamb"], "batch_size": [1024], "learning_rates": [0.01]}
    packed = changed(**TWO | only, packed_update=True)
    whole = sweep(packed, library, threads=1)
    assert whole.late_compilations == 0
    (plain,) = [
        h
        for h in found.histories
        if (h.trial.solver, h.trial.batch_size) == ("lamb", 1024)
    ]
    for one, other in zip(whole.histories[0].looks, plain.looks, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        # Not the norms: a key's bias has gradients of rounding errors alone.
        ratios, plain_ratios = one.trust_ratios[0], other.trust_ratios[0]
        np.testing.assert_allclose(ratios, plain_ratios, rtol=1e-3)

    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    kept = checkpoint.keep

    def keep_and_end(path, progress, history):
        weights = [array.shape for array in progress.state.weights]
        assert len(weights) == len(history.layers)
        kept(path, progress, history)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "keep", keep_and_end)
    with pytest.raises(KeyboardInterrupt):
        sweep(packed, library, threads=1)
    monkeypatch.setattr(checkpoint, "keep", kept)
    again = sweep(packed, library, threads=1)
    assert _plain(again.histories[0]) == _plain(whole.histories[0])


def test_a_damaged_checkpoint_is_as_none(found, library, tmp_path):
    path = tmp_path / "kept.npz"
    path.write_bytes(b"PK\3\4 half of one")
    trial = found.histories[0].trial
    assert checkpoint.find(path, {"weights": np.zeros(2)}, trial) is None
    checkpoint.keep(path, {"weights": np.ones(3)}, found.histories[0])
    assert checkpoint.find(path, {"weights": np.zeros(2)}, trial) is None
    like = {"weights": np.zeros(3)}
    progress, history = checkpoint.find(path, like, trial)
    np.testing.assert_array_equal(progress["weights"], np.ones(3))
    assert _plain(history) == _plain(found.histories[0])
    other = trial._replace(seed=5)
    assert checkpoint.find(path, like, other) is None


@pytest.mark.parametrize("width", [1, 2])
def test_a_lost_trial_stops_and_is_not_finetuned_and_another_goes_on(library, width):
    experiment = changed(solvers=["momentum"], learning_rates=[1e30, 0.01])
    lost, whole = sweep(experiment, library, width=width).trials
    assert lost["outcome"] == "diverged" and lost["f1"] is None
    assert lost["last_step"] == lost["diverged_at_step"] < 5
    assert whole["outcome"] == "finished" and whole["f1"] is not None


# Two trials that are given the same sequences, in steps of two micro-batches.
ALIKE = {
    "batch_size": [1024],
    "learning_rates": [0.01, 0.02],
    "finetuning_seeds": [0, 1, 2],
}


@pytest.fixture(scope="module")
def at_once(library):
    return sweep(changed(**ALIKE), library, threads=1, width=2)


def test_trials_and_finetunings_at_once_are_as_one_by_one(at_once, library):
    one_by_one = sweep(changed(**ALIKE), library, threads=1)
    assert at_once.late_compilations == 0
    # The two have the same share of the time.
    assert len({h.pretraining_seconds for h in at_once.histories}) == 1
    for ours, alone in zip(at_once.histories, one_by_one.histories, strict=True):
        assert ours.trial == alone.trial
        for look, its in zip(ours.looks, alone.looks, strict=True):
            assert look.step == its.step
            assert look.train_loss == pytest.approx(its.train_loss, rel=1e-4)
            assert look.validation_loss == pytest.approx(its.validation_loss, rel=1e-4)
            np.testing.assert_allclose(
                look.trust_ratios[0], its.trust_ratios[0], rtol=1e-3
            )
        assert [each.seed for each in ours.finetunings] == [0, 1, 2]
        for tuned, its in zip(ours.finetunings, alone.finetunings, strict=True):
            same = [
                answer == its.predictions[question]
                for question, answer in tuned.predictions.items()
            ]
            # Of two spans that are as good, rounding chooses.
            assert np.mean(same) > 0.9
    losses = {h.looks[0].train_loss for h in at_once.histories}
    assert len(losses) == 2


@pytest.mark.parametrize(("usable", "widths"), [(10**9, [2]), (10**3, [1, 1])])
def test_an_accelerator_is_given_as_many_trials_as_its_memory_holds(
    library, monkeypatch, usable, widths
):
    monkeypatch.setattr(memory, "usable_bytes", lambda: usable)
    experiment = changed(**ALIKE)
    kept = Kept(experiment, library, history=History)
    runner = _Runner(experiment, library, kept, width=None)
    assert [group.width for group in runner.groups] == widths
    assert runner._once(runner._tuner).width == (3 if widths == [2] else 1)


def test_trials_at_once_that_were_ended_go_on_to_the_last_bit(
    at_once, library, tmp_path, monkeypatch
):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    kept, looks, last = checkpoint.keep, [], []

    def keep_and_end(path, progress, history):
        kept(path, progress, history)
        looks.append(len(history.looks))
        if looks == last:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "keep", keep_and_end)
    # Between the second looks at the two: they begin anew. After both: they go on.
    for last[:] in ([1, 1, 2], [1, 1, 2, 2]):
        looks.clear()
        with pytest.raises(KeyboardInterrupt):
            sweep(changed(**ALIKE), library, threads=1, width=2)
    looks.clear()
    last.clear()
    again = sweep(changed(**ALIKE), library, threads=1, width=2)
    assert looks == [3, 3, 4, 4, 5, 5]
    for one, other in zip(again.histories, at_once.histories, strict=True):
        assert _plain(one) == _plain(other)
    assert not list(tmp_path.glob("*.npz"))


def test_a_preset_is_finetuned_in_place_of_a_pretraining(library, tmp_path):
    from lamb_keras import models

    encoder = models.bert(
        library.vocabulary.size, layers=1, width=16, heads=2, sequence_length=64
    )
    encoder.save_to_preset(str(tmp_path / "small"))
    found = sweep(changed(preset=str(tmp_path / "small")), library)
    assert found.histories[0].looks == [] and found.trials[0]["f1"] is not None


@pytest.mark.parametrize(
    ("tokens", "length", "message"),
    [
        (40, 64, r"has 40 tokens and the vocabulary 400; set vocabulary to the path"),
        (400, 48, r"sequence_lengths has 64, and preset .* takes at most 48 tokens"),
    ],
)
def test_a_preset_of_other_tokens_or_lengths_is_refused(
    library, tmp_path, tokens, length, message
):
    from lamb_keras import models

    encoder = models.bert(tokens, layers=1, width=8, heads=2, sequence_length=length)
    encoder.save_to_preset(str(tmp_path / "other"))
    with pytest.raises(ParameterError, match=message):
        sweep(changed(preset=str(tmp_path / "other")), library)


def test_too_few_articles_for_a_held_out_part_is_one_sentence():
    with pytest.raises(DataError, match="leaves"):
        dataclasses.replace(changed(), articles=2, question_articles=1).open()
