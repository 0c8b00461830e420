"""`hamsa completion`: a script that completes commands, options, names and files in a shell.

By shtab, which writes a static script: the shell completes without starting Python, in no time. It is needed where the
script is made, once, and not where it is used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hamsa_runtime.cli.hamsa import COMMANDS, is_here, module_of
from hamsa_runtime.cli.parser import Parser, run_command
from hamsa_runtime.errors import MissingError

DESCRIPTION = (
    "Writes a script to stdout that completes commands, options, names and files in your shell. For bash: hamsa "
    "completion bash > ~/.local/share/bash-completion/completions/hamsa. For zsh: a file _hamsa in a folder of $fpath. "
    "For fish: ~/.config/fish/completions/hamsa.fish."
)
SHELLS = ("bash", "zsh", "fish")


def main(argv: list[str] | None = None, prog: str = "hamsa completion") -> int:
    """Run the command; returns its exit code."""
    return run_command(parser(prog), argv, lambda options: _write(options.shell))


def parser(prog: str = "hamsa completion") -> Parser:
    """Of the command's line."""
    parser = Parser(prog, DESCRIPTION)
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return parser


def _write(shell: str) -> int:
    try:
        import shtab
    except ImportError as error:
        raise MissingError(
            "the package shtab is not installed",
            expected="shtab, which writes the script; it is not needed where the script is used",
            fix="pip install 'shtab>=1.13'",
        ) from error
    print(shtab.complete(whole_parser(), shell=shell))
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """Of `hamsa` with all commands that are here, with what shtab is told of each option's values."""
    whole = argparse.ArgumentParser("hamsa", description="from PyTorch to the device", allow_abbrev=False)
    commands = whole.add_subparsers(metavar="COMMAND")
    for name, command in COMMANDS.items():
        if is_here(command.package):
            made = module_of(name).parser(f"hamsa {name}")
            commands.add_parser(name, parents=[made], add_help=False, help=command.help, allow_abbrev=False)
            _mark_values(made)
    return whole


def _mark_values(parser: argparse.ArgumentParser) -> None:
    """Names that an option takes, or files: by the type that reads its value."""
    import shtab

    for action in parser._actions:
        marked: Any = action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                _mark_values(each)
        elif names := getattr(action.type, "names", None):
            marked.choices = names
        elif action.type is Path:
            folder = action.metavar in ("DIR", "FOLDER", "BUNDLE", "OTHER_BUNDLE")
            marked.complete = shtab.DIRECTORY if folder else shtab.FILE


if __name__ == "__main__":
    sys.exit(main())
