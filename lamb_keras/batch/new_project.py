"""A project where there is no checkout: copies of the files that came with us."""

import shutil
from pathlib import Path

from lamb_keras.batch import BatchError
from lamb_keras.batch.plan import PARTS, check_output


def lay_out(root):
    """Copies notebooks and parameters into a folder, empty or not there yet."""
    root = Path(root).absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise BatchError(f"{root} is there already; expected a new or empty folder")
    check_output([root])
    # As in the wheel; the last needs benchmarks/.
    ignored = shutil.ignore_patterns(".*", "update.ipynb")
    for part in PARTS:
        shutil.copytree(_came_with_us() / part, root / part, ignore=ignored)


def _came_with_us():
    """Where the wheel keeps the project, or the checkout that this package is of."""
    package = Path(__file__).parents[1]
    in_wheel = package / "project"
    return in_wheel if in_wheel.is_dir() else package.parent
