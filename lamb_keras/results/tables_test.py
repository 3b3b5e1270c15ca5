"""Every table is shown with what was found, and nothing gets through as HTML."""

import re
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest

from lamb_keras.results import drawings, paper, runs
from lamb_keras.results.conftest import leave_run, text_of
from lamb_keras.results.reconstruction import by_table, reconstruct
from lamb_keras.results.tables import _lines, tables


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """The numbers of the tables whose figures are drawn, which takes its time."""
    numbers, draw = set(), drawings.of_run
    some = lambda run: draw(run) if run.table in numbers else {}  # noqa: E731
    monkeypatch.setattr(drawings, "of_run", some)
    return numbers


def shown(found, number, **options):
    """The HTML of one table."""
    html = tables(reconstruct(found), found, **options)
    after = html[html.index(f'id="table-{number}"') :]
    end = after.find(f'id="table-{number + 1}"')
    return after[: end if end > 0 else None]


def with_cells(run, cells, **changes):
    return replace(run, scraps=run.scraps | {"cells": cells}, **changes)


@pytest.fixture
def found(outputs):
    return runs.read(outputs / "laptop")


@pytest.fixture(scope="module")
def every_image(imitated):
    return runs.read(imitated)


def test_every_table_can_be_linked_to_and_comes_in_the_papers_order(found):
    html = tables(reconstruct(found), found)
    numbers = map(int, re.findall(r'id="table-(\d+)"', html))
    assert list(numbers) == list(range(1, 26))


def test_tables_that_were_not_run_are_folded_away_as_printed(found):
    assert tables(reconstruct([])).count("not run</span></summary>") == 25
    table_8 = shown(found, 8)
    assert "<details" in tables(reconstruct(found), found).split(table_8)[0][-60:]
    assert "loss=8.04471, step=28126" in table_8 and "last step infomation" in table_8
    assert "The text quotes AdamW&#39;s F1 as 88.1" in table_8
    own, extra = shown(found, 13).split("printed by version 3 of the paper alone")
    assert "0.008260091" in own and "0.008870442" not in own
    assert "0.008870442" in extra


def test_a_run_table_shows_published_ours_spread_n_choice_and_cost(found):
    table_7 = shown(found, 7)
    lamb = text_of(table_7[table_7.index('<th scope="row">lamb</th>') :])
    assert lamb.startswith("lamb 0.9945 0.9700 ± 0.0141 2 −0.0245 learning rate 0.01")
    assert "2 settings, 3 trials run" in lamb
    text = text_of(table_7)
    assert "2 settings, 2 trials, 1 diverged run" in text
    assert "Set by hand for this run: epochs = 3." in text
    assert "Made by table07/lenet_mnist in 1 min 1 s" in text
    assert "href" not in table_7.replace('href="#', "")
    # In words from the numbers.
    assert "Best first, the paper: lamb, adam; ours: lamb, adam." in text
    adam, *others = found[0].scraps["cells"]
    swapped = with_cells(found[0], [adam | {"value": 0.99}, *others])
    assert "ours: adam, lamb." in text_of(shown([swapped], 7))


def test_a_table_links_to_its_claims_and_says_what_the_paper_leaves_open(found):
    index = pd.MultiIndex.from_tuples([("laptop", 13)], names=["scale", "claim"])
    verdicts = pd.DataFrame({"verdict": ["inconclusive"]}, index)
    html = shown(found, 7, verdicts=verdicts)
    assert '<a href="#claim-13"' in html
    assert "Bears on claim 13 ? inconclusive" in text_of(html)
    assert "Bears on claim 13 – not tested here" in text_of(shown(found, 7))
    words = "Left open by the paper: the schedule that all solvers share"
    assert words in text_of(html)
    # Also of a table that was not run.
    assert "claim 6" in text_of(shown(found, 5))


def test_what_ended_no_better_than_guessing_is_shown_and_told(tmp_path):
    leave_run(tmp_path / "laptop", 23)
    html = shown(runs.read(tmp_path / "laptop"), 23)
    lost = re.findall(r'<tr class="lk-is-did-not-train">.*?</tr>', html, re.DOTALL)
    assert len(lost) >= 10
    for line in lost:
        assert re.search(r"0\.\d{4}.* did not train$", text_of(line))
    assert "Came to nothing, of 20:" in text_of(html)


def test_a_row_that_is_one_setting_says_of_how_many(every_image):
    text = text_of(shown(every_image, 11))
    assert "1 of 11 settings run" in text
    assert "learning rate published ours ± spread" in text and "chosen" not in text


def test_a_best_of_other_tables_links_to_the_one_it_is_from(every_image):
    table_3 = shown(every_image, 3)
    assert '<a href="#table-11">Table 11</a>, learning rate' in table_3
    assert "160 settings, 160 trials" in text_of(table_3)
    # Only the run of the table itself is introduced; the others are with their tables.
    assert text_of(table_3).count("Made by") == 1


def test_the_other_form_of_weight_decay_is_shown_below_its_table_alone(every_image):
    text = text_of(shown(every_image, 23))
    title = "What the other form of weight decay would give"
    assert title in text
    assert "ours, per step ours, times learning rate tried" in text
    assert "2 settings, 2 trials" in text
    assert "Times learning rate. Highest in the paper" in text
    assert tables(reconstruct(every_image), every_image).count(title) == 1


def test_a_sweep_is_drawn_with_its_table_and_its_rows_are_folded(every_image, drawn):
    drawn |= {11, 13}
    html = shown(every_image, 13)
    (figure,) = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert 'aria-label="Top-1 accuracy by learning rate: ours, the paper."' in figure
    # Its words are text, whole; nothing in it is known by the name of another's.
    words = {text_of(w) for w in re.findall(r"<text.*?</text>", figure, re.DOTALL)}
    assert {"learning rate", "adamw", "chance", "0.001"} <= words
    other = shown(every_image, 11)
    ids = (set(re.findall(r'\bid="([^"]+)"', each)) for each in (html, other))
    assert not set.intersection(*ids)
    assert "All 20 rows, published beside ours" in html
    assert "<summary>All" not in other


