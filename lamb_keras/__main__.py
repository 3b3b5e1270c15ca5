"""`lamb-keras`, and `python -m lamb_keras`, with the kit or without it."""

import sys

import lamb_keras


def main():
    """Runs the command line, or says in one sentence that the kit is not installed."""
    try:
        from lamb_keras.cli import main
    except ModuleNotFoundError as error:
        print(
            f"lamb-keras {lamb_keras.__version__}: {error.name} is not installed, for "
            "here are the optimizers alone; get what notebooks and tables need by "
            'pip install "lamb-keras[kit]"',
            file=sys.stderr,
        )
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(main())
