"""The published tables are all there, as published, and every cell has one name."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from lamb_keras.results import paper

PROJECT = Path(__file__).parents[2]
ORIGINAL = PROJECT.parent / "shared" / "paper" / "tables.yaml"


def test_the_25_tables_come_in_the_papers_order():
    assert list(paper.tables()) == list(range(1, 26))


def test_the_packaged_values_are_a_verbatim_copy_of_the_transcription():
    if not ORIGINAL.exists():
        pytest.skip("the transcription is not beside this checkout")
    assert (paper.HERE / "tables.yaml").read_bytes() == ORIGINAL.read_bytes()


def test_row_labels_are_unique_within_each_table():
    for table in paper.tables().values():
        labels = [table.label(row) for row in (*table.rows, *table.extra_rows)]
        assert len(set(labels)) == len(labels), f"table {table.number}"


def test_every_cell_has_a_name_of_its_own():
    names = Counter(cell[:3] for cell in paper.cells())
    assert names.most_common(1)[0][1] == 1


def test_every_column_is_a_key_a_setting_or_a_result_and_only_one_of_them():
    for table in paper.tables().values():
        declared = [*table.keys, *table.settings, *table.results]
        names = [column.name for column in table.columns]
        assert sorted(declared) == sorted(names), f"table {table.number}"


def test_every_published_result_is_a_cell_and_nothing_else_is():
    counts = Counter(cell.table for cell in paper.cells())
    expected = {1: 18, 2: 14, 3: 8, 4: 7, 5: 14, 6: 5, 7: 5, 8: 18, 9: 27, 10: 27}
    expected |= {11: 11, 12: 19}
    expected |= {number: 20 for number in range(13, 26)}
    assert counts == expected


def test_cells_keep_the_papers_values_to_the_last_digit():
    for entry in yaml.safe_load((paper.HERE / "tables.yaml").read_text()):
        table = paper.tables()[entry["number"]]
        results = [entry["columns"].index(column) for column in table.results]
        rows = [*entry["rows"], *entry.get("extra_rows", [])]
        published = [row[i] for row in rows for i in results if row[i] is not None]
        assert [cell.published for cell in table.cells()] == published


def test_tables_13_to_20_have_four_more_rows_that_are_marked_as_extra():
    for number in range(13, 21):
        cells = paper.tables()[number].cells()
        assert [cell.extra for cell in cells] == [False] * 16 + [True] * 4
        assert [cell.row.split(",")[0] for cell in cells[16:]] == [
            "0.025",
            "0.03",
            "0.04",
            "0.05",
        ]


def test_table_7_has_the_papers_solvers_in_the_papers_order():
    rows = [cell.row for cell in paper.tables()[7].cells()]
    assert rows == ["momentum", "adagrad", "adam", "adamw", "lamb"]


def test_divergence_is_a_published_value_in_tables_2_and_8():
    lars = {cell.column: cell.published for cell in paper.tables()[2].cells()[:7]}
    assert lars["32K"] == "diverge"
    first = paper.tables()[8].cells()[:2]
    assert [cell.published for cell in first] == [
        "loss=8.04471, step=28126",
        "diverged",
    ]


def test_a_row_is_found_by_its_numbers_however_they_are_written():
    assert paper.tables()[9].label_of({"learning_rate": 1}) == "1.0"
    numbers = {"learning_rate": 0.02, "weight_decay": 1e-05, "l2_regularization": 0}
    assert paper.tables()[17].label_of(numbers) == "0.02, 1e-05, disable"


def test_every_row_of_a_table_of_settings_is_named_by_numbers_of_a_trial():
    for table in paper.tables().values():
        if table.solver:
            for row in (*table.rows, *table.extra_rows):
                setting = table.setting(row)
                assert len(setting) == len(table.keys)
                assert all(isinstance(value, int | float) for value in setting.values())
                assert table.label_of(setting) == table.label(row)


def test_table_3_is_the_best_of_all_sweeps_and_of_each_once():
    sources = paper.tables()[3].best_of.values()
    assert sorted(number for some in sources for number in some) == [*range(9, 26)]
    for (row, column), numbers in paper.tables()[3].best_of.items():
        solver = paper.tables()[3].entry(row, column)
        assert {paper.tables()[number].solver for number in numbers} == {solver}


def test_table_3_has_no_cell_where_the_paper_prints_nothing():
    cells = {cell[1:3] for cell in paper.tables()[3].cells()}
    assert ("momentum", "default") in cells
    assert ("momentum", "plus (Goyal LR scheme)") not in cells


def test_the_papers_contradictions_stand_at_the_tables_they_concern():
    noted = {n for n, table in paper.tables().items() if table.notes}
    assert noted == {1, 2, 4, 8}
    assert "90.390" in paper.tables()[2].notes[0]
    assert "88.540" in paper.tables()[8].notes[0]


def test_text_is_shown_as_text_and_a_number_with_its_columns_decimals():
    f1 = paper.tables()[8].column("F1 score on dev set")
    assert f1.write("diverged") == "diverged"
    assert f1.write(88.54) == "88.540"


def test_reading_the_tables_needs_neither_keras_nor_jax_nor_pandas():
    program = (
        "import sys, lamb_keras.results.paper as paper; paper.cells();"
        "print({'keras', 'jax', 'pandas', 'papermill'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"
