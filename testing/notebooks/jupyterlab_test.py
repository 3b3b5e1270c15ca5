"""The notebooks as a person runs them: in JupyterLab, in a real browser."""

import json
import os
import platform
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

import papermill
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# The trials of a whole table take minutes; these are as many as the figures need. The
# other experiments, which are made alike, are executed by `papermill_test`, lamb.ipynb
# by `make docs` and summary.ipynb for every report.
SHORTER = {
    "lenet_mnist": {
        "solvers": ["lamb"],
        "learning_rates": [0.001, 0.01],
        "seeds": [0, 1],
        "epochs": 4,
    },
    "update": {"rounds": 1},
}
FIGURES = {"lenet_mnist": 5, "update": 1}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on copies of the notebooks; gives its address and token."""
    folder = tmp_path_factory.mktemp("lab")
    for name, parameters in SHORTER.items():
        notebook = papermill.iorw.load_notebook_node(str(NOTEBOOKS / f"{name}.ipynb"))
        if parameters:
            notebook = papermill.parameterize.parameterize_notebook(
                notebook, parameters
            )
        papermill.iorw.write_ipynb(notebook, str(folder / f"{name}.ipynb"))
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # Cells out of sight stay in the page, so that all of them can be looked at.
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    token = secrets.token_hex(16)
    log = folder / "lab.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root",
             f"--IdentityProvider.token={token}", f"--notebook-dir={folder}",
             "--port=0"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")},
        )  # fmt: skip
    try:
        yield folder, _address(server, log), token
    finally:
        server.terminate()
        server.wait(30)


def _address(server, log):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"http://(localhost|127\.0\.0\.1):\d+", log.read_text()):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


def _wait_for_kernel(page, address, token, name):
    """Until the notebook's kernel is idle and the page is connected to it."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        sessions = page.request.get(f"{address}/api/sessions?token={token}").json()
        for session in sessions:
            kernel = session["kernel"]
            if (
                session["path"] == f"{name}.ipynb"
                and kernel["execution_state"] == "idle"
                and kernel["connections"]
            ):
                return
        time.sleep(0.5)
    raise AssertionError(f"JupyterLab did not start a kernel for {name}.ipynb.")


def _assert_a_save_changes_nothing(page, path):
    before, saved = path.read_text("utf-8"), path.stat().st_mtime_ns
    page.locator(".jp-Notebook").click(position={"x": 2, "y": 2})
    page.keyboard.press("Control+s")
    deadline = time.monotonic() + 30
    while path.stat().st_mtime_ns == saved:
        assert time.monotonic() < deadline, "nothing was saved"
        time.sleep(0.1)
    # The version of Python is that of the machine.
    version = f'"version": "{platform.python_version()}"'
    before = re.sub(r'"version": "3\.[\d.]+"', version, before)
    assert path.read_text("utf-8").rstrip() == before.rstrip()


def _run_all_cells(page):
    """Runs them to the last, without an error; returns whether there was a bar."""
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    last = cells.nth(cells.count() - 1).locator(".jp-InputPrompt")
    before, bar = last.inner_text(), page.locator(".jp-OutputArea .widget-hprogress")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    error = page.locator(".jp-OutputArea-output", has_text="Traceback (most recent")
    deadline, bars = time.monotonic() + 240, 0
    while not re.search(r"\d", last.inner_text()) or last.inner_text() == before:
        assert error.count() == 0, error.first.inner_text()
        assert time.monotonic() < deadline, f"the last cell shows {last.inner_text()}"
        bars += bar.count()
        time.sleep(0.2)
    assert error.count() == 0 and bar.count() == 0
    return bars > 0


def _assert_other_parameters_need_no_restart(page):
    injected = page.locator(".jp-Notebook .jp-CodeCell").nth(1)
    injected.locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.type("\nlearning_rates = [0.01]")
    planned = page.locator(".jp-OutputArea-output", has_text=" trials, ").first
    assert planned.inner_text().startswith("4 trials")
    _run_all_cells(page)
    assert planned.inner_text().startswith("2 trials")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORTER)
def test_a_person_can_run_all_cells_and_see_the_figures(name, lab, browser):
    folder, address, token = lab
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(60_000)
    page.goto(f"{address}/lab/tree/{name}.ipynb?token={token}&reset")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    # Before there is a kernel, running would ask which one to start.
    _wait_for_kernel(page, address, token, name)
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
    _assert_a_save_changes_nothing(page, folder / f"{name}.ipynb")
    saw_a_bar = _run_all_cells(page)
    assert saw_a_bar or name != "lenet_mnist"  # the one that trains

    figures = page.locator(".jp-OutputArea-output img")
    assert figures.count() == FIGURES[name]
    for i in range(figures.count()):
        figures.nth(i).scroll_into_view_if_needed()
        assert figures.nth(i).bounding_box()["width"] > 200
        assert figures.nth(i).evaluate("image => image.naturalWidth") > 200
    if name == "lenet_mnist":
        _assert_other_parameters_need_no_restart(page)
    page.close()


@pytest.mark.parametrize("name", SHORTER)
def test_a_notebook_asks_for_the_kernel_that_every_installation_has(name):
    metadata = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
