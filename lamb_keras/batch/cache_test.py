"""One finished run, and everything that may have happened to it since."""

import json
import os

import pytest

from lamb_keras import data
from lamb_keras.batch import BatchError, cache
from lamb_keras.batch.cache import decide
from lamb_keras.store import record
from testing.tiny_project import PARAMETERS, add_package, cell, snapshot

FINISHED = {"name": "finished", "data": True, "encoder": "json", "version": 1}
SOURCE = "from lamb_keras import training"
MORE = "dataset = 'digits'\nlearning_rates = [0.1]\n"


@pytest.fixture
def project(tiny, monkeypatch):
    for name in (*cache.VARIABLES, "LAMB_KERAS_DATA"):
        monkeypatch.delenv(name, raising=False)
    project = tiny(lenet_mnist=[PARAMETERS + MORE, SOURCE])
    monkeypatch.setenv("KERAS_HOME", str(project.root / "keras"))
    add_package(project.root)
    return project


def executed(run, text=None):
    """Leaves the executed notebook of a finished run, not yet under its name."""
    path = run.folder / ".executed.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = {"application/scrapbook.scrap.json+json": FINISHED}
    outputs = [{"output_type": "display_data", "data": payload}]
    text = text or json.dumps({"cells": [{**cell("glue"), "outputs": outputs}]})
    path.write_text(text)
    return path


def kept(run, started="2026-11-23T17:40:00+00:00"):
    return {
        "notebook": run.notebook.stem,
        "table": run.table,
        "scale": run.scale,
        "parameters": run.parameters,
        "started": started,
        "key": run.key,
    }


def finish(project, *settings):
    """Files a finished run of what the project is now."""
    [decision] = decide(project.plan(*settings), project.project)
    run = decision.run
    entries = kept(run) | cache.confirmed(run, project.project)
    record.succeeded(run, executed(run), entries)
    return run


def why(project, *settings, **options):
    [decision] = decide(project.plan(*settings), project.project, **options)
    return decision.reason


@pytest.fixture
def done(project):
    """A project with its one run finished."""
    finish(project)
    return project


def edit(project, name, old, new):
    path = project.root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_run_that_was_never_executed_is_to_be(project):
    [decision] = decide(project.plan(), project.project)
    assert not decision.done and not decision.again
    assert decision.reason == "never run"


def test_a_finished_run_of_the_same_content_is_done(done):
    [decision] = decide(done.plan(), done.project)
    assert decision.done
    assert decision.started == "2026-11-23T17:40:00+00:00"


def test_to_decide_touches_nothing(done):
    before = snapshot(done.root)
    decide(done.plan(), done.project)
    decide(done.plan("epochs=3"), done.project, again=True)
    assert snapshot(done.root) == before


def test_what_is_done_can_be_asked_for_again(done):
    assert why(done, again=True) == "asked for with --again"
    assert why(done, "epochs=3", again=True) == "parameter epochs is 3, was 2"


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        (
            "lamb_keras/schedules.py",
            "warmup = 1",
            "warmup = 2",
            "lamb_keras/schedules.py changed",
        ),
        (
            "lamb_keras/training/program.py",
            "train = warmup",
            "from lamb_keras import batch\ntrain = warmup",
            "lamb_keras/training/program.py changed",
        ),
        ("lamb_keras/schedules.py", "# steps", "# epochs", None),
        ("lamb_keras/schedules.py", "Schedules.", "How rates change.", None),
        ("lamb_keras/schedules.py", "warmup = 1", "\nwarmup  =  1", None),
        ("lamb_keras/batch/__init__.py", "retries = 1", "retries = 2", None),
        ("lamb_keras/cli.py", "batch", "schedules", None),
        ("notebooks/lenet_mnist.ipynb", "passes over", "epochs of", None),
        (
            "notebooks/lenet_mnist.ipynb",
            "import training",
            "import training, cli",
            "the notebook's code changed",
        ),
        (
            "params/tables/table07.yaml",
            "epochs: 2",
            "epochs: 30",
            "parameter epochs is 30, was 2",
        ),
        ("params/tables/table07.yaml", "epochs: 2", "epochs: 2  # few", None),
        (
            "params/scales/laptop/lenet_mnist.yaml",
            "laptop",
            "laptop\nseeds: [0, 1]",
            "parameter seeds is [0, 1], was [0]",
        ),
    ],
)
def test_an_edit_is_named_as_the_reason_if_it_matters(done, name, old, new, reason):
    edit(done, name, old, new)
    assert why(done) == reason


def test_several_reasons_are_all_named(done):
    edit(done, "lamb_keras/schedules.py", "warmup = 1", "warmup = 2")
    edit(done, "lamb_keras/training/program.py", "= warmup", "= 3")
    assert why(done, "epochs=3") == (
        "parameter epochs is 3, was 2; "
        "lamb_keras/schedules.py and lamb_keras/training/program.py changed"
    )


