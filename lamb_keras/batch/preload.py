"""What the fork server of a batch imports, so that the forks that are runs have it all.

To import Keras, JAX, Papermill and what notebooks draw with takes longer than many a
run trains. JAX starts threads as soon as it computes, and a process with threads can't
be forked safely, so here things are imported and nothing more.
"""

import ctypes
import gc
import os
import signal

# What the notebooks of the batch import, a statement a line.
VARIABLE = "LAMB_KERAS_PRELOAD"
# What every run needs, whatever its notebook does.
OURS = (
    "import papermill.execute",
    "import ipykernel.kernelapp",
    "from lamb_keras.batch import papermill, worker",
    "from lamb_keras.store import environment, scraps",
)
PARENT_DEATH_SIGNAL = 1


def preload(statements):
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


if VARIABLE in os.environ:
    # Ctrl-C on the terminal is for the batch, whose death is that of its server.
    os.setsid()
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    preload(os.environ.pop(VARIABLE).splitlines())
