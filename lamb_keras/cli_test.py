import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import webbrowser
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import lamb_keras
from lamb_keras import batch, cli
from lamb_keras.batch import cache, executor, machine
from lamb_keras.batch import status as batch_status
from lamb_keras.results import archive, report
from lamb_keras.store import record as batch_record
from testing.tiny_project import (
    FINISH,
    PARAMETERS,
    is_running,
    make_project,
    snapshot,
)

BAD_FILES = {
    "params/tables/table07.yaml": [
        ("notebook: lenet\ntable: 7\n", "did you mean lenet_mnist?"),
    ],
    "params/scales/laptop/lenet_mnist.yaml": [
        (None, "params/scales/laptop/lenet_mnist.yaml is missing"),
    ],
    "notebooks/lenet_mnist.ipynb": [
        ("not JSON", "not valid JSON"),
        (None, "notebooks/lenet_mnist.ipynb is missing"),
    ],
}
BAD_OPTIONS = [
    (["--tables", "26"], "table 26: the paper has tables 1 to 25"),
    (["--tables", "11"], "table 11 has no experiment yet; tables that have one: 7"),
    (["--scale", "labtop"], "unknown scale 'labtop'; did you mean laptop?"),
    (["--set", "epochs"], "is not of the form name=value"),
    (["--set", "epochz=3"], "did you mean epochs?"),
    (["--set", "epochs=3", "--set", "epochs=4"], "--set epochs is there twice"),
    (["--set", "batch_size=-1"], "batch_size is -1, expected a whole number of at"),
    (["--set", "solvers=[lmb]"], "did you mean lamb?"),
    (["--set", "learning_rates=['1e-3']"], "is the text '1e-3'"),
    (["--set", "learning_rates={lmb: [0.1]}"], "did you mean lamb?"),
    (["--set", "learning_rates={adam: [0.1]}"], "add lamb: and its values"),
    (["--set", "dataset=imagenet"], "unknown dataset the text 'imagenet'; there are"),
    (["--set", "dataset=mnist"], "train-images-idx3-ubyte"),
    (["--timeout", "0"], "--timeout is 0, expected seconds above 0"),
    (["--timeout", "nan"], "--timeout is nan, expected seconds above 0"),
    (["--jobs", "0"], "--jobs is 0, expected at least 1"),
    (["--for", "soon"], "--for is soon, expected a time such as 8m, 1h30m, 90s or 90"),
    (["--for", "0m"], "--for is 0m, expected a time"),
    (["--gpus-a-run", "0"], "--gpus-a-run is 0, expected at least 1"),
    (["--gpus-a-run", "8"], "--gpus-a-run is 8, and this machine has 0 for JAX"),
    (["--output", "/proc/outputs"], "the output folder /proc cannot be written to"),
    (["--output", "taken/outputs"], "taken is a file"),
    (["--output", "gx://bucket/outputs"], "cannot be opened: Protocol not known: gx"),
    (
        ["--output", "s3:/bucket"],
        "s3:/bucket is no address, expected one such as gs://",
    ),
    (["--output", "file:///proc/outputs"], "/proc/outputs cannot be written to"),
    (["--output", "memory://a", "--dask", "tcp://b:1"], "expected a folder that all"),
    (["--project", "nowhere"], "so it is no project: expected one with notebooks/"),
]
MORE = """
solvers = ["lamb"]
learning_rates = [0.1]
batch_size = 16
dataset = "digits"
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with an earlier output, in which nothing may be executed."""
    cells = [PARAMETERS + MORE, FINISH]
    project = make_project(tmp_path / "project", monkeypatch, lenet_mnist=cells)
    earlier = project.outputs / "table07"
    earlier.mkdir(parents=True)
    (earlier / "lenet_mnist.ipynb").write_text("an earlier result")
    (project.root / "taken").write_text("a file")
    truncated = project.root / "data" / "mnist" / "train-images-idx3-ubyte"
    truncated.parent.mkdir(parents=True)
    truncated.write_bytes(b"\0\0\x08\x03\0\0\xea\x60")
    monkeypatch.setenv("LAMB_KERAS_DATA", "data")
    monkeypatch.chdir(project.root)

    def nothing(*_, **__):
        raise AssertionError("something was executed")

    monkeypatch.setattr(executor, "execute", nothing)
    monkeypatch.setattr(report, "render", nothing)
    return project


