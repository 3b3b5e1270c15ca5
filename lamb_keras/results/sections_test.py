"""The report says what was run, at which sizes, and what came of it."""

import base64
import re
from dataclasses import replace

import pandas as pd
import pytest

from lamb_keras.results import (
    claims,
    paper,
    reconstruction,
    runs,
    sections,
    trials,
    wording,
)
from lamb_keras.results.conftest import leave_run, table_parameters, text_of


@pytest.fixture
def found(outputs):
    return runs.read(outputs / "laptop")


@pytest.fixture
def results(found):
    return reconstruction.reconstruct(found)


@pytest.fixture
def bert(imitated_bert):
    return runs.read(imitated_bert)


def verdict(word, why="+0.01 (+0.005 to +0.015) over 10 pairs", more=None):
    index = pd.MultiIndex.from_tuples([("laptop", 6)], names=["scale", "claim"])
    told = {"verdict": word, "why": why, "estimate": 0.01, "more_seeds": more}
    return pd.DataFrame([told], index).convert_dtypes()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (verdict("supported"), "✓ supported +0.01 (+0.005 to +0.015) over 10 pairs. 5"),
        (verdict("contradicted"), "✗ contradicted +0.01"),
        (verdict("inconclusive", more=4), "10 pairs; 4 more seeds would decide it. 5"),
        (verdict("inconclusive", more=1), "; 1 more seed would decide it. 5"),
        (verdict("inconclusive"), "; more than 100 more seeds would be needed. 5"),
        (verdict("not tested here", "no trial"), "– not tested here No trial. 5"),
    ],
)
def test_a_claim_is_told_with_word_and_mark_numbers_and_what_would_decide(told, words):
    page = sections.claims(told, [], "laptop")
    of_claim = text_of(page[page.index('id="claim-6"') : page.index('id="claim-7"')])
    assert words in of_claim
    assert '<a href="#table-5">5</a>' in page
    # Verdicts of another scale are none of this one.
    assert told.verdict.iloc[0] == "not tested here" or words not in text_of(
        sections.claims(told, [], "gpu")
    )


def test_the_claims_are_counted_by_verdict_and_what_others_published_stands_there():
    page = sections.claims(verdict("supported"), [], "laptop")
    others = len(claims.claims()) - 1
    words = f"of {others + 1} claims 1 is supported and {others} are not tested here."
    assert words in text_of(page)
    text = " ".join(text_of(page).split())
    published = [claim for claim in claims.claims().values() if "published" in claim]
    assert published
    for claim in published:
        assert f"Published by others: {claim['published']} ({claim['source']})." in text


def test_each_claim_names_the_runs_and_seeds_that_it_rests_on(imitated):
    found = runs.read(imitated)
    page = sections.claims(claims.verdicts(trials.frame(found)), found, "laptop")
    rests = page[page.index("Runs and seeds") :]
    lines = [text_of(line) for line in re.findall(r"<tr><td.*?</tr>", rests, re.DOTALL)]
    of_claim = [line for line in lines if line.startswith("13 ")]
    seeds = table_parameters(7)["seeds"]
    told = f"4 {4 * len(seeds)} {wording.span(seeds)} 0"
    assert f"13 table07/lenet_mnist lamb {told}" in of_claim
    assert len(of_claim) == 5
    assert 'href="#run-table07-lenet_mnist"' in rests


def test_the_headline_says_what_when_and_where(found, results):
    text = text_of(sections.headline(found, results, "laptop"))
    assert "At laptop scale, 1 of the paper's 25 tables has been run" in text
    assert "5 trials, all trained for real, in 1 min 1 s" in text
    assert "Handwritten digits, standing in for MNIST" in text
    assert "23 November 2026, 17:40 UTC" in text and "abc1234" in text


def test_trials_are_counted_once_and_the_clock_apart_from_the_runs(bert):
    started = [f"2026-11-23T17:{minute}:00+00:00" for minute in (40, 41, 45, 46)]
    found = [
        replace(run, started=start, seconds=120.0)
        for run, start in zip(bert, started, strict=True)
    ]
    text = text_of(sections.headline(found, reconstruction.reconstruct(found), "gpu"))
    pretrainings = {
        (run.table, trial["solver"], trial["batch_size"], trial["learning_rate"])
        + (trial.get("warmup_fraction"), trial.get("rewarmup"))
        for run in bert
        for trial in run.trials
    }
    tuned = [t for run in bert for t in run.trials if t["finetuning_seed"] is not None]
    assert f"{len(pretrainings)} trials and {len(tuned)} fine-tunings" in text
    assert "in 8 min 0 s of runs, 6 min 0 s by the clock, on" in text
    text = text_of(sections.runs(found))
    each = len(table_parameters(4)["finetuning_seeds"])
    assert f"lamb 7 settings (7 trials, {7 * each} fine-tunings)" in text


