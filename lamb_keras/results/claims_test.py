"""Verdicts that noise cannot buy: error rates, and what is no evidence."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lamb_keras.results import claims, evidence, paper
from lamb_keras.results.evidence import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_TESTED,
    SUPPORTED,
    judge,
)

# One-sided errors are at most 2.5 %; of 400 simulations more than 20 are a chance of
# less than one in a thousand.
REPETITIONS = 400


def rates(simulate, low=0.0, high=np.inf):
    """How often each verdict is given, of simulated comparisons."""
    rng = np.random.default_rng(0)
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # a bootstrap each, which decides nothing
        patch.setattr(evidence, "interval", lambda *_: (np.nan, np.nan))
        given = [judge(simulate(rng), low, high).verdict for _ in range(REPETITIONS)]
    return {
        verdict: given.count(verdict) / REPETITIONS for verdict in evidence.VERDICTS
    }


def pairs(effect, n=10, comparisons=1):
    return lambda rng: rng.normal(effect, 1, (comparisons, n))


def batches(shift, n=3, levels=7):
    """Differences of every batch to the first; the last one is shifted."""

    def simulate(rng):
        values = rng.normal(0, 1, (levels, n))
        values[-1] += shift
        return values[1:] - values[0]

    return simulate


@pytest.mark.parametrize(
    ("simulate", "bounds", "never"),
    [
        (pairs(0), {}, SUPPORTED),
        (pairs(0), {}, CONTRADICTED),
        (pairs(0, n=3, comparisons=7), {}, SUPPORTED),
        (pairs(0, n=3, comparisons=7), {}, CONTRADICTED),
        (pairs(-1), {"low": -1}, SUPPORTED),  # worse by just the margin
        (batches(-4), {"low": -4, "high": 4}, SUPPORTED),
        (batches(4), {"low": -4, "high": 4}, SUPPORTED),
        (batches(-4), {"low": -4, "high": 4}, CONTRADICTED),
        # Heavy tails break no sign-flip test.
        (lambda rng: [rng.standard_t(2, 10)], {}, SUPPORTED),
    ],
)
def test_without_an_effect_a_verdict_is_false_in_five_of_a_hundred(
    simulate, bounds, never
):
    assert rates(simulate, **bounds)[never] <= 0.05


@pytest.mark.parametrize(
    ("simulate", "bounds", "mostly"),
    [
        (pairs(1.2), {}, SUPPORTED),  # ten seeds, 1.2 spreads of a difference ahead
        (pairs(-1.2, comparisons=3), {}, CONTRADICTED),
        (pairs(2.8, n=3, comparisons=7), {}, SUPPORTED),  # three seeds, seven batches
        (pairs(0.2), {"low": -1}, SUPPORTED),
        (batches(0), {"low": -4, "high": 4}, SUPPORTED),  # a margin of four spreads
        (batches(-8), {"low": -4, "high": 4}, CONTRADICTED),
    ],
)
def test_an_effect_of_the_stated_size_is_found_in_four_of_five(
    simulate, bounds, mostly
):
    assert rates(simulate, **bounds)[mostly] >= 0.8


def test_a_single_seed_gives_no_verdict_and_too_few_say_how_many_are_missing():
    assert judge([[5.0]]).verdict == NOT_TESTED
    few = judge([[5.0, 5.1, 4.9]])
    assert (few.verdict, few.more_seeds) == (NOT_TESTED, 3)


def test_an_inconclusive_verdict_says_how_many_seeds_would_decide_it():
    values = [1.5, -1, 0.8, 0.2, -0.5, 1.1, -0.4, 0.9, -0.2, 0.6]
    found = judge([values])
    assert found.verdict == INCONCLUSIVE and found.more_seeds > 10
    rng = np.random.default_rng(1)
    size = 5000, len(values) + found.more_seeds
    more = rng.normal(np.mean(values), np.std(values, ddof=1), size)
    errors = more.std(axis=1, ddof=1) / np.sqrt(size[1])
    decided = np.mean(more.mean(axis=1) / errors > stats.t.isf(0.025, size[1] - 1))
    assert decided == pytest.approx(0.8, abs=0.04)
    # No number of seeds shows what is not there.
    assert judge([[1, -1, 1, -1, 1, -1]]).more_seeds is None


def test_shares_need_six_settings_and_controls_that_train():
    judged = [
        evidence.judge_shares(*counts).verdict
        for counts in ((6, 6, 6, 6), (5, 5, 6, 6), (0, 6, 6, 6), (6, 6, 0, 6))
    ]
    assert judged == [SUPPORTED, INCONCLUSIVE, CONTRADICTED, NOT_TESTED]


def test_signs_are_flipped_as_scipy_does():
    values = np.random.default_rng(3).normal(0.5, 1, 8)
    exact = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative="greater"
    )
    assert evidence.p_greater(values, 1, 7) == pytest.approx(exact.pvalue)


def test_every_claim_names_tables_a_known_test_and_what_it_needs():
    assert list(claims.claims()) == list(range(1, 19))
    for claim in claims.claims().values():
        assert set(claim["tables"]) <= set(paper.tables())
        assert claim["test"] in ("ahead", "not_worse", "alike", "fails", "weak", "none")
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
        | {"f1": value + 0.1 * tuning + rng.normal(0, 0.2), "classes": None}
        | {"validation_loss": loss, "unigram_entropy": 4.6}
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


def test_what_ends_no_better_than_guessing_words_is_no_evidence():
    found = verdict(2, bert([60, 40], [3, 4.7]))
    assert found.verdict == NOT_TESTED
    assert "18 of 18 trials of adamw of table 1 failed to train" in found.why


def test_a_decay_that_ruins_every_rate_needs_controls_that_train():
    rows = [
        trial(table, "adamw", 0, value, weight_decay=decay, learning_rate=rate)
        | {"weight_decay_form": "per_step"}
        for table, decay, value in ((16, 0.01, 0.1), (13, 0.00001, 0.9))
        for rate in range(1, 9)
    ]
    assert verdict(14, rows).verdict == SUPPORTED
    assert (
        verdict(14, [row | {"test_accuracy": 0.1} for row in rows]).verdict
        == NOT_TESTED
    )


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