def refused(capsys, *options):
    code = cli.main(["run", "--project", ".", *options])
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert re.fullmatch(r"lamb-keras: [^\n]+\n", said.err)
    return said.err


@pytest.mark.parametrize(("options", "sentence"), BAD_OPTIONS)
def test_a_mistake_in_an_option_is_one_sentence_and_touches_nothing(
    project, capsys, options, sentence
):
    before = snapshot(project.root)
    assert sentence in refused(capsys, *options)
    assert snapshot(project.root) == before


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [(file, *each) for file, all in BAD_FILES.items() for each in all],
)
def test_a_mistake_in_a_file_is_one_sentence_and_touches_nothing(
    project, capsys, file, text, sentence
):
    path = project.root / file
    path.unlink() if text is None else path.write_text(text)
    before = snapshot(project.root)
    assert sentence in refused(capsys, "--tables", "7")
    assert snapshot(project.root) == before


def record(name, status, reason=None):
    return {"run": name, "status": status, "reason": reason, "seconds": 61.2}


def test_a_run_ends_with_its_summary_and_the_reports_path(project, capsys, monkeypatch):
    asked = []

    def execute(runs, project, log, jobs, dask, timeout, **_):
        asked.append(([run.name for run in runs], jobs, timeout))
        return [record("table07/lenet_mnist", "succeeded")]

    def render(output, scale, root, renewed):
        asked.append((output, scale, root, renewed))
        return output / scale / "report.html"

    monkeypatch.setattr(executor, "execute", execute)
    monkeypatch.setattr(report, "render", render)
    options = ["--jobs", "3", "--timeout", "1e3"]
    assert cli.main(["run", "--project", ".", *options]) == 0
    assert asked == [
        (["table07/lenet_mnist"], 3, 1000),
        (project.root / "outputs", "laptop", project.root, []),
    ]
    assert capsys.readouterr().out.splitlines() == [
        "table07/lenet_mnist succeeded in 61 s",
        "outputs/laptop/report.html",
    ]


def test_what_the_time_did_not_allow_is_left_and_no_failure(
    project, capsys, monkeypatch
):
    asked = []

    def execute(runs, *_, deadline, **__):
        asked.append(deadline.seconds)
        runs[0].trials_folder.mkdir(parents=True)
        (runs[0].trials_folder / "one.json").touch()
        return []

    monkeypatch.setattr(executor, "execute", execute)
    monkeypatch.setattr(report, "render", lambda output, *_: output / "report.html")
    assert cli.main(["run", "--project", ".", "--for", "8m"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "table07/lenet_mnist is left, with 1 finished training kept",
        "1 of 1 run left; the same command goes on from here",
        "outputs/report.html",
    ]
    # A tenth is for the report.
    assert asked == [432.0]


def test_a_failed_run_is_reported_and_tells_by_the_exit_code(
    project, capsys, monkeypatch
):
    notebook = project.outputs / "table07" / "lenet_mnist.failed.ipynb"
    notebook.write_text("{}")
    failed = record("table07/lenet_mnist", "failed", "ValueError: no")
    monkeypatch.setattr(executor, "execute", lambda *_, **__: [failed])
    monkeypatch.setattr(report, "render", lambda output, *_: output / "report.html")
    assert cli.main(["run", "--project", "."]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "table07/lenet_mnist failed: ValueError: no; "
        "see outputs/laptop/table07/lenet_mnist.failed.ipynb",
        "outputs/report.html",
    ]


def test_a_report_can_renew_a_readmes_claims(project, capsys, monkeypatch):
    monkeypatch.setattr(report, "render", lambda output, *_: output / "report.html")
    readme = Path("README.md")
    readme.write_text("<!-- claims: start -->\n<!-- claims: end -->\n")
    arguments = ["report", "--project", ".", "--readme", "README.md"]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.endswith("README.md renewed\n")
    assert "No claim has been tested yet." in readme.read_text()
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.endswith("README.md unchanged\n")


@pytest.mark.parametrize(
    ("text", "sentence"), [(None, "No such file"), ("no marks", "has no lines <!--")]
)
def test_a_readme_without_a_place_for_the_claims_is_refused(
    project, capsys, monkeypatch, text, sentence
):
    monkeypatch.setattr(report, "render", lambda output, *_: output / "report.html")
    if text is not None:
        Path("README.md").write_text(text)
    assert cli.main(["report", "--project", ".", "--readme", "README.md"]) == 2
    assert sentence in capsys.readouterr().err


def test_a_report_that_cannot_be_made_says_why(project, capsys, monkeypatch):
    def render(*arguments):
        raise report.ReportError("there is no notebook summary.ipynb")

    monkeypatch.setattr(report, "render", render)
    assert cli.main(["report", "--project", "."]) == 1
    said = capsys.readouterr()
    assert said.err.endswith("lamb-keras: there is no notebook summary.ipynb\n")
    assert said.out == ""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--output", "elsewhere"], "nothing has been run at scale laptop yet"),
        (["--scale", "gpu"], "unknown scale 'gpu'; there are: laptop"),
    ],
)
def test_a_report_of_nothing_is_refused(project, capsys, options, sentence):
    assert cli.main(["report", "--project", ".", *options]) == 2
    assert sentence in capsys.readouterr().err