def test_without_runs_there_is_still_a_page():
    results = reconstruction.reconstruct([])
    text = text_of(sections.headline([], results, "gpu"))
    assert "none of the paper's 25 tables" in text
    assert "No run has been made" in sections.runs([])
    assert "No run that pre-trains" in sections.references([])
    verdicts = claims.verdicts(trials.frame([]))
    text = text_of(sections.claims(verdicts, [], "gpu"))
    every = len(claims.claims())
    assert f"of {every} claims {every} are not tested here" in text
    assert text.count("Nothing was run.") == every


def test_the_overview_links_to_every_table_and_tells_its_claims(found, results):
    html = sections.overview(results, verdict("supported"), found, "laptop")
    assert all(f'href="#table-{number}"' in html for number in range(1, 26))
    tiles = [text_of(tile) for tile in re.findall(r"<li>.*?</li>", html, re.DOTALL)]
    (table_5,) = (tile for tile in tiles if tile.startswith("Table 5,"))
    told = "claim 6 supported ✓, claim 11 not tested here –, claim 18 not tested here –"
    assert table_5 == f"Table 5, not run, {told}"
    assert any(tile.startswith("Table 7, partly run, claim 13") for tile in tiles)


def test_failures_are_told_at_the_top_and_escaped(outputs, fail):
    fail(started="2026-11-23T18:00:00+00:00", reason="<b>bold</b>")
    found = runs.read(outputs / "laptop")
    html = sections.headline(found, reconstruction.reconstruct(found), "<laptop>")
    assert "later attempt (23 November 2026, 18:00 UTC) failed" in text_of(html)
    assert "<b>bold" not in html and "<laptop>" not in html


def test_a_run_shows_figures_parameters_environment_and_trials(found):
    html = sections.runs(found)
    text = text_of(html)
    assert "data:image/png;base64," in html and 'alt="Curves of nothing."' in html
    for words in ("epochs 3 set by hand", "python 3.", "All 5 trials", "diverged"):
        assert words in text
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#39;digits&#39;)&lt;/script&gt;" in html


def test_a_figure_is_shown_once(tmp_path):
    png = base64.b64encode(b"digits").decode()
    for table in (11, 12):
        leave_run(tmp_path / "laptop", table, {"examples": png, "sweep": png})
    html = sections.runs(runs.read(tmp_path / "laptop"))
    assert html.count("<img") == 1
    words = "The figure “examples” is the one shown with table11/resnet50_imagenet."
    assert words in text_of(html)
    assert "Table 12 shows the sweep." in text_of(html)


def test_what_was_tried_stands_with_the_figures_of_a_run(imitated):
    text = text_of(sections.runs(runs.read(imitated)))
    each = 8 * len(table_parameters(6)["seeds"])
    words = f"Tried, behind every figure: adagrad 8 settings ({each} trials), adam"
    assert words in text
    assert "adagrad 27 settings (27 trials, 1 diverged)." in text


def sizes(found):
    """The lines of the tables of sizes by the number of the table."""
    html = sections.scale_rule(found, "laptop")
    lines = map(text_of, re.findall(r"<tr><th><a.*?</tr>", html, re.DOTALL))
    return {line.split()[0]: line for line in lines}


