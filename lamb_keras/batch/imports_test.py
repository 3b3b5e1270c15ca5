import pytest

from lamb_keras.batch.imports import Package
from lamb_keras.batch.plan import Project

ROOT = """
import importlib
__version__ = "1"
_HOMES = {"Lamb": "kit.optimizers", "plan": "kit.batch.plan"}

def __getattr__(name):
    return getattr(importlib.import_module(_HOMES[name]), name)
"""
FILES = {
    "__init__.py": ROOT,
    "schedules.py": "rate = 'batch'",
    "events.py": "def emit():\n    from kit import schedules\n",
    "optimizers/__init__.py": "from kit.optimizers.lamb import Lamb",
    "optimizers/lamb.py": "class Lamb:\n    '''A class.'''\n",
    "optimizers/lamb_test.py": "import kit.schedules",
    "training/__init__.py": "from .program import run\nfrom .. import events",
    "training/program.py": "from ..optimizers import lamb",
    "results/__init__.py": "",
    "results/paper.py": "open(HERE / 'tables.yaml')",
    "results/views.py": "PAGES = HERE / 'pages'",
    "results/tables.yaml": "- 7",
    "results/pages/page.html": "<p>",
    "results/pages/parts/note.html": "<b>",
    "batch/__init__.py": "",
    "batch/plan.py": "",
    "batch/limits.yaml": "",
    "conftest.py": "",
}
EVERYTHING = {
    f"kit/{name}" for name in FILES if name.endswith(".py") and "test" not in name
} | {"kit/results/tables.yaml", "kit/results/pages/page.html"}
EVERYTHING.add("kit/results/pages/parts/note.html")


@pytest.fixture
def kit(tmp_path):
    folder = tmp_path / "kit"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def reached(kit, code):
    return {name.removeprefix("kit/") for name in Package(kit).reached(code)}


OPTIMIZERS = {"__init__.py", "optimizers/__init__.py", "optimizers/lamb.py"}
EVENTS = {"__init__.py", "events.py", "schedules.py"}


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("import numpy", set()),
        ("import kitten\nfrom kitten import x", set()),
        ("import kit.schedules as s", {"__init__.py", "schedules.py"}),
        ("from kit import schedules as s", {"__init__.py", "schedules.py"}),
        ("from kit.schedules import *", {"__init__.py", "schedules.py"}),
        ("from kit.schedules import rate", {"__init__.py", "schedules.py"}),
        ("def f():\n    import kit.events as e", EVENTS),
        ("if x:\n    from kit.events import emit", EVENTS),
        ("from kit import training", EVENTS | OPTIMIZERS | {"training/__init__.py"}),
        ("from kit.optimizers import lamb", OPTIMIZERS),
        ("from kit import __version__", {"__init__.py"}),
        ("import importlib\nimportlib.import_module('numpy')", set()),
    ],
)
def test_imports_are_followed_wherever_they_stand(kit, code, files):
    if "training/__init__.py" in files:
        files = files | {"training/program.py"}
    assert reached(kit, code) == files


@pytest.mark.parametrize(
    "code",
    [
        # By the package itself any of its lazy names may be used.
        "import kit",
        "import kit as k\ndef f():\n    return k.Lamb()",
        "import kit.schedules",
        "from kit import Lamb",
        "__import__('kit.schedules')",
        "import importlib\nimportlib.import_module('kit.schedules')",
        "import importlib\nimportlib.import_module(name)",
        "import importlib\nimportlib.import_module('.lamb', package)",
        "__import__(f'kit.{name}')",
        "exec('import kit.schedules')",
        "%matplotlib inline",
        "x = = 1",
        "x = '\0'",
    ],
)
def test_what_cannot_be_followed_reaches_everything_but_the_tests(kit, code):
    assert set(Package(kit).reached(code)) == EVERYTHING


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("schedules.py", "def broken(:"),
        ("optimizers/__init__.py", "def __getattr__(name):\n    return find(name)"),
    ],
)
def test_a_module_that_cannot_be_followed_reaches_everything(kit, file, text):
    (kit / file).write_text(text)
    code = "from kit import schedules, optimizers"
    assert set(Package(kit).reached(code)) == EVERYTHING


