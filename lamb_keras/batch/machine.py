"""Where attempts at runs are made: on this machine, each in a process of its own."""

import contextlib
import os
import queue
import secrets
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sys import platform

from lamb_keras.batch import attempt, kernel, notebook, scheduling
from lamb_keras.batch.attempt import SECONDS_BETWEEN_POLLS, environment
from lamb_keras.store import temporary

# On macOS what Apple's libraries have started by then does not survive a fork.
FORKS = platform == "linux"


class Pool:
    """Where attempts are made: jobs go in, events and results come out."""

    def __init__(self):
        self._events = queue.SimpleQueue()

    def events(self):
        """What happened since the last call."""
        while not self._events.empty():
            yield self._events.get_nowait()

    def result(self, future):
        """The `Result` of a job that is done, in whatever way."""
        return future.result()


class Machine(Pool):
    """Threads of this process, each of which watches the process of an attempt.

    Where SIGTERM ends the batch, kernels have the seconds of `grace` to save how they
    stand.
    """

    def __init__(self, jobs, runs, project, gpus_a_run=1, grace=0):
        super().__init__()
        self._grace, self._kernels = grace, {}
        self._root = project.root
        self._leases = scheduling.leases(os.environ, gpus_a_run)
        self.slots = min(jobs or scheduling.default_jobs(self._leases), len(runs))
        name = f"{attempt.PREFIX}{secrets.token_hex(4)}"
        self.folder = Path(temporary.folder(), name)
        self._variables = environment(self.slots)
        self._threads = ThreadPoolExecutor(self.slots)
        self._devices, self._stopped = {}, threading.Event()
        notebooks = dict.fromkeys(run.notebook for run in runs)
        self._imports = [line for path in notebooks for line in notebook.imports(path)]
        self._server = contextlib.ExitStack()

    def __enter__(self):
        self.folder.mkdir(mode=0o700)
        if FORKS:
            imports = dict.fromkeys(self._imports)
            self._server.enter_context(
                kernel.fork_server(self.folder, self._root, self._variables, imports)
            )
        return self

    def __exit__(self, *exception):
        if exception[0] is KeyboardInterrupt and exception[1].args == (signal.SIGTERM,):
            self._ask_to_end()
        self._stopped.set()
        if exception[0] and FORKS:
            kernel.end_fork_server()  # or a thread might wait for all its imports
        self._threads.shutdown()
        self._server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def submit(self, job):
        used = [self._devices[each] for each in self._devices if not each.done()]
        device = min(self._leases, key=used.count, default=None)
        future = self._threads.submit(self._attempt, job, device)
        self._devices[future] = device
        return future

    def _attempt(self, job, device, **options):
        try:
            return attempt.execute(
                job,
                self._variables,
                emit=self._note,
                wanted=lambda: not self._stopped.is_set(),
                parent=self.folder,
                device=device,
                forked=FORKS,
                **options,
            )
        finally:
            self._kernels.pop(job["run"], None)

    def _note(self, event):
        if event["event"] == "working":
            self._kernels[event["run"]] = event["pid"]
        self._events.put(event)

    def _ask_to_end(self):
        until, asked = time.monotonic() + self._grace, set()
        while not all(each.done() for each in self._devices):
            if time.monotonic() > until:
                break
            for pid in {*self._kernels.values()} - asked:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                asked.add(pid)
            time.sleep(SECONDS_BETWEEN_POLLS)
