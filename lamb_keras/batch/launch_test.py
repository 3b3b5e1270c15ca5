"""The workers of a batch come from the server of forks, or else as they always did."""

import os
import signal
import sys
import time

import psutil
import pytest

from lamb_keras.batch import executor, forkserver, launch
from lamb_keras.store import events

linux = pytest.mark.skipif(not launch.FORKS, reason="only Linux forks what is ready")


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a server with the given imports; returns it with a starter of workers."""
    launchers = []

    def start(*imports):
        # What a worker does is a matter of the job; it has none, and says so.
        launcher = launch.Launcher(
            tmp_path,
            tmp_path,
            lambda file: {**os.environ, events.VARIABLE: str(file)},
            imports,
        )
        launchers.append(launcher)

        def worker(name="abcdefgh", job=None):
            (tmp_path / name).mkdir()
            if job:
                (tmp_path / name / forkserver.JOB).write_text(job)
            return launcher.start(tmp_path / name)

        return launcher, worker

    yield start
    for launcher in launchers:
        launcher.close()
    executor.end_processes(tmp_path)


def wait_until(done):
    until = time.monotonic() + 60
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)


def wait_for(path):
    wait_until(path.exists)
    return path.read_text()


def has_session_of_its_own(processes):
    return (
        [os.getsid(each.pid) for each in processes]
        == [each.pid for each in processes]
        != []
    )


def endless(folder, name):
    """Makes a job that keeps its worker: a named pipe that nobody writes to."""
    (folder / name).mkdir()
    os.mkfifo(folder / name / forkserver.JOB)


@linux
def test_a_worker_is_a_fork_of_the_server_and_its_exit_code_is_known(start, tmp_path):
    launcher, worker = start("import json")
    fork = worker()
    assert fork.wait() == 1
    assert "FileNotFoundError" in (tmp_path / "abcdefgh" / forkserver.LOG).read_text()
    assert wait_for(tmp_path / "abcdefgh" / forkserver.PID) != str(launcher._server.pid)
    assert launcher._server.poll() is None


@linux
def test_what_the_notebooks_import_a_fork_has_already(start, tmp_path):
    # The server does what it imports once, not once for each worker.
    (tmp_path / "heavy.py").write_text("open('imported', 'a').write('x')")
    launcher, worker = start("import heavy", "import there_is_no_such_module")
    for name in ("abcdefgh", "ijklmnop"):
        worker(name).wait()
    assert (tmp_path / "imported").read_text() == "x"
    assert (tmp_path / "abcdefgh" / forkserver.PID).exists()


@linux
def test_a_fork_is_found_by_its_own_event_file_and_ended_alone(start, tmp_path):
    launcher, _ = start()
    for name in ("abcdefgh", "ijklmnop"):
        endless(tmp_path, name)
    first, second = (
        launcher.start(tmp_path / name) for name in ("abcdefgh", "ijklmnop")
    )
    for name in ("abcdefgh", "ijklmnop"):
        worker = psutil.Process(int(wait_for(tmp_path / name / forkserver.PID)))
        wait_until(lambda worker=worker: has_session_of_its_own(worker.children()))
        for process in (worker, *worker.children()):
            own = str(tmp_path / name / forkserver.EVENTS)
            assert process.environ()[events.VARIABLE] == own
        assert has_session_of_its_own([worker])
    executor.end_processes(tmp_path / "abcdefgh")
    assert first.wait() == -signal.SIGKILL
    assert second.poll() is None and launcher._server.poll() is None
    second.kill()
    assert second.wait() == -signal.SIGKILL


@linux
@pytest.mark.parametrize(
    "odd",
    [
        "import threading; threading.Thread(target=threading.Event().wait, "
        "daemon=True).start()",
        "import os; os._exit(9)",
        "from lamb_keras.batch import forkserver; "
        "import sys; sys.modules['__main__'].take_name = None",
    ],
)
def test_workers_start_plainly_where_the_server_is_unfit(start, odd, tmp_path):
    launcher, worker = start(odd)
    fork = worker()
    assert fork.wait() == 1
    assert not (tmp_path / "abcdefgh" / forkserver.PID).exists()
    assert "FileNotFoundError" in (tmp_path / "abcdefgh" / forkserver.LOG).read_text()
    # The next one does not even ask.
    assert worker("ijklmnop").args[:3] == list(launch.WORKER)


@linux
def test_a_worker_whose_server_was_killed_counts_as_killed(start, tmp_path):
    launcher, _ = start()
    endless(tmp_path, "abcdefgh")
    fork = launcher.start(tmp_path / "abcdefgh")
    wait_for(tmp_path / "abcdefgh" / forkserver.PID)
    launcher._server.kill()
    assert fork.wait() == -signal.SIGKILL


def test_elsewhere_workers_start_plainly(start, monkeypatch):
    monkeypatch.setattr(launch, "FORKS", False)
    launcher, worker = start()
    plain = worker()
    assert plain.args[0] == sys.executable and plain.wait() == 1
