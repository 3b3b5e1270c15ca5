import json

import pytest

from lamb_keras.batch import attempt
from testing.tiny_project import cell

FINISHED = {
    "output_type": "display_data",
    "data": {
        "application/scrapbook.scrap.json+json": {
            "name": "finished",
            "data": True,
            "encoder": "json",
            "version": 1,
        }
    },
    "metadata": {"scrapbook": {"name": "finished", "data": True, "display": False}},
}


def ran(source="1", count=1, *outputs):
    return {**cell(source), "execution_count": count, "outputs": list(outputs)}


def error(name="ValueError", value="no"):
    return {"output_type": "error", "ename": name, "evalue": value, "traceback": []}


@pytest.fixture
def unfinished(tmp_path):
    def unfinished(*cells):
        path = tmp_path / "x.ipynb"
        # What Papermill says of a notebook whose kernel was killed.
        papermill = {"exception": None, "parameters": {}}
        for each in cells:
            each["metadata"]["papermill"] = {"status": "completed", "exception": False}
        metadata = {"papermill": papermill}
        notebook = {"nbformat": 4, "nbformat_minor": 4, "metadata": metadata}
        path.write_text(json.dumps({**notebook, "cells": cells}))
        ended = attempt.unfinished(path)
        return ended and ended.reason

    return unfinished


TEXT = {"cell_type": "markdown", "metadata": {}, "source": "# Table 7"}


def test_a_notebook_that_ran_to_its_last_scrap_is_finished(unfinished):
    blank = {**cell(" \n"), "execution_count": None}
    assert unfinished(TEXT, ran(), blank, ran("glue", 2, FINISHED)) is None


def test_a_cell_that_was_never_executed_tells_though_papermill_says_completed(
    unfinished,
):
    assert unfinished(TEXT, ran("1", 1, FINISHED), ran("2", None)) == (
        "cell 3 was never executed"
    )


def test_an_error_tells_though_the_last_scrap_is_there(unfinished):
    assert unfinished(ran("1", 1, error()), ran("2", 2, FINISHED)) == "ValueError: no"


def test_leaving_by_sys_exit_is_not_finishing(unfinished):
    assert unfinished(ran("1", 1, FINISHED), ran("2", 2, error("SystemExit", "0"))) == (
        "SystemExit: 0"
    )


def test_a_notebook_without_the_last_scrap_is_not_finished(unfinished):
    assert unfinished(ran()) == (
        'the notebook ended without gluing the scrap "finished"'
    )


def test_a_last_scrap_that_is_not_true_does_not_count(unfinished):
    false = json.loads(json.dumps(FINISHED).replace("true", "false"))
    assert "without gluing" in unfinished(ran("1", 1, false))
