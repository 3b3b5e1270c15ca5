"""Outputs at an address: what has ended is there, whole, and found from elsewhere."""

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest

from lamb_keras import cli
from lamb_keras.batch import attempt, outcome
from lamb_keras.batch.remote import Remote
from lamb_keras.results import report, runs
from testing.tiny_project import PARAMETERS, cell

COUNT = "open('runs.txt', 'a').write('x')"
RUN = "laptop/table07/lenet_mnist"
FINISHED = {"name": "finished", "data": True}
OUTPUT = {"data": {"application/scrapbook.scrap.json+json": FINISHED}}
DONE = {**cell("glue"), "outputs": [{"output_type": "display_data", **OUTPUT}]}


@pytest.fixture(params=["file", "memory"])
def address(request, tmp_path):
    """A disk and a store that has no folders, as those of clouds have none."""
    if request.param == "file":
        yield f"file://{tmp_path}/there"
        return
    yield "memory://bucket/there"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes this a machine of the given name, with a disk of its own."""
    return lambda name: monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / name))


@pytest.fixture
def counting(tiny, monkeypatch):
    """A project whose run, without a kernel, says how often it ran.

    Its report is one line.
    """

    def render(output, scale, root, renewed):
        (output / scale / "report.html").write_text("a report")
        return output / scale / "report.html"

    def execute(job, variables, emit, **options):
        about = {"run": job["run"], "attempt": job["number"], "gpu": None}
        emit({"event": "started", "time": time.time(), **about})
        root = Path(job["root"])
        with open(root / "runs.txt", "a") as file:
            file.write("x")
        executed = (root / job["published"]).with_name(".executed.ipynb")
        executed.write_text(json.dumps({"cells": [DONE]}))
        ended = outcome.Outcome(outcome.SUCCEEDED)
        if "1 / 0" in (root / job["notebook"]).read_text():
            ended = outcome.of_error("ZeroDivisionError", "division by zero")
        return attempt.Result(ended, executed, datetime.now(UTC).isoformat(), 1.0)

    monkeypatch.setattr(report, "render", render)
    monkeypatch.setattr(attempt, "execute", execute)
    monkeypatch.setattr("lamb_keras.batch.machine.FORKS", False)
    return tiny(lenet_mnist=[PARAMETERS, COUNT])


def run(project, address, *options):
    arguments = ["--project", str(project.root), "--output", address]
    return cli.main(["run", *arguments, *options])


def times(project):
    return len((project.root / "runs.txt").read_text())


def stored(address):
    files, root = fsspec.core.url_to_fs(address)
    files.invalidate_cache()
    return {
        path.removeprefix(root).lstrip("/"): files.cat_file(path)
        for path in files.find(root)
    }


def test_what_has_ended_is_there_and_nowhere_run_again(
    counting, address, machine, capsys
):
    machine("one")
    assert run(counting, address) == 0
    assert f"{address}/laptop/report.html" in capsys.readouterr().out
    left = stored(address)
    assert set(left) == {f"{RUN}.ipynb", f"{RUN}.json", "laptop/report.html"}
    assert json.loads(left[f"{RUN}.json"])["status"] == "succeeded"

    machine("two")
    assert run(counting, address) == 0
    assert "is already done" in capsys.readouterr().out
    assert times(counting) == 1
    [found] = runs.read(Remote(address).folder / "laptop")
    assert found.succeeded and found.name == "table07/lenet_mnist"
    assert run(counting, address, "--again") == 0
    assert times(counting) == 2

    # The first machine learns that there is a newer one.
    machine("one")
    assert run(counting, address, "--dry-run") == 0
    name = f"{RUN}.json"
    assert (Remote(address).folder / name).read_bytes() == stored(address)[name]


def test_a_failure_is_there_until_the_run_succeeds(counting, address, machine, capsys):
    machine("one")
    notebook = counting.root / "notebooks" / "lenet_mnist.ipynb"
    good = notebook.read_text()
    notebook.write_text(good.replace(COUNT, "1 / 0"))
    assert run(counting, address) == 1
    assert f"{RUN}.failed.ipynb" in stored(address)
    notebook.write_text(good)
    assert run(counting, address) == 0
    assert not [name for name in stored(address) if "failed" in name]


def test_a_copy_that_was_cut_off_is_no_run_and_is_made_up_for(
    counting, address, machine, monkeypatch, capsys
):
    machine("one")
    write = Remote._write

    def refuse(self, path, content):
        if path.endswith("mnist.json"):
            raise OSError("the line is dead")
        write(self, path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "_write", refuse)
        assert run(counting, address) == 2
    said = capsys.readouterr().err
    told = f"lamb-keras: --output {address} cannot be written to: the line is dead"
    assert f"{told}; it is tried again\n" in said and f"{told}\n" in said
    assert f"{RUN}.json" not in stored(address)
    machine("two")
    assert run(counting, address, "--dry-run") == 0
    assert "would run" in capsys.readouterr().out
    machine("one")
    assert run(counting, address) == 0
    assert f"{RUN}.json" in stored(address) and times(counting) == 1


def test_an_address_of_no_known_kind_is_one_sentence(capsys, counting):
    assert run(counting, "gx://bucket") == 2
    said = capsys.readouterr().err
    assert re.fullmatch(
        r"lamb-keras: --output gx://bucket cannot be opened: Protocol not known: .*\n",
        said,
    )
    assert not Path("gx:").exists()
