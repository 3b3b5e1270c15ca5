"""The report: the summary notebook executed, and every run as a page beside it.

What a scale's folder holds in the end: `results.csv` (a line a cell) and `trials.csv`
(a line a trial, from which every verdict follows), the executed `summary.ipynb`,
`report.html`, next to each run's notebook its page, and `runs.jsonl`: what the runs
found, for reports that are made where they are not. A bundle of all of these but the
archive is made if it is asked for.
"""

import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Container
from pathlib import Path

from lamb_keras.results import archive, reconstruction, trials
from lamb_keras.results.archive import ReportError
from lamb_keras.store import atomic, record, temporary

CSV = "results.csv", "trials.csv"
BUNDLE = "report.zip"


def render(
    outputs: Path, scale: str, project: Path, renewed: Container[str] = ()
) -> Path:
    """Makes the report of a scale from the runs in `outputs/<scale>`; returns its path.

    Runs that only an earlier report in that folder knows keep their results; and those
    that found the same again, times apart, stay as they were, pages and all, but for
    runs named in `renewed`. Each file is replaced as a whole, the report last: whoever
    opens one of them sees the old or the new. With no run at all, every table is shown
    as not run.
    """
    from lamb_keras.results.page import page, renew

    source = Path(project) / "notebooks" / "summary.ipynb"
    if not source.is_file():
        raise ReportError(
            f"there is no notebook {source} to make the report from; name the "
            "project's folder with --project."
        )
    outputs, project = Path(outputs).absolute(), Path(project).absolute()
    folder = outputs / scale
    folder.mkdir(parents=True, exist_ok=True)
    found = archive.read(folder, renewed)
    reconstruction.write_csv(reconstruction.reconstruct(found), folder / "results.csv")
    trials.write_csv(trials.frame(found), folder / "trials.csv")
    archive.write(found, folder)
    # The executed summary is shared; it need not tell of the machine that made it.
    inside = outputs.is_relative_to(project)
    named = outputs.relative_to(project) if inside else outputs
    given = {"scale": scale, "outputs": str(named)}
    summary = execute(source, folder / "summary.ipynb", given)
    for run in [*found, *(run.later_failure for run in found if run.later_failure)]:
        # A killed attempt may have left no notebook, or half of one.
        is_notebook = "cells" in (record.read(run.path) or {})
        if is_notebook and not isinstance(run, archive.ArchivedRun):
            back = Path(os.path.relpath(folder, run.path.parent), "report.html")
            renew(run.path, back.as_posix())
    files = {name: (folder / name).read_bytes() for name in CSV}
    (folder / BUNDLE).unlink(missing_ok=True)  # of the report before
    return atomic.write(folder / "report.html", page(summary, files=files))


def bundle(folder: Path) -> Path:
    """Packs the report of a scale's folder with all it names; returns the zip's path.

    The report itself leads nowhere outside, so that it can be sent alone: it names the
    runs' pages. Its copy in the zip links to them, which are there beside it.
    """

    packed = {"report.html": linked(folder)}
    named = re.findall(r'<a href="(table.*?\.html)">', packed["report.html"])
    for name in [*CSV, *named]:
        packed[name] = (folder / name).read_bytes()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(packed):
            # Without a date: the same report makes the same file.
            about = zipfile.ZipInfo(f"report/{name}")
            file.writestr(about, packed[name], zipfile.ZIP_DEFLATED)
    return atomic.write_bytes(folder / BUNDLE, content.getvalue())


def linked(folder: Path) -> str:
    """A scale's report with links to the pages of runs, which lie beside it."""

    def link(page):
        there = (folder / f"{page[1]}.html").is_file()
        return f'<a href="{page[1]}.html">{page[1]}</a>' if there else page[0]

    report = (folder / "report.html").read_text(encoding="utf-8")
    return re.sub(r'<span class="lk-page">(.*?)</span>', link, report)


def execute(notebook: Path, output: Path, parameters: dict) -> Path:
    """Executes `notebook` in the folder of `output`, whole or not at all.

    The parameters follow the cell tagged "parameters", as Papermill has them; where
    there is none, they come first.
    """
    import nbformat
    from nbclient.exceptions import CellExecutionError

    content = nbformat.read(notebook, as_version=4)
    tags = [cell.metadata.get("tags", []) for cell in content.cells]
    place = tags.index(["parameters"]) + 1 if ["parameters"] in tags else 0
    given = nbformat.v4.new_code_cell(
        "\n".join(f"{name} = {value!r}" for name, value in parameters.items()),
        id="injected-parameters",
        metadata={"tags": ["injected-parameters"]},
    )
    content.cells.insert(place, given)
    try:
        run_cells(content, output.parent)
    except CellExecutionError as error:
        raise ReportError(
            f"{notebook.name} ended with {error.ename}: {error.evalue}; open it in "
            "JupyterLab to see where."
        ) from error
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    return atomic.write(output, text + "\n")


def run_cells(content, folder: Path) -> None:
    """Executes a notebook's cells in `folder` by a kernel of this very interpreter.

    Not by Papermill, which takes the first kernel called python3 that the user has
    installed, and runs what the user has IPython start with.
    """
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory(dir=temporary.folder()) as moment:
        manager = AsyncKernelManager(
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            transport="ipc",
            connection_file=f"{moment}/k.json",
        )
        place = {"metadata": {"path": str(folder)}}
        client = NotebookClient(content, manager, resources=place, record_timing=False)
        client.execute(cleanup_kc=True, env=os.environ | {"IPYTHONDIR": moment})
