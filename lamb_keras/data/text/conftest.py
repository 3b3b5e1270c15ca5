import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Keeps what the tests work out, and the examples, out of the user's cache."""
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
