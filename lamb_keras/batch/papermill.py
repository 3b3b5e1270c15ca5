"""How our engine executes a notebook: what Papermill's own does, and what it lacks.

Papermill calls a notebook completed whose kernel was killed or took too long, saves it
in the open, so that readers see halves, and gives a cell that printed much four seconds
to be read. With this engine a notebook says at its top which parameters it ran with
and, if it did not finish, why; it is saved in one step; a line that is written over is
kept once; the kernel is spoken to over sockets of the file system, which parallel
starts don't race for; a parameter that the notebook doesn't have is refused.
"""

import ast
import contextlib
import difflib
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import click
import zmq
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NotebookExecutionManager
from papermill.exceptions import PapermillException
from papermill.iorw import LocalHandler, papermill_io
from papermill.log import logger
from traitlets.config import Config

from lamb_keras.batch import notebook, outcome
from lamb_keras.store import atomic, banner, temporary

# A cell may be done long before its last message has been read.
SECONDS_TO_READ = 600
# Lets the kernel throw nothing away that it says faster than it is heard: it would be a
# thousand messages in waiting, and with them that a cell is done. Done in the kernel,
# in the thread whose socket it is; 23 is ZeroMQ's SNDHWM.
KEEP_ALL_MESSAGES = (
    "(lambda thread: thread.schedule(lambda: thread.socket.setsockopt(23, 0)))"
    "(get_ipython().kernel.iopub_thread)"
)
# What Papermill itself may add to the parameters.
BUILT_IN = {"PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH"}


class UnknownParameter(click.ClickException, PapermillException):
    """A parameter that the notebook does not have; one sentence on the command line."""


class KernelDied(DeadKernelError):
    """The kernel ended before the notebook did; with its exit code, if known."""

    def __init__(self, code):
        self.code = code
        self.outcome = outcome.of_process("the kernel", code)
        super().__init__(self.outcome.reason)


def execute(
    nb,
    kernel_name,
    output_path=None,
    progress_bar=True,
    log_output=False,
    autosave_cell_every=30,
    parameter_table=True,
    start_timeout=60,
    execution_timeout=None,
    timeout=None,
    input_path=None,
    **options,
):
    """What `engine.Engine.execute_notebook` does."""
    parameters = _parameters(nb)
    banner.remove(nb, banner.PARAMETERS, banner.BANNER)
    if parameter_table and parameters:
        banner.put(nb, banner.PARAMETERS, banner.table(parameters))
    _save_in_one_step(output_path)
    manager = Manager(nb, output_path, log_output, progress_bar, autosave_cell_every)
    # A notebook that is not saved here may go to standard output, where what a child
    # of the kernel writes is to be no part of it.
    elsewhere = {} if output_path else {"stdout": sys.__stderr__.fileno()}
    with contextlib.ExitStack() as stack:
        stack.callback(manager.cleanup_pbar)
        if "config" not in options:
            options["config"] = stack.enter_context(_own_sockets())
        stack.enter_context(_ended_by_a_signal_as_by_an_exception())
        manager.notebook_start()
        try:
            Client(
                manager,
                kernel_name=kernel_name,
                timeout=execution_timeout or timeout,
                startup_timeout=start_timeout,
                log=logger,
                log_output=log_output,
                **{"iopub_timeout": SECONDS_TO_READ} | options,
            ).execute(**elsewhere)
        except BaseException as error:
            manager.fail(_reason(error))
            raise
        manager.notebook_complete()
    return manager.nb


class Manager(NotebookExecutionManager):
    """What Papermill notes in a notebook while it is executed, and the truth of it."""

    def fail(self, reason):
        """The notebook is over before its end: instead of `notebook_complete`."""
        self.end_time = self.now()
        noted = self.nb.metadata.papermill
        noted["end_time"] = self.end_time.isoformat()
        noted["duration"] = (self.end_time - self.start_time).total_seconds()
        banner.unfinished(self.nb, reason)
        # If the disk is full, what was saved before is still whole.
        with contextlib.suppress(OSError):
            self.save()


class Client(PapermillNotebookClient):
    """Papermill's client, which minds how the kernel ends."""

    def create_kernel_manager(self):
        manager = super().create_kernel_manager()
        manager.context.setsockopt(zmq.RCVHWM, 0)
        return manager

    def execute(self, **options):
        try:
            return super().execute(**options)
        except RuntimeError as error:
            # While no cell was being executed; for its start there is no class.
            if isinstance(error, KernelDied) or "ernel died" not in str(error):
                raise
            raise KernelDied(None) from error

    def papermill_execute_cells(self):
        """As Papermill's, but only an exception in the notebook completes a cell."""
        if self.km.ipykernel:
            self.kc.execute(KEEP_ALL_MESSAGES, silent=True, store_history=False)
        for index, cell in enumerate(self.nb.cells):
            self.nb_man.cell_start(cell, index)
            try:
                self.execute_cell(cell, index)
            except CellExecutionError as error:
                self.nb_man.cell_exception(cell, cell_index=index, exception=error)
            except DeadKernelError as error:
                provisioner = self.km and self.km.provisioner
                code = run_sync(provisioner.poll)() if provisioner else None
                raise KernelDied(code) from error
            if "outputs" in cell:
                cell.outputs = _coalesced(cell.outputs)
            self.nb_man.cell_complete(cell, cell_index=index)
            if cell.metadata.papermill.exception:
                return


