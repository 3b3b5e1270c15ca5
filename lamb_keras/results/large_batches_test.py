"""What is said of BERT's tables follows from the numbers, whichever way they fall."""

from pathlib import Path

import pytest

from lamb_keras.results import agreement, paper
from lamb_keras.results.reconstruction import Result
from lamb_keras.results.runs import Run

BATCHES = [512 * 2**k for k in range(7)]


def as_published(number, **changes):
    """The cells of a table as if ours were the paper's; others by "row, column"."""
    results = []
    for cell in paper.tables()[number].cells():
        text = isinstance(cell.published, str) and "diverge" in cell.published
        ours = None if text else cell.published
        ours = changes.get(cell.row, changes.get(f"{cell.row}, {cell.column}", ours))
        told = {"ours": ours, "spread": 0.1 if isinstance(ours, float) else None}
        status = "diverged" if ours is None else "run"
        results.append(Result(*cell[:4], **told, status=status))
    return results


def compared(number, found=(), **changes):
    table = paper.tables()[number]
    told = agreement.compare(table, as_published(number, **changes), found)
    return {finding.words: finding.agrees for finding in told}


def said(told, words):
    """Whether the one finding with these words agrees."""
    (key,) = [key for key in told if words in key]
    return told[key]


@pytest.mark.parametrize("number", [1, 2, 4, 8])
def test_the_paper_agrees_with_itself(number):
    told = compared(number)
    assert told and False not in told.values()
    assert True in told.values()


MIXED, BASELINE = "LAMB, 65536/32768, f1_dev", "Baseline, 512, f1_dev"
F1 = "F1 score on dev set"
DIVERGED = [f"0.10x31250, 0.0001, {F1}"] + [f"0.20x31250, 0.000{k}, {F1}" for k in "12"]
BEST = "best is at warm-up and rate 0.10x31250, 0.0002 in the paper (88.540), at "
LOST = "AdamW diverges at 4 of 9 settings in the paper; of these, ours at "


@pytest.mark.parametrize(
    ("table", "changes", "words", "agrees"),
    [
        (4, {}, "F1 falls by 0.809, ours by 0.809 (best 91.946 at 2,048, worst", True),
        (4, {"32768": 89.9}, "ours by 2.046", False),
        (4, {"512": None}, "ours diverged at 512", False),
        (1, {}, "The mixed batch is 0.189 ahead of the baseline in the paper, 0", True),
        (1, {}, "mixed batch is 0.891 behind LAMB at 32,768 in the paper, 0.89", True),
        (1, {MIXED: 90.385}, "0.010 behind it in ours, within the spread", True),
        (1, {MIXED: 80.0}, "10.395 behind it in ours, beyond the spread", False),
        (1, {BASELINE: None}, "LAMB at 512 is 1.357 ahead of the baseline in", True),
        (
            1,
            {MIXED: None},
            "ahead of the baseline in the paper, where ours diverged: The mixed batch",
            False,
        ),
        # Minutes are told and not judged.
        (1, {}, "paper 4,968.0 to 76.2, on 16 to 1,024 TPUs; ours 4968.00 to", None),
        (1, {}, "on the same device at every batch.", None),
        (2, {}, "LAMB is ahead of LARS at 7 of 7 batches in the paper, at 7", True),
        (
            2,
            {"LARS, 1K": 91.8, "LARS, 2K": 95.0},
            "at 5 in ours; behind by 0.039 at 1,024, by 3.054 at 2,048, 1 of it beyond",
            False,
        ),
        (
            2,
            {"LARS, 1K": 91.8},
            "behind by 0.039 at 1,024, none of it beyond the spread",
            True,
        ),
        (2, {"LAMB, 1K": None}, "behind at 1,024, 1 of it", False),
        (2, {}, "LARS diverges at 32,768 in the paper; ours too.", True),
        (
            2,
            {"LARS, 32K": 85.0},
            "has F1 85.000 there, 6.475 behind LAMB, and at the other batches 1.756",
            True,
        ),
        (2, {"LARS, 32K": 91.0}, "0.475 behind LAMB", False),
        (2, {"LARS, 512": None}, "ours too, and at 512", False),
        (2, {"LARS, 32K": 91.0, "LARS, 512": None}, "at 512, and not there", False),
        (8, {}, f"{BEST}0.10x31250, 0.0002 in ours (88.540).", True),
        (8, {f"0.20x31250, 0.0002, {F1}": 95.0}, "in ours (95.000), its nei", True),
        (8, {f"0.20x31250, 0.0003, {F1}": 95.0}, "2 places away in the grid.", False),
        (8, {}, f"{LOST}4, and of the others at none.", True),
        (8, {f"0.05x31250, 0.0001, {F1}": 50.0}, f"{LOST}3, and of the", False),
        (8, dict.fromkeys(DIVERGED), f"{LOST}4, and of the others at 3.", False),
    ],
)
def test_what_is_said_follows_from_the_numbers(table, changes, words, agrees):
    assert said(compared(table, **changes), words) is agrees


def test_minutes_of_runs_that_shared_the_device_say_so():
    def run(table, at_once):
        scraps = {"environment": {"runs_at_once": at_once}}
        return Run("x", Path(), "succeeded", "bert_squad", table, "gpu", scraps=scraps)

    told = compared(1, [run(1, 1), run(4, 3), run(8, 9)])
    assert said(told, "at every batch, which up to 3 runs shared.") is None


def test_the_best_of_adamw_is_compared_with_lamb_at_its_batch():
    def run(f1):
        cell = {"table": 4, "row": "16384", "value": f1, "spread": 0.2}
        about = (Path("a.ipynb"), "succeeded", "bert_squad", 4, "laptop")
        return Run("table04/bert_squad", *about, scraps={"cells": [cell]})

    words = (
        "LAMB at 16,384, untuned, is 2.805 ahead of the best of AdamW in the paper, "
    )
    assert said(compared(8, [run(91.345)]), words + "2.805 ahead of it in ours.")
    assert said(compared(8, [run(88.4)]), words + "0.140 behind it in ours, within")
    assert not said(compared(8, [run(80.0)]), words + "8.540 behind it in ours, beyond")
    assert not [key for key in compared(8) if "untuned" in key]


def test_a_table_of_which_little_was_run_is_told_as_far_as_it_goes():
    table = paper.tables()[1]
    cells = [cell for cell in as_published(1) if "65536" in cell.row]
    assert agreement.compare(table, cells) == []
    assert agreement.compare(paper.tables()[8], as_published(8)[:2]) == []
    assert agreement.compare(paper.tables()[2], []) == []
