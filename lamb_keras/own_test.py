import textwrap

import pytest

from lamb_keras import own


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file into the working folder."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


def refusal(function, *arguments):
    with pytest.raises(own.OwnError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_function_is_that_of_the_file_as_it_is_now(write):
    write("mine.py", "def make(): return 1")
    assert own.load("mine.py:make")() == 1
    write("mine.py", "def make(): return 23")
    assert own.load("mine.py:make")() == 23


def test_a_file_is_found_from_a_folder_below_and_finds_what_lies_beside_it(
    write, tmp_path, monkeypatch
):
    write("beside_it.py", "value = 5")
    write("mine.py", "import beside_it\ndef make(): return beside_it.value")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert own.load("mine.py:make")() == 5


def test_something_installed_goes_by_its_module():
    from optax import contrib

    assert own.load("optax.contrib:muon") is contrib.muon


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("there.py:make", "there is no file there.py"),
        ("no_such.module:make", "cannot be imported: ModuleNotFoundError: No module"),
        ("mine.py:mak", "mine.py has no function mak; there are: make"),
        ("mine.py:number", "mine.py has no function number"),
        ("broken.py:make", "broken.py cannot be imported: SyntaxError"),
        (":make", "is no place of a function; expected file.py:name"),
        ("mine.py:", "is no place of a function; expected file.py:name"),
    ],
)
def test_what_is_not_there_is_one_sentence(write, place, sentence):
    write("mine.py", "number = 3\ndef make(): return 1")
    write("broken.py", "def make(:")
    assert sentence in refusal(own.load, place)


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ("None", "the grid of mine.py:make is None, expected a list for learning_rate"),
        ("[0.1]", "is [0.1], expected a list for learning_rate"),
        ("{'weight_decay': [0.1]}", "expected a list for learning_rate"),
        ("{'learning_rate': [0.1], 'beta': [1]}", "expected a list for learning_rate"),
        ("{'learning_rate': 0.1}", "has learning_rate 0.1, expected a list of numbers"),
        ("{'learning_rate': ['x']}", "has learning_rate ['x'], expected a list"),
    ],
)
def test_a_grid_that_is_none_is_one_sentence(write, grid, sentence):
    write("mine.py", f"def make(learning_rate): ...\nmake.grid = {grid}")
    assert sentence in refusal(own.solver, "mine.py:make")


def test_a_grid_may_be_computed(write):
    write(
        "mine.py",
        """
        import numpy as np
        def make(learning_rate): ...
        make.grid = {"learning_rate": np.logspace(-2, -1, 2)}
        """,
    )
    found = own.solver("mine.py:make")
    assert found == {"function": "mine.py:make", "learning_rate": [0.01, 0.1]}


def test_what_a_function_depends_on_is_its_file_and_what_that_imports(write):
    write("mine.py", "import beside_this, json\ndef make(): ...")
    write("beside_this.py", "x = 1")
    write("another.py", "x = 1")
    before = own.files("mine.py:make")
    assert [*before] == ["beside_this.py", "mine.py"]
    write("beside_this.py", "x = 2")
    after = own.files("mine.py:make")
    assert before["mine.py"] == after["mine.py"]
    assert before["beside_this.py"] != after["beside_this.py"]


def test_files_of_one_name_in_two_folders_are_two(write):
    write("a/mine.py", "x = 1")
    write("b/mine.py", "x = 2")
    found = own.files("a/mine.py:make") | own.files("b/mine.py:make")
    assert {*found} == {"a/mine.py", "b/mine.py"}


def test_a_folder_beside_it_counts_whole_and_needs_no_init(write):
    write("mine.py", "from parts import one")
    write("parts/one.py", "x = 1")
    write("parts/two.py", "x = 1")
    found = own.files("mine.py:make")
    assert {*found} == {"mine.py", "parts/one.py", "parts/two.py"}


def test_files_of_two_folders_have_each_its_own_neighbours(write):
    for name in "ab":
        write(f"{name}/beside_both.py", f"value = {name!r}")
        write(
            f"{name}/{name}.py", "import beside_both\nmake = lambda: beside_both.value"
        )
    found = [
        own.load(place)() for place in ("a/a.py:make", "b/b.py:make", "a/a.py:make")
    ]
    assert found == ["a", "b", "a"]


def test_a_file_may_have_data_classes_whose_annotations_are_text(write):
    write(
        "mine.py",
        """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Numbers:
            one: float = 1.0
        def make(): return Numbers().one
        """,
    )
    assert own.load("mine.py:make")() == 1.0


def test_what_is_installed_is_one_digest_and_a_version(write):
    assert [*own.files("optax.contrib:muon")] == ["optax"]
    write("mine.py", "import json, optax\nimport no_such_module")
    versions = own.versions("mine.py:make")
    assert [*versions] == ["optax"]
    assert versions == own.versions("optax.contrib:muon")


@pytest.mark.parametrize("place", [":make", "no_such.module:make", "there.py:make"])
def test_files_of_what_is_not_there_are_one_sentence(write, place):
    said = refusal(own.files, place)
    expected = "no place" if place == ":make" else "there is no"
    assert expected in said and ("no file" in said) == ("there.py" in place)
