"""What the commands of `lamb-keras` do, each with its options as `cli.py` read them.

A module that takes no part in a command is not imported for it.
"""

import contextlib
import os
import re
import sys
import webbrowser
from pathlib import Path

from lamb_keras import experiments
from lamb_keras.batch import BatchError, plan, scheduling
from lamb_keras.deadline import Deadline, duration
from lamb_keras.hosts import Hosts
from lamb_keras.store import record

# Of a run's content key, enough to tell it from any other by eye.
KEY_DIGITS = 12


def run(options):
    """Plans, checks, executes, and writes the report."""
    with contextlib.ExitStack() as stack:
        return _run(options, stack)


def _run(options, stack):
    project = plan.Project.find(options.project)
    deadline = Deadline.of_batch(duration(options.time)) if options.time else None
    remote, output = _output(options, project)
    hosts = Hosts.of_options(options.hosts, options.coordinator, options.host)
    chosen = options.set, options.solver, options.dataset
    runs = plan.plan(project, options.scale, output, options.tables, *chosen)
    _check(options, remote, hosts)
    plan.check_data(runs)
    devices = scheduling.devices(os.environ, options.gpus_a_run)
    if devices and not options.dask:  # whose workers have their own
        for each in runs:
            experiments.check_devices(each.parameters, devices * hosts.count)
    leader = None
    if hosts.count > 1 and not options.dry_run:
        from lamb_keras.batch import pod

        if hosts.index:
            return pod.Follower(hosts, runs, project, options.grace).follow()
        # Before anything that takes long, or is refused here alone.
        leader = stack.enter_context(pod.Leader(hosts, runs, project))
    if remote:
        remote.pull(options.scale)

    from lamb_keras.batch import cache
    from lamb_keras.results import archive

    if lost := archive.replaced(runs, output / options.scale):
        print(
            f"lamb-keras: what is set by hand takes the place of {', '.join(lost)} in "
            "the report; --output FOLDER leaves that as it is",
            file=sys.stderr,
        )
    if options.dry_run:
        for decision in cache.decide(runs, project, options.again):
            print(_forecast(decision))
        return 0
    if deadline is None:  # which is all that is spent
        _ask(runs, project, options)
    plan.check_output(each.folder for each in runs)
    if remote:
        remote.check()

    from lamb_keras.batch import executor, status

    with status.Log(output / options.scale) as log:
        # Also where nothing is left to run: a batch may be killed after its last run.
        executor.clear_after_a_kill(log, runs)
        waiting = []
        for decision in cache.decide(runs, project, options.again):
            if decision.done:
                print(_forecast(decision), flush=True)
                # There are any if the batch was killed right after it filed the run.
                decision.run.forget_trials()
                continue
            waiting.append(decision.run)
            if decision.again:
                again = f"{decision.run.name} runs again: {decision.reason}"
                print(again, file=sys.stderr)
        records = waiting and executor.execute(
            waiting,
            project,
            log,
            jobs=options.jobs,
            dask=options.dask,
            timeout=options.timeout,
            ended=remote and remote.push_run,
            deadline=deadline,
            gpus_a_run=options.gpus_a_run,
            grace=options.grace,
            pool=leader and pod.Pod(leader, waiting, project, options.grace),
        )
        by_name = {kept["run"]: kept for kept in records or ()}
        for each in waiting:
            print(_summary(each, by_name.get(each.name)))
        failed = any(kept["status"] == "failed" for kept in by_name.values())
        if left := len(waiting) - len(by_name):
            print(
                f"{left} of {len(runs)} run{'s' * (len(runs) != 1)} left; the same "
                "command goes on from here"
            )
        # Asked for in so many words, a run is shown also where it found the same.
        renewed = [*by_name] if options.again else []
        code = int(failed or (left and deadline is None))
        if leader:
            leader.code = code
        return _report(output, options.scale, project, remote, renewed) or code


def status(options):
    """Shows where the batch stands: its runs, their trials, and the time left."""
    project = plan.Project.find(options.project)
    plan.check_scale(project, options.scale)

    from lamb_keras.batch import status

    # Of a batch at an address, what goes on is known where it runs.
    _, output = _output(options, project)
    for line in status.status(output / options.scale):
        print(line)
    return 0


