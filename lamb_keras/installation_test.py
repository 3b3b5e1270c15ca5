"""What a wheel brings: the optimizers alone, and with the kit a project to lay out."""

import filecmp
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

import lamb_keras
from lamb_keras import cli

PROJECT = Path(__file__).parent.parent
PACKAGES = 20  # of the optimizers alone, with what Keras and JAX bring
TRAINS = """
import lamb_keras
import keras
import numpy as np

keras.utils.set_random_seed(0)
pictures = np.random.default_rng(0).normal(size=(64, 4))
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile(lamb_keras.Lamb(0.03, track_trust_ratios=True), "mse")
losses = model.fit(
    pictures,
    pictures.sum(1),
    epochs=60,
    verbose=0,
    callbacks=[lamb_keras.TrustRatioLogger()],
).history["loss"]
assert losses[-1] < losses[0] / 2, losses
"""


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=PROJECT, check=True)
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    """The folder of a wheel's files, to be found before the checkout."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_a_wheel_holds_what_runs_and_no_tests(unpacked):
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*.*")}
    assert not [name for name in files if re.search("test|mutants", name)]
    there = [path for path in PROJECT.glob("lamb_keras/**/*") if path.is_file()]
    unwanted = r"_test\.py|conftest|mutants|__pycache__"
    wanted = [path for path in there if not re.search(unwanted, str(path))]
    assert {path.relative_to(PROJECT).as_posix() for path in wanted} <= files


def test_its_metadata_is_whole(unpacked):
    [path] = unpacked.glob("*.dist-info/METADATA")
    told = Parser().parsestr(path.read_text())
    for field in ("Author", "Keywords", "Project-URL", "Summary", "License-File"):
        assert told[field], field
    assert told["License-Expression"] == "Apache-2.0"
    assert "# lamb-keras" in told.get_payload()
    needed = [each for each in told.get_all("Requires-Dist") if "extra ==" not in each]
    assert [re.match(r"\w+", each)[0] for each in needed] == ["jax", "keras", "numpy"]
    assert set(told.get_all("Provides-Extra")) == {"kit", "bert", "address", "dask"}


def test_the_version_is_the_same_wherever_it_stands():
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert lamb_keras.__version__ == pyproject["project"]["version"]
    assert lamb_keras.__version__ == citation["version"]


@pytest.mark.slow
def test_the_optimizers_alone_are_few_packages_and_train(wheel, tmp_path):
    uv = [sys.executable, "-m", "uv"]
    python = str(tmp_path / "env" / "bin" / "python")
    subprocess.run([*uv, "venv", "--quiet", tmp_path / "env"], check=True)
    of_lock = ["--constraint", PROJECT / "requirements.lock"]
    to = ["--quiet", "--python", python]
    subprocess.run([*uv, "pip", "install", *to, *of_lock, wheel], check=True)
    installed = run(*uv, "pip", "list", "--quiet", "--python", python).stdout
    names = [line.split()[0] for line in installed.splitlines()[2:]]
    assert "lamb-keras" in names and len(names) <= PACKAGES, names
    trained = run(python, "-c", TRAINS, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    listed = run(tmp_path / "env" / "bin" / "lamb-keras", "list", cwd=tmp_path)
    assert listed.returncode == 2 and listed.stdout == ""
    assert listed.stderr.endswith('by pip install "lamb-keras[kit]"\n')
    assert listed.stderr.count("\n") == 1


def test_without_the_kit_one_sentence_says_how_to_get_it():
    code = "import sys; sys.modules['pydantic'] = None; "
    code += "from lamb_keras.__main__ import main; sys.exit(main())"
    said = run(sys.executable, "-c", code)
    assert said.returncode == 2
    assert re.fullmatch(
        r"lamb-keras [\d.]+: pydantic is not installed, [^\n]* by pip install "
        r'"lamb-keras\[kit\]"\n',
        said.stderr,
    )


@pytest.fixture
def lay_out(unpacked, tmp_path):
    """Runs `lamb-keras` of the wheel in a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}

    def lamb(*arguments, folder="."):
        command = [sys.executable, "-m", "lamb_keras", *arguments]
        return run(*command, cwd=tmp_path / folder, env=environment)

    return lamb


def test_where_there_is_no_project_a_sentence_says_how_to_lay_one_out(lay_out):
    said = lay_out("run", "--tables", "7")
    assert said.returncode == 2 and "lamb-keras new FOLDER lays them" in said.stderr


@pytest.mark.slow
def test_a_project_laid_out_from_a_wheel_has_all_that_a_run_needs(lay_out, tmp_path):
    assert lay_out("new", "mine").returncode == 0
    compared = filecmp.dircmp(PROJECT / "params", tmp_path / "mine" / "params")
    assert not compared.left_only + compared.right_only + compared.diff_files
    planned = lay_out("run", "--tables", "7", "--dry-run", folder="mine")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.startswith("table07/lenet_mnist would run")


def test_a_checkout_lays_out_what_a_wheel_does(unpacked, tmp_path, capsys):
    assert cli.main(["new", str(tmp_path / "mine")]) == 0
    came, ours = unpacked / "lamb_keras" / "project", tmp_path / "mine"
    files = [{path.relative_to(a) for path in a.rglob("*")} for a in (came, ours)]
    assert files[0] == files[1]


def test_what_is_there_is_not_laid_over(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main(["new", str(tmp_path)]) == 2
    assert "is there already; expected a new or empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
