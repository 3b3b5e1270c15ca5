"""`python -m benchmarks update`, `batch` and `pod`, which `lamb-keras bench` runs."""

import argparse
import sys


def main(arguments=None, prog="python -m benchmarks") -> int:
    """Run a benchmark by its name and return its exit code."""
    parser = argparse.ArgumentParser(prog=prog, description="Measure the kit.")
    parser.add_argument(
        "what", choices=["update", "batch", "pod"], help="to be measured"
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the benchmark")
    asked = parser.parse_args(arguments)
    if asked.what == "update":
        from benchmarks.update import main as measure
    elif asked.what == "batch":
        from benchmarks.batch import main as measure
    else:
        from benchmarks.pod import main as measure
    return measure(asked.arguments, f"{prog} {asked.what}")


if __name__ == "__main__":
    sys.exit(main())
