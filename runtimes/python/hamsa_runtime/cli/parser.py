"""The command line of all commands: an error for what they do not know, like any other error, before any work."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hamsa_runtime import __version__
from hamsa_runtime.cli.habits import answers, habit_of
from hamsa_runtime.cli.log_file import HELP, LOG, logged, printed_to_log
from hamsa_runtime.errors import HamsaError, InputError, nearest
from hamsa_runtime.interrupts import interruptible

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Raises InputError where argparse ends the process; options may not be abbreviated.

    Args:
        prog: how the command is called, such as "hamsa build" or "hamsa-build".
        description: what it does.
        **others: what argparse gives a parser of a command within a command.
    """

    def __init__(self, prog: str, description: str = "", **others: Any) -> None:
        super().__init__(prog=prog, description=description, **{"allow_abbrev": False, **others})

    def add_log_file(self) -> None:
        """For a command of the runtime that `run_command` runs."""
        self.add_argument("--log-file", type=Path, metavar="FILE", help=HELP)

    def actions(self) -> list[argparse.Action]:
        """Every option, as argparse keeps it."""
        return [action for action in self._actions if action.option_strings]

    def error(self, message: str) -> NoReturn:
        hint = ""
        if option := re.match(r"argument (?:[^:]*/)?(--[\w-]+): expected", message):
            hint = habit_of(option[1], self._option_string_actions)
        elif flag := re.match(r"argument (?:[^:]*/)?(--[\w-]+): ignored explicit argument", message):
            message, hint = f"{flag[1]} takes no value", f"{flag[1]} alone, or nothing"
        elif choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            hint = nearest(choice[1], re.findall(r"[\w-]+", choice[2]))
        raise InputError(f"{self.prog}: {message}", fix=hint or f"{self.prog} --help lists the options")

    def options_from(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """The options, or an error that names what is unknown, and what does the same here or is like it."""
        options, unknown = self.parse_known_args(argv)
        if unknown:
            self.refuse(unknown)
        return options

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """The error for words that argparse has left."""
        name = unknown[0].split("=")[0] if unknown[0].startswith("-") else unknown[0]
        others = sum(word.startswith("--") or "=" in word for word in unknown[1:])
        kind = "option" if name.startswith("-") else "argument"
        raise InputError(
            f"{self.prog}: unknown {kind} {name!r}" + (f", and {others} more" if others else ""),
            fix=answers(unknown, self._option_string_actions) or f"{self.prog} --help lists the options",
        )


def command_words(prog: str, argv: Sequence[str] | None) -> list[str]:
    """A command as it was given; `argv` is None for this process's own arguments."""
    return [*prog.split(), *(sys.argv[1:] if argv is None else argv)]


NOTHING_WRITTEN = "interrupted; nothing was written"


def exit_code_of(work: Callable[[], int], interrupted: str = NOTHING_WRITTEN, *, as_json: bool = False) -> int:
    """What the work returns, or the code of the error that it ends with, which goes to stderr.

    Args:
        work: what a command does.
        interrupted: said after Ctrl-C.
        as_json: whether an error is also a document on stdout.
    """
    try:
        with interruptible():
            return work()
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return INTERRUPTED
    except HamsaError as error:
        LOG.error("%s", error.found, exc_info=True)
        print(f"error  {error}", file=sys.stderr)
        if as_json:
            print(json.dumps({"verdict": "error", "exit_code": error.exit_code, "error": error.parts}, indent=2))
        return error.exit_code


def run_command(
    parser: Parser,
    argv: Sequence[str] | None,
    work: Callable[[argparse.Namespace], int],
    interrupted: str = NOTHING_WRITTEN,
) -> int:
    """A command of the runtime: parse its line, do what that says, and return the exit code, as for `exit_code_of`.

    With --json an error is also a document; with --log-file all that is printed goes there as well.
    """

    def parsed_and_done() -> int:
        options = parser.options_from(argv)
        path: Path | None = getattr(options, "log_file", None)
        words = command_words(parser.prog, argv)
        with (
            logged(path, words, f"hamsa-runtime {__version__}", ["hamsa_runtime"]),
            contextlib.nullcontext() if path is None else printed_to_log(),
        ):
            return exit_code_of(lambda: work(options), interrupted, as_json=getattr(options, "json", False))

    return exit_code_of(parsed_and_done, interrupted)