def report(options):
    """Writes the report of what has been run."""
    project, remote, output = _outputs(options)
    if not (output / options.scale).is_dir():
        raise BatchError(
            f"nothing has been run at scale {options.scale} yet; "
            f"lamb-keras run --scale {options.scale} does that"
        )
    plan.check_output([output / options.scale])
    failed = _report(output, options.scale, project, remote, bundle=options.bundle)
    if failed or options.readme is None:
        return failed

    from lamb_keras.results import readme

    try:
        changed = readme.update(Path(options.readme), output)
    except (OSError, readme.ReportError) as error:
        raise BatchError(f"--readme: {error}") from None
    print(f"{options.readme} {'renewed' if changed else 'unchanged'}")
    return 0


def list_tables(options):
    """Prints the paper's tables, their notebooks, and where there are outputs."""
    from lamb_keras.results import paper

    project = plan.Project.find(options.project)
    remote, output = _output(options, project)
    for scale in project.scales() if remote else ():
        remote.pull(scale)
    planned = project.tables()
    for number, table in sorted(paper.tables().items()):
        name, done = "no experiment yet", []
        if number in planned:
            name = plan.experiment(project, number)["notebook"]
            for scale in project.scales():
                state = record.state(output / scale / f"table{number:02d}", name)
                done += [f"{scale} {state}"] if state else []
        ran = f" ({', '.join(done)})" if done else ""
        print(f"{number:2}  {name:18}  {table.title}{ran}")
    return 0


def prepare(options):
    """Makes tokens of the texts that tables train on, once and for all their runs."""
    from lamb_keras.data.source import DataError
    from lamb_keras.experiments.bert import BertExperiment

    project = plan.Project.find(options.project)
    runs = plan.plan(project, options.scale, "outputs", options.tables, options.set)
    runs = [run for run in runs if run.parameters["notebook"] == "bert_squad"]
    if not runs:
        raise BatchError("these tables have no text to prepare; expected 1, 2, 4 or 8")
    told = set()
    for run in runs:
        try:
            text = BertExperiment.of(run.parameters).open()
            train = text.prepared.train
        except DataError as error:
            raise BatchError(str(error)) from None
        documents, tokens = len(train.documents) - 1, len(train.ids)
        told.add(f"{text.title}: {documents:,} documents of {tokens:,} tokens")
    print(*sorted(told), sep="\n")
    return 0


def new(options):
    """Lays out a project in a new folder: its notebooks and parameters."""
    plan.Project.lay_out(options.folder)
    print(f"{options.folder} has notebooks/ and params/; in it, lamb-keras run")
    return 0


def params(options):
    """Prints a table's parameters at a scale, each with what it means."""
    from lamb_keras.batch import notebook, yaml_files

    project = plan.Project.find(options.project)
    for run in plan.plan(project, options.scale, "outputs", [options.table]):
        name = project.name(run.notebook)
        meanings = notebook.comments(notebook.parameters_cell(run.notebook, name))
        for each, value in run.parameters.items():
            setting = f"{each}: {yaml_files.write(value)}"
            meaning = meanings.get(each)
            print(f"{setting}  # {meaning}" if meaning else setting)
    return 0


def open_report(options):
    """Opens the report in the browser, and prints where it is."""
    *_, output = _outputs(options)
    path = output / options.scale / "report.html"
    if not path.exists():
        raise BatchError(
            f"{os.path.relpath(path)} is not there yet; "
            f"lamb-keras run --scale {options.scale} writes it"
        )
    webbrowser.open(path.as_uri())
    print(os.path.relpath(path))
    return 0


def plan_on(options):
    """Tells what tables take on accelerators: memory, FLOPs, hours; runs nothing."""
    from lamb_keras.planning import machines, table

    machine, used = machines.find(options.on), options.utilization
    if used is not None and not 0 < used <= 1:
        raise BatchError(
            f"--utilization is {used:g}, expected a part of 1, such as 0.4"
        )
    project, chosen = plan.Project.find(options.project), (options.tables, options.set)
    runs = plan.plan(project, options.scale, "outputs", *chosen)
    for line in table.lines(runs, machine, used):
        print(line)
    return 0


def bench(options):
    """Measures the kit: ratios against peers in the same process."""
    project = plan.Project.find(options.project)
    if not (project.root / "benchmarks" / "__main__.py").exists():
        raise BatchError(
            f"{project.root} has no benchmarks/, which are part of a checkout of the "
            "project; name one with --project"
        )
    # The package that we are may be installed elsewhere.
    sys.path.insert(0, str(project.root))
    from benchmarks.__main__ import main

    return main(options.arguments, "lamb-keras bench")


def _ask(runs, project, options):
    """Tells of more than a day of a GPU; a `BatchError` unless --yes was given."""
    from lamb_keras.batch import cache
    from lamb_keras.planning.estimates import large

    if large(runs):  # with what is done, which takes longer to know
        decisions = cache.decide(runs, project, options.again)
        if told := large(each.run for each in decisions if not each.done):
            if not options.yes:
                raise BatchError(f"{told}; --yes runs it, lamb-keras plan tells more")
            print(told, file=sys.stderr)


