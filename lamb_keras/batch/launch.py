"""Starts the workers of a batch: forks of a process that is ready, else new processes.

Either way a worker has `poll`, `returncode`, `kill` and `wait` of `subprocess.Popen`.
"""

import os
import signal
import subprocess
import sys
import time

from lamb_keras.batch import forkserver

WORKER = (sys.executable, "-m", "lamb_keras.batch.worker")
SERVER = (sys.executable, "-m", "lamb_keras.batch.forkserver")
# On macOS what Apple's libraries have started by then does not survive a fork.
FORKS = sys.platform == "linux"


class Launcher:
    """Where the workers of one batch come from.

    Args:
        folder: the batch's, in which those of the attempts are made.
        cwd: the working folder of all workers.
        environment: a function from an event file to a worker's environment.
        imports: what the notebooks import, a statement each.
    """

    def __init__(self, folder, cwd, environment, imports):
        self.folder, self.cwd, self.environment = folder, cwd, environment
        self._server = self._serve(imports) if FORKS else None

    def start(self, attempt):
        """Starts the worker of the attempt whose folder is `attempt`; returns it."""
        if self._server and self._server.poll() is None:
            try:
                self._server.stdin.write(f"{attempt.name}\n".encode())
                return _Fork(attempt, self._server, self._plainly)
            except BrokenPipeError:
                pass
        return self._plainly(attempt)

    def close(self):
        """No worker starts any more; those that run are not waited for."""
        if self._server:
            self._server.kill()
            self._server.wait()
            self._server.stdin.close()

    def _serve(self, imports):
        (self.folder / forkserver.IMPORTS).write_text("\n".join(imports), "utf-8")
        events = self.folder / forkserver.ANY_ATTEMPT / forkserver.EVENTS
        with open(self.folder / forkserver.LOG, "wb") as log:
            return subprocess.Popen(
                [*SERVER, str(self.folder)],
                cwd=self.cwd,
                env=self.environment(events),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                bufsize=0,
                # Ctrl-C on the terminal is for the batch, which ends its workers.
                start_new_session=True,
            )

    def _plainly(self, attempt):
        with open(attempt / forkserver.LOG, "wb") as log:
            return subprocess.Popen(
                [*WORKER, str(attempt / forkserver.JOB)],
                cwd=self.cwd,
                env=self.environment(attempt / forkserver.EVENTS),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


class _Fork:
    """A worker that the server was asked for, or will be replaced if it won't come."""

    def __init__(self, attempt, server, plainly):
        self._attempt, self._server, self._plainly = attempt, server, plainly
        self._plain = self._code = None

    @property
    def returncode(self):
        return self._plain.returncode if self._plain else self._code

    def poll(self):
        if self._plain:
            return self._plain.poll()
        # Asked first: what the server wrote before it ended is then to be seen.
        gone = self._server.poll() is not None
        if self._code is None:
            self._code = self._read(forkserver.EXIT)
        if self._code is None and gone:
            if self._read(forkserver.PID) is None:
                self._plain = self._plainly(self._attempt)
            else:
                # Without the server its workers end within a second.
                self._code = -signal.SIGKILL
        return self.returncode

    def kill(self):
        pid = self._plain.pid if self._plain else self._read(forkserver.PID)
        if self.poll() is None and pid:
            os.kill(pid, signal.SIGKILL)

    def wait(self):
        while self.poll() is None:
            time.sleep(forkserver.SECONDS_BETWEEN_LOOKS)
        return self.returncode

    def _read(self, name):
        try:
            return int((self._attempt / name).read_text())
        except FileNotFoundError:
            return None