def test_a_new_file_that_takes_an_old_ones_place_is_a_reason(done):
    (done.root / "lamb_keras/schedules.py").unlink()
    package = done.root / "lamb_keras/schedules/__init__.py"
    package.parent.mkdir()
    package.write_text("warmup = 1")
    assert why(done) == (
        "lamb_keras/schedules/__init__.py and lamb_keras/schedules.py came or went"
    )


def notebook_cells(project, change):
    path = project.root / "notebooks/lenet_mnist.ipynb"
    notebook = json.loads(path.read_text())
    change(notebook["cells"])
    path.write_text(json.dumps(notebook, indent=1))


def test_prose_and_identity_of_a_notebooks_cells_do_not_count(done):
    def change(cells):
        cells.insert(1, {"cell_type": "markdown", "metadata": {}, "source": "Why."})
        cells.append(cell(""))
        for number, each in enumerate(cells):
            each["id"] = f"cell-{number}"
        cells[2]["source"] = [cells[2]["source"]]

    notebook_cells(done, change)
    assert why(done) is None


def test_the_order_of_a_notebooks_cells_counts(project):
    cells = [cell("a = 1"), cell("a = 2")]
    notebook_cells(project, lambda all: all.extend(cells))
    finish(project)

    def swap(cells):
        cells[2], cells[3] = cells[3], cells[2]

    notebook_cells(project, swap)
    assert why(project) == "the notebook's code changed"


def test_a_default_of_the_notebook_that_is_overruled_does_not_count(done):
    edit(done, "notebooks/lenet_mnist.ipynb", "epochs = 1 ", "epochs = 9 ")
    assert why(done) is None


@pytest.mark.parametrize("name", ["jax", "jaxlib", "keras", "numpy"])
def test_another_version_is_named_with_the_one_before(done, monkeypatch, name):
    now = cache._version
    monkeypatch.setattr(
        cache, "_version", lambda each: "9.0" if each == name else now(each)
    )
    assert why(done) == f"{name} 9.0, was {now(name)}"


def test_another_python_is_the_reason_and_not_each_of_its_readings(done, monkeypatch):
    monkeypatch.setattr(
        cache.platform, "python_version_tuple", lambda: ("3", "99", "0")
    )
    edit(done, "lamb_keras/schedules.py", "warmup = 1", "warmup = 2")
    reason = why(done)
    assert reason.startswith("python 3.99, was 3.") and ";" not in reason


def test_another_content_of_the_data_is_a_reason(done, monkeypatch):
    monkeypatch.setattr(data, "fingerprint", lambda name, *_: f"another {name}")
    assert why(done) == "the data set changed"


def test_data_that_cannot_be_read_are_one_sentence(done, monkeypatch):
    monkeypatch.setenv("LAMB_KERAS_DATA", str(done.root / "nowhere"))
    with pytest.raises(BatchError, match="which is not a folder"):
        why(done, "dataset=mnist")


def test_an_edit_of_a_users_solver_is_a_reason(project):
    edit(
        project,
        "notebooks/lenet_mnist.ipynb",
        "epochs = ",
        "own_solvers = {}\\nepochs = ",
    )
    setting = "own_solvers={make: {function: mine.py:make, learning_rate: [0.1]}}"
    (project.root / "mine.py").write_text("def make(): return 1")
    finish(project, setting)
    assert why(project, setting) is None
    edit(project, "mine.py", "1", "2")
    assert why(project, setting) == "mine.py changed"


