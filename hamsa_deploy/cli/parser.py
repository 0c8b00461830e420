"""The command line of hamsa-deploy's commands: what they have in common, and options from flags."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hamsa_deploy import __version__
from hamsa_deploy.form.options import Flag
from hamsa_deploy.form.request import DEVICE_HELP
from hamsa_deploy.form.values import device, timeout
from hamsa_runtime.cli.log_file import HELP
from hamsa_runtime.cli.parser import Parser as CommandLine
from hamsa_runtime.vocabulary import TRIAL_SECONDS


class Parser(CommandLine):
    """The parser of all commands, with the options that those of hamsa-deploy share."""

    def add_common(self) -> None:
        """The options that every command has; called last, so that --help lists them last."""
        group = self.add_argument_group("printing")
        group.add_argument("--json", action="store_true", help="write the result to stdout as JSON")
        group.add_argument("--quiet", action="store_true", help="print nothing but errors (and what --json asks for)")
        verbose = "show tracebacks and the libraries' warnings"
        group.add_argument("-v", "--verbose", action="store_true", help=verbose)
        group.add_argument("--log-file", type=Path, metavar="FILE", help=HELP)
        version = f"hamsa-deploy {__version__}"
        group.add_argument("--version", action="version", version=version, help="show the version and exit")

    def add_timeout(self) -> None:
        """For what runs bundles: they may be strangers'."""
        text = "how long a bundle may take to be loaded and run once, in a process of limited memory, before it is used"
        self.add_argument(
            "--timeout",
            type=timeout,
            default=TRIAL_SECONDS,
            metavar="SECONDS",
            help=f"{text}; 0 for bundles that you trust, which are not tried (default: {TRIAL_SECONDS})",
        )

    def add_device(self, runs: str, *, is_list: bool = False) -> None:
        """For what runs bundles; `runs` says what for."""
        action = "append" if is_list else "store"
        default: list[str] | None = [] if is_list else None
        text = DEVICE_HELP.format(runs=runs)
        self.add_argument("--device", type=device, action=action, default=default, metavar="DEVICE", help=text)

    def options_from(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """The options of a command line.

        Raises:
            InputError: an unknown option, or a value that an option does not take.
        """
        return argparse.Namespace(**(self.defaults() | self.given(argv)))

    def given(self, argv: Sequence[str] | None) -> dict[str, Any]:
        """What a command line says, by the options' attributes, without defaults; errors as for `options_from`."""
        # argparse leaves an attribute that is there already as it is, unless its option is given; lists it copies.
        unset: dict[str, list[Any]] = {name: [] for name in self.defaults()}
        options, unknown = self.parse_known_args(argv, argparse.Namespace(**unset))
        if unknown:
            self.refuse(unknown)
        return {name: value for name, value in vars(options).items() if value is not unset[name]}

    def defaults(self) -> dict[str, Any]:
        """The value of every option, by attribute, on an empty command line."""
        return vars(self.parse_args([]))


def add_flags(group: argparse._ArgumentGroup, flags: Mapping[str, Flag]) -> None:
    """Those flags that belong to the group, as its options. What is not said is None, False or an empty list."""
    for flag in flags.values():
        if flag.group == group.title:
            _add_flag(group, flag)


def _add_flag(group: argparse._ArgumentGroup, flag: Flag) -> None:
    if flag.one_each:
        one = group.add_mutually_exclusive_group()
        for value, text in flag.one_each.items():
            one.add_argument(f"--{value}", dest=flag.dest, action="store_const", const=value, help=text)
    elif not flag.metavar:
        group.add_argument(flag.name, action="store_true", help=flag.help)
    elif flag.is_list:
        group.add_argument(flag.name, type=flag.type, action="append", default=[], metavar=flag.metavar, help=flag.help)
    else:
        group.add_argument(flag.name, type=flag.type, metavar=flag.metavar, help=flag.help)
