"""One run in a process of its own: `python -m lamb_keras.batch.worker job.json`.

Papermill executes the notebook; whether it truly finished is then read from the
cells and scraps it left, since Papermill marks a killed kernel's cells as completed.
The process exits with 0 for a finished run, and with 1 for any other, of which it
leaves behind how it ended (`lamb_keras.batch.ends`).
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from lamb_keras import execution
from lamb_keras.batch import devices, ends, log, trials
from lamb_keras.store import atomic, events


def main(job_file, kernel=None):
    """Executes the job in the file `job_file`; returns the exit code.

    Args:
        job_file: the file.
        kernel: a `forked_kernel.Kernel` in waiting; by default one is started.
    """
    threading.Thread(target=_end_with_the_batch, daemon=True).start()
    job = json.loads(Path(job_file).read_bytes())
    events.emit("working", host=log.host(), pid=os.getpid())
    output = Path(job["output"])
    folder = Path(job["folder"])
    os.environ.pop(trials.VARIABLE, None)
    if job["trials"]:
        os.environ[trials.VARIABLE] = job["trials"]
    if job["threads"]:
        os.environ["LAMB_KERAS_THREADS"] = str(job["threads"])
    if job["device"] is not None:
        # Before anything asks CUDA what there is, here or in the kernel.
        os.environ[devices.CHOSEN] = job["device"]
    if job["divisor"] > 1:
        os.environ["LAMB_KERAS_WIDTH_DIVISOR"] = str(job["divisor"])
    end = execute(job["notebook"], output, job["parameters"], folder, kernel)
    try:
        end = end or unfinished(output)
        _publish(output, job["published"])
    except OSError as error:
        end = end or _unwritten(error)
    if end:
        told = end._replace(reason=_one_line(end.reason))
        Path(job["end"]).write_text(json.dumps(told), encoding="utf-8")
    return 1 if end else 0


def execute(notebook, output, parameters, folder, kernel=None):
    """Executes a notebook into `output`; returns the `End` if that failed, or None.

    Args:
        notebook: the notebook file.
        output: where the executed notebook goes.
        parameters: all parameters of the run.
        folder: an existing folder for sockets and other things of the moment; a
            short path, since that of a socket has at most 104 characters.
        kernel: a `forked_kernel.Kernel` in waiting; by default one is started.
    """
    from papermill.exceptions import PapermillExecutionError

    from lamb_keras.batch import managed

    try:
        execution.execute_notebook(notebook, output, parameters, folder, kernel=kernel)
    except PapermillExecutionError as error:
        return ends.of_error(error.ename, error.evalue)
    except managed.KernelDied as error:
        return error.end
    except OSError as error:
        # Of Papermill: those of the notebook are a `PapermillExecutionError`.
        return _unwritten(error)
    except Exception as error:
        return ends.of_error(type(error).__name__, str(error))
    return None


def unfinished(path):
    """The `End` of an executed notebook that is no finished run's, or None."""
    from lamb_keras.store import scraps

    cells = json.loads(path.read_bytes())["cells"]
    for number, cell in enumerate(cells, start=1):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return ends.of_error(output["ename"], output["evalue"])
        blank = not "".join(cell["source"]).strip()
        if cell["cell_type"] == "code" and not blank and not cell["execution_count"]:
            return ends.End(ends.FAILED, f"cell {number} was never executed")
    if scraps.read(path).get("finished") is not True:
        reason = 'the notebook ended without gluing the scrap "finished"'
        return ends.End(ends.FAILED, reason)
    return None


def _unwritten(error):
    reason = f"the outputs could not be written: {error.strerror or error}"
    return ends.End(ends.FAILED, reason)


def _publish(path, published):
    """Makes the notebook name the path that people find it under."""
    try:
        notebook = json.loads(path.read_bytes())
        notebook["metadata"]["papermill"]["output_path"] = published
    except (FileNotFoundError, ValueError, LookupError):
        return
    text = json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False)
    atomic.write(path, text + "\n")


def _one_line(text, longest=300):
    import re

    # What a kernel says of an exception may be colored.
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _end_with_the_batch():
    """Ends this process when its parent is gone; its kernel then does the same."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
