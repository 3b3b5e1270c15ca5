"""Whose turn it is: a run that needs not compile what another compiles meanwhile.

Runs of one notebook and solver mostly share their compiled programs: see `compiled`.
Started together, each would compile them all the same.
"""

from collections import Counter

from lamb_keras import experiments

NEW, KNOWN, IN_THE_MAKING = range(3)


def next_of(waiting, active, ended) -> int:
    """The place in `waiting` of the run to start next.

    First come those that need what no run has compiled yet, then those for which all
    is compiled, and last those whose programs a run in progress may be compiling. Among
    these, the longest: what takes long is not to be alone at the end. A trial is taken
    to last as long as those of its notebook's runs that have ended, or else a second.

    Args:
        waiting, active: `PlannedRun`s: not yet started, and in progress.
        ended: those done with, whether or not they succeeded, as (run, seconds).

    Example:
        >>> from pathlib import Path
        >>> from lamb_keras.batch.plan import Project, plan
        >>> runs = plan(Project.find(), "laptop", Path("outputs"), ["9-12"])
        >>> [run.parameters["solvers"] for run in runs]
        [['adagrad'], ['adagrad+'], ['adam'], ['adam+']]
        >>> next_of(runs[1:], active=runs[:1], ended=[])
        2
    """
    known = set().union(*(_programs(run) for run, _ in ended))
    making = set().union(*map(_programs, active)) - known
    a_trial = _seconds_a_trial(ended)

    def rank(run):
        needed = _programs(run)
        if needed & making:
            return IN_THE_MAKING
        return KNOWN if needed <= known else NEW

    def order(place):
        run = waiting[place]
        lasting = a_trial.get(run.notebook.stem, 1) * experiments.trials(run.parameters)
        return rank(run), -lasting

    return min(range(len(waiting)), key=order)


def _seconds_a_trial(ended):
    """The mean for each notebook, by its name."""
    seconds, trials = Counter(), Counter()
    for run, lasted in ended:
        seconds[run.notebook.stem] += lasted
        trials[run.notebook.stem] += experiments.trials(run.parameters)
    return {notebook: seconds[notebook] / trials[notebook] for notebook in trials}


def _programs(run):
    solvers = run.parameters.get("solvers") or [""]
    # A "+" is another schedule, and no other program.
    return {(run.notebook.stem, str(solver).removesuffix("+")) for solver in solvers}
