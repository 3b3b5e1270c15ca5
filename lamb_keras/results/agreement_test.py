"""What the report says of agreement follows from the numbers, whatever they are."""

import math

import pytest

from lamb_keras.results import agreement, paper
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.shape_of_sweeps import spearman


def solvers(spread=0.001, **ours):
    """Table 7 with these values of ours."""
    return [
        Result(*cell[:4], ours=ours[cell.row], spread=spread, status="run")
        if ours[cell.row] is not None
        else Result(*cell[:4], status="diverged")
        for cell in paper.tables()[7].cells()
        if cell.row in ours
    ]


def sweep(number, ours):
    """A table of settings, our values made of the row's setting and the paper's."""
    table = paper.tables()[number]
    settings = {
        table.label(row): table.setting(row) for row in (*table.rows, *table.extra_rows)
    }
    results = []
    for cell in table.cells():
        value = ours(settings[cell.row], cell.published)
        status = "diverged" if value is None else "run"
        results.append(Result(*cell[:4], ours=value, status=status))
    return table, results


def said(table, results):
    findings = agreement.compare(table, results)
    return agreement.verdict(findings), " ".join(f.words for f in findings)


def test_an_order_like_the_papers_agrees():
    results = solvers(momentum=0.3, adagrad=0.2, adam=0.4, adamw=0.5, lamb=0.6)
    verdict, words = said(paper.tables()[7], results)
    assert verdict == "agrees"
    assert "ours: lamb, adamw, adam, momentum, adagrad." in words
    assert "All 10 pairs are in the paper's order." in words


def test_a_swap_differs_if_it_is_wider_than_the_spread():
    values = {"adamw": 0.52, "lamb": 0.5}
    verdict, words = said(paper.tables()[7], solvers(spread=0.01, **values))
    assert verdict == "differs"
    assert "1 of 1 pair (1 beyond the spread over seeds); adamw before lamb" in words
    assert "by 0.0200." in words
    assert said(paper.tables()[7], solvers(spread=0.03, **values))[0] == "agrees"
    verdict, words = said(paper.tables()[7], solvers(spread=None, **values))
    assert verdict == "differs" and "1 of single seeds, which tell no spread" in words


def test_what_is_shown_as_equal_is_said_to_be_equal_and_not_swapped():
    verdict, words = said(
        paper.tables()[7], solvers(adamw=0.50000001, lamb=0.5, spread=None)
    )
    assert verdict == "agrees" and "ours: adamw = lamb." in words


def test_a_solver_that_diverged_comes_last():
    verdict, words = said(paper.tables()[7], solvers(adam=0.4, lamb=None))
    assert verdict == "differs"
    assert "ours: adam, lamb (diverged)." in words
    assert "adam before lamb, which diverged." in words


def test_goyals_recipe_is_a_solver_of_its_own_in_table_3():
    table = paper.tables()[3]
    results = [Result(*c[:4], ours=c.published, status="run") for c in table.cells()]
    verdict, words = said(table, results)
    assert verdict == "agrees"
    assert (
        "ours: lamb, momentum, adam+, adamw+, adagrad+, adamw, adam, adagrad." in words
    )
    assert "What “+” adds: adagrad +0.1663 in the paper, +0.1663 in ours;" in words


def test_a_recipe_that_takes_instead_of_giving_differs():
    table = paper.tables()[3]
    results = [
        Result(
            *c[:4], ours=0.5 if "plus" in c.column else 0.6, spread=1.0, status="run"
        )
        for c in table.cells()
    ]
    verdict, words = said(table, results)
    assert verdict == "agrees in part" and "−0.1000 in ours" in words


@pytest.mark.parametrize("number", [9, 11, 12, 17, 22, 24])
def test_the_papers_own_curve_agrees_with_itself(number):
    # Ours are at another level and of 10 classes: only the shape is the same.
    table, results = sweep(number, lambda _, p: 0.1 if p < 0.002 else 0.2 + 0.8 * p)
    verdict, words = said(table, results)
    assert verdict == "agrees", words
    assert "1.00" in words


