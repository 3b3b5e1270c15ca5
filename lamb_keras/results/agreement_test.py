"""What the report says of agreement follows from the numbers, whatever they are."""

import math
from dataclasses import replace

import pytest

from lamb_keras.results import agreement, paper, reconstruction, runs
from lamb_keras.results.reconstruction import Result


def solvers(spread=0.001, **ours):
    """Table 7 with these values of ours."""
    return paper.tables()[7], [
        Result(
            *cell[:4],
            ours=ours[cell.row],
            spread=spread,
            status="diverged" if ours[cell.row] is None else "run",
        )
        for cell in paper.tables()[7].cells()
        if cell.row in ours
    ]


def sweep(number, ours):
    """A table of settings, our values made of the row's numbers and the paper's."""
    table = paper.tables()[number]
    results = []
    for cell in table.cells():
        value = ours(table.numbers_of(cell.row, cell.column), cell.published)
        status = "diverged" if value is None else "run"
        results.append(Result(*cell[:4], ours=value, status=status))
    return table, results


def recipes(plain, plus):
    """Table 3 with our values made of the paper's, with and without the recipe."""
    table = paper.tables()[3]
    return table, [
        Result(
            *cell[:4],
            ours=(plus if "plus" in cell.column else plain)(cell.published),
            spread=1.0,
            status="run",
        )
        for cell in table.cells()
    ]


def same(published):
    return published


def peak(rate):
    return lambda numbers, _: 0.9 - abs(math.log(numbers["learning_rate"] / rate)) / 99


def lose(numbers, published):
    return None if numbers["learning_rate"] > 35 else 0.3 + published


@pytest.mark.parametrize(
    ("compared", "verdict", "said"),
    [
        (
            solvers(momentum=0.3, adagrad=0.2, adam=0.4, adamw=0.5, lamb=0.6),
            "agrees",
            [
                "ours: lamb, adamw, adam, momentum, adagrad.",
                "All 10 pairs are in the paper's order.",
            ],
        ),
        (
            solvers(spread=0.01, adamw=0.52, lamb=0.5),
            "differs",
            [
                "1 of 1 pair (1 beyond the spread over seeds); adamw before lamb",
                "by 0.0200.",
            ],
        ),
        (solvers(spread=0.03, adamw=0.52, lamb=0.5), "agrees", ["1 within"]),
        (
            solvers(spread=None, adamw=0.52, lamb=0.5),
            "differs",
            ["1 of single seeds, which tell no spread"],
        ),
        (
            solvers(spread=None, adamw=0.50000001, lamb=0.5),
            "agrees",
            ["ours: adamw = lamb."],
        ),
        (
            solvers(spread=None, adam=0.4, lamb=None),
            "differs",
            [
                "ours: adam, lamb (diverged).",
                "(1 beyond the spread over seeds); adam before lamb, which diverged.",
            ],
        ),
        (
            recipes(same, same),
            "agrees",
            [
                "ours: lamb, momentum, adam+, adamw+, adagrad+, adamw, adam, adagrad.",
                "What “+” adds: adagrad +0.1663 in the paper, +0.1663 in ours;",
            ],
        ),
        (
            recipes(lambda _: 0.6, lambda _: 0.5),
            "agrees in part",
            ["−0.1000 in ours"],
        ),
        (
            sweep(11, peak(0.0008)),
            "agrees",
            [
                "Highest in the paper at learning rate 0.001 (0.6604), in ours at "
                "learning rate 0.0008 (0.9000), its neighbor."
            ],
        ),
        (sweep(11, peak(0.006)), "agrees in part", [", 3 places away in the grid."]),
        (
            sweep(17, lambda _, published: 1 - published),
            "agrees in part",
            ["Rank correlation (Spearman) of the 20 settings", "−1.00"],
        ),
        (
            sweep(11, lambda *_: 0.1),
            "differs",
            ["of these, ours are at chance (below 0.2) or diverged in all 11"],
        ),
        (
            sweep(16, lambda *_: 0.1),
            "agrees in part",
            [
                "At chance (below 0.002) in the paper: 11 of 20 settings",
                "up to 0.0095; of these, ours are",
            ],
        ),
        (sweep(16, lambda *_: 0.9), "agrees in part", ["diverged in none of 11"]),
        (
            sweep(9, lose),
            "agrees",
            ["Ours diverged at 2 of 27 settings: learning rate 40, 50."],
        ),
        (
            sweep(9, lambda *_: None),
            "agrees in part",
            ["Ours diverged at all 27 settings."],
        ),
        (
            sweep(5, lambda _, published: 0.9 + published / 100),
            "agrees",
            ["top-5 accuracy falls by 0.0045"],
        ),
        (
            sweep(5, lambda numbers, _: 0.9 if numbers["batch_size"] < 9000 else 0.8),
            "agrees in part",
            ["ours by 0.1000; held is within 0.02"],
        ),
        (sweep(5, lambda *_: None), "differs", ["ours diverged at some"]),
        (solvers(lamb=0.5), None, [""]),
    ],
)
def test_agreement_follows_from_the_numbers(compared, verdict, said):
    findings = agreement.compare(*compared)
    words = " ".join(finding.words for finding in findings)
    assert [phrase for phrase in said if phrase not in words] == []
    assert agreement.verdict(findings) == verdict, words


@pytest.mark.parametrize("number", [9, 11, 12, 17, 22, 24])
def test_the_papers_own_curve_agrees_with_itself(number):
    # Ours are at another level and of 10 classes: only the shape is the same.
    like = sweep(number, lambda _, p: 0.1 if p < 0.002 else 0.2 + 0.8 * p)
    findings = agreement.compare(*like)
    assert agreement.verdict(findings) == "agrees"
    assert "equal: 1.00" in findings[1].words


def test_ours_agree_where_at_most_half_of_what_trains_in_the_paper_does_not():
    for lost, agrees in ((5, True), (6, False)):
        rates = sorted(row["Learning Rate"] for row in paper.tables()[11].rows)[lost:]
        few = sweep(11, lambda n, _, rates=rates: 0.1 + (n["learning_rate"] in rates))
        assert agreement.compare(*few)[-1].agrees is agrees


def test_among_nothing_but_noise_there_is_neither_a_best_setting_nor_an_order():
    words = " ".join(f.words for f in agreement.compare(*sweep(11, lambda *_: 0.1)))
    assert "Highest" not in words and "correlation" not in words


def test_chance_is_that_of_the_runs_own_data(imitated):
    found = [run for run in runs.read(imitated) if run.table == 11]
    results = reconstruction.by_table(reconstruction.reconstruct(found))[11]
    (run,) = found
    dataset = run.dataset | {"classes": 1000}
    many = replace(run, scraps=run.scraps | {"dataset": dataset})
    for runs_of_it, band in (([many], "0.002"), (found, "0.2"), ([], "0.2")):
        findings = agreement.compare(paper.tables()[11], results, runs_of_it)
        assert f"ours are at chance (below {band})" in findings[-1].words


def test_with_nothing_to_compare_nothing_is_said():
    for number in range(1, 26):
        table = paper.tables()[number]
        assert agreement.compare(table, [Result(*c[:4]) for c in table.cells()]) == []
