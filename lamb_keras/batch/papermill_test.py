"""`papermill --engine lamb-keras`: notebooks that end in every way, executed once."""

import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import nbformat.v4
import papermill
import pytest
from papermill.iorw import papermill_io

from lamb_keras.batch import papermill as engine
from lamb_keras.store import banner

PARAMETERS = 'rate = 0.1  # of learning\nname = "a"\nsizes = [1,\n    2]'
HOSTILE = "</code><script>'\"|$x$ *b*\n__import__('os')"
CHATTY = """
for update in range(100_000):
    print(f"step {update}", end="\\r")
for line in range(5_000):
    print(f"line {line}", flush=True)
"""
BUSY = "import os, time; open(name, 'w').write(str(os.getpid())); time.sleep(600)"
NOTEBOOKS = {
    "good": ["print(name)"],
    "dies": ["print(1)", "import os; os.kill(os.getpid(), 9)", "print(3)"],
    "slow": ["import time; time.sleep(600)", "print(3)"],
    "chatty": [CHATTY],
    "syntax": ["def (", "print(3)"],
    "stopped": [BUSY, "print(3)"],
}
OPTIONS = {
    "good": ["-p", "rate", "0.5", "-r", "name", HOSTILE],
    "slow": ["--execution-timeout", "3"],
    "stopped": ["-p", "name", "pid.txt"],
}


def write(path, cells):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# A notebook"),
            nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            *map(nbformat.v4.new_code_cell, cells),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "", "language": "python"}
        },
    )
    nbformat.write(notebook, path)


def command(name, options):
    papermill = [sys.executable, "-m", "papermill", "--engine", "lamb-keras"]
    return [*papermill, f"{name}.ipynb", f"{name}.out.ipynb", *options]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """By notebook: what Papermill left, said and ended with."""
    folder = tmp_path_factory.mktemp("engine")
    temporary = folder / "t"
    temporary.mkdir()
    running = {}
    for name, cells in NOTEBOOKS.items():
        write(folder / f"{name}.ipynb", cells)
        running[name] = subprocess.Popen(
            command(name, OPTIONS.get(name, [])),
            cwd=folder,
            env={**os.environ, "TMPDIR": str(temporary)},
            stderr=subprocess.PIPE,
            text=True,
        )
    until = time.monotonic() + 120
    while not (folder / "pid.txt").exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    running["stopped"].send_signal(signal.SIGTERM)
    found = {}
    for name, process in running.items():
        _, said = process.communicate(timeout=200)
        path = folder / f"{name}.out.ipynb"
        notebook = json.loads(path.read_bytes())
        nbformat.validate(notebook)
        found[name] = SimpleNamespace(
            cells=notebook["cells"],
            papermill=notebook["metadata"]["papermill"],
            said=said,
            code=process.returncode,
        )
    left = {path.name for path in folder.iterdir()} - {"t", "pid.txt"}
    names = {f"{name}.{end}" for name in NOTEBOOKS for end in ("ipynb", "out.ipynb")}
    assert left == names
    # IPython may keep something of its own there; sockets and folders of ours are gone.
    assert not list(temporary.glob("lamb-*"))
    return found


def source(cell):
    return "".join(cell["source"])


def states(notebook):
    return [
        cell["metadata"]["papermill"]["status"]
        for cell in notebook.cells
        if cell["cell_type"] == "code"
    ]


def test_a_notebook_that_finishes_has_no_banner(executed):
    good = executed["good"]
    assert good.code == 0 and good.papermill["exception"] is None
    assert set(states(good)) == {"completed"}
    assert not any("did not finish" in source(cell) for cell in good.cells)


def test_a_hostile_string_is_a_string_in_the_kernel_and_escaped_in_the_table(executed):
    good = executed["good"]
    [output] = good.cells[-1]["outputs"]
    assert "".join(output["text"]) == HOSTILE + "\n"
    table = source(good.cells[0])
    assert "<script" not in table and not set("$*|`\\[]") & set(table)


