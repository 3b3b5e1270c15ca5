"""One real batch, executed once: what becomes of runs that end in different ways."""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lamb_keras import cpu
from lamb_keras.batch import attempt, executor, kernel, machine, outcome, status
from lamb_keras.batch.cache import decide
from lamb_keras.batch.plan import plan
from lamb_keras.deadline import Deadline
from lamb_keras.store import events
from testing.tiny_project import FINISH, PARAMETERS, is_running, make_project

HOSTILE = "\"'; \\\n\t{table} {{}} __import__('os')._exit(3) <script>é\u2028\x00"

LOOK = """
import json, os, sys, time
from lamb_keras.store.events import emit
assert message == json.load(open("message.json"))  # beside us: the project's root
import lamb_keras
seen = [os.getcwd(), sys.executable, lamb_keras.__file__]
seen += [os.environ[f"LAMB_KERAS_{name}"] for name in ("THREADS", "DATA")]
seen += [os.environ["KERAS_BACKEND"], "scrapbook" in sys.modules]
json.dump(seen, open("seen.json", "w"))
emit("trials planned", total=3)
for done in range(3):
    emit("trial finished", done=done + 1, total=3, label=f"trial {done}")
for update in range(3000):
    print(f"step {update}", end="\\r")
"""

NOTEBOOKS = {
    "good": [PARAMETERS + "message = 'hello'", LOOK, FINISH, ""],
    "raises": [PARAMETERS, "raise ValueError('a <b>\\n\\nc')", FINISH],
    "dies": [PARAMETERS, "import os, signal; os.kill(os.getpid(), 9)", FINISH],
    "orphans": [
        PARAMETERS,
        """
        import os, signal, subprocess, time
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        open("pids.txt", "w").write(f"{os.getpid()} {child.pid}")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)
        """,
        FINISH,
    ],
}


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a folder")
    decoy = folder / "kernels" / "python3" / "kernel.json"
    decoy.parent.mkdir(parents=True)
    decoy.write_text('{"argv": ["false"], "display_name": "", "language": "python"}')
    with pytest.MonkeyPatch.context() as patch:
        project = make_project(folder / "project", patch, **NOTEBOOKS)
        yaml = project.root / "params/tables/table11.yaml"
        yaml.write_text(yaml.read_text() + f"message: {json.dumps(HOSTILE)}\n")
        (project.root / "message.json").write_text(json.dumps(HOSTILE))
        patch.delenv("LAMB_KERAS_THREADS", raising=False)
        patch.delenv("KERAS_BACKEND", raising=False)
        patch.setenv("LAMB_KERAS_DATA", "data")
        patch.setenv("JUPYTER_PATH", str(folder))
        patch.setenv("TMPDIR", str(temporary := folder / "temporary"))
        patch.setattr(tempfile, "tempdir", None)
        temporary.mkdir()
        runs = plan(project.project, "laptop", project.root / "{out} puts")
        runs = [each.run for each in decide(runs, project.project)]
        stream = io.StringIO()
        outputs = runs[0].folder.parent
        with status.Log(outputs) as log:
            records = executor.execute(runs, project.project, log, 2, stream=stream)
        return SimpleNamespace(
            project=project,
            runs={run.notebook.stem: run for run in runs},
            records={record["notebook"]: record for record in records},
            said=stream.getvalue(),
            temporary=temporary,
            events=status.read(outputs),
        )


def cells(path):
    return json.loads(path.read_text())["cells"]


