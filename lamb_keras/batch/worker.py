"""The process of one run: `python -m lamb_keras.batch.worker FOLDER`, or a fork.

Papermill executes the notebook; whether it truly finished is then read from the
cells and scraps it left, since Papermill marks a killed kernel's cells as completed.
The process exits with 0 for a finished run, and with 1 for any other, of which it
leaves behind the outcome.
"""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from lamb_keras import execution
from lamb_keras.batch import attempt, outcome, status
from lamb_keras.batch.outcome import Outcome
from lamb_keras.batch.processes import adopt_orphans, end_descendants
from lamb_keras.store import atomic, events, scraps

LONGEST_REASON = 300


def main(folder):
    """Executes the job in the folder of an attempt; returns the exit code."""
    folder, kernel = Path(folder), None
    with contextlib.suppress(PermissionError):
        os.setsid()
    _redirect(folder / attempt.LOG)
    job = json.loads((folder / attempt.JOB).read_bytes())
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["root"])
    adopt_orphans()
    if multiprocessing.parent_process():
        # A fork in which no thread was started yet may be forked once more.
        kernel = execution.ForkedKernel.fork()
        if kernel is None:
            return execution.ForkedKernel.become()
    arguments = folder, job["watcher"]
    threading.Thread(target=_end_with_the_batch, args=arguments, daemon=True).start()
    events.emit("working", host=status.host(), pid=os.getpid())
    ended = execute(job, folder, kernel)
    end_descendants()
    if ended:
        reason = outcome.one_line(ended.reason, LONGEST_REASON)
        text = json.dumps(ended._replace(reason=reason))
        (folder / attempt.OUTCOME).write_text(text, encoding="utf-8")
    return 1 if ended else 0


def execute(job, folder, kernel=None):
    """Executes a job's notebook; returns the `Outcome` if that failed, or None."""
    from papermill.exceptions import PapermillExecutionError

    from lamb_keras.batch import papermill

    output = Path(job["output"])
    try:
        execution.execute_notebook(
            job["notebook"], output, job["parameters"], folder, kernel=kernel
        )
        ended = None
    except PapermillExecutionError as error:
        ended = outcome.of_error(error.ename, error.evalue)
    except papermill.KernelDied as error:
        ended = error.outcome
    except OSError as error:
        # Of Papermill: those of the notebook are a `PapermillExecutionError`.
        ended = _unwritten(error)
    except Exception as error:
        ended = outcome.of_error(type(error).__name__, str(error))
    try:
        ended = ended or unfinished(output)
        _publish(output, job["published"])
    except OSError as error:
        ended = ended or _unwritten(error)
    return ended


def unfinished(path):
    """The `Outcome` of an executed notebook that is no finished run's, or None."""
    cells = json.loads(path.read_bytes())["cells"]
    for number, cell in enumerate(cells, start=1):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return outcome.of_error(output["ename"], output["evalue"])
        blank = not "".join(cell["source"]).strip()
        if cell["cell_type"] == "code" and not blank and not cell["execution_count"]:
            return Outcome(outcome.FAILED, f"cell {number} was never executed")
    if scraps.read(path).get("finished") is not True:
        reason = 'the notebook ended without gluing the scrap "finished"'
        return Outcome(outcome.FAILED, reason)
    return None


def _unwritten(error):
    reason = f"the outputs could not be written: {error.strerror or error}"
    return Outcome(outcome.FAILED, reason)


def _publish(path, published):
    """Makes the notebook name the path that people find it under."""
    try:
        notebook = json.loads(path.read_bytes())
        notebook["metadata"]["papermill"]["output_path"] = published
    except (FileNotFoundError, ValueError, LookupError):
        return
    text = json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False)
    atomic.write(path, text + "\n")


def _redirect(log):
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(file)


def _end_with_the_batch(folder, watcher):
    """Ends this process and all below it when who watches over it is gone.

    That is the process `watcher`, and for a fork the server that it is a child of, too.
    """
    batch, parent = multiprocessing.parent_process(), os.getppid()
    while os.getppid() == (parent if batch else watcher):
        if batch and not batch.is_alive():
            break
        time.sleep(1)
    end_descendants()
    with contextlib.suppress(OSError):
        # Under another name first: some thread might be writing into it.
        shutil.rmtree(folder.rename(folder.with_name(f"{folder.name}.left")))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