def test_a_killed_kernel_is_noticed_and_the_notebook_says_so(executed):
    dies = executed["dies"]
    # By which Papermill's own command tells a dead kernel.
    assert dies.code == 138 and dies.papermill["exception"] is True
    assert "KernelDied: the kernel was killed by signal 9" in dies.said
    assert "the kernel was killed by signal 9" in source(dies.cells[0])
    assert states(dies) == ["completed", "completed", "failed", "pending"]


def test_a_time_out_is_noticed_and_the_notebook_says_so(executed):
    slow = executed["slow"]
    assert slow.code != 0 and slow.papermill["exception"] is True
    assert "a cell took too long" in source(slow.cells[0])
    assert "after 3 seconds" in source(slow.cells[0])
    assert states(slow)[-2:] == ["failed", "pending"]


def test_a_stopped_papermill_leaves_a_notebook_that_says_so(executed):
    stopped = executed["stopped"]
    assert stopped.code == 128 + signal.SIGTERM
    assert "it was ended by signal 15" in source(stopped.cells[0])
    assert states(stopped)[-2:] == ["failed", "pending"]


def test_a_hundred_thousand_updates_are_one_line_and_no_line_is_lost(executed):
    chatty = executed["chatty"]
    assert chatty.code == 0, chatty.said
    [output] = chatty.cells[-1]["outputs"]
    lines = "".join(output["text"]).splitlines()
    assert lines[0] == "line 0" or lines[0].endswith("step 99999")
    assert lines[-5_000:] == [f"line {line}" for line in range(5_000)]
    assert len(lines) <= 5_001


def test_a_syntax_error_fails_its_cell_and_nothing_below_is_executed(executed):
    syntax = executed["syntax"]
    assert syntax.code == 1 and "SyntaxError" in syntax.said
    # Papermill's own banner, with a link to the cell.
    assert "An Exception was encountered" in source(syntax.cells[0])
    assert states(syntax)[-2:] == ["failed", "pending"]


def execute(path, parameters=None, cells=(), metadata=None, source=PARAMETERS):
    """Executes a notebook of one parameters cell; returns its table as a dict."""
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    cells = [cell, *map(nbformat.v4.new_code_cell, cells)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata or {})
    nbformat.write(notebook, path)
    done = papermill.execute_notebook(
        path,
        path,
        parameters,
        engine_name="lamb-keras",
        kernel_name="python3",
        language="python",
        progress_bar=False,
    )
    rows = re.findall(r"<td>([^<]*)</td><td><code>([^<]*)</code>", source_of(done))
    return {html.unescape(name): html.unescape(value) for name, value in rows}


def source_of(notebook):
    return notebook.cells[0].source


ODD = """
data_url = "https://host/get?split=train"
workers = 2  # processes per node, total = workers * nodes
color = "#1f77b4"
options = dict(
    depth=3,
)
low, high = 0, 1
squares = [i * i for i in range(2)]
rounds = 1
rounds += 1
"""


def test_parameters_are_those_that_stand_in_the_cell(tmp_path):
    path = tmp_path / "a.ipynb"
    given = {"data_url": "https://h/get?split=test", "workers": 4, "high": 2}
    assert execute(path, given, source=ODD) == {
        "data_url": '"https://h/get?split=test"',
        "workers": "4",
        "color": '"#1f77b4"',
        "options": "dict(depth=3)",
        "low": "…",
        "high": "2",
        "squares": "[i * i for i in range(2)]",
        "rounds": "…",
    }
    # A second execution gives none; those of the first one still run.
    again = papermill.execute_notebook(
        path, path, engine_name="lamb-keras", kernel_name="python3", progress_bar=False
    )
    assert "workers</td><td><code>4<" in source_of(again)


def test_what_only_the_kernel_can_read_is_not_refused(tmp_path):
    timed = execute(tmp_path / "a.ipynb", {"rate": 2}, source="%%time\nrate = 1")
    assert timed == {"rate": "2"}


@pytest.mark.parametrize("stale", ["rate", "rte"])
def test_what_an_earlier_execution_noted_is_neither_told_nor_refused(tmp_path, stale):
    metadata = {"papermill": {"parameters": {stale: 90}}}
    assert execute(tmp_path / "a.ipynb", metadata=metadata)["rate"] == "0.1"


