"""How often each rule errs, simulated: verdicts that noise cannot buy."""

import numpy as np
import pytest
from scipy import stats

from lamb_keras.results import evidence
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


def test_seeds_are_asked_for_that_can_contradict_one_comparison_of_several():
    behind = [Pairs([-0.10, -0.11, -0.12, -0.10, -0.11, -0.12])]
    ahead = [Pairs([0.10, 0.11, 0.12, 0.10, 0.11, 0.12])] * 3
    assert judge(behind).verdict == CONTRADICTED
    # By Holm 1 of 64 becomes 4 of 64; of eight pairs it is 4 of 256.
    assert judge(behind + ahead).verdict == INCONCLUSIVE
    assert judge(behind + ahead).more_seeds == 2
