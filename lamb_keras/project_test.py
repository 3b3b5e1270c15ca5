"""What must agree between the files around the package, and what they may not hold."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import chain, dropwhile
from pathlib import Path

import pytest
import yaml

from lamb_keras.results import readme

PROJECT = Path(__file__).parent.parent
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md"]
PAGES += sorted((PROJECT / "docs").glob("*.md"))
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())


def name(requirement):
    return re.match(r"[\w-]+", requirement)[0].lower()


def test_environment_yml_asks_for_what_pyproject_asks_for():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    python, _, pip = environment["dependencies"]
    assert python == f"python {PYPROJECT['project']['requires-python']}"
    assert pip["pip"] == ["--editable .[kit]"]


def test_the_lock_holds_everything_that_is_asked_for_pinned_and_hashed():
    lock = (PROJECT / "requirements.lock").read_text()
    pinned = {name(line) for line in re.findall(r"^[\w-]+==.*", lock, re.MULTILINE)}
    asked = [
        *PYPROJECT["project"]["dependencies"],
        *chain(*PYPROJECT["project"]["optional-dependencies"].values()),
        *PYPROJECT["dependency-groups"]["test"],
        *PYPROJECT["dependency-groups"]["install"],
    ]
    assert {name(each) for each in asked} - {"lamb-keras"} <= pinned
    packages = re.split(r"^(?=[\w-]+==)", lock, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in package for package in packages)


@pytest.mark.parametrize("name", ["requirements", "compilers", "docs"])
def test_the_lock_names_no_address(name):
    lock = (PROJECT / f"{name}.lock").read_text()
    assert "://" not in lock and "--index" not in lock and "--find-links" not in lock


def test_the_compilers_are_those_of_the_locked_jax():
    lock = (PROJECT / "compilers.lock").read_text()
    compilers = dict(re.findall(r"^([\w-]+)==(\S+)", lock, re.MULTILINE))
    assert set(map(name, PYPROJECT["dependency-groups"]["compilers"])) <= set(compilers)
    locked = (PROJECT / "requirements.lock").read_text()
    jax = re.search(r"^jax==(\S+)", locked, re.MULTILINE)[1]
    assert compilers["jax-cuda12-plugin"] == compilers["jax-cuda12-pjrt"] == jax
    # What JAX itself asks for by its extra "tpu".
    (libtpu,) = [r for r in metadata.requires("jax") if r.startswith("libtpu")]
    assert compilers["libtpu"].startswith(re.search(r"==([\d.]+)\*", libtpu)[1])


def test_the_documentation_is_made_by_the_packages_of_the_environment():
    docs, environment = (
        dict(re.findall(r"(?m)^([\w-]+)==(\S+)", (PROJECT / lock).read_text()))
        for lock in ("docs.lock", "requirements.lock")
    )
    assert set(map(name, PYPROJECT["dependency-groups"]["docs"])) <= docs.keys()
    both = docs.keys() & environment.keys()
    assert both and all(docs[each] == environment[each] for each in both)


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_ruff_has_nothing_to_say(command):
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--quiet", "."],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout


def test_the_readmes_claims_are_what_the_command_makes_of_the_committed_trials():
    outputs = PROJECT / "outputs"
    trials = readme.trials(outputs)
    assert "laptop" in trials
    text = (PROJECT / "README.md").read_text()
    # Regenerate with: lamb-keras report --readme README.md
    assert readme.BLOCK.search(text)[0] == readme.block(trials)
    figure = outputs / [*trials][-1] / readme.FIGURE
    assert figure.stat().st_size < 120_000


def test_the_readme_is_short_and_opens_with_the_claims():
    text = (PROJECT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    before = text[: text.index("<!-- claims: start -->")].split("\n\n")
    title, paragraph, rest = before
    assert title.startswith("# ") and paragraph and not rest


def blocks(page, language):
    found = rf"^```{language}\n(.*?)^```"
    return re.findall(found, page.read_text(), re.MULTILINE | re.DOTALL)


# These are run with all else of docs/your-own.md, by own_guide_test.py, or set a path.
OTHER_COMMANDS = {"cp", "sed", "export", "."}


def check(command):
    """Raise unless a line of a page's shell blocks asks for what there is."""
    from lamb_keras.cli import _parser

    words = shlex.split(command, comments=True)
    program, *arguments = dropwhile(re.compile(r"\w+=").match, words)
    if program.startswith("scripts/"):
        assert os.access(PROJECT / program, os.X_OK)
        return
    program = program.rpartition("/")[2]
    if program == "lamb-keras":
        _parser().parse_args(arguments)  # bad options end here, with a sentence
    elif program == "make":
        makefile = (PROJECT / "Makefile").read_text()
        assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE)
    elif program == "uv":
        extras = re.findall(r"lamb-keras\[(.*?)\]", command)
        assert {*extras} <= PYPROJECT["project"]["optional-dependencies"].keys()
    elif program == "papermill":
        named = [each for each in arguments if re.match("notebooks/|params/", each)]
        assert named and all((PROJECT / each).exists() for each in named)
    elif program.startswith("python"):
        assert importlib.util.find_spec(arguments[arguments.index("-m") + 1])
    elif program in ("gcloud", "srun"):  # which start it on machines elsewhere
        [started] = re.findall("lamb-keras [a-z][^']*", command)
        check(started)
    else:
        assert program in OTHER_COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_exist(page):
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ")
    for command in re.findall(r"""(?:'[^']*'|"[^"]*"|[^\n'"])+""", lines):
        check(command)
    for command in re.findall(
        r"`(make \w+|lamb-keras [^`]* --[^`]*)`", page.read_text()
    ):
        if not re.search(r"\b[A-Z]+\b", command):  # which stands for a word
            check(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_to_what_is_there(page):
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert "://" in link or (page.parent / link).exists(), link


def test_the_python_of_pages_runs_as_it_stands(tmp_path):
    # Each page for itself, one after the other: Keras is imported once.
    code = "import sys\nfor page in sys.argv[1:]:\n    exec(page, {})"
    pages = ["\n".join(blocks(page, "python")) for page in PAGES]
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    result = subprocess.run(
        [sys.executable, "-c", code, *filter(None, pages)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 0, result.stderr


def test_the_cluster_of_the_page_starts(tmp_path):
    for command, told in (("sbatch", "Submitted batch job 7"), ("scancel", "")):
        (tmp_path / command).write_text(f"#!/bin/sh\necho {told}\n")
        (tmp_path / command).chmod(0o755)
    [code] = blocks(PROJECT / "docs" / "dask.md", "py")
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        input="\n",
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("tcp://")