def test_the_list_has_all_tables_with_their_notebooks_and_outputs(project, capsys):
    folder = project.outputs / "table07"
    (folder / "lenet_mnist.json").write_text('{"status": "succeeded"}')
    assert cli.main(["list", "--project", "."]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(1, 26))
    assert lines[6].startswith(" 7  lenet_mnist ")
    assert "MNIST with LeNet" in lines[6]
    assert lines[6].endswith("(laptop succeeded)")
    assert lines[10].startswith("11  no experiment yet ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("rnu", "unknown command rnu; did you mean run?"),
        ("run --tabels 7", "--tabels is no option of lamb-keras run; did you mean --t"),
        ("run 7", "7 is no option of lamb-keras run; there are: --project"),
        (
            "status --scael=gpu",
            "--scael=gpu is no option of lamb-keras status; did you",
        ),
        ("--verison", "--verison is no option of lamb-keras; did you mean --version?"),
        ("run --jobs x", "argument --jobs: invalid int value: 'x'; lamb-keras run --h"),
        ("params", "the following arguments are required: TABLE"),
        ("params 26", "table 26: the paper has tables 1 to 25"),
    ],
)
def test_a_misspelt_command_line_is_one_sentence_with_the_nearest_word(
    capsys, arguments, sentence
):
    assert cli.main(arguments.split()) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"lamb-keras: {sentence}")


