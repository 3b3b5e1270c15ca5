"""What is remembered is had again without work, and never in a damaged form."""

import os
import stat

import numpy as np
import pytest

from lamb_keras.data import cache

ARRAYS = {"a": np.arange(5000, dtype=np.uint8).reshape(50, 100), "b": np.array("text")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def remembered(worked_out=ARRAYS):
    """(arrays, how often they were worked out)."""
    calls = []

    def work_out():
        calls.append(1)
        return worked_out

    return cache.remembered("name", ["a", "b"], work_out), len(calls)


def same(arrays):
    return arrays.keys() == ARRAYS.keys() and all(
        np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS
    )


def test_arrays_are_worked_out_once(folder):
    first, worked = remembered()
    assert same(first) and worked == 1
    again, worked = remembered(None)
    assert same(again) and worked == 0


def test_one_whole_file_is_left(folder):
    remembered()
    assert [path.name for path in folder.iterdir()] == ["name.npz"]


@pytest.mark.parametrize("place", [0, 5, 40, 60, 100, 3000, 5200, -200, -60, -10, -1])
def test_a_damaged_file_is_made_again(folder, place):
    remembered()
    path = folder / "name.npz"
    intact = path.read_bytes()
    for damaged in (
        intact[:place],
        intact[:place] + bytes([intact[place] ^ 255]) + intact[place:][1:],
    ):
        path.write_bytes(damaged)
        arrays, _ = remembered()
        assert same(arrays)
    assert same(remembered()[0])


def test_a_file_that_holds_something_else_is_made_again(folder):
    remembered({"a": ARRAYS["a"]})
    arrays, worked = remembered()
    assert same(arrays) and worked == 1
    assert remembered()[1] == 0


def test_a_pickle_in_the_file_is_not_run(folder):
    remembered({"a": np.array([print], dtype=object), "b": ARRAYS["b"]})
    arrays, worked = remembered()
    assert same(arrays) and worked == 1


def test_a_folder_that_cannot_be_written_to_only_costs_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        arrays, worked = remembered()
        assert same(arrays) and worked == 1


def test_a_full_disk_leaves_nothing_behind(folder, monkeypatch):
    def savez(file, **arrays):
        file.write(b"some")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", savez)
    assert same(remembered()[0])
    assert list(folder.iterdir()) == []


def test_the_file_is_the_users_alone(folder):
    remembered()
    assert stat.S_IMODE((folder / "name.npz").stat().st_mode) & 0o077 == 0


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
