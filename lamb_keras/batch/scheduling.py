"""How many runs at once, which of them next, and on which device.

JAX takes most of a GPU's memory for itself as soon as it uses it, so a GPU has one run.
On processors runs share them, as many as there is memory for. A run that needs not
compile what another compiles at this moment is started first: runs of one notebook and
solver mostly share their programs, and would compile them twice.
"""

import contextlib
import importlib.util
import json
from collections import Counter
from pathlib import Path

from lamb_keras import experiments
from lamb_keras.cpu import processors
from lamb_keras.names import base

CHOSEN = "CUDA_VISIBLE_DEVICES"
PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
# What a run may need, with Keras, JAX and its data.
BYTES_A_RUN = 1.5 * 2**30

NEW, COMPILED, BEING_COMPILED = range(3)


def gpus(environ, files=Path("/dev")):
    """The GPUs that JAX would use, as CUDA_VISIBLE_DEVICES names them; empty for none.

    Example:
        >>> gpus({"JAX_PLATFORMS": "cpu"})
        []
    """
    platforms = environ.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return []
    if not any(map(importlib.util.find_spec, PLUGINS)):
        return []
    if CHOSEN in environ:
        named = [name.strip() for name in environ[CHOSEN].split(",")]
        return [name for name in named if name not in ("", "-1", "NoDevFiles")]
    numbers = [path.name.removeprefix("nvidia") for path in files.glob("nvidia[0-9]*")]
    return sorted(filter(str.isdecimal, numbers), key=int)


def default_jobs(found):
    """How many runs at once, where nobody says how many.

    Args:
        found: what `gpus` returned.

    Example:
        >>> default_jobs(["0", "1"]), default_jobs([]) <= processors()
        (2, True)
    """
    if found:
        return len(found)
    import psutil

    fitting = int(psutil.virtual_memory().available // BYTES_A_RUN)
    return max(1, min(processors(), fitting))


def seconds_before(runs, archive):
    """What `PlannedRun`s took when a report was made, by name, a trial for a trial.

    Args:
        runs: those that are asked for; of some nothing may be known.
        archive: the report's `runs.jsonl`, which need not be there.

    Example:
        >>> from lamb_keras.batch.plan import Project, plan
        >>> runs = plan(Project.find(), "laptop", Path("outputs"), ["7"])
        >>> archive = Project.find().root / "outputs" / "laptop" / "runs.jsonl"
        >>> seconds_before(runs, archive)["table07/lenet_mnist"] > 10
        True
    """
    a_trial = {}
    # Whatever is wrong with it is the report's to say.
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        for line in archive.read_text(encoding="utf-8").splitlines():
            run = json.loads(line)
            trials = experiments.count_trials(run["parameters"])
            a_trial[run["name"]] = run["seconds"] / trials
    return {
        run.name: round(a_trial[run.name] * experiments.count_trials(run.parameters), 1)
        for run in runs
        if run.name in a_trial
    }


def next_run(waiting, active, done) -> int:
    """The place in `waiting` of the run to start next.

    First come those that need what no run has compiled yet, then those for which all
    is compiled, and last those whose programs a run in progress may be compiling. Among
    these, the longest: what takes long is not to be alone at the end. A trial is taken
    to last as long as those of its notebook's runs that are done, or else a second.

    Args:
        waiting, active: `PlannedRun`s: not yet started, and in progress.
        done: those that are over, as (run, seconds).

    Example:
        >>> from lamb_keras.batch.plan import Project, plan
        >>> runs = plan(Project.find(), "laptop", Path("outputs"), ["9-12"])
        >>> [run.parameters["solvers"] for run in runs]
        [['adagrad'], ['adagrad+'], ['adam'], ['adam+']]
        >>> next_run(runs[1:], active=runs[:1], done=[])
        2
    """
    known = set().union(*(_programs(run) for run, _ in done))
    making = set().union(*map(_programs, active)) - known
    seconds, trials = Counter(), Counter()
    for run, lasted in done:
        seconds[run.notebook] += lasted
        trials[run.notebook] += experiments.count_trials(run.parameters)

    def order(place):
        run = waiting[place]
        needed, name = _programs(run), run.notebook
        state = COMPILED if needed <= known else NEW
        a_trial = seconds[name] / trials[name] if trials[name] else 1
        return (
            BEING_COMPILED if needed & making else state,
            -a_trial * experiments.count_trials(run.parameters),
        )

    return min(range(len(waiting)), key=order)


def _programs(run):
    solvers = run.parameters.get("solvers") or [""]
    # A "+" is another schedule, and no other program.
    return {(run.notebook.stem, base(str(solver))) for solver in solvers}