def test_a_bare_call_shows_the_help(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for command in ("run", "report", "status", "list", "params", "open", "new"):
        assert re.search(rf"^    {command} ", told, re.MULTILINE), command


def test_bash_completes_commands_and_options():
    script = """eval "$(lamb-keras --print-completion bash)"
    COMP_CWORD=1; COMP_WORDS=(lamb-keras st); _shtab_lamb_keras; echo ${COMPREPLY[@]}
    COMP_CWORD=2; COMP_WORDS=(lamb-keras run --ta); _shtab_lamb_keras
    echo ${COMPREPLY[@]}"""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["status", "--tables"], done.stderr


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"lamb-keras {lamb_keras.__version__}\n"


def test_a_tables_parameters_are_told_with_their_comments(project, capsys):
    assert cli.main(["params", "7", "--project", "."]) == 0
    told = capsys.readouterr().out
    assert "epochs: 2  # passes over the training images\n" in told
    assert "solvers: [lamb]\n" in told
    [run] = project.plan()
    assert yaml.safe_load(told) == run.parameters


def test_the_report_is_opened_in_the_browser(project, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert cli.main(["open", "--project", "."]) == 2
    sentence = "report.html is not there yet; lamb-keras run --scale laptop writes it\n"
    assert capsys.readouterr().err.endswith(sentence)
    path = project.outputs / "report.html"
    path.write_text("<p>")
    assert cli.main(["open", "--project", "."]) == 0
    assert opened == [path.as_uri()]
    assert capsys.readouterr().out == "outputs/laptop/report.html\n"


def test_a_reader_that_has_enough_is_no_error():
    command = f"{sys.executable} -m lamb_keras list | head -2"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.count("\n") == 2 and done.stderr == ""


def test_a_project_is_found_upward_from_where_we_are(project, capsys, monkeypatch):
    monkeypatch.chdir(project.root / "params" / "tables")
    assert cli.main(["run", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("table07/lenet_mnist would run")


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["run", "--tables", "26"],
        ["status"],
        ["run", "--dry-run"],
        ["plan", "--on", "v3-2048"],
    ],
)
def test_an_answer_at_once_needs_nothing_heavy(arguments):
    heavy = {"keras", "jax", "papermill", "nbformat", "pandas", "sklearn"}
    code = f"""
import sys
from lamb_keras.cli import main
main({arguments})
print(sorted({heavy} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def records(project, *settings):
    """What the executor leaves of a run that finished, and returns of it."""
    [decision] = cache.decide(project.plan(*settings), project.project)
    run = decision.run
    run.folder.mkdir(parents=True, exist_ok=True)
    executed = run.folder / ".executed.ipynb"
    payload = {"name": "finished", "data": True, "encoder": "json", "version": 1}
    shown = {"application/scrapbook.scrap.json+json": payload}
    output = {"output_type": "display_data", "data": shown}
    executed.write_text(json.dumps({"cells": [{"outputs": [output]}]}))
    kept = {"run": run.name, "table": 7, "parameters": run.parameters, "key": run.key}
    kept |= {"started": "2026-11-23T17:40:59+00:00", "seconds": 61.2}
    batch_record.succeeded(run, executed, kept)
    return {**kept, "status": "succeeded"}


@pytest.mark.parametrize("options", [[], ["--again"], ["--set", "epochs=3"]])
def test_a_dry_run_touches_nothing(project, capsys, options):
    records(project)
    before = snapshot(project.root)
    assert cli.main(["run", "--project", ".", "--dry-run", *options]) == 0
    assert snapshot(project.root) == before
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_dry_run_makes_no_folder(project):
    before = snapshot(project.root)
    arguments = ["run", "--project", ".", "--dry-run", "--output", "elsewhere"]
    assert cli.main(arguments) == 0
    assert snapshot(project.root) == before


def dry_run(capsys, *options):
    assert cli.main(["run", "--project", ".", "--dry-run", *options]) == 0
    [line] = capsys.readouterr().out.splitlines()
    return line


def test_a_dry_run_says_what_would_run_and_why_or_what_is_done(project, capsys):
    name = "table07/lenet_mnist"
    elsewhere = ["--output", "elsewhere"]
    assert dry_run(capsys, *elsewhere) == f"{name} would run, 1 trial: never run"
    assert dry_run(capsys) == f"{name} would run, 1 trial: its record is missing"
    key = records(project)["key"]["sha256"]
    assert dry_run(capsys) == (
        f"{name} is already done (2026-11-23 17:40 UTC, key {key[:12]})"
    )
    assert dry_run(capsys, "--set", "seeds=[0,1]") == (
        f"{name} would run, 2 trials: parameter seeds is [0, 1], was [0]"
    )
    assert dry_run(capsys, "--again") == (
        f"{name} would run, 1 trial: asked for with --again"
    )


def test_what_is_done_is_not_executed_again_but_reported(project, capsys, monkeypatch):
    records(project)
    monkeypatch.setattr(report, "render", lambda output, *_: output / "report.html")
    assert cli.main(["run", "--project", "."]) == 0
    said = capsys.readouterr()
    first, second = said.out.splitlines()
    assert first.startswith("table07/lenet_mnist is already done (2026-11-23 17:40 UTC")
    assert second == "outputs/report.html"
    assert "again" not in said.err


def test_what_a_batch_killed_after_its_last_run_left_is_cleared(
    project, monkeypatch, tmp_path
):
    records(project)
    monkeypatch.setattr(report, "render", lambda output, *_: output / "report.html")
    (left := tmp_path / "lamb-left").mkdir()
    with batch_status.Log(project.outputs) as log:
        log.append("began", host=batch_status.host(), pid=1, folder=str(left))
        log.append("planned", run="table07/lenet_mnist", trials=1)
    assert cli.main(["run", "--project", "."]) == 0
    assert not left.exists()


@pytest.mark.parametrize(
    ("options", "reason", "shown"),
    [
        (["--again"], "asked for with --again", ["table07/lenet_mnist"]),
        (["--set", "epochs=3"], "parameter epochs is 3, was 2", []),
    ],
)
def test_what_is_executed_again_says_why_and_is_shown_if_asked_for(
    project, capsys, monkeypatch, options, reason, shown
):
    records(project)
    executed = []

    def render(output, scale, root, renewed):
        assert renewed == shown
        return output / "report.html"

    def execute(runs, project, log, jobs, dask, timeout, **_):
        executed.extend(runs)
        return [record(run.name, "succeeded") for run in runs]

    monkeypatch.setattr(executor, "execute", execute)
    monkeypatch.setattr(report, "render", render)
    assert cli.main(["run", "--project", ".", *options]) == 0
    assert [run.key is not None for run in executed] == [True]
    said = capsys.readouterr()
    assert f"table07/lenet_mnist runs again: {reason}\n" in said.err
    assert said.out.startswith("table07/lenet_mnist succeeded in 61 s\n")


def test_a_run_by_hand_says_which_of_the_tables_own_results_it_takes_away(
    project, capsys, monkeypatch
):
    (own,) = project.plan()
    known = {"name": own.name, "parameters": own.parameters, "overrides": {}}
    about = {"notebook": "lenet_mnist", "table": 7, "scale": "laptop"}
    archived = project.outputs / archive.FILE
    archived.write_text(json.dumps(known | about) + "\n")
    said = (
        "lamb-keras: what is set by hand takes the place of table07/lenet_mnist in the "
        "report; --output FOLDER leaves that as it is\n"
    )
    arguments = ["run", "--project", ".", "--dry-run"]
    for options, sentence in (
        ([], ""),
        (["--set", "epochs=3"], said),
        (["--set", "epochs=2"], ""),  # as the table has it
        (["--set", "epochs=3", "--output", "elsewhere"], ""),
    ):
        assert cli.main([*arguments, *options]) == 0
        assert capsys.readouterr().err == sentence
    # What somebody set by hand before is nobody's loss.
    archived.write_text(json.dumps(known | about | {"overrides": {"epochs": 2}}) + "\n")
    assert cli.main([*arguments, "--set", "epochs=3"]) == 0
    assert capsys.readouterr().err == ""


def test_a_run_that_will_not_count_as_done_says_so(project, capsys, monkeypatch):
    note = "lamb_keras/schedules.py changed while it ran"
    kept = record("table07/lenet_mnist", "succeeded") | {"key": None, "note": note}
    monkeypatch.setattr(executor, "execute", lambda *_, **__: [kept])
    monkeypatch.setattr(report, "render", lambda output, *_: output / "report.html")
    assert cli.main(["run", "--project", "."]) == 0
    assert capsys.readouterr().out.startswith(
        f"table07/lenet_mnist succeeded in 61 s; {note}, so it will run again\n"
    )


def test_on_windows_one_sentence_says_so(project, capsys, monkeypatch):
    monkeypatch.setattr(batch, "os", SimpleNamespace(name="nt"))
    assert "run on Linux and macOS" in refused(capsys)


# Without a fork server, which macOS has not, all the same holds.
@pytest.mark.parametrize("forks", {False, machine.FORKS})
def test_of_two_runs_only_the_one_that_changed_is_executed(
    tmp_path, monkeypatch, capsys, forks
):
    monkeypatch.setattr(machine, "FORKS", forks)
    count = "open('{0}.txt', 'a').write('x')"
    cells = {name: [PARAMETERS, count.format(name), FINISH] for name in ("one", "two")}
    project = make_project(tmp_path / "project", monkeypatch, **cells)
    monkeypatch.setattr(report, "render", lambda output, *_: output / "report.html")
    counts = [project.root / f"{name}.txt" for name in cells]

    def executed():
        arguments = ["run", "--project", str(project.root)]
        assert cli.main(arguments) == 0
        return [path.read_text() for path in counts]

    assert executed() == ["x", "x"]
    assert "again" not in capsys.readouterr().err
    assert executed() == ["x", "x"]
    notebook = project.root / "notebooks" / "two.ipynb"
    notebook.write_text(notebook.read_text().replace("'x'", "'y'"))
    assert executed() == ["x", "xy"]
    assert "two runs again: the notebook's code changed" in capsys.readouterr().err
    assert executed() == ["x", "xy"]


BUSY = """
import os, subprocess, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
with open("pids.tmp", "w") as file:
    file.write(f"{os.getpid()} {os.getppid()} {child.pid}")
os.rename("pids.tmp", "pids.txt")
while True:
    time.sleep(0.01)
"""


@pytest.fixture
def busy(tmp_path, monkeypatch):
    """A real batch in the middle of its run: the project, its process, those below."""
    project = make_project(
        tmp_path / "project", monkeypatch, lenet_mnist=[PARAMETERS, BUSY, FINISH]
    )
    # Pytest's own folder has too long a path for sockets, and would not be used.
    temporary = tempfile.TemporaryDirectory(prefix="t")
    process = subprocess.Popen(
        [sys.executable, "-m", "lamb_keras", "run", "--project", str(project.root)],
        env={**os.environ, "TMPDIR": temporary.name},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = project.root / "pids.txt"
    wait_until(pids.exists, seconds=60)
    yield project, process, pids.read_text().split(), Path(temporary.name)
    if process.poll() is None:
        process.kill()
    process.wait()
    temporary.cleanup()


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_leaves_no_process_and_no_file(busy, number):
    project, process, below, temporary = busy
    assert all(map(is_running, below))
    assert len(list(temporary.iterdir())) == 1
    process.send_signal(number)
    # A second Ctrl-C does not disturb the cleaning up.
    time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=10) == 128 + number
    assert not any(map(is_running, below))
    assert process.stderr.read().endswith(
        "lamb-keras: interrupted; finished runs are kept\n"
    )
    left = {path.name for path in project.outputs.rglob("*")}
    assert left == {"table07", "batch.jsonl"}
    assert list(temporary.iterdir()) == []
    told = [event["event"] for event in batch_status.read(project.outputs)]
    told = [event for event in told if event != "heartbeat"]  # of a busy machine
    assert told == "began planned started working interrupted ended".split()


def status(project, capsys):
    capsys.readouterr()
    assert cli.main(["status", "--project", str(project.root)]) == 0
    return capsys.readouterr().out.splitlines()


def test_while_a_batch_goes_on_its_status_is_told_and_another_one_refused(busy, capsys):
    project, process, _, _ = busy
    run, whole = status(project, capsys)
    assert run == "table07/lenet_mnist  running  0 of 1 trials, loading"
    assert whole == "a batch is running: 0 of 1 run done, 0 of 1 trials"
    assert cli.main(["run", "--project", str(project.root)]) == 2
    assert re.fullmatch(
        rf"lamb-keras: another batch \(process {process.pid} on [^\n]*\n",
        capsys.readouterr().err,
    )
    process.kill()
    process.wait()
    run, whole = status(project, capsys)
    assert run == "table07/lenet_mnist  ended with the batch after 0 of 1 trials"
    assert whole.startswith("no batch is running; the last one was killed by ")


def test_a_killed_batch_takes_its_workers_and_kernels_along(busy):
    _, process, (kernel, worker, child), _ = busy
    process.kill()
    wait_until(lambda: not any(map(is_running, (kernel, worker, child))), seconds=10)


def test_texts_are_prepared_by_the_parameters_of_their_tables(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path))
    small = "articles=60", "vocab_size=300", "validation_fraction=0.1"
    options = [word for each in small for word in ("--set", each)]
    assert cli.main(["prepare", "text", "--tables", "4", *options]) == 0
    assert re.search(
        r"of 160 articles, .*: \d\d documents of [\d,]+ tok", capsys.readouterr().out
    )
    assert [path.name for path in tmp_path.glob("*/state.json")]
    assert cli.main(["prepare", "text", "--tables", "7"]) == 2
    assert "these tables have no text to prepare" in capsys.readouterr().err
