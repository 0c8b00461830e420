"""`--report FILE`, of hamsa-parity and hamsa-bench: checked before the work, written after it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_runtime.cli.log_file import check_writable
from hamsa_runtime.errors import nearest

if TYPE_CHECKING:
    from hamsa_deploy.cli.console import Terminal

# What the files are for, by their suffix. Kept here, because --help should import nothing that takes seconds.
FORMS = {".html": "people", ".md": "pull requests and job summaries", ".xml": "JUnit, for CI systems"}


def report_file(*suffixes: str) -> Callable[[str], Path]:
    """A value type for a path with one of these suffixes."""

    def checked(text: str) -> Path:
        suffix = Path(text).suffix.lower()
        if suffix not in suffixes:
            hint = nearest(suffix, suffixes)
            valid = ", ".join(f"{each} ({FORMS[each]})" for each in suffixes)
            raise argparse.ArgumentTypeError(f"{text!r} does not end in one of {valid}" + (f"; {hint}" if hint else ""))
        return Path(text)

    return checked


def add_report(parser: argparse.ArgumentParser, *suffixes: str) -> None:
    """The option, for the forms that a command can write."""
    forms = ", ".join(f"{each} for {FORMS[each]}" for each in suffixes)
    parser.add_argument_group("report").add_argument(
        "--report", type=report_file(*suffixes), action="append", default=[], metavar="FILE",
        help=f"write a report, in the form that the name ends in: {forms}; may be repeated. An HTML report of the same "
             "bundle keeps what the other command has written into it",
    )  # fmt: skip


@dataclass(frozen=True)
class Reports:
    """The reports that a command will write.

    Attributes:
        bundle: which bundle they are of, as `bundle_facts` has it.
        kept: path -> sections that another command has written there.
        command: with its arguments.
    """

    bundle: Mapping[str, Any]
    kept: Mapping[Path, Mapping[str, Any]]
    command: Sequence[str]

    def write(self, name: str, section: Mapping[str, Any]) -> None:
        """Write all of them.

        Args:
            name: of the command's own section, which replaces an older one.
            section: what the command has found.
        """
        from hamsa_deploy.report import FORMS as WRITERS
        from hamsa_deploy.report.document import document_of
        from hamsa_deploy.report.files import write
        from hamsa_deploy.report.provenance import provenance

        own = {name: {**provenance(self.command), **section}}
        for path, kept in self.kept.items():
            write(path, WRITERS[path.suffix.lower()](document_of(self.bundle, {**kept, **own})))


def planned(paths: Sequence[Path], bundle: Path, command: Sequence[str], terminal: Terminal) -> Reports | None:
    """Look at the places where reports go, before minutes of work; None where none is asked for.

    Raises:
        InputError: one cannot be written, or holds something that is not a report of this bundle.
    """
    if not paths:
        return None
    from hamsa_deploy.report.document import bundle_facts
    from hamsa_deploy.report.files import sections_to_keep

    for path in paths:
        check_writable(path, "--report")
    facts, kept = bundle_facts(bundle), {}
    for path in dict.fromkeys(paths):
        kept[path], note = sections_to_keep(path, facts)
        if note:
            terminal.note(note)
    return Reports(facts, kept, command)
