"""Every block of docs/your-own.md, in its order, in a project of one's own."""

import csv
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lamb_keras.data import load
from lamb_keras.data.text import encyclopedia

ROOT = Path(__file__).parents[1]
# What makes a command one of seconds. One batch is run whole, by Table 7's command with
# data of one's own; the others are planned, all checks included.
SMALL = {"learning_rates": "[0.01]", "seeds": "[0]", "confirmation_seeds": "[]"}
SMALL |= {"epochs": "2"}


def small(command):
    if command.startswith("lamb-keras run"):
        settings = "".join(f" --set {n}={value}" for n, value in SMALL.items())
        return command + (settings if "fashion" in command else " --dry-run")
    if command.startswith("papermill"):
        return command + " --prepare-only"
    return command


def write_idx(folder):
    """The digits in files as Fashion-MNIST's are."""
    digits = load("digits")
    folder.mkdir()
    for part, name in (("train", "train"), ("t10k", "test")):
        pixels = getattr(digits, f"{name}_images")[..., 0] * 255
        arrays = {
            "images-idx3": pixels,
            "labels-idx1": getattr(digits, f"{name}_labels"),
        }
        for kind, array in arrays.items():
            array = array.astype(np.uint8)
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            content = gzip.compress(head + array.tobytes())
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(content)


def write_notes(folder):
    """A generated encyclopedia and its questions, in files."""
    folder.mkdir()
    articles = []
    for number, made in enumerate(encyclopedia.articles("train", 0, 200)):
        (folder / f"{number}.txt").write_text(" ".join(made.document.sentences))
        for asked in made.questions[:2]:
            answers = [{"text": t, "answer_start": at} for t, at in asked.answers]
            qas = [{"id": asked.id, "question": asked.question, "answers": answers}]
            paragraphs = [{"context": asked.context, "qas": qas}]
            articles.append({"title": asked.title, "paragraphs": paragraphs})
    (folder / "questions.json").write_text(json.dumps({"data": articles}))


@pytest.mark.slow
def test_every_block_of_the_guide_runs(tmp_path):
    for folder in ("notebooks", "params"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    write_idx(tmp_path / "fashion-mnist")
    write_notes(tmp_path / "notes")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    guide = (ROOT / "docs" / "your-own.md").read_text(encoding="utf-8")
    for language, block in re.findall(r"```(\w+)\n(.*?)```", guide, re.DOTALL):
        if language == "py":
            name = block.partition("\n")[0].removeprefix("# ")
            (tmp_path / name).write_text(block)
            continue
        for command in block.splitlines():
            done = subprocess.run(
                small(command),
                shell=True,
                cwd=tmp_path,
                env=os.environ | {"PATH": path},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "lion.ipynb").exists()
    with open(tmp_path / "outputs" / "laptop" / "results.csv") as file:
        cells = {(c["table"], c["row"]): c for c in csv.DictReader(file)}
    assert {("7", "lion"), ("7", "lamb")} <= {*cells}
    assert cells["7", "lion"]["dataset"] == "fashion.py:fashion_mnist"
    with open(tmp_path / "outputs" / "laptop" / "trials.csv") as file:
        tried = [t for t in csv.DictReader(file) if t["solver"] == "lion"]
    assert len(tried) == 6
