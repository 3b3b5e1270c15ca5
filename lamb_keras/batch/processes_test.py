"""The processes of a run are found wherever they have gone, and no others."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lamb_keras.batch.processes import Family
from testing.tiny_project import is_running

# A leader, its child, and that one's, which leads a session of its own.
LEADER = """
import subprocess, sys
child = "import subprocess; print(subprocess.Popen(['sleep', '600'], " \\
    "start_new_session=True).pid, flush=True); import time; time.sleep(600)"
subprocess.run([sys.executable, "-c", child])
"""


@pytest.fixture
def run():
    process = subprocess.Popen(
        [sys.executable, "-c", LEADER],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process, int(process.stdout.readline())
    Family(process.pid).end()
    process.wait()
    process.stdout.close()


def vanishes(pid):
    until = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_running(pid)


def test_what_leads_a_session_of_its_own_is_found_by_its_parents(run):
    process, grandchild = run
    Family(process.pid).end()
    assert vanishes(process.pid) and vanishes(grandchild)


def test_what_was_seen_is_found_also_when_its_parents_are_gone(run):
    process, grandchild = run
    family = Family(process.pid)
    family.watch()
    os.killpg(process.pid, signal.SIGKILL)
    assert vanishes(process.pid) and is_running(grandchild)
    family.end()
    assert vanishes(grandchild)


def test_a_process_of_the_same_number_that_came_later_is_another_one(run):
    process, grandchild = run
    Family(process.pid, before=1.0).end()
    assert is_running(process.pid) and is_running(grandchild)
