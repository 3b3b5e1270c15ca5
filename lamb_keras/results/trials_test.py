"""Whoever reads trials.csv has all that the runs say."""

import csv
import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest

from lamb_keras.results import claims, runs, trials


@pytest.fixture(scope="module")
def every(imitated, imitated_bert):
    return trials.frame([*runs.read(imitated), *runs.read(imitated_bert)])


def test_numbers_read_back_equal_and_what_is_unknown_is_empty(every, tmp_path):
    path = trials.write_csv(every, tmp_path / "trials.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == trials.COLUMNS and len(rows) == len(every)
    for read, row in zip(rows, every.to_dict("records"), strict=True):
        for name, value in row.items():
            if value is None or value is pd.NA or value != value:
                assert read[name] == ""
            elif isinstance(value, float):
                assert float(read[name]) == value
            else:
                assert read[name] == str(value)


def test_a_row_tells_its_run_and_what_guessing_comes_to(every):
    bert, images = every[every.table == 4], every[every.table == 5]
    assert set(bert.unigram_entropy) == {5.5} and bert.classes.isna().all()
    assert set(images.classes) == {10} and images.unigram_entropy.isna().all()
    assert set(images.run) == {"table05/resnet50_imagenet"}
    assert not every.confirmation.any()
    assert math.isnan(every[every.outcome == "diverged"].test_accuracy.max())


def test_a_run_that_failed_has_no_rows(imitated):
    lost = [dataclasses.replace(r, status="failed") for r in runs.read(imitated)]
    found = trials.frame(lost)
    assert found.empty and tuple(found.columns) == trials.COLUMNS


def test_the_verdicts_of_the_file_are_those_of_the_runs(every, tmp_path: Path):
    path = trials.write_csv(every, tmp_path / "trials.csv")
    from_file = claims.verdicts(pd.read_csv(path))
    pd.testing.assert_frame_equal(from_file, claims.verdicts(every))
