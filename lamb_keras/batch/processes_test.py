"""The processes of a run are found wherever they have gone, and no others."""

import os
import subprocess
import sys
import time

import pytest

from lamb_keras.batch import processes
from testing.tiny_project import is_running

# A leader, its child, and that one's, which leads a session of its own.
LEADER = """
import subprocess, sys
child = "import subprocess; print(subprocess.Popen(['sleep', '600'], " \\
    "start_new_session=True).pid, flush=True); import time; time.sleep(600)"
subprocess.run([sys.executable, "-c", child])
"""


@pytest.fixture
def run(tmp_path):
    """Starts such processes with an event file in their environment, or without."""
    started = []

    def run(events=None):
        variables = {"LAMB_KERAS_EVENTS": str(events)} if events else {}
        process = subprocess.Popen(
            [sys.executable, "-c", LEADER],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield run
    for process in started:
        processes.end(tmp_path, process.pid)
        process.wait()
        process.stdout.close()


def vanishes(pid):
    until = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_running(pid)


def test_what_is_below_the_leader_is_found_whatever_its_session(run, tmp_path):
    process, grandchild = run()
    processes.end(tmp_path, process.pid)
    assert vanishes(process.pid) and vanishes(grandchild)


def test_what_lost_its_parents_is_found_by_its_event_file(run, tmp_path):
    process, grandchild = run(tmp_path / "lamb-1" / "events.jsonl")
    process.kill()
    assert vanishes(process.pid) and is_running(grandchild)
    processes.end(tmp_path)
    assert vanishes(grandchild)


def test_what_belongs_to_another_run_is_left_alone(run, tmp_path):
    process, grandchild = run(f"{tmp_path}-2/events.jsonl")
    processes.end(tmp_path, leader=None)
    assert is_running(process.pid) and is_running(grandchild)
