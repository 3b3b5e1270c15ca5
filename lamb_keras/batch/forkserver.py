"""The process that runs are forked from: `python -m lamb_keras.batch.forkserver`.

To import Keras, JAX, Papermill and what notebooks draw with takes longer than many a
run trains. So on Linux one process of a batch imports it all, once, and each run gets
two forks of that process: its worker, and its kernel in waiting, a child of the worker.
Nothing else is shared: a fork has memory, working folder, session and end of its own.

Only a process without other threads can be forked safely, and JAX starts some as soon
as it computes, so here things are imported and nothing more. Where threads are seen
nonetheless, or anything else is odd, this process ends before it has forked a run, and
`launch` starts the workers in the plain way.

The batch writes the name of an attempt's folder as a line on standard input. In that
folder lies the job; there the worker's `PID` is written when it begins, and its `EXIT`
code when it has ended. The end of standard input is the end of this process.
"""

import ctypes
import gc
import os
import select
import signal
import sys
from pathlib import Path

from lamb_keras.store import events

# In the folder of an attempt.
JOB, LOG, EVENTS = "job.json", "log.txt", "events.jsonl"
PID, EXIT = "pid.txt", "exit.txt"
# In the folder of the batch: what the notebooks import, a statement a line.
IMPORTS = "imports.py"
# Stands for the name of an attempt's folder, which `tempfile` makes as long.
ANY_ATTEMPT = "-" * 8

# What every run needs, whatever its notebook does.
OURS = (
    "import papermill",
    "import ipykernel.kernelapp",
    "import psutil",
    "from lamb_keras.batch import forked_kernel, worker",
    "from lamb_keras.results import scraps",
)
UNFIT = 3
SECONDS_BETWEEN_LOOKS = 0.05
# The thread of Arrow's jemalloc, which itself sees to forks.
HARMLESS_THREADS = {"jemalloc_bg_thd"}


def main(folder):
    """Serves the batch whose folder is `folder`; returns an exit code."""
    _end_with_the_batch()
    folder = Path(folder)
    preload((folder / IMPORTS).read_text(encoding="utf-8").splitlines())
    if not fit(folder):
        return UNFIT
    # What is there now stays for good: no collection need touch, and so copy, it.
    gc.freeze()
    # What was said meanwhile is said once, and not by every fork again.
    sys.stdout.flush()
    sys.stderr.flush()
    attempt = serve(folder)
    # A fork returns from `serve` too, so that it ends as any process does.
    return 0 if attempt is None else run(attempt)


def preload(statements):
    """Imports what every run needs, then what the notebooks themselves import."""
    # What ipykernel sets for a kernel; Matplotlib reads it when it is imported.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for statement in (*OURS, *statements):
        try:
            exec(statement, {})
        except Exception:
            # It will fail again where it is needed, and be seen in the notebook.
            continue


def _end_with_the_batch():
    """Lets Linux kill this process when its parent dies, while it imports, too."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def fit(folder):
    """Whether this process may be forked, and its forks be told apart."""
    pid = os.fork()
    if not pid:
        try:
            take_name(folder / ("x" * len(ANY_ATTEMPT)) / EVENTS)
            os._exit(0)
        finally:
            # Whatever went wrong, it must not become a second server.
            os._exit(1)
    if os.waitpid(pid, 0)[1] != 0:
        return False
    # Counted after a fork: for one, OpenBLAS ends its threads until it needs them.
    return len(os.listdir("/proc/self/task")) == 1 + len(_harmless())


def _harmless():
    names = [
        path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")
    ]
    return [name for name in names if name in HARMLESS_THREADS]


def serve(folder):
    """Forks a worker for every attempt that is named on standard input.

    Returns None when the batch is over, and in a fork the folder of its attempt.
    """
    workers, unread = {}, b""
    while True:
        if select.select([0], [], [], SECONDS_BETWEEN_LOOKS)[0]:
            read = os.read(0, 4096)
            if not read:
                return None
            *names, unread = (unread + read).split(b"\n")
            for name in names:
                attempt = folder / os.fsdecode(name)
                pid = os.fork()
                if not pid:
                    return attempt
                _write(attempt / PID, pid)
                workers[pid] = attempt
        for pid in list(workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _write(workers.pop(pid) / EXIT, os.waitstatus_to_exitcode(status))


def run(attempt):
    """What a fork does: it becomes the worker of an attempt, its kernel beside it."""
    from lamb_keras.batch import forked_kernel, worker

    os.setsid()
    _redirect(attempt / LOG)
    take_name(attempt / EVENTS)
    kernel = forked_kernel.fork()
    if kernel is None:
        return forked_kernel.become()
    code = worker.main(attempt / JOB, kernel)
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written and the kernel is gone. To take down by the rules what was imported
    # here takes half a second.
    os._exit(code)


def take_name(event_file):
    """Makes this process the one of an event file, in the eyes of other processes too.

    `executor.end_processes` finds the processes of a run by their environment. What
    others see of that is the memory where the kernel of Linux once put it; a fork has
    that of its parent, and may write there what is as long.
    """
    before = os.fsencode(f"{events.VARIABLE}={os.environ[events.VARIABLE]}\0")
    after = os.fsencode(f"{events.VARIABLE}={event_file}\0")
    # Fields 50 and 51 of the line; the second field may itself hold blanks.
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(stat[47]), int(stat[48])
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        place = memory.read(end - start).find(before)
        if place < 0 or len(before) != len(after):
            raise RuntimeError("the environment of this process cannot be renamed")
        memory.seek(start + place)
        memory.write(after)
    os.environ[events.VARIABLE] = str(event_file)


def _redirect(log):
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(file)


def _write(path, number):
    # Whole or not at all for whoever looks at this moment.
    temporary = path.with_suffix(".new")
    temporary.write_text(str(number))
    temporary.rename(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