def test_another_best_rate_differs_and_a_neighbor_agrees():
    def peak(at):
        return lambda setting, _: (
            0.9 - abs(math.log(setting["learning_rate"] / at)) / 99
        )

    _, words = said(*sweep(11, peak(0.0008)))
    assert "Highest in the paper at learning rate 0.001 (0.6604)" in words
    assert "in ours at learning rate 0.0008 (0.9000), its neighbor." in words
    findings = agreement.compare(*sweep(11, peak(0.0008)))
    assert findings[0].agrees
    findings = agreement.compare(*sweep(11, peak(0.006)))
    assert not findings[0].agrees and "3 places away" in findings[0].words


def test_a_sweep_upside_down_differs():
    verdict, words = said(*sweep(17, lambda _, published: 1 - published))
    assert (
        "Rank correlation (Spearman) of the 20 settings" in words and "−1.00" in words
    )
    assert verdict != "agrees"


def test_where_the_paper_learns_and_ours_does_not_it_differs():
    verdict, words = said(*sweep(11, lambda *_: 0.1))
    assert verdict == "differs"
    assert "of these, ours are at chance (below 0.2) or diverged in all 11" in words
    # Among nothing but noise there is neither a best setting nor an order.
    assert "Highest" not in words and "correlation" not in words


def test_where_the_paper_is_at_chance_ours_must_be_too():
    at_chance = agreement.compare(*sweep(16, lambda *_: 0.1))
    assert (
        "At chance (below 0.002) in the paper: 11 of 20 settings" in at_chance[0].words
    )
    assert at_chance[0].agrees
    assert "up to 0.0095; of these, ours are" in at_chance[1].words
    assert not at_chance[1].agrees  # to the letter: nine are above chance in the paper
    assert agreement.verdict(at_chance) == "agrees in part"
    assert said(*sweep(16, lambda *_: 0.9))[0] != "agrees"


def test_what_diverged_is_at_chance_and_is_named():
    def lose(setting, published):
        return None if setting["learning_rate"] > 35 else 0.3 + published

    _, words = said(*sweep(9, lose))
    assert "Ours diverged at 2 of 27 settings: learning rate 40, 50." in words
    _, words = said(*sweep(9, lambda *_: None))
    assert "Ours diverged at all 27 settings." in words


def test_chance_is_that_of_the_runs_own_data(imitated):
    from dataclasses import replace

    from lamb_keras.results import reconstruction, runs

    found = [run for run in runs.read(imitated) if run.table == 11]
    results = reconstruction.by_table(reconstruction.reconstruct(found))[11]
    (run,) = found
    many = replace(
        run, scraps=run.scraps | {"dataset": run.dataset | {"classes": 1000}}
    )
    for runs_of_it, band in (([many], "0.002"), (found, "0.2"), ([], "0.2")):
        findings = agreement.compare(paper.tables()[11], results, runs_of_it)
        assert f"ours are at chance (below {band})" in findings[-1].words


def test_accuracy_is_held_over_batches_or_it_is_not():
    verdict, words = said(*sweep(5, lambda setting, p: 0.9 + p / 100))
    assert verdict == "agrees" and "top-5 accuracy falls by 0.0045" in words
    verdict, words = said(
        *sweep(5, lambda setting, _: 0.9 if setting["batch_size"] < 9000 else 0.8)
    )
    assert (
        verdict == "agrees in part" and "ours by 0.1000; held is within 0.02" in words
    )
    assert "ours diverged at some" in said(*sweep(5, lambda *_: None))[1]


def test_with_nothing_to_compare_nothing_is_said():
    table = paper.tables()[7]
    not_run = [Result(*cell[:4]) for cell in table.cells()]
    assert said(table, not_run) == (None, "")
    assert said(table, solvers(lamb=0.5)) == (None, "")
    texts = paper.tables()[8]
    steps = [cell for cell in texts.cells() if cell.column == texts.results[0]]
    assert said(texts, [Result(*cell[:4], ours="loss=1") for cell in steps])[1] == ""


def test_ranks_of_equals_are_shared_and_constants_have_no_order():
    # By hand: ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486832981)
    assert spearman([1, 1, 1], [1, 2, 3]) is None
