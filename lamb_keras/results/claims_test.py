"""From trials to verdicts: what is compared, and what is no evidence."""

import io

import numpy as np
import pandas as pd

from lamb_keras.results import claims, paper
from lamb_keras.results.evidence import (
    CONTRADICTED,
    NOT_TESTED,
    SUPPORTED,
)

TESTS = ("ahead", "not_worse", "alike", "fails", "weak", "explains", "none")


def test_every_claim_names_tables_a_known_test_and_what_it_needs():
    assert list(claims.claims()) == list(range(1, 20))
    for claim in claims.claims().values():
        assert set(claim["tables"]) <= set(paper.tables())
        assert claim["test"] in TESTS
        assert claim["why" if claim["test"] == "none" else "needs"]
        assert ("margin" in claim) == (claim["test"] in ("not_worse", "alike"))


def trial(table, solver, seed, value, **more):
    numbers = {"scale": "laptop", "table": table, "solver": solver, "seed": seed}
    metrics = {"outcome": "finished", "test_accuracy": value, "classes": 10}
    return numbers | metrics | {"validation_accuracy": value} | more


def verdict(number, rows):
    return claims.verdicts(pd.DataFrame(rows)).loc[("laptop", number)]


def resnet(shift=0.0, seeds=5):
    rng = np.random.default_rng(0)
    return [
        trial(5, "lamb", seed, 0.97 + shift * (k == 6) + rng.normal(0, 0.003))
        | {"batch_size": 512 * 2**k, "learning_rate": 0.01 * k}
        for k in range(7)
        for seed in range(seeds)
    ]


def test_a_batch_that_falls_behind_contradicts_and_equal_ones_support():
    assert verdict(6, resnet()).verdict == SUPPORTED
    # LAMB without its trust ratio loses the largest batches.
    assert verdict(6, resnet(-0.1)).verdict == CONTRADICTED
    assert verdict(6, resnet(seeds=1)).verdict == NOT_TESTED


def mnist(lamb, adam, fresh=range(10, 20)):
    rng = np.random.default_rng(0)
    rows = [
        trial(7, solver, seed, value + rng.normal(0, 0.0005), learning_rate=rate)
        for solver, best in {"lamb": lamb, "adam": adam}.items()
        for rate, value, seeds in (
            (0.01, best, [0, 1, 2, *fresh]),
            (0.1, best - 0.1, [0, 1, 2]),
        )
        for seed in seeds
    ]
    rows = [row | {"confirmation": row["seed"] >= 10} for row in rows]
    adam = [row for row in rows if row["solver"] == "adam"]
    others = ("momentum", "adagrad", "adamw")
    return rows + [row | {"solver": other} for row in adam for other in others]


def test_the_best_of_several_settings_is_compared_on_fresh_seeds_alone():
    found = verdict(13, mnist(0.98, 0.98))
    assert (found.verdict, found.n) == (SUPPORTED, 10)
    assert verdict(13, mnist(0.95, 0.98)).verdict == CONTRADICTED
    without = verdict(13, mnist(0.98, 0.98, fresh=()))
    assert without.verdict == NOT_TESTED and "no fresh seeds" in without.why


def bert(f1, losses, tunings=3):
    return [
        trial(table, solver, seed, np.nan, batch_size=512, finetuning_seed=tuning)
        | {"learning_rate": 0.005 if solver == "lamb" else 0.0001}
        | {"f1": value + 0.1 * tuning + rng.normal(0, 0.2), "classes": None}
        | {"validation_loss": loss, "unigram_entropy": 4.6, "f1_without_pretraining": 0}
        for rng in [np.random.default_rng(0)]
        for (table, solver), value, loss in zip(
            ((4, "lamb"), (1, "adamw")), f1, losses, strict=True
        )
        for seed in range(6)
        for tuning in range(tunings)
    ]


def test_fine_tunings_are_no_further_seeds():
    found = verdict(2, bert([60, 60], [3, 3]))
    assert (found.verdict, found.n) == (SUPPORTED, 6)
    # Three of either are few, but have spreads.
    found = verdict(2, [row for row in bert([60, 60], [3, 3]) if row["seed"] < 3])
    assert (found.verdict, found.n) == (SUPPORTED, 3)


