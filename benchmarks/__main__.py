"""`python -m benchmarks update` and `batch`, which `lamb-keras bench` runs."""

import argparse
import sys
from pathlib import Path

from lamb_keras.batch import BatchError, plan
from lamb_keras.experiments import ParameterError


def bench_update(options):
    """Times one update of LAMB against Keras's and optax's optimizers."""
    if options.rounds < 1:
        raise BatchError(f"--rounds is {options.rounds}, expected at least 1")
    if options.torch and options.compiled_for:
        raise BatchError(
            "--torch times, and --compiled-for runs nothing; leave one of them out"
        )

    from benchmarks import update

    asked = (options.rounds, options.json, options.compiled_for, options.torch)
    try:
        update.report(options.model, *asked)
    except update.BenchError as error:
        raise BatchError(error) from None


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


def main(arguments=None):
    """Measures, prints and returns an exit code: 2 for a mistake, in one sentence."""
    options = _parser().parse_args(arguments)
    try:
        options.measure(options)
    except (BatchError, ParameterError) as error:
        print(f"lamb-keras: {error}", file=sys.stderr)
        return 2
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="lamb-keras bench")
    commands = parser.add_subparsers(metavar="WHAT", required=True)

    def command(function):
        name, summary = function.__name__.removeprefix("bench_"), function.__doc__
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(measure=function)
        added.add_argument(
            "--json", action="store_true", help="as JSON, with the environment"
        )
        return added.add_argument

    option = command(bench_update)
    option(
        "--model",
        choices=["bert-small", "bert-base", "bert-large", "resnet50"],
        default="bert-small",
        help="whose shapes (default: %(default)s)",
    )
    option("--rounds", type=int, default=9, metavar="N", help="(default: %(default)s)")
    option("--torch", action="store_true", help="time PyTorch's foreach functions too")
    option(
        "--compiled-for",
        choices=["h200", "v5e"],
        help="only count what the program for this GPU or TPU does; none is needed",
    )
    option = command(bench_batch)
    option("--tables", nargs="+", metavar="N", help="such as 7 or 13-20 (default: all)")
    option("--scale", default="laptop", help="laptop (the default), gpu or paper")
    option(
        "--sample",
        type=int,
        default=10,
        metavar="N",
        help="trials that plain Papermill executes (default: %(default)s)",
    )
    option("--project", metavar="FOLDER", help="the folder with notebooks/ and params/")
    option("--output", metavar="FOLDER", help="keep the batch's outputs here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
