"""A run says what it ran on, without starting anything it does not use."""

import json
import subprocess
import sys

from lamb_keras.batch import executor
from lamb_keras.store import environment


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


def test_it_names_versions_device_commit_and_date():
    described = environment.describe()
    for name in ("python", "jax", "keras", "numpy", "lamb_keras", "platform", "date"):
        assert described[name], name
    assert {"device", "device_count", "commit"} <= set(described)
    assert described["cpu_count"] >= 1
    json.dumps(described)  # plain values, ready to be glued


def test_it_does_not_import_jax_to_ask_for_devices():
    program = (
        "import sys; from lamb_keras.results import environment;"
        "assert environment.describe()['device'] is None; print('jax' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


def test_it_names_the_device_that_jax_uses():
    import jax

    described = environment.describe()
    assert described["device"] == jax.devices()[0].device_kind
    assert described["device_count"] == jax.device_count()


def test_it_tells_how_many_runs_share_the_machine(monkeypatch):
    monkeypatch.delenv(environment.RUNS_VARIABLE, raising=False)
    assert environment.describe()["runs_at_once"] == 1
    for name, value in executor.environment("events.jsonl", jobs=4).items():
        monkeypatch.setenv(name, value)
    assert environment.describe()["runs_at_once"] == 4
    inherited = executor.environment("events.jsonl", jobs=2)
    assert inherited[environment.RUNS_VARIABLE] == "2"


def test_a_changed_tree_is_marked_but_new_results_do_not_change_it(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("one = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "One")
    clean = environment.commit(tmp_path)
    assert clean and "-dirty" not in clean

    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "results.csv").write_text("table,row\n")
    assert environment.commit(tmp_path) == clean

    (tmp_path / "code.py").write_text("one = 2\n")
    assert environment.commit(tmp_path) == f"{clean}-dirty"


def test_code_outside_a_checkout_has_no_commit(tmp_path):
    assert environment.commit(tmp_path) is None


def test_the_commit_is_that_of_the_whole_tree_not_of_a_folder_in_it(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "code.py").write_text("")
    (tmp_path / "notebook.ipynb").write_text("{}")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "One")
    (tmp_path / "notebook.ipynb").write_text("{ }")
    assert environment.commit(tmp_path / "package").endswith("-dirty")
