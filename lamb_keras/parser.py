"""An argument parser that says in one sentence what was meant."""

import argparse
import re

from lamb_keras.batch import BatchError
from lamb_keras.experiments.types import did_you_mean


class Parser(argparse.ArgumentParser):
    """Argparse's, of which every refusal is a `BatchError` with the nearest word.

    Attributes:
        commands: the parser of each command, by its name.
    """

    commands = {}

    def parse_args(self, arguments):
        """The options of a command line; a bare one asks for help."""
        first = arguments[0] if arguments else "--help"
        if not first.startswith("-") and first not in self.commands:
            cure = did_you_mean(first, self.commands)
            raise BatchError(f"unknown command {first}{cure}")
        options, unknown = self.parse_known_args(arguments or [first])
        if unknown:
            command = self.commands.get(first, self)
            known = dict.fromkeys(re.findall(r"--[\w-]+", command.format_help()))
            cure = did_you_mean(unknown[0].partition("=")[0], known)
            raise BatchError(f"{unknown[0]} is no option of {command.prog}{cure}")
        return options

    def error(self, message):
        raise BatchError(f"{message}; {self.prog} --help tells more")
