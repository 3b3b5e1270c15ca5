"""The kernel of a run: of this very interpreter, and gone with whoever watches over it.

On Linux it is a fork of a server that has everything imported already: to import Keras,
JAX and what notebooks draw with takes longer than many a run trains. JAX starts threads
as soon as it computes, and a process with threads can't be forked safely, so the server
imports things and does nothing more. Elsewhere, and on a Dask worker, it is a new one.
"""

import contextlib
import ctypes
import gc
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import uuid
from multiprocessing import forkserver
from pathlib import Path

from lamb_keras import hosts
from lamb_keras.batch import processes
from lamb_keras.store import events

COMMAND = [sys.executable, "-m", "lamb_keras.batch.kernel", "-f", "{connection_file}"]
LOG = "log.txt"
# For the server: what the notebooks of the batch import, a statement a line.
PRELOAD = "LAMB_KERAS_PRELOAD"
# What every run needs, whatever its notebook does.
OURS = (
    "import ipykernel.kernelapp",
    "from lamb_keras.store import environment, quick, scraps; quick.import_nbformat()",
    "import scrapbook",
)
PARENT_DEATH_SIGNAL = 1


def manager_class(folder, root, variables, forked, started):
    """The class of Jupyter's managers of such kernels.

    The kernel named python3 that Jupyter finds first may be the one of another
    environment, in the user's home; IPython's start-up files are the user's as well.

    Args:
        folder: an existing folder for sockets and other things of the moment.
        root: the folder the kernel works in.
        variables: its environment.
        forked: whether it is a fork of this process's server.
        started: called with its process id.
    """
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.provisioning import LocalProvisioner

    variables = {**variables, "IPYTHONDIR": str(folder / "ipython")}

    class Provisioner(LocalProvisioner):
        async def launch_kernel(self, cmd, **kwargs):
            if forked:
                try:
                    self.process = Fork(cmd[3:], root, variables, str(folder / LOG))
                except (OSError, EOFError) as error:
                    raise RuntimeError("Kernel died with its fork server") from error
                self.pid = self.pgid = self.process.pid
            else:
                with open(folder / LOG, "wb") as log:
                    kwargs |= {"cwd": root, "stdout": log, "stderr": log}
                    await super().launch_kernel(cmd, **kwargs | {"env": variables})
            started(self.pid)
            return self.connection_info

    class Manager(AsyncKernelManager):
        kernel_spec = KernelSpec(
            argv=COMMAND, display_name="Python 3", language="python"
        )

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.kernel_id = str(uuid.uuid4())
            self.provisioner = Provisioner(
                kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
            )

        async def shutdown_kernel(self, *args, **kwargs):
            # One of several hosts would wait for the others at its end, and they may
            # need it until theirs. Whoever started it ends it.
            if hosts.VARIABLE not in variables:
                await super().shutdown_kernel(*args, **kwargs)

    return Manager


class Fork:
    """A kernel that is a fork: what Jupyter needs of a `subprocess.Popen`."""

    stdin = stdout = stderr = None
    # To start one process, multiprocessing polls all others, and to poll is to read
    # from a pipe: of two threads that do so at once, one learns of no exit code.
    _LOCK = threading.Lock()

    def __init__(self, arguments, folder, variables, log):
        context = multiprocessing.get_context("forkserver")
        self._process = context.Process(
            target=_become, args=(arguments, folder, variables, log)
        )
        with self._LOCK:
            self._process.start()
        self.pid = self._process.pid

    def poll(self):
        with self._LOCK:
            code = self._process.exitcode
        # So multiprocessing says that the server died, and nobody knows of its child.
        return -signal.SIGKILL if code == 255 else code

    wait = poll  # Jupyter asks once it has ended

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def fork_server(folder, root, variables, statements):
    """A server of this process, whose forks have executed these import statements.

    Its files lie in `folder`, and so it is found by a later batch after a kill. It has
    its environment from this process, also when it is started anew after its death.
    """
    before, config = dict(os.environ), multiprocessing.current_process()._config
    # It finds a package in the project first, as a kernel does.
    path = os.pathsep.join(filter(None, [str(root), before.get("PYTHONPATH")]))
    os.environ.update(variables, PYTHONPATH=path)
    os.environ[events.VARIABLE] = str(folder / "server")
    os.environ[PRELOAD] = "\n".join(statements)
    # What it imports would join, and its forks are what is to.
    os.environ.pop(hosts.VARIABLE, None)
    config["tempdir"] = str(folder)
    forkserver.set_forkserver_preload([__name__])
    forkserver.ensure_running()
    try:
        yield
    finally:
        end_fork_server()
        del config["tempdir"]
        os.environ.clear()
        os.environ.update(before)


