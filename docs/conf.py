"""Sphinx's settings: pages are the Markdown files where they lie, README first.

Their links lead to files of the repository, which lie in the site at the same place;
notebooks/lamb.ipynb lies there executed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform

import lamb_keras
from lamb_keras.batch import compilation_cache
from lamb_keras.results.page import page
from lamb_keras.results.report import linked

ROOT = Path(__file__).parent.parent
EXECUTED = "notebooks/lamb.ipynb"
NAVIGATION = """

```{toctree}
:hidden:
:caption: Guides
:glob:
docs/optimizers
docs/your-own
docs/running
docs/report
docs/[gp]*
docs/dask
```
```{toctree}
:hidden:
:caption: Reference
docs/api
docs/implementations
docs/notebooks
```
```{toctree}
:hidden:
:caption: Inside
docs/architecture
docs/development
benchmarks/UPDATE
benchmarks/STEP
benchmarks/BATCH
benchmarks/POD
CONTRIBUTING
CHANGELOG
```
"""

project = "lamb-keras"
release = version = lamb_keras.__version__
copyright = "The lamb-keras authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "benchmarks/*.md"]
exclude_patterns = [".[!.]*", "docs/_build", "outputs", "lamb_keras", "findings"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"lamb-keras {release}"
html_show_sourcelink = html_show_sphinx = False

smartquotes_action = "D"
highlight_language = "none"

# `Lamb` in a docstring is a link where there is such an object, and else code.
default_role = "py:obj"
napoleon_custom_sections = [("Reference", "References")]
napoleon_attr_annotations = False
napoleon_use_param = napoleon_use_rtype = False
autodoc_typehints = "none"


class InTheSite(SphinxTransform):
    """Links to files of the repository stay what they are."""

    default_priority = 100

    def apply(self):
        for node in list(self.document.findall(download_reference)):
            target = node["reftarget"]
            path = (Path(self.document["source"]).parent / target).resolve()
            name = path.relative_to(ROOT).as_posix()
            self.app.linked_files.add(name)
            if name == EXECUTED:
                target = f"{target.removesuffix('.ipynb')}.html"
            link = nodes.reference("", "", *node.children, refuri=target)
            node.replace_self(link)


def add_navigation(app, page, source):
    if page == root_doc:
        source[0] += NAVIGATION


def execute(app):
    """Start the notebook, while pages are made."""
    app.folder = tempfile.TemporaryDirectory()
    app.executed = Path(app.folder.name) / "lamb.ipynb"
    papermill = [sys.executable, "-m", "papermill", "--engine", "lamb-keras"]
    app.papermill = subprocess.Popen(
        [*papermill, ROOT / EXECUTED, app.executed],
        env=os.environ | compilation_cache.variables(os.environ),
        stderr=subprocess.PIPE,
        text=True,
    )


def lay_out(app, exception):
    """Put linked files into the site, and the pages of runs that reports link to."""
    if exception:
        app.papermill.terminate()
        return
    _, told = app.papermill.communicate()
    if app.papermill.returncode:
        raise ExtensionError(f"{EXECUTED} failed:\n{told}")
    runs = {str(path.relative_to(ROOT)) for path in ROOT.glob("outputs/*/*/*.html")}
    for name in runs | app.linked_files - {EXECUTED}:
        (app.outdir / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, app.outdir / name)
    for report in ROOT.glob("outputs/*/report.html"):
        there = app.outdir / report.relative_to(ROOT)
        there.write_text(linked(report.parent), encoding="utf-8")
    path = (app.outdir / EXECUTED).with_suffix(".html")
    path.parent.mkdir(exist_ok=True)
    path.write_text(page(app.executed, code=True), encoding="utf-8")
    shutil.copyfile(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def setup(app):
    app.linked_files = set()
    app.add_transform(InTheSite)
    app.connect("builder-inited", execute)
    app.connect("source-read", add_navigation)
    app.connect("build-finished", lay_out)