def _coalesced(outputs):
    """The outputs, each stream in one, without what was written over on a line.

    nbclient's own `coalesce_streams` takes a time that grows with the square of a
    line's length: minutes for a megabyte.
    """
    joined = []
    for output in outputs:
        last = joined[-1] if joined else {}
        kind = output.output_type, output.get("name")
        if kind[0] == "stream" and kind == (last.get("output_type"), last.get("name")):
            last["text"] += output["text"]
        else:
            joined.append(output)
    for output in joined:
        if output.output_type == "stream":
            output["text"] = "\n".join(map(_shown, output["text"].split("\n")))
    return joined


def _shown(line):
    """What a terminal shows of a line in which a carriage return goes to its start.

    Example:
        >>> _shown("1 %\\r2 %\\r")
        '2 %\\r'
    """
    return line[line.rstrip("\r").rfind("\r") + 1 :]


def _reason(error):
    """Why a notebook did not finish, in a sentence without its stop."""
    match error:
        case KernelDied():
            return error.outcome.reason
        case CellTimeoutError():
            first = str(error).strip().splitlines()[0]
            return f"a cell took too long ({first.rstrip('.')})"
        case KeyboardInterrupt():
            return "it was interrupted"
        case SystemExit():
            return f"it was ended by signal {error.code - 128}"
    name, text = type(error).__name__, " ".join(str(error).split())
    return f"{name}: {text}".rstrip(". ")


def _parameters(nb):
    """All parameters of a notebook as they will run, by name.

    Raises:
        UnknownParameter: for one that was given and that the notebook doesn't have.
    """
    cells = {tag: cell for cell in reversed(nb.cells) for tag in notebook.tags(cell)}
    known = _assigned(cells.get("parameters"))
    injected = cells.get("injected-parameters")
    # The notebook may tell of an earlier execution. What this one injects is a cell
    # that was not there when Papermill loaded all others and noted something of each.
    fresh = injected and "papermill" not in injected.metadata
    given = dict(nb.metadata.papermill.get("parameters", {})) if fresh else {}
    for name in given if known is not None else ():
        if name not in known and name not in BUILT_IN:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}? " if nearest else ""
            raise UnknownParameter(
                f"the notebook has no parameter {name!r}; {hint}"
                f"it has: {', '.join(known) or 'none'}"
            )
    return (known or {}) | (_assigned(injected) or {}) | given


def _assigned(cell):
    """What a cell of parameters assigns, by name; None for what is no Python."""
    if cell is None or cell["source"].startswith("%%"):
        return None
    try:
        found = notebook.assigned(TransformerManager().transform_cell(cell["source"]))
    except (SyntaxError, ValueError):
        return None
    return {name: _value(source) for name, source in found.items()}


def _value(source):
    try:
        return ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return _Source(source or "…")


class _Source:
    """A default that is no literal: shown as it is written."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def _save_in_one_step(path):
    """From now on Papermill replaces a file on this machine by all of its new one.

    Also the last time, when the engine is done with it.
    """
    handler = path and papermill_io.get_handler(path)
    if not isinstance(handler, LocalHandler):
        return

    def write(text, path):
        # The folder that Papermill counts from can only be asked for by setting one.
        folder = handler.cwd(None)
        handler.cwd(folder)
        # Where there is a link, what it leads to is what is meant.
        target = Path(os.path.realpath(os.path.join(folder or "", path)))
        if not target.parent.is_dir() or (target.exists() and not target.is_file()):
            # A mistake, in Papermill's words, or a device.
            LocalHandler.write(handler, text, path)
        else:
            atomic.write(target, text)

    handler.write = write


def sockets(folder):
    """Papermill's configuration of a kernel that is spoken to by files in a folder.

    Over TCP, kernels that start together race for ports (papermill#511), and each warns
    that its connection is not encrypted.
    """
    file = os.path.join(folder, "k.json")
    return Config(KernelManager={"transport": "ipc", "connection_file": file})


@contextlib.contextmanager
def _own_sockets():
    # In a folder of their own: without one, two kernels that start at once where they
    # work would have the same.
    parent = temporary.folder()
    with tempfile.TemporaryDirectory(prefix="lamb-", dir=parent) as folder:
        yield sockets(folder)


@contextlib.contextmanager
def _ended_by_a_signal_as_by_an_exception():
    """SIGTERM, unless somebody else sees to it, lets the notebook say so."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number, frame):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
