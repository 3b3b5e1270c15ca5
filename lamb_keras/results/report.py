"""The report: the summary notebook executed, and every run as a page beside it.

What a scale's folder holds in the end: `results.csv`, the executed `summary.ipynb`,
`report.html`, and next to each run's notebook its page.
"""

import json
import os
import re
import tempfile
from pathlib import Path

from lamb_keras import execution
from lamb_keras.results import paper, reconstruction, runs
from lamb_keras.store import atomic

README_BLOCK = re.compile(
    r"(?P<start><!-- table (?P<table>\d+): start -->\n).*?"
    r"(?P<end><!-- table (?P=table): end -->)",
    re.DOTALL,
)


class ReportError(Exception):
    """The report cannot be made, and why, in one sentence."""


def render(outputs: Path, scale: str, project: Path) -> Path:
    """Makes the report of a scale from the runs in `outputs/<scale>`; returns its path.

    Each file is replaced as a whole, the report last: whoever opens one of them sees
    the old or the new. With no run at all, every table is shown as not run.
    """
    source = Path(project) / "notebooks" / "summary.ipynb"
    if not source.is_file():
        raise ReportError(
            f"there is no notebook {source} to make the report from; name the "
            "project's folder with --project."
        )
    folder = (Path(outputs) / scale).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    found = runs.read(folder)
    reconstruction.write_csv(reconstruction.reconstruct(found), folder / "results.csv")
    summary = folder / "summary.ipynb"
    parameters = {"scale": scale, "outputs": _outputs(Path(outputs).absolute())}
    execute(source, summary, parameters)
    _render_runs(folder, found)
    return _render_page(summary, folder / "report.html")


def execute(notebook: Path, output: Path, parameters: dict) -> Path:
    """Executes `notebook` in the folder of `output`, whole or not at all."""
    from papermill.exceptions import PapermillExecutionError

    with tempfile.TemporaryDirectory() as moment:
        try:
            executed = execution.execute_notebook(
                notebook,
                None,
                parameters,
                Path(moment),
                cwd=str(output.parent),
                # The summary speaks of its runs, each with its own.
                parameter_table=False,
            )
        except PapermillExecutionError as error:
            raise ReportError(
                f"{notebook.name} ended with {error.ename}: {error.evalue}; open it in "
                "JupyterLab to see where."
            ) from error
    # Where on which machine it was made is nobody's business.
    for name in ("input_path", "output_path"):
        executed.metadata.papermill.pop(name, None)
    text = json.dumps(executed, indent=1, sort_keys=True, ensure_ascii=False)
    return atomic.write(output, text + "\n")


def readme_table(outputs: Path, scale: str = "laptop", table: int = 7) -> str:
    """A table of solvers as Markdown, published beside ours, as the README shows it.

    Example:
        >>> import tempfile
        >>> print(readme_table(Path(tempfile.mkdtemp())))
        Table 7 has not been run at laptop scale yet.
    """
    folder = runs.folder(outputs, scale)
    found = runs.read(folder)
    cells = reconstruction.by_table(reconstruction.reconstruct(found))[table]
    names = {cell.run for cell in cells if cell.status in ("run", "diverged")}
    sources = [run for run in found if run.name in names]
    if not sources:
        return f"Table {table} has not been run at {scale} scale yet."
    published = paper.tables()[table]
    column = published.column(published.results[0])
    lines = [
        f"| {published.column(published.keys[0]).label} | paper | ours | n "
        "| chosen on held-out data | tried |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_readme_line(cell, published.column(cell.column)) for cell in cells),
        "",
        _readme_caption(sources, scale, column),
    ]
    return "\n".join(lines)


def update_readme(path: Path, outputs: Path, scale: str = "laptop") -> bool:
    """Puts tables into the README, each between its two marks; whether it changed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> readme = folder / "README.md"
        >>> marks = "<!-- table 7: start -->\\n<!-- table 7: end -->"
        >>> _ = readme.write_text(marks)
        >>> update_readme(readme, folder), update_readme(readme, folder)
        (True, False)
    """
    text = path.read_text(encoding="utf-8")
    if not README_BLOCK.search(text):
        raise ReportError(
            f"{path.name} has no lines <!-- table 7: start --> and "
            "<!-- table 7: end --> to put a table between; add them."
        )

    def renewed(block):
        table = readme_table(outputs, scale, int(block["table"]))
        return f"{block['start']}{table}\n{block['end']}"

    changed = README_BLOCK.sub(renewed, text)
    if changed == text:
        return False
    atomic.write(path, changed)
    return True


def _render_page(notebook, path, **options):
    from lamb_keras.results.page import page

    return atomic.write(path, page(notebook, **options))


def _render_runs(folder, found):
    """Every run, and every failed attempt that left a notebook, as a page."""
    attempts = [*found, *(run.later_failure for run in found if run.later_failure)]
    for run in attempts:
        if _readable(run.path):
            back = os.path.relpath(folder / "report.html", run.path.parent)
            _renew_page(run.path, run.path.with_suffix(".html"), code=True, back=back)


def _renew_page(notebook, path, **options):
    """Writes the page of a run unless it is there, as those of earlier batches are."""
    from lamb_keras.results.page import mark, page

    made_from = mark(notebook, **options)
    try:
        with path.open("rb") as file:
            file.seek(-len(made_from), os.SEEK_END)
            if file.read() == made_from.encode():
                return
    except OSError:
        pass  # none, or one shorter than the mark
    atomic.write(path, page(notebook, **options) + made_from)


def _readable(path):
    """Whether a notebook is there: a killed attempt may have left none, or half one."""
    try:
        return "cells" in json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False


def _outputs(outputs):
    """`outputs` as the summary is to name it: from the project where that is possible.

    The executed summary is shared; it need not tell of the machine that made it.
    """
    project = runs.folder("", "").absolute()
    inside = outputs.is_relative_to(project)
    return str(outputs.relative_to(project) if inside else outputs)


def _readme_line(cell, column):
    ours = f"*{cell.status}*"
    if cell.ours is not None:
        ours = f"**{column.write(cell.ours)}**"
        if cell.spread is not None:
            ours += f" ± {column.write(cell.spread)}"
    chosen = ", ".join(
        f"{_spelled(name)} {value if isinstance(value, str) else f'{value:g}'}"
        for name, value in cell.chosen.items()
    )
    tried = ", ".join(
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((cell.settings_tried, "setting"), (cell.trials, "trial"))
        if count
    )
    entries = [
        cell.row + column.suffix,
        column.write(cell.published),
        ours,
        cell.n or "",
        chosen,
        tried,
    ]
    return "| " + " | ".join(map(str, entries)) + " |"


def _spelled(name):
    return name.replace("_", " ").replace("l2 ", "L2 ")


def _readme_caption(sources, scale, column):
    data = [
        run.dataset["title"] + (f", standing in for {original}" if original else "")
        for run in sources
        for original in [run.stands_in_for]
    ]
    label = column.label[:1].upper() + column.label[1:]
    return (
        f"{label} at {scale} scale, mean ± sample standard deviation over n seeds. "
        f"Data: {'; '.join(dict.fromkeys(data))}."
    )
