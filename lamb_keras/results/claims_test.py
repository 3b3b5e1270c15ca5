"""Verdicts that noise cannot buy: error rates, and what is no evidence."""

import io

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lamb_keras.results import claims, evidence, paper
from lamb_keras.results.comparisons import Failures, Means, Nothing, Pairs, Spread
from lamb_keras.results.evidence import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_TESTED,
    SUPPORTED,
    judge,
)

# One-sided errors are at most 2.5 %; of 400 simulations more than 20 are a chance of
# less than one in a hundred. The seed is fixed.
REPETITIONS = 400


def rates(simulate, low=0.0, high=np.inf):
    """How often each verdict is given, of simulated comparisons."""
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:  # what decides nothing
        for kind in (Pairs, Means):
            patch.setattr(kind, "interval", lambda _: (np.nan, np.nan))
        return shares(judge(simulate(rng), low, high) for _ in range(REPETITIONS))


def shares(verdicts):
    given = [found.verdict for found in verdicts]
    return {verdict: given.count(verdict) / len(given) for verdict in evidence.VERDICTS}


def pairs(effect, n=10, count=1):
    return lambda rng: [Pairs(each) for each in rng.normal(effect, 1, (count, n))]


def spread(settings):
    """The spread of seeds about settings that have a row each."""
    squares = ((settings - settings.mean(1, keepdims=True)) ** 2).sum()
    df = settings.size - len(settings)
    return Spread(float(squares / df), df)


def batches(shift, n=3, levels=7):
    """Every batch of one solver beside the first; the last one is shifted."""

    def simulate(rng):
        values = rng.normal(0, 1, (levels, n))
        values[-1] += shift
        of_all = spread(values)
        return [Means(each, values[0], of_all, of_all) for each in values[1:]]

    return simulate


def solvers(ahead, n=3, settings=(7, 1), scale=1):
    """Settings of two solvers, the second of which spreads by `scale`."""

    def simulate(rng):
        first = rng.normal(ahead, 1, (settings[0], n))
        second = rng.normal(0, scale, (settings[1], n))
        spreads = spread(first), spread(second)
        return [Means(*both, *spreads) for both in zip(first, second, strict=False)]

    return simulate


def failures(first, second, n):
    """Of n seeds each, trainings that fail with these chances."""
    return lambda rng: [
        Failures(int(rng.binomial(n, first)), n, int(rng.binomial(n, second)), n)
    ]


@pytest.mark.parametrize(
    ("simulate", "bounds", "never"),
    [
        (pairs(0), {}, SUPPORTED),
        (pairs(0), {}, CONTRADICTED),
        (pairs(0, n=6), {}, SUPPORTED),
        (pairs(0, count=7), {}, CONTRADICTED),
        (pairs(-1), {"low": -1}, SUPPORTED),  # worse by just the margin
        # Heavy tails break no sign-flip test.
        (lambda rng: [Pairs(rng.standard_t(2, 10))], {}, SUPPORTED),
        # Three seeds: seven settings of the first solver, and one of the second.
        (solvers(0), {}, SUPPORTED),
        (solvers(0), {}, CONTRADICTED),
        (solvers(0, scale=3), {}, SUPPORTED),  # whose seeds spread three times as far
        (solvers(-3), {"low": -3}, SUPPORTED),
        (solvers(0, settings=(7, 7)), {}, CONTRADICTED),
        (solvers(0, settings=(1, 1)), {}, SUPPORTED),
        (batches(-4), {"low": -4, "high": 4}, SUPPORTED),
        (batches(4), {"low": -4, "high": 4}, SUPPORTED),
        (batches(-4), {"low": -4, "high": 4}, CONTRADICTED),
        (failures(0.5, 0.5, 6), {}, SUPPORTED),
        (failures(0.5, 0.5, 6), {}, CONTRADICTED),
        (failures(0.2, 0.2, 4), {}, SUPPORTED),
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
        (pairs(-1.2, count=3), {}, CONTRADICTED),
        (pairs(0.2), {"low": -1}, SUPPORTED),
        (solvers(0), {"low": -3.5}, SUPPORTED),  # three seeds, a margin of 3.5 spreads
        (solvers(3.5, settings=(7, 7)), {}, SUPPORTED),  # ahead at seven batches
        (solvers(-3, settings=(7, 7)), {}, CONTRADICTED),
        (batches(0), {"low": -4, "high": 4}, SUPPORTED),  # a margin of four spreads
        (batches(-8), {"low": -4, "high": 4}, CONTRADICTED),
        (failures(0.05, 0.95, 6), {}, SUPPORTED),
        (failures(0.98, 0.02, 4), {}, CONTRADICTED),
    ],
)
def test_an_effect_of_the_stated_size_is_found_in_four_of_five(
    simulate, bounds, mostly
):
    assert rates(simulate, **bounds)[mostly] >= 0.8


