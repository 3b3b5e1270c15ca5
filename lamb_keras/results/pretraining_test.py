"""BERT's trials become the cells of four tables, each trained once."""

import math

import pytest

from lamb_keras.results import paper, pretraining


def trial(solver="lamb", batch_size=512, finetuning_seed=0, f1=60.0, **more):
    return {
        "solver": solver,
        "batch_size": batch_size,
        "learning_rate": 0.005,
        "warmup_fraction": 0.2,
        "weight_decay": 0.01,
        "weight_decay_form": None,
        "seed": 0,
        "finetuning_seed": finetuning_seed,
        "outcome": "finished",
        "last_loss": 2.5,
        "last_step": 160,
        "validation_loss": 2.4,
        "validation_accuracy": 0.4,
        "minutes": 0.5,
        "f1": f1,
        **more,
    }


def diverged(**more):
    lost = {"f1": None, "validation_loss": None, "validation_accuracy": None}
    return trial(finetuning_seed=None, outcome="diverged", minutes=None, **lost | more)


def by_place(trials, table):
    found = pretraining.cells(trials, table)
    places = {(cell["table"], cell["row"], cell["column"]): cell for cell in found}
    assert len(places) == len(found)
    return places


BATCHES = [512 * 2**k for k in range(7)]


def test_the_run_of_table_4_fills_its_rows_in_tables_1_and_2_too():
    trials = [
        trial(batch_size=batch, f1=60.0 + k + seed, finetuning_seed=seed)
        for k, batch in enumerate(BATCHES)
        for seed in (0, 1, 2)
    ]
    found = by_place(trials, 4)
    assert len(found) == 7 + 7 * 2 + 7
    published = {cell[:3] for cell in paper.cells()}
    assert set(found) <= published
    for k, batch in enumerate(BATCHES):
        column = paper.tables()[2].results[k]
        for place in (
            (4, str(batch), "f1"),
            (1, f"LAMB, {batch}", "f1_dev"),
            (2, "LAMB", column),
        ):
            cell = found[place]
            assert (cell["value"], cell["spread"], cell["n"]) == (61.0 + k, 1.0, 3)


def test_runs_of_two_tables_together_fill_tables_1_and_2():
    ours = by_place([trial(batch_size=batch) for batch in BATCHES], 4)
    mixed = trial(batch_size="65536/32768", f1=58.0)
    ours |= by_place([trial("adamw"), mixed], table=1)
    ours |= by_place([trial("lars", batch) for batch in BATCHES], 2)
    published = {
        cell[:3] for number in (1, 2) for cell in paper.tables()[number].cells()
    }
    assert published <= set(ours)
    assert ours[1, "LAMB, 65536/32768", "f1_dev"]["value"] == 58.0


def test_minutes_are_of_pretrainings_whatever_the_number_of_fine_tunings():
    trials = [
        trial(seed=seed, finetuning_seed=tuning, minutes=1.0 + seed)
        for seed in (0, 1)
        for tuning in range(3)
    ]
    cell = by_place(trials, 4)[1, "LAMB, 512", "time_minutes"]
    assert (cell["value"], cell["n"]) == (1.5, 2)


def test_lars_is_chosen_by_held_out_words_at_each_batch_and_not_by_f1():
    trials = [
        trial("lars", batch, tuning, f1, learning_rate=rate, validation_accuracy=right)
        for batch, rate, right, f1 in [
            (512, 0.01, 0.5, 40.0),
            (512, 0.02, 0.4, 99.0),
            (1024, 0.01, 0.3, 99.0),
            (1024, 0.02, 0.4, 50.0),
        ]
        for tuning in (0, 1)
    ]
    found = by_place(trials, 2)
    told = {
        place[2]: (cell["value"], cell["chosen"], cell["settings_tried"], cell["n"])
        for place, cell in found.items()
    }
    assert told == {
        "512": (40.0, {"learning_rate": 0.01}, 2, 2),
        "1K": (50.0, {"learning_rate": 0.02}, 2, 2),
    }


def test_of_a_chosen_rate_the_peak_at_its_batch_is_told_too():
    trials = [
        trial("lars", 512, learning_rate=rate, peak_learning_rate=rate / 8)
        for rate in (0.005, 0.01)
    ]
    cell = by_place(trials, 2)[2, "LARS", "512"]
    assert cell["chosen"] == {"learning_rate": 0.005, "peak_learning_rate": 0.000625}
    [alone] = by_place(trials[:1], 2).values()
    assert alone["chosen"] == {}


def test_a_batch_at_which_every_rate_diverged_is_diverged():
    trials = [
        diverged(solver="lars", batch_size=32768, learning_rate=rate)
        for rate in (0.01, 0.02)
    ]
    cell = by_place(trials, 2)[2, "LARS", "32K"]
    assert (cell["value"], cell["status"], cell["diverged"]) == (None, "diverged", 2)


def test_of_table_8_the_last_step_is_told_even_where_training_diverged():
    at = {"solver": "adamw", "batch_size": 16384, "learning_rate": 0.0003}
    trials = [
        *(trial(**at, warmup_fraction=0.1, finetuning_seed=n) for n in (0, 1)),
        diverged(**at, warmup_fraction=0.05, last_loss=math.nan, last_step=12),
    ]
    found = by_place(trials, 8)
    step, f1 = paper.tables()[8].results
    assert found[8, "0.10x31250, 0.0003", step]["value"] == "loss=2.50000, step=160"
    assert found[8, "0.10x31250, 0.0003", f1]["value"] == 60.0
    lost = found[8, "0.05x31250, 0.0003", step]
    assert (lost["value"], lost["status"]) == ("loss=nan, step=12", "run")
    assert found[8, "0.05x31250, 0.0003", f1]["status"] == "diverged"
    assert {cell["settings"] for cell in found.values()} == {2}