def test_a_run_that_finishes_leaves_its_notebook_and_a_full_record(batch):
    run, record = batch.runs["good"], batch.records["good"]
    assert record["status"] == "succeeded", record["reason"]
    assert json.loads(run.file("json").read_text()) == record
    assert record["run"] == "table11/good"
    assert record["parameters"] == {
        "notebook": "good",
        "table": 11,
        "scale": "laptop",
        "epochs": 2,
        "seeds": [0],
        "message": HOSTILE,
    }
    assert record["overrides"] == {}
    assert record["key"] == run.key and len(run.key["sha256"]) == 64
    assert record["seconds"] > 0 and record["started"].endswith("+00:00")
    code = [c for c in cells(run.file("ipynb")) if c["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code if cell["source"])


def test_a_hostile_string_is_the_same_string_in_the_kernel(batch):
    # The notebook compares; it would have failed.
    assert batch.records["good"]["parameters"]["message"] == HOSTILE


def test_a_kernel_is_this_interpreter_in_the_projects_root(batch):
    seen = json.loads((batch.project.root / "seen.json").read_text())
    folder, interpreter, package, threads, data, backend, forked = seen
    assert Path(folder) == batch.project.root
    assert interpreter == sys.executable
    assert package == sys.modules["lamb_keras"].__file__
    assert int(threads) == max(1, cpu.processors() // 2)
    assert data == os.path.abspath("data")
    assert backend == "jax"
    # What the fork server has imported, a kernel of its has too.
    assert forked is machine.FORKS


def test_a_notebook_names_no_path_of_this_machine(batch):
    notebook = json.loads(batch.runs["good"].file("ipynb").read_text())
    papermill = notebook["metadata"]["papermill"]
    assert papermill["input_path"] == "notebooks/good.ipynb"
    assert papermill["output_path"] == "{out} puts/laptop/table11/good.ipynb"


def failure(batch, name):
    run, record = batch.runs[name], batch.records[name]
    assert record["status"] == "failed"
    assert record["key"] == run.key
    assert json.loads(run.file("failed.json").read_text()) == record
    assert not run.file("ipynb").exists() and not run.file("json").exists()
    assert "\n" not in record["reason"]
    assert f"{run.name} failed: {record['reason']}\n" in batch.said
    return record["reason"]


def test_a_kernel_that_was_killed_is_a_failure(batch):
    assert failure(batch, "dies") == "the kernel was killed by signal 9"
    assert batch.records["dies"]["ended"] == "killed"
    assert batch.runs["dies"].file("failed.ipynb").exists()


def test_a_kernel_that_was_killed_leaves_no_process(batch):
    assert failure(batch, "orphans") == "the kernel was killed by signal 15"
    kernel, child = (batch.project.root / "pids.txt").read_text().split()
    assert not is_running(kernel) and not is_running(child)


def test_only_what_was_killed_was_tried_twice(batch):
    attempts = {name: each["attempts"] for name, each in batch.records.items()}
    assert {name: len(each) for name, each in attempts.items()} == {
        "good": 1,
        "raises": 1,
        "dies": 2,
        "orphans": 2,
    }
    [only] = attempts["good"]
    assert only.keys() == {"started", "seconds", "ended", "reason"}
    assert (only["ended"], only["reason"]) == ("succeeded", None)
    for name in ("dies", "orphans"):
        assert [each["ended"] for each in attempts[name]] == ["killed"] * 2
        assert (
            f"{batch.runs[name].name}: {attempts[name][0]['reason']}; it is tried"
            in (batch.said)
        )
        total = sum(each["seconds"] for each in attempts[name])
        assert batch.records[name]["seconds"] == pytest.approx(total, abs=0.1)


def test_nothing_else_is_left_in_the_outputs_or_the_temporary_folder(batch):
    found = {path.name for path in (batch.project.root / "{out} puts").rglob("*.*")}
    allowed = {"good.ipynb", "good.json", "batch.jsonl"}
    for name in ("raises", "dies", "orphans"):
        allowed |= {f"{name}.failed.ipynb", f"{name}.failed.json"}
    assert found - {"orphans.failed.ipynb"} == allowed - {"orphans.failed.ipynb"}
    assert list(batch.temporary.iterdir()) == []


def test_the_log_tells_all_of_it_in_order(batch):
    assert [batch.events[0]["event"], batch.events[-1]["event"]] == ["began", "ended"]
    assert batch.events[0]["pid"] == os.getpid()
    assert batch.events[-1]["how"] == "ended"

    def told(name):
        name = batch.runs[name].name
        return [e["event"] for e in batch.events if e.get("run") == name]

    first = ["planned", "started", "working"]
    assert told("good") == [
        *first,
        "trials planned",
        *["trial finished"] * 3,
        "succeeded",
    ]
    assert told("raises") == [*first, "failed"]
    assert told("dies") == [*first, "retried", "started", "working", "killed"]
    [failed] = [event for event in batch.events if event["event"] == "failed"]
    assert failed["reason"] == "ValueError: a <b> c" and failed["seconds"] > 0


@pytest.fixture
def execute(tiny, monkeypatch):
    """Executes runs by a function in Papermill's place, of job, output and folder."""

    def execute(function, **notebooks):
        project = tiny(**notebooks or {"lenet_mnist": [PARAMETERS]})

        def stand_in(job, output, folder, manager):
            output.write_text('{"cells": []}')
            how = function(job, output, folder)
            return outcome.Outcome(how or outcome.SUCCEEDED)

        monkeypatch.setattr(machine, "FORKS", False)
        monkeypatch.setattr(attempt, "_execute", stand_in)
        runs = [each.run for each in decide(project.plan(), project.project)]
        stream = io.StringIO()
        with status.Log(project.outputs) as log:
            records = executor.execute(runs, project.project, log, stream=stream)
        return runs[0], records[0], stream.getvalue()

    return execute


def test_each_run_has_a_gpu_of_its_own(execute, monkeypatch):
    monkeypatch.setattr(executor.scheduling, "leases", lambda *_: ["3", "5"])
    devices, make = [], attempt.kernel.manager_class

    def manager_class(folder, root, variables, *rest):
        devices.append(variables["CUDA_VISIBLE_DEVICES"])
        return make(folder, root, variables, *rest)

    monkeypatch.setattr(attempt.kernel, "manager_class", manager_class)
    execute(lambda *_: None, one=[PARAMETERS], two=[PARAMETERS], three=[PARAMETERS])
    assert {*devices[:2]} == {"3", "5"} and devices[2] in ("3", "5")


def test_until_a_deadline_nothing_is_begun_in_vain_and_nothing_is_lost(
    tiny, monkeypatch
):
    project = tiny(**{name: [PARAMETERS] for name in ("a", "b", "c")})
    clock, told = SimpleNamespace(now=0.0), []
    now = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now)

    def stand_in(job, output, folder, manager):
        output.write_text('{"cells": []}')
        told.append((job["run"], job["deadline"]))
        clock.now += 100.0
        # It would go on another day, at the first time.
        first = job["run"] == "table12/b" and clock.now < 250.0
        return outcome.Outcome(outcome.LEFT if first else outcome.SUCCEEDED)

    monkeypatch.setattr(machine, "FORKS", False)
    monkeypatch.setattr(attempt, "_execute", stand_in)
    monkeypatch.setattr(attempt, "time", now)
    runs = [each.run for each in decide(project.plan(), project.project)]
    ended = []
    for end in (250.0, 500.0):
        clock.now = end - 250.0
        with status.Log(project.outputs) as log:
            records = executor.execute(
                [run for run in runs if run.name not in ended],
                project.project,
                log,
                jobs=1,
                deadline=Deadline(250.0, end, clock=lambda: clock.now),
            )
        assert clock.now <= end
        ended += [record["run"] for record in records]
        last = status.read(project.outputs)[-1]
        assert last["how"] == ("ran out of time" if end == 250.0 else "ended")
    begun = ["table11/a", "table12/b", "table12/b", "table13/c"]
    assert [name for name, _ in told] == begun and len(ended) == 3
    assert [text for _, text in told] == ["250.0/250.0"] * 2 + ["500.0/250.0"] * 2
    assert not list(project.outputs.rglob("*failed*"))


def test_what_a_notebook_started_has_ended_before_the_run_counts_as_ended(tiny):
    start = """
    import subprocess
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    open("pid.txt", "w").write(str(child.pid))
    """
    project, running = tiny(lenet_mnist=[PARAMETERS, start, FINISH]), []

    def ended(record):
        running.append(is_running((project.root / "pid.txt").read_text()))

    with status.Log(project.outputs) as log:
        executor.execute(project.plan(), project.project, log, ended=ended)
    assert running == [False]


def test_a_kernel_that_cannot_start_says_so_with_its_last_line(tiny, monkeypatch):
    broken = [sys.executable, "-c", "print('first'); exit('out of luck')"]
    monkeypatch.setattr(attempt.kernel, "COMMAND", broken)
    monkeypatch.setattr(machine, "FORKS", False)
    project = tiny(lenet_mnist=[PARAMETERS, FINISH])
    with status.Log(project.outputs) as log:
        [record] = executor.execute(project.plan(), project.project, log)
    assert record["reason"] == "the kernel died: out of luck"


def test_a_run_that_ends_in_its_grace_is_kept(tiny, monkeypatch):
    def stand_in(job, output, folder, manager):
        output.write_text('{"cells": []}')
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
        return outcome.Outcome(outcome.SUCCEEDED)

    def end(number, _):
        raise KeyboardInterrupt(number)

    monkeypatch.setattr(machine, "FORKS", False)
    monkeypatch.setattr(attempt, "_execute", stand_in)
    project = tiny(lenet_mnist=[PARAMETERS])
    [run] = project.plan()
    before = signal.signal(signal.SIGTERM, end)
    try:
        with status.Log(project.outputs) as log, pytest.raises(KeyboardInterrupt):
            executor.execute([run], project.project, log, grace=60)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert json.loads(run.file("json").read_bytes())["run"] == run.name


def test_a_kernel_that_has_trained_all_ends_by_itself(tmp_path, monkeypatch):
    path, told = tmp_path / "events.jsonl", []
    monkeypatch.setenv("LAMB_KERAS_EVENTS", str(path))
    monkeypatch.setattr(os, "kill", lambda *_: told.append(path.exists()))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    kernel._end(signal.SIGTERM, None)
    for done in (1, 2):
        events.emit("trial finished", done=done, total=2)
        kernel._end(signal.SIGTERM, None)
    assert told == [False, True]


def test_a_damaged_event_does_not_stop_the_batch(execute):
    def write(job, output, folder):
        (folder / attempt.EVENTS).write_text(
            '{"event": "trial fin\n[]\n{"event": "trial finished", "done": 1}\n{"ev'
        )

    run, record, said = execute(write)
    assert record["status"] == "succeeded"
    assert "1 of 1 trials" in said


def test_a_run_whose_notebook_changes_meanwhile_is_kept_without_a_key(execute):
    def change(job, *_):
        path = Path(job["root"], job["notebook"])
        notebook = json.loads(path.read_text())
        notebook["cells"].append({"cell_type": "code", "source": "x = 1"})
        path.write_text(json.dumps(notebook))

    run, record, said = execute(change)
    assert record["status"] == "succeeded"
    assert json.loads(run.file("json").read_text()) == record
    assert record["key"] is None
    assert record["note"] == "the notebook's code changed while it ran"


def test_outputs_that_cannot_be_written_in_the_end_are_a_failure(execute):
    run, record, said = execute(
        lambda job, *_: Path(job["root"], job["published"]).mkdir()
    )
    assert record["status"] == "failed"
    assert record["reason"].startswith("the outputs could not be written: ")
    assert [path.name for path in run.folder.iterdir()] == ["lenet_mnist.ipynb"]


def test_threads_that_the_user_chose_are_left_alone(monkeypatch):
    monkeypatch.setenv("LAMB_KERAS_THREADS", "3")
    assert attempt.environment(1)["LAMB_KERAS_THREADS"] == "3"


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_xla_computes_with_no_more_threads_than_a_run_has_of_the_processors(
    monkeypatch,
):
    monkeypatch.delenv("NPROC")
    monkeypatch.setattr(cpu, "processors", lambda: 6)
    variables = attempt.environment(jobs=2)
    program = """
import jax, glob
jax.jit(lambda x: x @ x)(jax.numpy.ones((99, 99)))
for path in glob.glob("/proc/self/task/*/comm"): print(open(path).read())
"""
    command = [sys.executable, "-c", program]
    said = subprocess.check_output(command, env=variables, text=True)
    assert said.count("XLAEigen") == 3


def test_what_a_killed_batch_left_behind_is_cleared(tiny, tmp_path):
    project = tiny(lenet_mnist=[PARAMETERS])
    [run] = project.plan()
    trial = run.folder / ".lenet_mnist.trials" / "key" / "trial.json"
    trial.parent.mkdir(parents=True)
    trial.write_text("{}")
    for name in (".lenet_mnist.abcdefgh.ipynb", ".lenet_mnist.json.123"):
        (run.folder / name).write_text("{")
    (left := tmp_path / "lamb-left").mkdir()
    orphan, other = (
        subprocess.Popen(
            ["sleep", "600"],
            start_new_session=True,
            env={**os.environ, "LAMB_KERAS_EVENTS": f"{folder}/lamb-1/events.jsonl"},
        )
        for folder in (left, f"{left}-of-others")
    )
    with status.Log(project.outputs) as log:
        log.append("began", host=status.host(), pid=1, folder=str(left))
        log.append("planned", run=run.name, trials=1)
        executor.clear_after_a_kill(log, [run])
    assert not is_running(orphan.pid) and is_running(other.pid)
    other.kill()
    orphan.wait()
    other.wait()
    assert not left.exists()
    assert [path.name for path in run.folder.iterdir()] == [".lenet_mnist.trials"]
    assert trial.exists()


@pytest.mark.skipif(not machine.FORKS, reason="only Linux forks what is ready")
def test_a_run_whose_fork_server_was_killed_is_tried_again(tiny):
    kill = """
    import os, psutil, signal, time
    if not os.path.exists("tried"):
        open("tried", "w").close()
        psutil.Process().parent().kill()
        time.sleep(600)
    # What all processes of a machine may get is survived.
    for number in (signal.SIGTERM, signal.SIGHUP):
        psutil.Process().parent().send_signal(number)
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(2)
    """
    project = tiny(lenet_mnist=[PARAMETERS, kill, FINISH])
    with status.Log(project.outputs) as log:
        [record] = executor.execute(project.plan(), project.project, log)
    assert [each["ended"] for each in record["attempts"]] == ["killed", "succeeded"]


@pytest.mark.parametrize("forks", {False, machine.FORKS})
def test_an_import_that_fails_is_seen_in_the_notebook(tiny, monkeypatch, forks):
    monkeypatch.setattr(machine, "FORKS", forks)
    project = tiny(lenet_mnist=[PARAMETERS, "import odd", FINISH])
    (project.root / "odd.py").write_text("1 / 0")
    with status.Log(project.outputs) as log:
        [record] = executor.execute(project.plan(), project.project, log)
    assert record["reason"] == "ZeroDivisionError: division by zero"