def end_fork_server():
    """Ends the fork server of this process, if there is one: it knows old code.

    multiprocessing has no public way to do so before this process ends.
    """
    server = forkserver._forkserver
    if server._forkserver_pid is not None:
        os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()


def main():
    """Is the kernel that the command line asks for, until its end."""
    signal.signal(signal.SIGTERM, _end)
    # Closing a terminal, too, may reach all processes of a machine.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What ipykernel would watch, and end nothing but the kernel itself.
    os.environ.pop("JPY_PARENT_PID", None)
    arguments = os.getppid(), Path(os.environ[events.VARIABLE]).parent
    threading.Thread(target=_end_with_parent, args=arguments, daemon=True).start()
    if sys.path[0] in ("", os.getcwd()):
        # As `ipykernel_launcher` does; IPython puts the working folder back.
        del sys.path[0]
    from ipykernel.kernelapp import IPKernelApp

    if hosts.VARIABLE in os.environ:
        from tqdm import tqdm

        # It will be killed, and then nobody gives back a lock between processes.
        tqdm.set_lock(threading.RLock())
    try:
        hosts.join()
    except hosts.HostsError as error:
        sys.exit(str(error))
    IPKernelApp.launch_instance(sys.argv[1:])


def _become(arguments, folder, variables, log):
    """Makes this fork of the server a kernel, as by a command."""
    os.setsid()
    nothing, file = os.open(os.devnull, os.O_RDONLY), open(log, "wb")
    for source, target in ((nothing, 0), (file.fileno(), 1), (file.fileno(), 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    if "numpy" in sys.modules:
        # All forks have the same state of NumPy's generator; Python renews its own.
        sys.modules["numpy"].random.seed()
    sys.argv = [__name__, *arguments]
    main()


def _end(number, _):
    """Ends this kernel, unless all is trained: its last cells are soon over."""
    with contextlib.suppress(OSError, LookupError, ValueError):
        *_, last = Path(os.environ[events.VARIABLE]).read_text().splitlines()
        told = json.loads(last)
        if told["done"] == told["total"]:
            return
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _end_with_parent(parent, folder):
    """Ends this process and all of its run when who watches over it is gone.

    That is the process `parent`, and for a fork the batch whose server that is, too.
    """
    batch = multiprocessing.parent_process()
    while os.getppid() == parent and (batch is None or batch.is_alive()):
        time.sleep(1)
    processes.end(folder, os.getpid())
    if batch is None or not batch.is_alive():
        with contextlib.suppress(OSError):
            # Under another name first: some thread might be writing into it.
            shutil.rmtree(folder.rename(folder.with_name(f"{folder.name}.left")))
    os.kill(os.getpid(), signal.SIGKILL)


def _preload(statements):
    """Executes import statements; what fails here fails again where it is needed."""
    # What ipykernel sets for a kernel; Matplotlib reads it when it is imported.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for statement in (*OURS, *statements):
        try:
            exec(statement, {})
        except Exception:
            continue
    # What is there now stays for good: no collection need touch, and so copy, it.
    gc.freeze()


if PRELOAD in os.environ:
    # Ctrl-C on the terminal is for the batch, whose death is that of its server. What
    # ends all processes of a machine leaves it there, so that kernels can save.
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    _preload(os.environ.pop(PRELOAD).splitlines())

if __name__ == "__main__":
    main()
