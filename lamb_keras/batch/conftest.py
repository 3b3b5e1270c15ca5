import pytest

from testing.tiny_project import make_project


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Makes a tiny project of the given notebooks in this test's own folder."""
    return lambda **notebooks: make_project(
        tmp_path / "project", monkeypatch, **notebooks
    )


def pytest_addoption(parser):
    group = parser.getgroup("lamb-keras")
    group.addoption("--kills", type=int, metavar="N", help="of kills_test.py")
    group.addoption("--kill-seed", type=int, metavar="N", help="of their moments")
