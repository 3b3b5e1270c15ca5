"""The command line: `lamb-keras run`, `status`, `report`, `list` and `bench`.

Everything is checked before anything starts: a mistake in what was asked for is one
sentence on standard error and exit code 2. A run that failed is exit code 1. What is
already done is not done again, unless asked for.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from lamb_keras import experiments
from lamb_keras.batch import BatchError, log, plan, trials
from lamb_keras.experiments import ParameterError
from lamb_keras.store import record

# Of a run's content key, enough to tell it from any other by eye.
KEY_DIGITS = 12


def main(arguments=None):
    """Runs one command and returns its exit code.

    Example:
        >>> main(["run", "--tables", "26"])
        2
    """
    options = _parser().parse_args(arguments)
    stop = _Stop()
    try:
        with stop:
            return options.command(options)
    except (BatchError, ParameterError) as error:
        print(f"lamb-keras: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lamb-keras: interrupted; finished runs are kept", file=sys.stderr)
        # What a shell expects of a command that a signal ended.
        return 128 + (stop.signal or signal.SIGINT)


def run(options):
    """Plans, checks, executes, and writes the report."""
    project = plan.Project.find(options.project)
    mirror, output = _output(options, project)
    runs = plan.plan(project, options.scale, output, options.tables, options.set)
    if options.jobs is not None and options.jobs < 1:
        raise BatchError(f"--jobs is {options.jobs}, expected at least 1")
    if options.jobs is not None and options.dask:
        raise BatchError("--jobs with --dask: the cluster says how many runs at once")
    if mirror and options.dask:
        raise BatchError(
            f"--output {options.output} with --dask: expected a folder that all "
            "machines of the cluster share"
        )
    if options.timeout is not None and not options.timeout > 0:
        raise BatchError(f"--timeout is {options.timeout:g}, expected seconds above 0")
    plan.check_data(runs)
    if mirror:
        mirror.pull(options.scale)

    from lamb_keras.batch import done

    if options.dry_run:
        for decision in done.decide(runs, project, options.again):
            print(_forecast(decision))
        return 0
    plan.check_output(each.folder for each in runs)
    if mirror:
        mirror.check()
    with log.Log(output / options.scale) as held:
        from lamb_keras.batch import executor

        # Also where nothing is left to run: a batch may be killed after its last run.
        executor.clear_after_a_kill(held, runs)
        decisions = done.decide(runs, project, options.again)
        failed = _run(decisions, project, options, held, mirror)
        return _report(output, options.scale, project, mirror) or int(failed)


def status(options):
    """Shows where the batch stands: its runs, their trials, and the time left."""
    project = plan.Project.find(options.project)
    plan.check_scale(project, options.scale)

    from lamb_keras.batch import board

    # Of a batch at an address, what goes on is known where it runs.
    _, output = _output(options, project)
    for line in board.status(output / options.scale):
        print(line)
    return 0


def _run(decisions, project, options, held, mirror):
    """Says what is already done and executes the rest; whether one failed."""
    for decision in decisions:
        if decision.done:
            print(_forecast(decision), flush=True)
            # There are any if the batch was killed right after it filed the run.
            trials.forget(decision.run)
        elif decision.again:
            again = f"{decision.run.name} runs again: {decision.reason}"
            print(again, file=sys.stderr)
    waiting = [decision.run for decision in decisions if not decision.done]
    return bool(waiting) and _execute(waiting, project, options, held, mirror)


def report(options):
    """Writes the report of what has been run."""
    project = plan.Project.find(options.project)
    plan.check_scale(project, options.scale)
    mirror, output = _output(options, project)
    if mirror:
        mirror.pull(options.scale)
    if not (output / options.scale).is_dir():
        raise BatchError(
            f"nothing has been run at scale {options.scale} yet; "
            f"lamb-keras run --scale {options.scale} does that"
        )
    plan.check_output([output / options.scale])
    failed = _report(output, options.scale, project, mirror)
    if failed or options.readme is None:
        return failed

    from lamb_keras.results import report as reports

    try:
        changed = reports.update_readme(Path(options.readme), output, options.scale)
    except (OSError, reports.ReportError) as error:
        raise BatchError(f"--readme: {error}") from None
    print(f"{options.readme} {'renewed' if changed else 'unchanged'}")
    return 0


def list_tables(options):
    """Prints the paper's tables, their notebooks, and where there are outputs."""
    from lamb_keras.results import paper

    project = plan.Project.find(options.project)
    mirror, output = _output(options, project)
    for scale in project.scales() if mirror else ():
        mirror.pull(scale)
    experiments = {
        number: plan.experiment(project, number)["notebook"]
        for number in project.tables()
    }
    for number, table in sorted(paper.tables().items()):
        name = experiments.get(number)
        states = [
            (scale, record.state(output / scale / f"table{number:02d}", name))
            for scale in project.scales()
        ]
        done = [f"{scale} {state}" for scale, state in states if state]
        ran = f" ({', '.join(done)})" if done else ""
        print(f"{number:2}  {name or 'no experiment yet':18}  {table.title}{ran}")
    return 0