def test_what_ends_no_better_than_guessing_words_is_no_evidence():
    found = verdict(2, bert([60, 40], [3, 4.7]))
    assert found.verdict == NOT_TESTED
    assert "18 of 18 trials of adamw of table 1 failed to train" in found.why


def test_a_decay_that_ruins_every_rate_needs_controls_that_train():
    rows = [
        trial(table, "adamw", 0, value, weight_decay=decay, learning_rate=rate)
        | {"weight_decay_form": "per_step", "steps": 7038}
        for table, decay, value in ((16, 0.01, 0.1), (13, 0.00001, 0.9))
        for rate in range(1, 9)
    ]
    assert verdict(14, rows).verdict == SUPPORTED
    assert (
        verdict(14, [row | {"test_accuracy": 0.1} for row in rows]).verdict
        == NOT_TESTED
    )
    # In 90 steps the decay is so strong that it decides.
    short = verdict(14, [row | {"steps": 90} for row in rows])
    assert short.verdict == NOT_TESTED and "a step takes 78% off" in short.why


def test_the_loss_is_no_proxy_where_it_does_not_order_trials():
    rng = np.random.default_rng(0)
    rows = [
        trial(11, "adam", seed, accuracy, train_loss=loss)
        for seed, (accuracy, loss) in enumerate(rng.uniform(0.3, 1, (60, 2)))
    ]
    assert verdict(16, rows).verdict == SUPPORTED
    same = [row | {"train_loss": -row["test_accuracy"]} for row in rows]
    assert verdict(16, same).verdict == CONTRADICTED
    assert verdict(16, rows[:9]).verdict == NOT_TESTED


def of_mixed(loss_without, seeds=3):
    rng = np.random.default_rng(0)
    base = {"learning_rate": 0.005, "batch_size": "65536/32768", "classes": None}
    return [
        trial(1, "lamb", seed, np.nan, **base, rewarmup=again, f1=50.0)
        | {
            "validation_loss": loss + rng.normal(0, 0.01),
            "unigram_entropy": 4.6,
            "f1_without_pretraining": 0,
        }
        for again, loss in ((True, 3.0), (False, loss_without))
        for seed in range(seeds)
    ]


def test_a_second_warm_up_is_needed_if_without_it_the_loss_is_greater():
    assert verdict(4, of_mixed(3.2)).verdict == SUPPORTED
    assert verdict(4, of_mixed(3.0)).verdict == CONTRADICTED
    assert verdict(4, of_mixed(3.2, seeds=1)).verdict == NOT_TESTED


def of_lars(failing, seeds=6, loss=4.7):
    """LAMB and LARS at two batches, at the larger of which LARS, tuned, may fail."""
    rng = np.random.default_rng(0)
    return [
        trial(table, solver, seed, np.nan, batch_size=batch, learning_rate=rate)
        | {
            "f1": f1 + rng.normal(0, 0.3),
            "classes": None,
            "unigram_entropy": 4.6,
            "f1_without_pretraining": 0,
        }
        | {"validation_loss": loss if lost else 3.0, "confirmation": seed > 0}
        | {"validation_accuracy": 0.3 - rate}
        for table, solver, rates, f1 in (
            (4, "lamb", [0.005], 60),
            (2, "lars", [0.01, 0.02], 55),
        )
        for batch in (512, 32768)
        for rate in rates
        for seed in range(seeds)
        if rate < 0.02 or not seed
        for lost in [solver in failing and batch == 32768]
    ]


def test_a_solver_that_fails_where_lamb_trains_is_behind_if_seeds_are_enough():
    assert verdict(7, of_lars([])).verdict == SUPPORTED
    assert verdict(7, of_lars(["lars"])).verdict == SUPPORTED
    assert verdict(7, of_lars(["lamb"])).verdict == CONTRADICTED
    assert verdict(7, of_lars(["lamb", "lars"])).verdict == NOT_TESTED
    few = verdict(7, of_lars(["lars"], seeds=3))
    assert few.verdict == NOT_TESTED and "needs 4 seeds of each" in few.why
    # One that trains nowhere was run wrongly.
    nowhere = [r for r in of_lars(["lars"]) if r["batch_size"] > 512]
    assert verdict(7, nowhere).verdict == NOT_TESTED


