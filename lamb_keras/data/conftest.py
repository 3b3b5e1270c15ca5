"""What the tests of data sets have in common."""

import socket
import sys
from types import SimpleNamespace

import pytest

from lamb_keras import data
from lamb_keras.data import source


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Writes files to the folder of a data set, with a cache of their own."""
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / "cache"))

    def write(name, files):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    return write


@pytest.fixture
def refusal():
    """The one sentence with which every way in refuses a data set."""

    def ask(name, *ways):
        sentences = set()
        for way in ways or (data.load, data.check, data.fingerprint):
            with pytest.raises(data.DataError) as caught:
                way(name)
            assert caught.value.__cause__ is None
            sentences.add(str(caught.value))
        (sentence,) = sentences
        assert "\n" not in sentence
        return sentence

    return ask


@pytest.fixture(params=["variable unset", "variable empty", "no folder of that name"])
def keras_downloads(request, tmp_path, monkeypatch):
    """Has Keras download what a function returns, where there are no files."""
    monkeypatch.delenv("LAMB_KERAS_DATA", raising=False)
    if request.param != "variable unset":
        value = "" if request.param == "variable empty" else str(tmp_path)
        monkeypatch.setenv("LAMB_KERAS_DATA", value)

    def set_up(name, give):
        def load_data():
            assert socket.getdefaulttimeout() == source.DOWNLOAD_TIMEOUT_SECONDS
            return give()

        datasets = SimpleNamespace(**{name: SimpleNamespace(load_data=load_data)})
        monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(datasets=datasets))

    return set_up
