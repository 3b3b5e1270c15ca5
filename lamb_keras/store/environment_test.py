"""A run says what it ran on, without starting anything it does not use."""

import json
import subprocess

import pytest

from lamb_keras.store import environment


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "code.py").write_text("one = 1\n")
    (tmp_path / "notebook.ipynb").write_text("{}")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "One")
    return tmp_path


def test_it_names_versions_device_commit_and_date():
    import jax

    described = environment.describe()
    for name in ("python", "jax", "keras", "numpy", "lamb_keras", "platform", "date"):
        assert described[name], name
    assert described["device"] == jax.devices()[0].device_kind
    assert described["device_count"] == jax.device_count()
    assert described["cpu_count"] >= 1 and "commit" in described
    json.dumps(described)  # plain values, ready to be glued


def test_it_tells_how_many_runs_share_the_machine(monkeypatch):
    monkeypatch.setenv(environment.RUNS_VARIABLE, "4")
    assert environment.describe()["runs_at_once"] == 4


def test_a_changed_tree_is_marked_but_new_results_do_not_change_it(checkout):
    clean = environment.commit(checkout)
    assert clean and "-dirty" not in clean
    (checkout / "outputs").mkdir()
    (checkout / "outputs" / "results.csv").write_text("table,row\n")
    assert environment.commit(checkout) == clean
    # What counts is the whole tree, not the folder that is asked about.
    (checkout / "notebook.ipynb").write_text("{ }")
    assert environment.commit(checkout / "package") == f"{clean}-dirty"


def test_code_outside_a_checkout_has_no_commit(tmp_path):
    assert environment.commit(tmp_path) is None
