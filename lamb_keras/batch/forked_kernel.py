"""A kernel that has imported everything before it is asked for: a fork in waiting.

The worker of a run forks it before it starts any thread of its own. It waits for what
Jupyter would put on a new kernel's command line and in its environment, and is then a
kernel like any other, and the worker's child like any other.
"""

import json
import os
import signal
import sys
import uuid


def fork():
    """Forks a kernel in waiting; returns the `Kernel` here and None in the fork.

    The fork is to call `become`.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(reading)
        return Kernel(pid, writing)
    os.close(writing)
    os.setsid()
    # Standard input is nothing to a kernel, so the message may come this way.
    os.dup2(reading, 0)
    os.close(reading)
    return None


def become():
    """Waits to be asked for, then is a kernel until its end; returns an exit code."""
    with open(0, "rb", closefd=False) as pipe:
        message = pipe.read()
    if not message:
        # The worker ended before it came to that.
        return 0
    asked = json.loads(message)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(asked["environment"])
    if asked["cwd"]:
        os.chdir(asked["cwd"])
    if "numpy" in sys.modules:
        # All forks have the same state of NumPy's old generator; Python's renews its.
        sys.modules["numpy"].random.seed()
    if sys.path[0] in ("", os.getcwd()):
        # As `ipykernel_launcher` does; IPython puts the working folder back.
        del sys.path[0]

    from ipykernel.kernelapp import IPKernelApp

    sys.argv = asked["command"]
    # Its default was read from the environment long ago, on import.
    IPKernelApp.launch_instance(sys.argv[1:], parent_handle=os.getppid())
    return 0


class Kernel:
    """A kernel in waiting, then running: what Jupyter needs of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid, pipe):
        self.pid, self._pipe = pid, pipe
        self.returncode = None

    def start(self, command, cwd, environment):
        """Makes a kernel of it.

        Args:
            command: of the program that it does as if it were, and its arguments.
            cwd: the folder it works in; None for this process's.
            environment: all variables that it has.
        """
        asked = {"command": command, "cwd": cwd and str(cwd)}
        with open(self._pipe, "w", encoding="utf-8") as pipe:
            json.dump({**asked, "environment": dict(environment)}, pipe)

    def poll(self):
        return self._look(os.WNOHANG)

    def wait(self):
        return self._look(0)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _look(self, options):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def manager_class(kernel):
    """A kernel manager that takes `kernel` for the first one that it starts."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.provisioning import LocalProvisioner

    class Provisioner(LocalProvisioner):
        async def launch_kernel(self, cmd, **kwargs):
            if self.parent.taken:
                return await super().launch_kernel(cmd, **kwargs)
            self.parent.taken = True
            cwd = kwargs.get("cwd")
            try:
                # Without the interpreter and its -m.
                kernel.start(cmd[2:], cwd, kwargs["env"])
            except BrokenPipeError:
                # It has died waiting.
                return await super().launch_kernel(cmd, **kwargs)
            self.process, self.cwd = kernel, cwd or os.getcwd()
            self.pid = self.pgid = kernel.pid
            return self.connection_info

    class Manager(AsyncKernelManager):
        taken = False

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.kernel_id = str(uuid.uuid4())
            self.provisioner = Provisioner(
                kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
            )

    return Manager