def test_what_is_installed_beside_the_package_is_not_followed(kit):
    beside = kit.parent / "google"  # a folder of several packages, as Protobuf's
    beside.mkdir()
    (beside / "protobuf.py").write_text("import kit.schedules")
    assert reached(kit, "from google import protobuf") == set()


def test_modules_that_import_each_other_are_no_endless_loop(kit):
    (kit / "schedules.py").write_text("from kit import events")
    assert reached(kit, "from kit import events") == EVENTS


def test_a_data_file_counts_where_a_reached_module_names_it(kit):
    assert reached(kit, "from kit.results import paper") == {
        "__init__.py",
        "results/__init__.py",
        "results/paper.py",
        "results/tables.yaml",
    }


def test_a_folder_that_a_reached_module_names_counts_with_all_its_files(kit):
    found = reached(kit, "from kit.results import views")
    assert {"results/pages/page.html", "results/pages/parts/note.html"} <= found
    assert "results/tables.yaml" not in found


def content(kit, name):
    return Package(kit).reached(f"from kit import {name}")[f"kit/{name}.py"]


BEFORE = '''"""What it is."""
import kit

def double(x):
    """Twice x.

    Example:
        >>> double(1)
        2
    """
    # Faster than an addition.
    return x * 2

class Double:
    """A class of nothing else."""
'''
AFTER = '''
import kit
def double( x ):
    """Two times x."""

    return (x
            * 2)   # as before
class Double:
    """Another text."""
'''


def test_comments_docstrings_and_formatting_are_no_content(kit):
    (kit / "schedules.py").write_text(BEFORE)
    before = content(kit, "schedules")
    (kit / "schedules.py").write_text(AFTER)
    assert content(kit, "schedules") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x * 2", "x * 3"),
        ("x * 2", "x * 2.0"),
        ("x * 2", "2 * x"),
        ("double(x)", "double(y)"),
        ("return x * 2", "return 'Two times x.'"),
        ("import kit\n", ""),
    ],
)
def test_code_is_content(kit, old, new):
    (kit / "schedules.py").write_text(BEFORE)
    before = content(kit, "schedules")
    assert old in BEFORE
    (kit / "schedules.py").write_text(BEFORE.replace(old, new))
    assert content(kit, "schedules") != before


@pytest.mark.parametrize("reads", ["print(__doc__)", "print(getattr(f, '__doc__'))"])
def test_a_docstring_that_the_module_reads_is_content(kit, reads):
    contents = set()
    for text in ("One.", "Two."):
        (kit / "schedules.py").write_text(f'"""{text}"""\n{reads}\n')
        contents.add(content(kit, "schedules"))
    assert len(contents) == 2


def test_the_lenet_notebook_reaches_what_makes_its_numbers_and_no_machinery():
    from lamb_keras.batch import notebook

    project = Project.find()
    code = "\n".join(notebook.code(project.notebook("lenet_mnist"), "LeNet"))
    found = set(Package(project.root / "lamb_keras").reached(code))
    for name in (
        "__init__.py",
        "data/images/digits.py",
        "data/images/mnist.py",
        "models/lenet.py",
        "optimizers/lamb.py",
        "optimizers/layerwise.py",
        "optimizers/solvers.py",
        "results/statistics.py",
        "results/tables.yaml",
        "schedules.py",
        "training/trainer.py",
    ):
        assert f"lamb_keras/{name}" in found
    others = ("batch/", "benchmarks/", "cli.py", "results/report.py")
    for name in (*others, "results/templates/"):
        assert not [each for each in found if each.startswith(f"lamb_keras/{name}")]
    assert not [each for each in found if each.endswith(("_test.py", "conftest.py"))]