def _check(options, remote, hosts):
    """Raises `BatchError` for options that mean nothing, alone or together."""
    if options.jobs is not None and options.jobs < 1:
        raise BatchError(f"--jobs is {options.jobs}, expected at least 1")
    if options.jobs is not None and options.dask:
        raise BatchError("--jobs with --dask: the cluster says how many runs at once")
    if remote and options.dask:
        raise BatchError(
            f"--output {options.output} with --dask: expected a folder that all "
            "machines of the cluster share"
        )
    if options.gpus_a_run < 1:
        raise BatchError(f"--gpus-a-run is {options.gpus_a_run}, expected at least 1")
    if options.time is not None and not duration(options.time) > 0:
        raise BatchError(
            f"--for is {options.time}, expected a time such as 8m, 1h30m, 90s or 90"
        )
    if options.time is not None and options.again:
        raise BatchError(
            "--for with --again: each slice would begin anew; leave out --again, or "
            "name another --output"
        )
    if not options.dask:
        leases = scheduling.leases(os.environ, options.gpus_a_run)
        if None in leases and (options.jobs or 1) > 1:
            raise BatchError(
                f"--jobs is {options.jobs}, and a TPU host has one run at a time"
            )
    elif options.gpus_a_run != 1:
        raise BatchError("--gpus-a-run with --dask: a run has its worker's first GPU")
    if hosts.count > 1 and (options.jobs or options.dask or options.gpus_a_run != 1):
        raise BatchError(
            "--hosts with --jobs, --dask or --gpus-a-run: expected none of these, for "
            "all devices of all hosts train one run at a time"
        )
    if options.grace < 0:
        raise BatchError(f"--grace is {options.grace:g}, expected seconds, at least 0")
    if options.timeout is not None and not options.timeout > 0:
        raise BatchError(f"--timeout is {options.timeout:g}, expected seconds above 0")


def _forecast(decision):
    run = decision.run
    if decision.done:
        day, _, moment = decision.started.partition("T")
        key = run.key["sha256"][:KEY_DIGITS]
        return f"{run.name} is already done ({day} {moment[:5]} UTC, key {key})"
    count = experiments.count_trials(run.parameters)
    trials = f"{count} trial{'s' * (count != 1)}"
    return f"{run.name} would run, {trials}: {decision.reason}"


def _report(output, scale, project, remote=None, renewed=(), bundle=False):
    from lamb_keras.results import report as reports
    from lamb_keras.store.quick import import_nbformat

    print("writing the report", file=sys.stderr)
    import_nbformat()
    try:
        path = reports.render(output, scale, project.root, renewed)
        path = reports.bundle(path.parent) if bundle else path
    except reports.ReportError as error:
        print(f"lamb-keras: {error}", file=sys.stderr)
        return 1
    if remote:
        remote.push_report(scale)
        print(f"{remote.address}/{path.relative_to(output).as_posix()}")
    else:
        print(os.path.relpath(path))
    return 0


def _summary(run, kept):
    if kept is None:
        trainings = f"{run.kept} finished training{'s' * (run.kept != 1)}"
        return f"{run.name} is left" + (f", with {trainings} kept" if run.kept else "")
    if kept["status"] == "succeeded":
        note = f"; {kept['note']}, so it will run again" if kept.get("note") else ""
        return f"{run.name} succeeded in {kept['seconds']:.0f} s{note}"
    notebook = run.file("failed.ipynb")
    see = f"; see {os.path.relpath(notebook)}" if notebook.exists() else ""
    return f"{run.name} failed: {kept['reason']}{see}"


def _outputs(options):
    """(the project, the `Remote`, the folder), with what others left of a scale."""
    project = plan.Project.find(options.project)
    plan.check_scale(project, options.scale)
    remote, output = _output(options, project)
    if remote:
        remote.pull(options.scale)
    return project, remote, output


def _output(options, project):
    """(the `Remote`, if outputs go to an address, the folder of this machine)."""
    if options.output and "://" in options.output:
        from lamb_keras.batch.remote import Remote

        remote = Remote(options.output)
        return remote, remote.folder
    output = options.output or project.root / "outputs"
    if re.match(r"[A-Za-z]\w+:", str(output)):
        raise BatchError(
            f"--output {output} is no address, expected one such as gs://bucket/x; a "
            f"folder of that name is ./{output}"
        )
    return None, Path(output).expanduser().absolute()