@pytest.mark.parametrize(
    ("source", "name", "hint"),
    [
        (PARAMETERS, "rat", "did you mean rate?"),
        (ODD, "depth", "it has: data_url, "),
        (ODD, "i", "it has: data_url, "),
        ("# none yet", "rate", "it has: none"),
    ],
)
def test_an_unknown_parameter_is_refused_with_those_that_are_known(
    tmp_path, source, name, hint
):
    with pytest.raises(papermill.PapermillException, match=hint):
        execute(tmp_path / "a.ipynb", {name: 0.5}, source=source)


def test_a_refusal_is_one_sentence_on_the_command_line(tmp_path):
    write(tmp_path / "a.ipynb", ["print(1)"])
    options = ["-p", "rat", "0.5", "--no-progress-bar"]
    done = subprocess.run(
        command("a", options), cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: the notebook has no parame")
    assert not (tmp_path / "a.out.ipynb").exists()


def test_a_notebook_on_standard_output_is_nothing_but_that(tmp_path):
    write(tmp_path / "a.ipynb", ["import os; os.system('echo hello')"])
    said = subprocess.check_output(
        [*command("a", [])[:-2], str(tmp_path / "a.ipynb"), "-", "-k", "python3"],
        stderr=subprocess.DEVNULL,
    )
    assert json.loads(said)["cells"][-1]["execution_count"] == 2


def test_a_reader_sees_the_old_notebook_or_the_new_one(tmp_path):
    path = tmp_path / "a.ipynb"
    engine._save_in_one_step(str(path))
    papermill_io.write("old" * 1000, str(path))
    with path.open() as reader:
        papermill_io.write("new", str(path))
        assert reader.read() == "old" * 1000
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_link_leads_to_is_what_is_written(tmp_path):
    (tmp_path / "link.ipynb").symlink_to("b.ipynb")
    engine._save_in_one_step(str(tmp_path / "link.ipynb"))
    papermill_io.write("new", str(tmp_path / "link.ipynb"))
    assert (tmp_path / "b.ipynb").read_text() == "new"
    assert (tmp_path / "link.ipynb").is_symlink()


def test_a_folder_that_is_not_there_is_papermills_own_sentence(tmp_path):
    path = str(tmp_path / "nowhere" / "a.ipynb")
    engine._save_in_one_step(path)
    with pytest.raises(FileNotFoundError, match="output folder .* doesn't exist"):
        papermill_io.write("new", path)


def test_a_second_execution_replaces_what_the_first_one_added():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A")])
    for reason in ("one", "two"):
        banner.put(notebook, banner.PARAMETERS, banner.table({"a": 1}))
        banner.unfinished(notebook, reason)
    nbformat.validate(notebook)
    first, *others = [cell.source for cell in notebook.cells]
    assert "two" in first and len(others) == 2


@pytest.mark.parametrize("value", [HOSTILE, "\u2028", "\x00", "\ud800", "x\n\ny"])
def test_a_table_is_one_block_of_html_whatever_is_in_it(value):
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    table = banner.table({value: value})
    assert "\n\n" not in table and table.encode()
    html = markdown2html_mistune(table)
    assert html.count("<td>") == 2 and "<script" not in html and "<em>" not in html


def test_the_entry_point_is_the_installed_packages():
    from importlib.metadata import entry_points

    [found] = entry_points(group="papermill.engine", name="lamb-keras")
    assert found.value == "lamb_keras.batch.engine:Engine"


def test_importing_papermill_loads_nothing_heavy_for_the_engine():
    code = "import papermill, sys; print('lamb_keras.batch.papermill' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_a_line_of_many_megabytes_takes_no_time():
    began = time.monotonic()
    pieces = ["x" * 10**6] * 10 + ["\r1 %", "\r2 %\n3 %"]
    outputs = [nbformat.v4.new_output("stream", text=piece) for piece in pieces]
    [output] = engine._coalesced(outputs)
    assert output["text"] == "2 %\n3 %"
    assert time.monotonic() - began < 5
