"""`hamsa-doctor`: what this machine can build and run, and what is missing. It installs nothing."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from hamsa_deploy.cli.console import Stages, Terminal, grid, run, table
from hamsa_deploy.cli.packages import PACKAGES
from hamsa_deploy.cli.parser import Parser
from hamsa_runtime.errors import MissingError

if TYPE_CHECKING:
    from hamsa_deploy.cli.machine import Answer, Device, Machine

DESCRIPTION = "Says what this machine can build and run, and which command installs what is missing."


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns 0, or 4 if a needed package is missing."""
    parser = Parser("hamsa-doctor", DESCRIPTION)
    parser.add_common()
    return run(parser, _doctor, argv)


def _doctor(options: Any, terminal: Terminal) -> int:
    from hamsa_deploy.cli.machine import this_machine

    with Stages(terminal, {"look": "import every package, ask every engine"}) as stages, stages("look"):
        machine = this_machine()
    if terminal.as_json:
        terminal.write_json(dataclasses.asdict(machine) | {"missing": machine.missing})
    else:
        _show(terminal.out, machine)
    return MissingError.exit_code if machine.missing else 0


def _show(console: Console, machine: Machine) -> None:
    facts = grid()
    facts.add_row("[cyan]system[/]", Text(machine.system))
    facts.add_row("[cyan]python[/]", machine.python)
    facts.add_row("[cyan]processor[/]", Text(machine.processor))
    facts.add_row("[cyan]instructions[/]", " ".join(machine.instructions) or "unknown on this system")
    for engine in dict.fromkeys(device.engine for device in machine.devices):
        names = [_device_text(device) for device in machine.devices if device.engine == engine]
        facts.add_row(f"[cyan]{engine}[/]", Text(", ".join(names)))
    console.print(facts)
    console.print()
    _show_packages(console, machine)
    console.print()
    _show_answers(console, machine)
    if machine.missing:
        console.print(f"\n[bold red]Nothing can be exported:[/] {', '.join(machine.missing)} missing")


def _device_text(device: Device) -> str:
    types = f" with {' '.join(device.capabilities)}" if device.capabilities else ""
    return device.name + (f" ({device.description}){types}" if device.description else "")


def _show_packages(console: Console, machine: Machine) -> None:
    rows = table("package", "version", "what for", justify="left")
    for package in PACKAGES:
        found = machine.packages[package.module]
        missing = Text("missing", "bold red" if package.needed else "yellow")
        rows.add_row(package.module, Text(found.version) if found.version else missing, package.purpose)
    console.print(rows)
    for package in PACKAGES:
        found = machine.packages[package.module]
        if found.version is None:
            problem = f"  # installed, but broken: {found.problem}" if found.problem else ""
            console.print(f"\n{package.module}: ", Text(package.install, "green"), Text(problem), sep="", end="")
    console.print()


def _show_answers(console: Console, machine: Machine) -> None:
    precisions = list(next(iter(machine.answers.values())))
    rows = table("hamsa-export", *(f"--{precision}" for precision in precisions), justify="left")
    for target, answers in machine.answers.items():
        rows.add_row(f"--to {target}", *(_answer_text(answers[precision]) for precision in precisions))
    console.print(rows)


def _answer_text(answer: Answer) -> Text:
    return Text("yes", "green") if answer.yes else Text(f"no: {answer.why}", "yellow")


if __name__ == "__main__":
    sys.exit(main())
