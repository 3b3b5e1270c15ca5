"""What a trial costs in a batch, against plain Papermill with one trial a notebook.

    lamb-keras bench batch [--tables 7] [--sample 10] [--output FOLDER] [--json]

In one sitting: half of the sample by plain Papermill, one notebook after another, each
with one trial; then the whole batch, its report included, with no compiled program from
before; then the other half, so that a machine that slows down slows both. Plain
Papermill's time for all trials is what the sample takes on average, times their number.
The sample is spread evenly over the trials of all tables. Where the seconds of a batch
go is told in BATCH.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import yaml

from lamb_keras import experiments
from lamb_keras.batch import BatchError, plan
from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.schema import GRIDS


def measure(project, scale, tables=None, sample=10, output=None) -> dict:
    """Seconds of both ways and their ratio.

    Args:
        project: a `plan.Project`.
        scale: which to run.
        tables: what `--tables` was given; None for all.
        sample: how many trials plain Papermill executes.
        output: where the batch's outputs stay; None for nowhere.

    Returns:
        A dict of "trials", how many the tables have; "plain_seconds" of each trial of
        the sample, by its name; "batch_seconds" of the batch; "ratio", how many times
        as many trials the batch gets through in the same time.
    """
    with tempfile.TemporaryDirectory(prefix="lamb-") as folder:
        runs = plan.plan(project, scale, Path(folder, "outputs"), tables)
        trials = [(run, only) for run in runs for only in single_trials(run.parameters)]
        chosen = spread(trials, sample)
        plain = dict(_plain(*each, project, folder) for each in chosen[: sample // 2])
        seconds = _batch(project, scale, tables, folder, output)
        plain |= dict(_plain(*each, project, folder) for each in chosen[sample // 2 :])
    plainly = statistics.mean(plain.values()) * len(trials)
    return {
        "trials": len(trials),
        "plain_seconds": plain,
        "batch_seconds": seconds,
        "ratio": plainly / seconds,
    }


def single_trials(of_run: Mapping) -> list[dict]:
    """For each trial of a run the parameters with which it is the only one.

    A pre-training with all its fine-tunings is one, for nobody would repeat it.

    Example:
        >>> run = {"solvers": ["adam", "lamb"], "learning_rates": [0.1], "seeds": [3]}
        >>> [only["solvers"] for only in single_trials(run)]
        [['adam'], ['lamb']]
    """
    return [
        _only(of_run, setting, seed)
        for setting in experiments.settings(of_run)
        for seed in of_run.get("seeds") or [0]
    ]


def spread(trials: list, count: int) -> list:
    """So many of the trials, evenly spread; all of them if there are no more.

    Example:
        >>> spread(list(range(100)), 4)
        [12, 37, 62, 87]
    """
    count = min(count, len(trials))
    return [trials[(2 * i + 1) * len(trials) // (2 * count)] for i in range(count)]


def main(arguments=None, prog="python -m benchmarks.batch") -> int:
    """Measure as the command line says, print what came out, return the exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Time a batch against plain Papermill, trial by trial."
    )
    add = parser.add_argument
    add("--tables", nargs="+", metavar="N", help="such as 7 or 13-20 (default: all)")
    add("--scale", default="laptop", help="laptop, the default; evening, gpu or paper")
    sample = "trials that plain Papermill executes (default: %(default)s)"
    add("--sample", type=int, default=10, metavar="N", help=sample)
    add("--project", metavar="FOLDER", help="the folder with notebooks/ and params/")
    add("--output", metavar="FOLDER", help="keep the batch's outputs here")
    add("--json", action="store_true", help="as JSON, with the environment")
    asked = parser.parse_args(arguments)
    try:
        project = plan.Project.find(asked.project)
        if asked.sample < 1:
            raise BatchError(f"--sample is {asked.sample}, expected at least 1")
        plan.check_scale(project, asked.scale)
        output = asked.output and Path(asked.output).absolute()
        report(project, asked.scale, asked.tables, asked.sample, asked.json, output)
    except (BatchError, ParameterError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def report(project, scale, tables, sample, as_json=False, output=None):
    """Measure and print, in words or as JSON with the environment."""
    found = measure(project, scale, tables, sample, output)
    if as_json:
        from lamb_keras.store import environment

        print(json.dumps({"environment": environment.describe(), **found}, indent=1))
        return
    seconds, trials = list(found["plain_seconds"].values()), found["trials"]
    mean = statistics.mean(seconds)
    print(
        f"plain papermill, one trial a notebook: {mean:.1f} s a trial "
        f"({min(seconds):.1f} to {max(seconds):.1f}, n = {len(seconds)}); "
        f"{trials} trials would take {mean * trials / 60:.0f} min"
    )
    print(
        f"lamb-keras run: {trials} trials in {found['batch_seconds'] / 60:.1f} min, "
        f"{found['batch_seconds'] / trials:.2f} s a trial, the report included"
    )
    print(f"{found['ratio']:.1f} times the throughput")


def _only(of_run, setting, seed):
    chosen = {**of_run, "solvers": [setting["solver"]], "seeds": [seed]}
    if "confirmation_seeds" in of_run:
        chosen["confirmation_seeds"] = []
    for name, parameter in GRIDS.items():
        value = setting.get(name)
        if value is not None and of_run.get(parameter) is not None:
            chosen[parameter] = [value] if parameter == "learning_rates" else value
    return chosen


def _plain(run, only, project, folder):
    """A name of the trial and the seconds that plain Papermill takes for it."""
    moment = Path(tempfile.mkdtemp(dir=folder))
    file, output = moment / "parameters.yaml", moment / "out.ipynb"
    file.write_text(yaml.safe_dump(only), encoding="utf-8")
    command = [sys.executable, "-m", "papermill", str(run.notebook), str(output)]
    command += ["-k", "python3", "-l", "python"]
    # The kernel named python3 that Jupyter finds first may be another environment's.
    kernel = moment / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    command_line = [sys.executable, "-m", "ipykernel_launcher", "-f"]
    argv = [*command_line, "{connection_file}"]
    spec = {"argv": argv, "display_name": "", "language": "python"}
    kernel.write_text(json.dumps(spec), encoding="utf-8")
    variables = {**os.environ, "KERAS_BACKEND": "jax", "JUPYTER_PATH": str(moment)}
    name = f"{run.name} {only['solvers'][0]} {only['learning_rates'][0]:g}"
    return f"{name} seed {only['seeds'][0]}", _seconds(
        [*command, "-f", str(file), "--no-progress-bar"], project, variables
    )


def _batch(project, scale, tables, folder, output):
    command = [sys.executable, "-m", "lamb_keras", "run", "--scale", scale, "--again"]
    command += ["--project", str(project.root)]
    command += ["--output", str(output or Path(folder, "outputs"))]
    if tables:
        command += ["--tables", *tables]
    # As on a fresh clone: nothing is compiled yet.
    variables = {**os.environ, "LAMB_KERAS_CACHE": f"{folder}/cache"}
    return _seconds(command, project, variables)


def _seconds(command, project, variables):
    began = time.perf_counter()
    ran = subprocess.run(
        command, cwd=project.root, env=variables, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if ran.returncode:
        said = (ran.stderr.strip() or ran.stdout.strip() or "nothing").splitlines()
        raise BatchError(f"{' '.join(command[2:5])} failed and said last: {said[-1]}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
