"""One notebook through Papermill, by a kernel of this very interpreter.

A kernel may be a fork in waiting, which has imported everything before it is asked for:
a process that is to execute a notebook forks it before it starts any thread of its own.
It waits for what Jupyter would put on a new kernel's command line and into its
environment, and is then a kernel like any other.
"""

import json
import os
import signal
import sys
import uuid
from pathlib import Path

ENGINE = "lamb-keras"
COMMAND = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def execute_notebook(
    notebook, output, parameters, folder, cwd=None, kernel=None, parameter_table=True
):
    """Executes a notebook and returns it.

    Args:
        notebook: the notebook file.
        output: where it is saved as it goes, each time in one step; None for nowhere.
        parameters: a dict by name.
        folder: an existing folder for sockets and other things of the moment; a short
            path, since that of a socket has at most 104 characters.
        cwd: the folder the kernel works in; None for this process's.
        kernel: a `ForkedKernel` in waiting; None to start one.
        parameter_table: whether the parameters are to be shown at the top.
    """
    import papermill
    from traitlets.config import Config

    # Over TCP, kernels that start together race for ports (papermill#511), and each
    # warns that its connection is not encrypted.
    connection = {"transport": "ipc", "connection_file": str(folder / "k.json")}
    return papermill.execute_notebook(
        _literally(notebook),
        None if output is None else _literally(output),
        parameters,
        engine_name=ENGINE,
        kernel_name="python3",
        language="python",
        progress_bar=False,
        cwd=cwd,
        config=Config(KernelManager=connection),
        parameter_table=parameter_table,
        kernel_manager_class=_manager_class(folder, kernel),
    )


class ForkedKernel:
    """A kernel in waiting, then running: what Jupyter needs of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    @classmethod
    def fork(cls):
        """A kernel in waiting, forked; None in the fork, which is to `become`."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(reading)
            return cls(pid, writing)
        os.close(writing)
        # A group of its own, for Jupyter to interrupt; the session stays its parent's.
        os.setpgid(0, 0)
        # Standard input is nothing to a kernel, so the message may come this way.
        os.dup2(reading, 0)
        os.close(reading)
        return None

    def __init__(self, pid, pipe):
        self.pid, self._pipe = pid, pipe
        self.returncode = None

    @staticmethod
    def become():
        """Waits to be asked for, then is a kernel until its end."""
        with open(0, "rb", closefd=False) as pipe:
            message = pipe.read()
        if not message:
            return  # its parent ended before it came to that
        asked = json.loads(message)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.environ.clear()
        os.environ.update(asked["environment"])
        if asked["cwd"]:
            os.chdir(asked["cwd"])
        if "numpy" in sys.modules:
            # All forks have the same state of NumPy's generator; Python renews its own.
            sys.modules["numpy"].random.seed()
        if sys.path[0] in ("", os.getcwd()):
            # As `ipykernel_launcher` does; IPython puts the working folder back.
            del sys.path[0]

        from ipykernel.kernelapp import IPKernelApp

        sys.argv = asked["command"]
        # Its default was read from the environment long ago, on import.
        IPKernelApp.launch_instance(sys.argv[1:], parent_handle=os.getppid())

    def start(self, command, cwd, environment):
        """Makes a kernel of it, as by a command in a folder with an environment."""
        asked = {"command": command, "cwd": cwd and str(cwd)}
        with open(self._pipe, "w", encoding="utf-8") as pipe:
            json.dump({**asked, "environment": dict(environment)}, pipe)

    def poll(self):
        return self._exit_code(os.WNOHANG)

    def wait(self):
        return self._exit_code(0)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _exit_code(self, options):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _manager_class(folder, kernel):
    """A manager of kernels of this interpreter, the first of which is `kernel`.

    The kernel named python3 that Jupyter finds first may be the one of another
    environment, in the user's home; IPython's start-up files are the user's as well.
    """
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.provisioning import LocalProvisioner

    class Provisioner(LocalProvisioner):
        async def launch_kernel(self, cmd, **kwargs):
            waiting, self.parent.waiting = self.parent.waiting, None
            kwargs["env"] = {
                **kwargs["env"],
                "IPYTHONDIR": str(Path(folder, "ipython")),
            }
            if waiting is None:
                return await super().launch_kernel(cmd, **kwargs)
            try:
                # Without the interpreter and its -m.
                waiting.start(cmd[2:], kwargs.get("cwd"), kwargs["env"])
            except BrokenPipeError:
                raise RuntimeError("Kernel died while it waited") from None
            self.process, self.cwd = waiting, kwargs.get("cwd") or os.getcwd()
            self.pid = self.pgid = waiting.pid
            return self.connection_info

    class Manager(AsyncKernelManager):
        kernel_spec = KernelSpec(
            argv=COMMAND, display_name="Python 3", language="python"
        )
        waiting = kernel

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.kernel_id = str(uuid.uuid4())
            self.provisioner = Provisioner(
                kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
            )

    return Manager


def _literally(path):
    # Papermill formats paths; a brace in the name of a folder is no field.
    return str(path).replace("{", "{{").replace("}", "}}")
