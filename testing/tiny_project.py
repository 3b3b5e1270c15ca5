"""Tiny projects of real notebooks, for the tests of what executes them."""

import json
import textwrap
from types import SimpleNamespace

import psutil

from lamb_keras import experiments
from lamb_keras.batch.plan import Project, plan

PARAMETERS = """
notebook = "lenet_mnist"
table = 7
scale = "laptop"
epochs = 1  # passes over the training images
seeds = [0]
"""

# The package of `add_package`: training reaches schedules; nothing else is reached.
PACKAGE = {
    "__init__.py": "",
    "schedules.py": '"""Schedules."""\nwarmup = 1  # steps\n',
    "training/__init__.py": "from lamb_keras.training.program import train",
    "training/program.py": "from lamb_keras.schedules import warmup\ntrain = warmup",
    "batch/__init__.py": "retries = 1",
    "cli.py": "from lamb_keras import batch",
}

# What scraps.glue("finished", True) leaves, without Scrapbook's seconds of imports.
FINISH = """
scrap = {"name": "finished", "data": True, "encoder": "json", "version": 1}
display({"application/scrapbook.scrap.json+json": scrap}, raw=True, metadata={
    "scrapbook": {"name": "finished", "data": True, "display": False}})
"""


def cell(source, *tags):
    return {
        "cell_type": "code",
        "metadata": {"tags": list(tags)},
        "source": textwrap.dedent(source).strip(),
        "outputs": [],
        "execution_count": None,
    }


def is_running(pid):
    """Whether a process lives; one that only waits to be reaped does not."""
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def make_project(root, monkeypatch, **notebooks):
    """A project at `root` with one table for each notebook (name to its cells).

    The first cell is the parameters cell; a notebook given as text is written as it is.
    """
    for folder in ("notebooks", "params/tables", "params/scales/laptop"):
        (root / folder).mkdir(parents=True)
    for table, (name, cells) in enumerate(notebooks.items(), start=11):
        if name not in experiments.NOTEBOOKS:
            known = experiments.Notebook(tables=(table,), datasets=("digits", "mnist"))
            monkeypatch.setitem(experiments.NOTEBOOKS, name, known)
        [table] = experiments.NOTEBOOKS[name].tables
        if not isinstance(cells, str):
            first, *rest = cells
            cells = [cell(first, "parameters"), *map(cell, rest)]
            notebook = {"cells": cells, "metadata": {}, "nbformat": 4}
            cells = json.dumps({**notebook, "nbformat_minor": 4})
        (root / f"notebooks/{name}.ipynb").write_text(cells)
        (root / f"params/tables/table{table:02d}.yaml").write_text(
            f"notebook: {name}\ntable: {table}\nepochs: 2\n"
        )
        (root / f"params/scales/laptop/{name}.yaml").write_text("scale: laptop\n")
    project = Project.find(root)

    def make_plan(*settings, tables=None):
        return plan(project, "laptop", root / "outputs", tables, settings)

    return SimpleNamespace(
        root=root, project=project, outputs=root / "outputs" / "laptop", plan=make_plan
    )


def add_package(root):
    """Puts a small `lamb_keras` into a project, where its kernels would find it."""
    for name, text in PACKAGE.items():
        path = root / "lamb_keras" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def snapshot(root):
    """Every file and folder under one, with contents and time of change."""
    return {
        path: (path.is_file() and path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
    }
