"""The command line of this package's commands: an error for what they do not know, like any other error."""

from __future__ import annotations

import argparse
from typing import NoReturn

from hamsa_runtime.errors import InputError, nearest

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Raises InputError where argparse ends the process."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}", fix=f"{self.prog} --help lists the options")

    def options_from(self, argv: list[str] | None) -> argparse.Namespace:
        """The options, or an error that names what is unknown and what is like it."""
        options, unknown = self.parse_known_args(argv)
        if unknown:
            hint = nearest(unknown[0], self._option_string_actions)
            raise InputError(f"{self.prog}: unknown argument {unknown[0]!r}", fix=hint or f"{self.prog} --help")
        return options