def test_the_scale_rule_tells_every_size_of_the_paper_and_of_ours(imitated):
    found = runs.read(imitated)
    for run in found:  # which may tell the steps of another batch
        for row in run.scraps["steps"]:
            row["published_steps"] = row["published_steps"] or 7038
    lines = sizes(found)
    # The scales are free to change; what they say is what must be shown.
    small = table_parameters(13)
    images = 16384 // small["batch_divisor"]
    epochs = f"{90 / small['epochs_divisor']:.4g}"
    assert lines["13"] == (
        "13 × 1 "
        f"ImageNet → Handwritten digits 16,384 {images:,} 7,038 360 90 {epochs} "
        f"64 {small['width']} 11.1 % × 19.55"
    )
    images = [batch // table_parameters(5)["batch_divisor"] for batch in (512, 32768)]
    words = f"512 to 32,768 {images[0]:,} to {images[1]:,} 3,519 to 225,206"
    assert words in lines["5"]
    assert "Goyal’s, 11.1 %" in lines["3"] and "Goyal’s –" in lines["10"]
    assert "MNIST → Handwritten digits 1,024" in lines["7"]
    assert " 1,758 360 30 " in lines["7"] and lines["7"].endswith("– – 11.1 % –")
    assert lines["7"].startswith("7 × 1 ")


def test_the_scale_rule_tells_the_sizes_of_bert_apart_from_those_of_images(bert, found):
    lines = sizes([*found, *bert])
    assert set(lines) == {"1", "2", "4", "7", "8"}
    # A run that recorded no steps gets dashes.
    assert lines["7"] == "7 – MNIST → Handwritten digits – – – – 3 3 – – – –"
    small = table_parameters(4)
    images = [batch // small["batch_divisor"] for batch in (512, 32768)]
    steps = [round(n / small["steps_divisor"]) for n in (15_625, 1_000_000)]
    lengths = "{} to {}".format(*small["sequence_lengths"])
    # A tenth of few steps is not quite a tenth.
    second = wording.span([round(100 * (n // 10) / n, 1) for n in steps])
    warmup = round(3125 / small["steps_divisor"])
    assert lines["4"] == (
        f"4 × {small['learning_rate_multiplier']:.4g} "
        "Wikipedia, books and SQuAD v1.1 → a generated encyclopedia of 1,500 "
        f"articles, with questions 512 to 32,768 {images[0]:,} to {images[1]:,} "
        f"15,625 to 1,000,000 {steps[0]:,} to {steps[1]:,} 128 to 512 {lengths} "
        f"24 {small['layers']} 1,024 {small['width']} 16 {small['heads']} "
        f"{second} % {warmup}"
    )


@pytest.mark.parametrize(
    ("table", "used", "told"),
    [
        (13, 4.42, "× 4.42"),
        (3, {"lamb": 4.42, "momentum+": 0.02}, "momentum+ × 0.02; lamb × 4.42"),
        (3, {"lamb": 4.42}, "momentum+ × 1; lamb × 4.42"),
    ],
)
def test_what_rates_were_multiplied_by_is_told(imitated, table, used, told):
    (run,) = [run for run in runs.read(imitated) if run.table == table]
    changed = {"learning_rate_multiplier": used, "batch_divisor": 256}
    line = sizes([replace(run, parameters=run.parameters | changed)])[str(table)]
    assert line.startswith(f"{table} {told} ImageNet")


def test_choices_made_after_looking_are_told_where_they_were_made():
    choices = paper.read("decisions.yaml")["after_looking"]
    for scale in ("laptop", "paper"):
        text = text_of(sections.scale_rule([], scale))
        for choice in choices:
            of_scale = scale in choice.get("scales", [scale])
            assert (" ".join(choice["chosen"].split()) in text) is of_scale
        assert text.count("Choices made after looking") == 1


def test_every_decision_names_tables_of_the_paper():
    for each in (
        each for kind in paper.read("decisions.yaml").values() for each in kind
    ):
        assert set(each["tables"]) <= set(paper.tables())
        assert wording.listed(each["tables"])


def test_what_pretraining_is_worth_is_told_run_by_run_with_some_answers(bert, found):
    html = sections.references([*found, *bert])
    text = text_of(html)
    assert text.count("nats below the 5.500 of guessing words") == 4
    assert text.count("without pre-training 21.000 ± 1.000 over 3") == 4
    assert "Table 4, judged by 270 questions (a generated encyclopedia" in text
    assert "Who painted <b>it</b>? Ada Ada 100.0" in text
    assert "Ada (nothing) 0.0" in text
    assert "<b>it</b>" not in html


def test_every_contradiction_of_the_paper_is_in_the_notes():
    text = text_of(sections.notes())
    for table in paper.tables().values():
        assert all(note in text for note in table.contradictions)


def test_each_kind_of_decision_says_what_its_readers_are_shown():
    known = paper.read("decisions.yaml")
    assert all({*each} == {"tables", "open", "here"} for each in known["left_open"])
    for each in known["after_looking"]:
        assert {*each} - {"scales"} == {"tables", "chosen"}
