"""What is remembered is had again without work, and never in a damaged form."""

import os
from pathlib import Path

import numpy as np
import pytest

from lamb_keras.data import cache

ARRAYS = {"a": np.arange(5000, dtype=np.uint8).reshape(50, 100), "b": np.array("text")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def remembered(worked_out=ARRAYS):
    """Whether the right arrays came back, and how often they were worked out."""
    calls = []

    def work_out():
        calls.append(1)
        return worked_out

    arrays = cache.remembered("name", work_out)
    same = arrays.keys() == ARRAYS.keys() and all(
        np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS
    )
    return same, len(calls)


def test_arrays_are_worked_out_once_and_one_whole_file_is_left(folder):
    assert remembered() == (True, 1)
    assert remembered(None) == (True, 0)
    assert [path.name for path in folder.iterdir()] == ["name.npz"]


@pytest.mark.parametrize("place", [0, 60, 3000, -200, -1])
def test_a_damaged_file_is_made_again(folder, place):
    remembered()
    path = folder / "name.npz"
    intact = path.read_bytes()
    for damaged in (
        intact[:place],
        intact[:place] + bytes([intact[place] ^ 255]) + intact[place:][1:],
    ):
        path.write_bytes(damaged)
        assert remembered()[0]
    assert remembered()[0]


def test_a_file_of_a_pickle_is_made_again(folder):
    remembered({"a": np.array([print], dtype=object), "b": ARRAYS["b"]})
    assert remembered() == (True, 1)
    assert remembered() == (True, 0)


def test_a_folder_that_cannot_be_written_to_only_costs_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / "file" / "cache"))
    assert remembered() == remembered() == (True, 1)


def test_a_full_disk_leaves_nothing_behind(folder, monkeypatch):
    def write(path, content):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)
    assert remembered()[0]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({"LAMB_KERAS_CACHE": "here", "XDG_CACHE_HOME": "there"}, "here"),
        ({"XDG_CACHE_HOME": "there"}, os.path.join("there", "lamb-keras")),
        ({"HOME": "home"}, os.path.join("home", ".cache", "lamb-keras")),
    ],
)
def test_the_folder_is_the_one_asked_for_or_the_users(monkeypatch, variables, expected):
    for name in ("LAMB_KERAS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache.folder() == expected