def bench_update(options):
    """Times one update of LAMB against Keras's and optax's optimizers."""
    if options.rounds < 1:
        raise BatchError(f"--rounds is {options.rounds}, expected at least 1")
    if options.torch and options.compiled_for:
        raise BatchError(
            "--torch times, and --compiled-for runs nothing; leave one of them out"
        )

    from benchmarks import update

    try:
        update.report(
            options.model,
            options.rounds,
            options.json,
            options.compiled_for,
            options.torch,
        )
    except update.BenchError as error:
        raise BatchError(error) from None
    return 0


def bench_batch(options):
    """Times a batch against plain Papermill with one trial a notebook."""
    project = plan.Project.find(options.project)
    if options.sample < 1:
        raise BatchError(f"--sample is {options.sample}, expected at least 1")
    plan.check_scale(project, options.scale)

    from benchmarks import batch

    output = options.output and Path(options.output).absolute()
    batch.report(
        project, options.scale, options.tables, options.sample, options.json, output
    )
    return 0


def _execute(runs, project, options, held, mirror):
    """Executes the runs and prints how they ended; whether one failed."""
    if options.dask:
        from lamb_keras.batch import cluster

        records = cluster.execute(
            runs, project, options.dask, timeout=options.timeout, log=held
        )
    else:
        from lamb_keras.batch import executor

        records = executor.execute(
            runs,
            project,
            options.jobs,
            timeout=options.timeout,
            log=held,
            ended=mirror and mirror.push_run,
        )
    ended = {kept["run"]: kept for kept in records}
    for each in runs:
        print(_summary(each, ended[each.name]))
    return any(kept["status"] == "failed" for kept in records)


def _forecast(decision):
    run = decision.run
    if decision.done:
        day, _, moment = decision.started.partition("T")
        key = run.key["sha256"][:KEY_DIGITS]
        return f"{run.name} is already done ({day} {moment[:5]} UTC, key {key})"
    count = experiments.trials(run.parameters)
    trials = f"{count} trial{'s' * (count != 1)}"
    return f"{run.name} would run, {trials}: {decision.reason}"


def _report(output, scale, project, mirror=None):
    from lamb_keras.results import report as reports

    print("writing the report", file=sys.stderr)
    try:
        path = reports.render(output, scale, project.root)
    except reports.ReportError as error:
        print(f"lamb-keras: {error}", file=sys.stderr)
        return 1
    if mirror:
        mirror.push_report(scale)
        print(f"{mirror.address}/{path.relative_to(output).as_posix()}")
    else:
        print(os.path.relpath(path))
    return 0


def _summary(each, kept):
    if kept["status"] == "succeeded":
        note = f"; {kept['note']}, so it will run again" if kept.get("note") else ""
        return f"{each.name} succeeded in {kept['seconds']:.0f} s{note}"
    notebook = each.file("failed.ipynb")
    see = f"; see {os.path.relpath(notebook)}" if notebook.exists() else ""
    return f"{each.name} failed: {kept['reason']}{see}"