def correlated(rho, n=24):
    rng, r = np.random.default_rng(0), 2 * np.sin(np.pi * rho / 6)
    drawn = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], (100, n))
    return shares(evidence.judge_correlation(*each.T, below=0.8) for each in drawn)


def test_a_correlation_of_the_bound_is_not_taken_for_a_weak_one():
    assert max(correlated(0.8)[v] for v in (SUPPORTED, CONTRADICTED)) <= 0.05
    assert correlated(0.35)[SUPPORTED] >= 0.8
    assert correlated(0.97)[CONTRADICTED] >= 0.8


def explained(by_rate, by_decay, monkeypatch):
    """Of 60 trials of 160, whose values two of three numbers move by so much."""
    monkeypatch.setattr(evidence, "RESAMPLES", 400)
    rng = np.random.default_rng(0)
    rate, decay, l2 = np.indices((20, 4, 2)).reshape(3, -1)

    def judged():
        moved = by_rate * (rate - 9.5) / 5.77 + by_decay * (decay - 1.5) / 1.118
        some = rng.permutation(160)[:60]
        factors = {"rate": rate[some], "decay": decay[some], "l2": l2[some]}
        values = moved[some] + rng.normal(0, 1, 60)
        return evidence.judge_explained(values, factors)

    return shares(judged() for _ in range(60))


@pytest.mark.parametrize("equal", [0, 1])
def test_numbers_that_matter_alike_are_not_told_apart(equal, monkeypatch):
    found = explained(equal, equal, monkeypatch)
    assert max(found[SUPPORTED], found[CONTRADICTED]) <= 0.05


def test_what_matters_most_is_found(monkeypatch):
    assert explained(2, 0.3, monkeypatch)[SUPPORTED] >= 0.8
    assert explained(0, 2, monkeypatch)[CONTRADICTED] >= 0.8


def test_shares_of_settings_that_fail_by_chance_decide_nothing():
    failed = np.random.default_rng(0).binomial(8, 0.5, (REPETITIONS, 2))
    found = shares(evidence.judge_shares(f, 8, t, 8) for f, t in failed)
    assert max(found[SUPPORTED], found[CONTRADICTED]) <= 0.05
    failed = np.random.default_rng(0).binomial(8, 0.99, (REPETITIONS, 2))
    found = shares(evidence.judge_shares(f, 8, t, 8) for f, t in failed)
    assert found[SUPPORTED] >= 0.8


def test_a_single_seed_gives_no_verdict_nor_do_few_that_nothing_can_be_pooled_with():
    alone = Spread(1.0, 3)
    one, few = Means([5.0], [1.0], alone, alone), Means([5, 6], [1, 2], alone, alone)
    assert judge([one]).verdict == judge([few]).verdict == NOT_TESTED
    assert "nothing" in judge([few]).why
    enough = Spread(1.0, 4)
    assert judge([Means([5, 6], [0, 1], enough, enough)]).verdict == SUPPORTED


def test_what_is_unknown_keeps_from_support_and_not_from_contradiction():
    good, bad = Pairs(np.arange(1, 9)), Pairs(-np.arange(1, 9))
    unknown = Nothing("there is no trial")
    assert judge([good, unknown])[:2] == (NOT_TESTED, "there is no trial")
    assert judge([bad, unknown]).verdict == CONTRADICTED


def test_an_inconclusive_verdict_says_how_many_seeds_would_decide_it():
    values = [1.5, -1, 0.8, 0.2, -0.5, 1.1, -0.4, 0.9, -0.2, 0.6]
    found = judge([Pairs(values)])
    assert found.verdict == INCONCLUSIVE and found.more_seeds > 10
    rng = np.random.default_rng(1)
    size = 5000, len(values) + found.more_seeds
    more = rng.normal(np.mean(values), np.std(values, ddof=1), size)
    errors = more.std(axis=1, ddof=1) / np.sqrt(size[1])
    decided = np.mean(more.mean(axis=1) / errors > stats.t.isf(0.025, size[1] - 1))
    assert decided == pytest.approx(0.8, abs=0.04)
    # No number of seeds shows what is not there.
    assert judge([Pairs([1, -1, 1, -1, 1, -1])]).more_seeds is None


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
    assert Pairs(values).p_above(0) == pytest.approx(exact.pvalue)


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
        | {"validation_loss": loss + rng.normal(0, 0.01), "unigram_entropy": 4.6}
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
        | {"f1": f1 + rng.normal(0, 0.3), "classes": None, "unigram_entropy": 4.6}
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
        | {"validation_loss": loss, "unigram_entropy": 4.6}
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
