"""What `lamb-keras bench` runs: update, step, batch and pod."""

import argparse
import importlib
import sys


def main(arguments=None, prog="python -m benchmarks") -> int:
    """Run a benchmark by its name and return its exit code."""
    parser = argparse.ArgumentParser(prog=prog, description="Measure the kit.")
    parser.add_argument(
        "what", choices=["update", "step", "batch", "pod"], help="to be measured"
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the benchmark")
    asked = parser.parse_args(arguments)
    measure = importlib.import_module(f"benchmarks.{asked.what}").main
    return measure(asked.arguments, f"{prog} {asked.what}")


if __name__ == "__main__":
    sys.exit(main())