def _output(options, project):
    """(the `Mirror`, if outputs go to an address, the folder of this machine)."""
    if options.output and "://" in options.output:
        from lamb_keras.batch.mirror import Mirror

        mirror = Mirror(options.output)
        return mirror, mirror.folder
    return None, Path(options.output or project.root / "outputs").absolute()


class _Stop:
    """Ctrl-C, `kill` and a closed terminal all end a batch in the same clean way."""

    def __init__(self):
        self.signal = None

    def __enter__(self):
        self._before = {}
        # Only the main thread may say how signals are handled.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._before[number] = signal.signal(number, self._interrupt)

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number, frame):
        # Once is enough: a second one would interrupt the cleaning up.
        for other in self._before:
            signal.signal(other, signal.SIG_IGN)
        self.signal = number
        raise KeyboardInterrupt


def _parser():
    parser = argparse.ArgumentParser(
        prog="lamb-keras",
        description="Runs the experiments of the LAMB paper and rebuilds its tables.",
        epilog="lamb-keras COMMAND --help tells more of each command.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name, function):
        summary = function.__doc__
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(command=function)
        added.add_argument(
            "--output",
            metavar="FOLDER",
            help="a folder or an address, gs://bucket/folder (default: outputs/)",
        )
        added.add_argument(
            "--project", metavar="FOLDER", help="the folder with notebooks/ and params/"
        )
        return added

    running = command("run", run)
    running.add_argument(
        "--tables", nargs="+", metavar="N", help="such as 7 or 13-20 (default: all)"
    )
    running.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at once (default: one a GPU, else one a processor)",
    )
    running.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="run on the Dask cluster with its scheduler there, tcp://host:8786",
    )
    running.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="end a run that takes longer (default: none is ended)",
    )
    running.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter's value, such as learning_rates=[1e-3]; may be repeated",
    )
    running.add_argument(
        "--again", action="store_true", help="run also what is already done"
    )
    running.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would run and why, what is already done, and touch nothing",
    )
    reporting = command("report", report)
    reporting.add_argument(
        "--readme", metavar="FILE", help="also put Table 7 between its marks in FILE"
    )
    for each in (running, reporting, command("status", status)):
        each.add_argument(
            "--scale", default="laptop", help="laptop (the default), gpu or paper"
        )
    command("list", list_tables)

    summary = "Measures the kit: ratios against peers in the same process."
    benches = commands.add_parser("bench", help=summary, description=summary)
    measured = benches.add_subparsers(metavar="WHAT", required=True)
    batching = measured.add_parser(
        "batch", help=bench_batch.__doc__, description=bench_batch.__doc__
    )
    batching.set_defaults(command=bench_batch)
    batching.add_argument(
        "--tables", nargs="+", metavar="N", help="such as 7 or 13-20 (default: all)"
    )
    batching.add_argument(
        "--scale", default="laptop", help="laptop (the default), gpu or paper"
    )
    batching.add_argument(
        "--sample",
        type=int,
        default=10,
        metavar="N",
        help="trials that plain Papermill executes (default: %(default)s)",
    )
    batching.add_argument(
        "--project", metavar="FOLDER", help="the folder with notebooks/ and params/"
    )
    batching.add_argument(
        "--output", metavar="FOLDER", help="keep the batch's outputs here"
    )
    batching.add_argument(
        "--json", action="store_true", help="as JSON, with the environment"
    )
    summary = bench_update.__doc__
    updating = measured.add_parser("update", help=summary, description=summary)
    updating.set_defaults(command=bench_update)
    updating.add_argument(
        "--model",
        choices=["bert-small", "bert-base", "bert-large", "resnet50"],
        default="bert-small",
        help="whose shapes (default: %(default)s)",
    )
    updating.add_argument(
        "--rounds", type=int, default=9, metavar="N", help="(default: %(default)s)"
    )
    updating.add_argument(
        "--json", action="store_true", help="as JSON, with the environment"
    )
    updating.add_argument(
        "--torch", action="store_true", help="time PyTorch's foreach functions too"
    )
    updating.add_argument(
        "--compiled-for",
        choices=["h200", "v5e"],
        help="only count what the program for this GPU or TPU does; none is needed",
    )
    return parser
