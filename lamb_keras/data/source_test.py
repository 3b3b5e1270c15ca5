"""Files are looked for where LAMB_KERAS_DATA says, or not at all."""

import pytest

from lamb_keras.data import source


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_there_is_no_folder(monkeypatch, value):
    monkeypatch.delenv("LAMB_KERAS_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("LAMB_KERAS_DATA", value)
    assert source.folder("mnist") is None


def test_the_folder_has_the_name_of_the_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAMB_KERAS_DATA", "~")
    assert source.folder("cifar10") is None
    (tmp_path / "cifar10").mkdir()
    assert source.folder("cifar10") == str(tmp_path / "cifar10")
    assert source.folder("mnist") is None
