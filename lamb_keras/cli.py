"""The command line, `lamb-keras COMMAND`: `lamb-keras` alone lists the commands.

Everything is checked before anything starts: a mistake in what was asked for is one
sentence on standard error and exit code 2. A run that failed is exit code 1. What is
already done is not done again, unless asked for.
"""

import argparse
import os
import signal
import sys
import threading

import shtab

from lamb_keras import __version__, commands
from lamb_keras.batch import BatchError, check_system
from lamb_keras.experiments import ParameterError
from lamb_keras.hosts import HostsError
from lamb_keras.parser import Parser


def main(arguments=None):
    """Runs one command and returns its exit code.

    Example:
        >>> main(["run", "--tables", "26"])
        2
    """
    stop = Stop()
    try:
        options = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        check_system()
        with stop:
            code = options.command(options)
            sys.stdout.flush()
            return code
    except (BatchError, HostsError, ParameterError) as error:
        print(f"lamb-keras: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lamb-keras: interrupted; finished runs are kept", file=sys.stderr)
        # What a shell expects of a command that a signal ended.
        return 128 + (stop.signal or signal.SIGINT)
    except BrokenPipeError:
        # Who reads, such as `head`, has enough. Python itself would flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


class Stop:
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
        raise KeyboardInterrupt(number)


def _parser():
    parser = Parser(
        prog="lamb-keras",
        description="Runs the experiments of the LAMB paper and rebuilds its tables.",
        epilog="lamb-keras COMMAND --help tells more of each command.",
    )
    parser.add_argument(
        "--version", action="version", version=f"lamb-keras {__version__}"
    )
    shtab.add_argument_to(
        parser, help="print what completes commands and options in a shell"
    )
    subparsers = parser.add_subparsers(metavar="COMMAND")

    def command(name, function):
        summary = function.__doc__
        added = subparsers.add_parser(name, help=summary, description=summary)
        added.set_defaults(command=function)
        added.add_argument(
            "--project",
            metavar="FOLDER",
            help="the folder with notebooks/ and params/ (default: found upward from "
            "where we are)",
        )
        return added

    running, reporting = (
        command("run", commands.run),
        command("report", commands.report),
    )
    showing, listing = (
        command("status", commands.status),
        command("list", commands.list_tables),
    )
    explaining, opening, planning = (
        command("params", commands.params),
        command("open", commands.open_report),
        command("plan", commands.plan_on),
    )
    preparing = command("prepare", commands.prepare)
    preparing.add_argument("what", choices=["text"], metavar="text")
    for each in (running, reporting, opening, showing, listing):
        each.add_argument(
            "--output",
            metavar="FOLDER",
            help="a folder or an address, gs://bucket/folder (default: outputs/)",
        )
    scaled = running, reporting, opening, showing, explaining, planning, preparing
    for each in scaled:
        each.add_argument(
            "--scale",
            default="laptop",
            help="laptop, the default; evening, gpu or paper",
        )
    for each in (running, planning, preparing):
        each.add_argument(
            "--tables", nargs="+", metavar="N", help="such as 7 or 13-20 (default: all)"
        )
        each.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a parameter's value, such as learning_rates=[1e-3]; may be repeated",
        )
    option = running.add_argument
    option(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at once (default: one a GPU, else one a processor)",
    )
    option(
        "--gpus-a-run",
        type=int,
        metavar="N",
        default=1,
        help="GPUs that a run has, such as all 8 for one of BERT (default: 1)",
    )
    option(
        "--for",
        dest="time",
        metavar="TIME",
        help="begin nothing that would not end in 8m, say; the next call goes on",
    )
    option(
        "--dask",
        metavar="ADDRESS",
        help="run on the Dask cluster with its scheduler there, tcp://host:8786",
    )
    option(
        "--hosts",
        metavar="auto|N",
        help="train each run on all hosts of a pod, with this line on each: auto on "
        "Cloud TPUs and under SLURM (docs/pods.md)",
    )
    option("--coordinator", metavar="ADDRESS", help="of host 0, with --hosts N")
    option("--host", type=int, metavar="K", help="which this is, from 0, of --hosts N")
    option(
        "--grace",
        type=float,
        default=30,
        metavar="SECONDS",
        help="that runs have to save how they stand when SIGTERM ends the batch "
        "(default: 30)",
    )
    option(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="end a run that takes longer (default: none is ended)",
    )
    option(
        "--solver",
        action="append",
        default=[],
        metavar="FILE.py:FUNCTION",
        help="a solver of your own, beside the tables' (docs/your-own.md); repeatable",
    )
    option(
        "--dataset",
        metavar="FILE.py:FUNCTION",
        help="images of your own in the place of the tables', or a data set by name",
    )
    option(
        "--again",
        action="store_true",
        help="run also what is already done, and show it",
    )
    option(
        "--dry-run",
        action="store_true",
        help="say what would run and why, what is already done, and touch nothing",
    )
    option("--yes", action="store_true", help="run also what takes days of a GPU")
    planning.add_argument(
        "--on",
        required=True,
        metavar="SLICE",
        help="such as v5e-256, v3-2048 or h100-8; of v2, v3, v4, v5e, v5p, v6e, tpu7x "
        "and h100",
    )
    planning.add_argument(
        "--utilization",
        type=float,
        metavar="PART",
        help="of the chips' peak that is used (default: that of the paper's Table 1)",
    )
    reporting.add_argument(
        "--readme",
        metavar="FILE",
        help="also put the claims between their marks in FILE",
    )
    reporting.add_argument(
        "--bundle",
        action="store_true",
        help="also pack the report, the runs' pages and the CSV files in report.zip",
    )
    explaining.add_argument("table", metavar="TABLE", help="such as 7 or 13-20")
    laying_out = subparsers.add_parser(
        "new", help=commands.new.__doc__, description=commands.new.__doc__
    )
    laying_out.set_defaults(command=commands.new)
    laying_out.add_argument("folder", metavar="FOLDER", help="not there yet, or empty")
    benching = command("bench", commands.bench)
    benching.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="WHAT ...",
        help="update, step, batch or pod: lamb-keras bench update --help",
    )
    parser.commands = subparsers.choices
    return parser