def test_a_batch_that_the_paper_has_not_stands_in_its_own_table_alone():
    found = by_place([trial(batch_size=256)], 4)
    assert set(found) == {(4, "256", "f1")}


def test_the_same_trial_twice_is_refused():
    with pytest.raises(ValueError, match="seed 0 and finetuning_seed 1; expected one"):
        pretraining.cells([trial(finetuning_seed=1)] * 2, 4)


def test_curves_are_shown_of_the_chosen_rate_and_in_table_8_of_all():
    trials = [
        trial("lars", batch, learning_rate=rate, validation_accuracy=rate)
        for batch in (512, 1024)
        for rate in (0.01, 0.02)
    ]
    curves = [{**each, "step": step} for each in trials for step in (1, 2)]
    shown = pretraining.of_chosen(curves, trials, 2)
    assert [(row["batch_size"], row["learning_rate"]) for row in shown] == [
        (512, 0.02),
        (512, 0.02),
        (1024, 0.02),
        (1024, 0.02),
    ]
    at = {"solver": "adamw", "batch_size": 16384}
    trials = [trial(**at, learning_rate=rate) for rate in (0.0001, 0.0002)]
    assert len(pretraining.of_chosen(trials, trials, 8)) == 2


REFERENCES = {
    "unigram_entropy": 5.0,
    "untrained": {"f1": 3.0, "exact_match": 0.0},
    "without_pretraining": [{"finetuning_seed": n, "f1": 20.0 + n} for n in range(3)],
}


def test_what_pretraining_is_worth_is_computed_from_the_trials():
    trials = [
        *(trial(finetuning_seed=n, f1=60.0 + n) for n in range(3)),
        trial(batch_size=1024, validation_loss=5.5, validation_accuracy=0.1, f1=90.0),
        diverged(batch_size=2048),
    ]
    loss, f1 = pretraining.worth(trials, REFERENCES)
    assert "ends between 2.400 and 5.500 (2 of 3 pre-trainings came through)" in loss
    assert "from 2.600 nats below to 0.500 nats above the 5.000 of" in loss
    assert "is 61.000 ± 1.000 over 3 fine-tunings" in f1
    assert "without pre-training 21.000 ± 1.000 over 3" in f1
    assert f1.endswith("of an untrained net 3.000: pre-training adds 40.000.")
    _, f1 = pretraining.worth([trial(f1=10.0)], REFERENCES)
    assert f1.endswith("pre-training takes 11.000.")
    # Where nothing can be said, nothing is.
    assert pretraining.worth([diverged()], REFERENCES) == []
    assert pretraining.worth([trial()], {}) == []


def test_lars_is_told_by_the_fine_tunings_of_fresh_seeds():
    trials = [
        trial("lars", learning_rate=rate, validation_accuracy=rate, f1=99.0, minutes=9)
        for rate in (0.01, 0.02)
    ]
    trials += [
        trial("lars", finetuning_seed=n, f1=50.0 + n, learning_rate=0.02, minutes=1)
        | {"seed": seed, "confirmation": True}
        for seed in (7, 8)
        for n in (0, 1)
    ]
    cell = by_place(trials, 2)[2, "LARS", "512"]
    assert (cell["value"], cell["n"], cell["settings_tried"]) == (50.5, 4, 2)
    assert [row["seed"] for row in pretraining.of_chosen(trials, trials, 2)] == [0]


def test_controls_have_rows_of_their_own_and_fill_no_other_table():
    base = trial(batch_size=32768)
    rates = [base | {"learning_rate": rate, "f1": 99.0} for rate in (0.0025, 0.01)]
    adamw = [
        trial("adamw", 32768, learning_rate=rate, validation_accuracy=rate, f1=f1)
        for rate, f1 in ((0.1, 99.0), (0.2, 50.0))
    ]
    again = base | {"seed": 1, "confirmation": True, "f1": 99.0}
    found = by_place([rates[0], base, *rates[1:], again, *adamw], 4)
    f1 = {place[1:]: c["value"] for place, c in found.items() if place[0] == 4}
    assert f1 == {
        ("32768", "f1"): 60.0,
        ("32768, learning rate 0.0025", "f1"): 99.0,
        ("32768, learning rate 0.01", "f1"): 99.0,
        ("32768, adamw", "f1"): 50.0,
    }
    filled = {place: c["value"] for place, c in found.items() if place[0] != 4}
    assert filled == {
        (1, "LAMB, 32768", "f1_dev"): 60.0,
        (1, "LAMB, 32768", "time_minutes"): 0.5,
        (2, "LAMB", "32K"): 60.0,
    }
    shown = pretraining.of_chosen([*rates, base, *adamw], [*rates, base, *adamw], 4)
    assert [row["learning_rate"] for row in shown] == [0.005]


def test_of_the_mixed_batch_the_paper_warms_up_twice():
    mixed = [
        trial(
            batch_size="65536/32768", rewarmup=again, f1=f1, validation_accuracy=right
        )
        for again, f1, right in ((True, 58.0, 0.3), (False, 40.0, 0.5))
    ]
    found = by_place(mixed, 1)
    row = "LAMB, 65536/32768"
    assert found[1, row, "f1_dev"]["value"] == 58.0
    assert found[1, f"{row}, without a second warm-up", "f1_dev"]["value"] == 40.0
