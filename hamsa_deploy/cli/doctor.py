"""`hamsa-doctor`: what this machine can build and run, and what is missing. It installs nothing."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from hamsa_deploy.cli.console import Stages, Terminal, grid, run, table
from hamsa_deploy.cli.jetpack import jetpack_text
from hamsa_deploy.cli.nvidia import gpu_text
from hamsa_deploy.cli.packages import PACKAGES
from hamsa_deploy.cli.parser import Parser
from hamsa_runtime.errors import MissingError

if TYPE_CHECKING:
    from rich.table import Table

    from hamsa_deploy.cli.machine import Device, Machine
    from hamsa_deploy.targets.here import Answer

DESCRIPTION = "Says what this machine can build and run, and which command installs what is missing."


def main(argv: list[str] | None = None, prog: str = "hamsa-doctor") -> int:
    """Run the command; returns 0, or 4 if a needed package is missing."""
    return run(parser(prog), _doctor, argv, with_any_versions=True)


def parser(prog: str = "hamsa-doctor") -> Parser:
    """Of the command's line."""
    parser = Parser(prog, DESCRIPTION)
    parser.add_common()
    return parser


def _doctor(options: Any, terminal: Terminal) -> int:
    from hamsa_deploy.cli.machine import this_machine

    with Stages(terminal, {"look": "import every package, ask every engine"}) as stages, stages("look"):
        machine = this_machine()
    if terminal.as_json:
        terminal.write_json(dataclasses.asdict(machine) | {"missing": machine.missing})
    else:
        show_machine(terminal.out, machine)
    return MissingError.exit_code if machine.missing else 0


def show_machine(console: Console, machine: Machine) -> None:
    facts = grid()
    facts.add_row(Text("system", "cyan"), Text(machine.system))
    facts.add_row(Text("python", "cyan"), machine.python)
    facts.add_row(Text("processor", "cyan"), Text(machine.processor))
    facts.add_row(Text("instructions", "cyan"), " ".join(machine.instructions) or "unknown on this system")
    _add_nvidia(facts, machine)
    console.print(facts)
    console.print()
    _show_packages(console, machine)
    console.print()
    _show_devices(console, machine.devices)
    console.print()
    _show_answers(console, machine)
    if machine.missing:
        console.print(
            Text.assemble(("\nNothing can be exported: ", "bold red"), f"{', '.join(machine.missing)} missing")
        )


def _add_nvidia(facts: Table, machine: Machine) -> None:
    """GPUs and CUDA, and on a Jetson what belongs to its JetPack, and what does not."""
    if machine.jetson is not None:
        facts.add_row(Text("jetson", "cyan"), Text(machine.jetson.model))
        facts.add_row(Text("jetpack", "cyan"), Text(jetpack_text(machine.jetson)))
    facts.add_row(Text("gpu", "cyan"), Text("; ".join(map(gpu_text, machine.gpus)) or "no NVIDIA GPU found"))
    if machine.cuda is not None:
        facts.add_row(Text("cuda", "cyan"), Text(f"toolkit {machine.cuda}"))
    for misfit in machine.misfits:
        facts.add_row(Text("does not fit", "yellow"), Text.assemble(misfit.found, ": ", (misfit.fix, "green")))
    if machine.jetson is not None and machine.jetson.jetpack is not None and not machine.misfits:
        facts.add_row(Text("fits", "cyan"), "Python, TensorRT and CUDA are those of this JetPack")


def _show_devices(console: Console, devices: Iterable[Device]) -> None:
    """A row for each that is here, and one for those that are missing for the same reason."""
    rows = table("--device", "engine", "here", justify="left")
    for (engine, text), same in itertools.groupby(devices, lambda each: (each.engine, _device_text(each))):
        names = ", ".join(device.name for device in same)
        rows.add_row(names, engine, text)
    console.print(rows)


def _device_text(device: Device) -> Text:
    if device.missing:
        return Text(f"no: {device.missing}", "yellow")
    types = f", with {' '.join(device.capabilities)}" if device.capabilities else ""
    return Text.assemble(("yes", "green"), f": {device.description}{types}")


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
            problem = f"  # installed, but {found.problem}" if found.problem else ""
            command = Text(machine.install(package), "green")
            console.print(f"\n{package.module}: ", command, Text(problem), sep="", end="")
    console.print()


def _show_answers(console: Console, machine: Machine) -> None:
    """Yes or no for each target and precision, and below that why not, as far as it fits into no cell."""
    precisions = list(next(iter(machine.answers.values())))
    rows = table("hamsa export", *(f"--{precision}" for precision in precisions), "engine built; run", justify="left")
    for target, answers in machine.answers.items():
        cells = (Text("yes", "green") if answers[each].yes else Text("no", "yellow") for each in precisions)
        rows.add_row(f"--to {target}", *cells, _engine_text(answers.values()))
    console.print(rows)
    console.print()
    reasons = grid()
    for target, answers in machine.answers.items():
        for why, names in _reasons(answers).items():
            which = "" if len(names) == len(precisions) else " " + " ".join(f"--{name}" for name in names)
            reasons.add_row(Text(f"{target}{which}", "cyan"), Text(f"no: {why}", "yellow"))
    console.print(reasons)


def _reasons(answers: Mapping[str, Answer]) -> dict[str, list[str]]:
    """Why not, and the precisions that it is the reason for."""
    found: dict[str, list[str]] = {}
    for precision, answer in answers.items():
        if not answer.yes:
            found.setdefault(answer.why, []).append(precision)
    return found


def _engine_text(answers: Iterable[Answer]) -> str:
    """Where the engine of a target is built and run: the same for all precisions that it can be exported in."""
    return next((answer.engine for answer in answers if answer.yes), "")


if __name__ == "__main__":
    sys.exit(main())
