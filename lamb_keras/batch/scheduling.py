"""How many runs at once, which of them next, and on which devices.

JAX takes most of a GPU's memory for itself as soon as it uses it, so a GPU has one run,
and a TPU host has one on all its chips, which libtpu gives to one process alone. On
processors runs share them, as many as there is memory for. A run that needs not compile
what another compiles at this moment is started first: runs of one notebook and solver
mostly share their programs, and would compile them twice. Where the time is limited,
the run that ends soonest is: so every table has something early.
"""

import contextlib
import json
import math
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from lamb_keras import experiments
from lamb_keras.batch import BatchError
from lamb_keras.cpu import processors
from lamb_keras.deadline import FIRST_GUESS
from lamb_keras.names import base

CHOSEN = "CUDA_VISIBLE_DEVICES"
PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
# What a run may need, with Keras, JAX and its data.
BYTES_A_RUN = 1.5 * 2**30

NEW, COMPILED, BEING_COMPILED = range(3)


def leases(environ, gpus_a_run=1, files=Path("/dev")):
    """What each of the runs at once has of this machine's accelerators; empty for none.

    GPUs by their names in CUDA_VISIBLE_DEVICES, so many for each; None for all there
    is, the TPU of this host.

    Example:
        >>> leases({"JAX_PLATFORMS": "cpu"})
        []
    """
    named = _gpus(environ, files)
    if gpus_a_run > max(1, len(named)):
        raise BatchError(
            f"--gpus-a-run is {gpus_a_run}, and this machine has {len(named)} for JAX "
            "to use; expected no more than that"
        )
    if not named and _has_tpu(environ, files):
        return [None]
    whole = range(0, len(named) - gpus_a_run + 1, gpus_a_run)
    return [",".join(named[at : at + gpus_a_run]) for at in whole]


def _gpus(environ, files):
    if not _wants(environ, "cuda", "gpu") or not any(map(find_spec, PLUGINS)):
        return []
    if CHOSEN in environ:
        named = [name.strip() for name in environ[CHOSEN].split(",")]
        return [name for name in named if name not in ("", "-1", "NoDevFiles")]
    numbers = [path.name.removeprefix("nvidia") for path in files.glob("nvidia[0-9]*")]
    return sorted(filter(str.isdecimal, numbers), key=int)


def devices(environ, gpus_a_run=1):
    """How many devices a run has; None where only the accelerator itself knows.

    Example:
        >>> flags = "--xla_force_host_platform_device_count=8"
        >>> devices({"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags})
        8
    """
    if found := leases(environ, gpus_a_run):
        return found[0] and gpus_a_run
    flags = environ.get("XLA_FLAGS", "")
    forced = re.findall(r"xla_force_host_platform_device_count=(\d+)", flags) or [1]
    return int(environ.get("JAX_NUM_CPU_DEVICES", forced[-1]))


def _has_tpu(environ, files):
    chips = [*files.glob("accel[0-9]*"), *files.glob("vfio/[0-9]*")]
    return bool(_wants(environ, "tpu") and find_spec("libtpu") and chips)


def _wants(environ, *names):
    platforms = environ.get("JAX_PLATFORMS", "")
    return not platforms or bool({*names} & set(platforms.split(",")))


def default_jobs(found):
    """How many runs at once, where nobody says how many.

    Args:
        found: what `leases` returned.

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

    Of one that was never made, what the others of its notebook took.

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
    seconds, trials = Counter(), Counter()
    # Whatever is wrong with it is the report's to say.
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        for line in archive.read_text(encoding="utf-8").splitlines():
            run = json.loads(line)
            for name in (run["name"], Path(run["name"]).name):
                seconds[name] += run["seconds"]
                trials[name] += experiments.count_trials(run["parameters"])
    known = {
        run.name: next(filter(trials.get, (run.name, run.notebook.stem)), None)
        for run in runs
    }
    return {
        run.name: round(
            seconds[name] / trials[name] * experiments.count_trials(run.parameters), 1
        )
        for run in runs
        if (name := known[run.name])
    }


def next_run(waiting, active, done, before=None, deadline=None) -> int | None:
    """The place in `waiting` of the run to start next; None if it were in vain.

    First come those that need what no run has compiled yet, then those for which all
    is compiled, and last those whose programs a run in progress may be compiling. Among
    these, the longest: what takes long is not to be alone at the end. A trial is taken
    to last as long as those of its notebook's runs that are done, or else a second.

    Until a deadline the shortest comes first, of those that it still allows. There a
    run that nothing is known of is taken to last as long as the deadline's first guess.

    Args:
        waiting, active: `PlannedRun`s: not yet started, and in progress.
        done: those that are over, as (run, seconds).
        before: the `seconds_before`.
        deadline: a `Deadline`.

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

    def now(run, otherwise):
        """What its notebook's trials take in this batch."""
        name = run.notebook
        a_trial = seconds[name] / trials[name] if trials[name] else otherwise
        return a_trial and a_trial * experiments.count_trials(run.parameters)

    def state(run):
        needed = _programs(run)
        if needed & making:
            return BEING_COMPILED
        return COMPILED if needed <= known else NEW

    places = range(len(waiting))
    if deadline is None or deadline.end == math.inf:
        return min(places, key=lambda n: (state(waiting[n]), -now(waiting[n], 1)))

    def left(run):
        whole = (before or {}).get(run.name) or now(run, None)
        return whole and whole * run.part_left

    lasting = [left(run) for run in waiting]
    return min(
        (place for place in places if deadline.allows(lasting[place])),
        key=lambda n: (lasting[n] or FIRST_GUESS, state(waiting[n])),
        default=None,
    )


def _programs(run):
    solvers = run.parameters.get("solvers") or [""]
    # A "+" is another schedule, and no other program.
    return {(run.notebook.stem, base(str(solver))) for solver in solvers}
