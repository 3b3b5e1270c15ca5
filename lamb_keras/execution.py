"""One notebook through Papermill, with the settings that every execution here needs."""

import contextlib
import json
import os
import sys
from pathlib import Path

from lamb_keras.batch import engine, forked_kernel

ENGINE = "lamb-keras"
# Where Jupyter looks for kernels, and IPython for what the user starts it with.
JUPYTER = ("JUPYTER_PATH", "IPYTHONDIR")


def execute_notebook(
    notebook, output, parameters, folder, cwd=None, kernel=None, parameter_table=True
):
    """Executes a notebook with this very interpreter; returns the executed notebook.

    Papermill does it, with `batch.engine`.

    Args:
        notebook: the notebook file.
        output: where it is saved as it goes, each time in one step; None for nowhere.
        parameters: a dict by name.
        folder: an existing folder for sockets and other things of the moment; a short
            path, since that of a socket has at most 104 characters.
        cwd: the folder the kernel works in; None for this process's.
        kernel: a `forked_kernel.Kernel` in waiting; None to start one.
        parameter_table: whether the parameters are to be shown at the top.

    Raises:
        What `papermill.execute_notebook` raises, and `batch.managed.KernelDied`.
    """
    import papermill
    from papermill.engines import papermill_engines
    from traitlets.config import Config

    # Over TCP, kernels that start together race for ports (papermill#511), and each
    # warns that its connection is not encrypted.
    connection = {"transport": "ipc", "connection_file": str(folder / "k.json")}
    waiting = {}
    if kernel:
        waiting["kernel_manager_class"] = forked_kernel.manager_class(kernel)
    # The one beside this module, whatever the installed entry point names.
    papermill_engines.register(ENGINE, engine.Engine)
    with this_interpreter(folder):
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
            **waiting,
        )


@contextlib.contextmanager
def this_interpreter(folder):
    """Makes the kernel python3 this interpreter, without the user's start-up files.

    The first kernel of that name which Jupyter finds may be the one of another
    environment, in the user's home. What is set are variables of this process, which
    those that it starts have from it.
    """
    kernel = Path(folder) / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    specification = {"argv": command, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")
    ours = dict(zip(JUPYTER, (str(folder), str(kernel / "ipython")), strict=True))
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _literally(path):
    # Papermill formats paths; a brace in the name of a folder is no field.
    return str(path).replace("{", "{{").replace("}", "}}")