def test_not_to_be_worse_than_what_failed_says_nothing():
    rows = bert([60, 40], [3, 4.7])
    trained = [r | {"batch_size": 1024, "validation_loss": 3} for r in rows]
    assert verdict(2, rows + trained).verdict == NOT_TESTED


def around_the_rule(f1, losses=(3, 3, 3)):
    rng = np.random.default_rng(0)
    return [
        trial(4, "lamb", seed, np.nan, batch_size=batch, learning_rate=rate)
        | {"f1": value + rng.normal(0, 0.3), "classes": None}
        | {"validation_loss": loss, "unigram_entropy": 4.6, "f1_without_pretraining": 0}
        for batch in (512, 32768)
        for rate, value, loss in zip((0.0025, 0.005, 0.01), f1, losses, strict=True)
        for seed in range(3)
    ]


def test_no_rate_around_the_rules_is_better_by_more_than_the_margin():
    assert verdict(5, around_the_rule([59, 60, 61])).verdict == SUPPORTED
    assert verdict(5, around_the_rule([59, 60, 65])).verdict == CONTRADICTED
    # A rate at which nothing trains is not better.
    assert verdict(5, around_the_rule([59, 60, 99], (3, 3, 5))).verdict == SUPPORTED
    assert verdict(5, around_the_rule([99, 60, 99], (5, 3, 5))).verdict == NOT_TESTED
    # The rule's alone is what other claims are about.
    assert verdict(1, around_the_rule([0, 60, 99])).verdict == SUPPORTED


def test_a_stranger_finds_the_same_verdicts_in_the_file():
    rows = [*resnet(), *mnist(0.98, 0.98), *of_mixed(3.2), *of_lars(["lars"])]
    rows += around_the_rule([59, 60, 61])
    from_runs = claims.verdicts(pd.DataFrame(rows).astype(object))
    text = pd.DataFrame(rows).to_csv(index=False)
    assert "65536/32768" in text and ",," in text
    from_file = claims.verdicts(pd.read_csv(io.StringIO(text)))
    pd.testing.assert_frame_equal(from_file, from_runs)
    assert (from_runs.verdict == SUPPORTED).sum() >= 5


def test_the_numbers_behind_a_verdict_say_what_is_compared():
    why = verdict(5, around_the_rule([59, 60, 65])).why
    assert why.startswith("F1, lamb, rate 0.005 against lamb, rate 0.01, batch 3")


def test_f1_within_a_margin_says_nothing_where_pretraining_adds_no_more_than_that():
    rows = around_the_rule([59, 60, 61])
    assert verdict(1, rows).verdict == SUPPORTED
    nothing = [{**row, "f1_without_pretraining": 58.5} for row in rows]
    found = verdict(1, nothing)
    assert found.verdict == NOT_TESTED
    assert found.why.startswith("pre-training adds 1.3 to F1, and the margin is 2;")


def test_what_never_trains_is_judged_by_the_confirmations_that_its_run_chose():
    lamb = around_the_rule([59, 60, 61])
    lamb = [
        {**r, "seed": s} for r in lamb if r["learning_rate"] == 0.005 for s in range(4)
    ]
    lars = [
        {**row, "table": 2, "solver": "lars", "learning_rate": rate}
        | {"validation_loss": 4.7, "validation_accuracy": 0.1 * rate}
        | {"seed": seed, "confirmation": seed < 4}
        for row in lamb[:1]
        for rate, seed in [(0.005, 4), (0.02, 4), *((0.02, s) for s in range(4))]
    ]
    trained = {**lars[0], "batch_size": 1024, "validation_loss": 3.0, "seed": 0}
    one = [row for row in lamb if row["batch_size"] == lars[0]["batch_size"]]
    found = verdict(7, [*one, *lars, trained | {"confirmation": False}])
    assert (found.verdict, found.n) == (SUPPORTED, 4)