def test_a_setting_of_jax_is_a_reason_and_tells_no_path(done, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/a/folder")
    assert why(done) == "the setting XLA_FLAGS changed"
    run = finish(done)
    assert "/a/folder" not in run.file("json").read_text()


def test_a_setting_of_keras_is_a_reason_unless_it_is_the_default(done):
    path = done.root / "keras" / "keras.json"
    path.parent.mkdir()
    for text in ("not JSON", "[]", '{"floatx": "float32", "backend": "torch"}'):
        path.write_text(text)
        assert why(done) is None
    path.write_text('{"floatx": "float16"}')
    assert why(done) == "the setting floatx in keras.json changed"


def test_two_long_values_that_look_alike_are_not_shown(done):
    seeds = ",".join(map(str, range(30)))
    finish(done, f"seeds=[{seeds}]")
    assert why(done, f"seeds=[{seeds},30]") == "parameter seeds changed"


def fail(project, started, *settings, reason="ValueError: no"):
    [decision] = decide(project.plan(*settings), project.project)
    run = decision.run
    record.failed(run, executed(run), kept(run, started), reason)


def test_a_failed_run_is_to_be_executed_again(project):
    fail(project, "2026-11-23T17:40:00+00:00", reason="ValueError: " + "no " * 99)
    reason = why(project)
    assert reason.startswith("the last attempt failed: ValueError: no no ")
    assert len(reason) < 110


LATER, EARLIER = "2026-11-24T17:40:00+00:00", "2026-11-22T17:40:00+00:00"


def test_a_later_attempt_that_failed_is_a_reason_an_earlier_one_is_none(done):
    fail(done, EARLIER)
    assert why(done) is None
    fail(done, LATER)
    assert why(done) == "the last attempt failed: ValueError: no"


def test_a_failed_attempt_at_other_parameters_is_nothing_against_a_result(done):
    fail(done, LATER, "epochs=3")
    assert why(done) is None
    assert why(done, "epochs=3") == "the last attempt failed: ValueError: no"


def damage(run, what):
    record = json.loads(run.file("json").read_text())
    match what:
        case "no record":
            run.file("json").unlink()
        case "half a record":
            run.file("json").write_text(run.file("json").read_text()[:50])
        case "a record of nothing":
            run.file("json").write_text("[]")
        case "no notebook":
            run.file("ipynb").unlink()
        case "half a notebook":
            run.file("ipynb").write_text(run.file("ipynb").read_text()[:-9])
        case "an unfinished notebook":
            run.file("ipynb").write_text('{"cells": []}')
        case "an error in the notebook":
            error = {"output_type": "error", "ename": "ValueError", "evalue": "no"}
            notebook = json.loads(run.file("ipynb").read_text())
            notebook["cells"][0]["outputs"].append(error)
            run.file("ipynb").write_text(json.dumps(notebook))
        case "no key":
            del record["key"]
            run.file("json").write_text(json.dumps(record))
        case "half a key":
            del record["key"]["code"]["lamb_keras/schedules.py"]
            run.file("json").write_text(json.dumps(record))
        case "a key of another kind":
            record["key"] = "0" * 64
            run.file("json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("no record", "its record is missing"),
        ("half a record", "its record is damaged"),
        ("a record of nothing", "its record is damaged"),
        ("no notebook", "its notebook is missing"),
        ("half a notebook", "its notebook is damaged"),
        ("an unfinished notebook", "its notebook is damaged"),
        ("an error in the notebook", "its notebook is damaged"),
        ("no key", "its record has no content key"),
        ("half a key", "its record's key cannot be compared"),
        ("a key of another kind", "its record's key cannot be compared"),
    ],
)
def test_what_is_missing_or_damaged_is_not_believed(project, what, reason):
    damage(finish(project), what)
    assert why(project) == reason


def test_a_result_of_another_table_in_a_runs_place_is_not_its_own(tiny, monkeypatch):
    project = tiny(lenet_mnist=[PARAMETERS], other=[PARAMETERS])
    runs = [each.run for each in decide(project.plan(), project.project)]
    run = runs[0]
    record.succeeded(run, executed(run), kept(run))
    runs[1].folder.mkdir()
    for ending in ("ipynb", "json"):
        os.link(run.file(ending), runs[1].file(ending))
    reasons = [each.reason for each in decide(project.plan(), project.project)]
    assert reasons[0] is None
    assert reasons[1].startswith("parameter notebook is")


def test_code_that_changes_while_a_run_goes_on_leaves_it_without_a_key(project):
    [decision] = decide(project.plan(), project.project)
    run = decision.run
    edit(project, "lamb_keras/schedules.py", "warmup = 1", "warmup = 2")
    entries = cache.confirmed(run, project.project)
    note = "lamb_keras/schedules.py changed while it ran"
    assert entries == {"key": None, "note": note}
    record.succeeded(run, executed(run), kept(run) | entries)
    assert why(project) == note


def test_a_notebook_that_goes_while_a_run_goes_on_leaves_it_without_a_key(project):
    [decision] = decide(project.plan(), project.project)
    decision.run.notebook.unlink()
    assert cache.confirmed(decision.run, project.project) == {
        "key": None,
        "note": "its notebook, code or data could not be read when it ended",
    }


def test_a_module_that_cannot_be_read_is_one_sentence(done, monkeypatch):
    def refuse(package, path):
        raise PermissionError(13, "Permission denied", path.name)

    monkeypatch.setattr(cache.Package, "_read", refuse)
    with pytest.raises(BatchError, match="y cannot be read: Permission denied"):
        why(done)


def test_without_a_package_of_its_own_a_project_runs_this_one(tiny):
    project = tiny(lenet_mnist=[PARAMETERS, "from lamb_keras import schedules"])
    [decision] = decide(project.plan(), project.project)
    assert set(decision.run.key["code"]) == {
        "lamb_keras/__init__.py",
        "lamb_keras/schedules.py",
    }