def test_a_difference_stands_where_both_values_mean_the_same(imitated_bert):
    found = runs.read(imitated_bert)
    html = shown(found, 1)
    heads = text_of(html[html.index("<thead>") : html.index("</thead>")])
    assert "difference" in heads
    lines = re.findall(r"<tr class=.*?</tr>", html, re.DOTALL)
    minutes = [line for line in lines if "minutes of" in line]
    f1 = [line for line in lines if "SQuAD F1" in line]
    assert all("lk-track" not in line for line in minutes)
    assert not any(re.search("[+−]", text_of(line)) for line in minutes)
    assert any(re.search("[+−]", text_of(line)) for line in f1)


def test_a_table_of_ones_own_whose_run_failed_stands_there_with_its_reason(found):
    about = {"name": "table26/mine", "table": 26, "notebook": "mine"}
    lost = replace(found[0], status="failed", reason="no luck.", scraps={}, **about)
    html = shown([*found, lost], 26)
    assert html.startswith('id="table-26" open')
    assert "Failed: no luck." in text_of(html)


def test_rows_of_ones_own_stand_below_the_papers(every_image, found):
    (run,) = [run for run in every_image if run.table == 13]
    row = "0.3, 1e-05, default (0.01)"
    cells = run.scraps["cells"]
    html = shown([with_cells(run, [*cells, cells[0] | {"row": row}])], 13)
    assert html.split("ours alone: the paper has no such row")[1].count(row) == 1
    cells = found[0].scraps["cells"]
    html = shown([with_cells(found[0], [*cells, cells[-1] | {"row": "lars"}])], 7)
    assert ">lars</th>" in html.split("ours alone: the paper has no such row")[1]


def test_what_comes_from_runs_is_escaped(found):
    failed = replace(found[0], status="failed", reason="<b>bold</b>", scraps={})
    hand = replace(found[0], overrides={"dataset": "<script>"})
    html = shown([failed], 7) + shown([hand], 7)
    assert "<b>bold" not in html and "<script" not in html
    assert "dataset = &lt;script&gt;" in html


def test_a_later_failure_is_told_where_the_results_stand(outputs, fail):
    fail(started="2026-11-23T18:00:00+00:00")
    html = shown(runs.read(outputs / "laptop"), 7)
    assert "later attempt (23 November 2026, 18:00 UTC)" in text_of(html)
    assert "the kernel died." in html
    assert '<span class="lk-page">table07/lenet_mnist.failed</span>' in html


def test_a_failed_table_is_open_and_says_why(outputs, fail):
    fail()
    (outputs / "laptop" / "table07" / "lenet_mnist.json").unlink()
    html = shown(runs.read(outputs / "laptop"), 7)
    assert html.startswith('id="table-7" open')
    assert "Failed: the kernel died." in html
    assert '<span class="lk-page">table07/lenet_mnist.failed</span>' in html


def test_a_table_with_several_results_and_settings_shows_them_all(found):
    place = {"table": 5, "row": "512", "status": "run"}
    cells = [
        place | {"column": "top5", "value": 0.93},
        place | {"column": "top1", "value": 0.77},
    ]
    text = text_of(shown([with_cells(found[0], cells, table=5)], 5))
    assert "512 0.005000 0.3125 top-5 accuracy 0.9335 0.9300 −0.0035 run" in text
    assert "top-1 accuracy 0.7696 0.7700 +0.0004 run" in text
    place = {"table": 8, "row": "0.05x31250, 0.0001", "status": "run"}
    last = place | {"column": "last step infomation [sic]", "value": "loss=5, step=1"}
    text = text_of(shown([with_cells(found[0], [last], table=8)], 8))
    assert "loss=8.04471, step=28126 loss=5, step=1" in text


def test_dots_stand_where_the_numbers_say(found):
    lines = _lines(paper.tables()[7], by_table(reconstruct(found))[7])
    by_row = {line["cell"].row: line["plot"] for line in lines}
    # From adam's 0.91 to lamb's published 0.9945, with 3 % of room on either side.
    assert by_row["adam"]["ours"] == 3.0 and by_row["lamb"]["published"] == 97.0
    assert by_row["lamb"]["from"] < by_row["lamb"]["ours"] < by_row["lamb"]["to"]
    assert Counter("ours" in plot for plot in by_row.values()) == {True: 2, False: 3}


@pytest.mark.parametrize(
    ("table", "made_by", "words"),
    [
        (1, [1, 4], "the paper's F1 falls by 1.362, ours by"),
        (
            2,
            [2, 4],
            "Came to nothing, of 14: 1 (LARS at 32,768) in the paper; of these",
        ),
        (4, [4], "1 of 7 settings"),
        (8, [8], "loss=8.04471, step=28126 loss=2.25000, step=160"),
    ],
)
def test_berts_tables_name_every_run_that_fills_them(
    imitated_bert, table, made_by, words
):
    found = runs.read(imitated_bert)
    cells = by_table(reconstruct(found))[table]
    assert all(cell.done for cell in cells)
    text = text_of(shown(found, table))
    numbers = map(int, re.findall(r"Made by table0(\d)/bert_squad", text))
    assert sorted(numbers) == made_by
    assert words in text
    assert (
        "Data: a generated encyclopedia of 1,500 articles, with questions, standing in "
        "for Wikipedia, books and SQuAD v1.1 (270 dev questions, 1,425 documents)"
    ) in text
