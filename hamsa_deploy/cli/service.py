"""--to triton and --to openvino-model-server: where the bundle goes, and what the server is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from hamsa_deploy.services import SERVICES, configure, next_version
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import InputError

# What starts the server; {folder} is the repository.
COMMANDS = {
    "triton": "tritonserver --model-repository={folder}",
    "openvino-model-server": "ovms --config_path {folder}/config.json --port 9000 --rest_port 8000",
}


@dataclass(frozen=True)
class Repository:
    """A server's folder of models, and the version that this export adds to it."""

    service: str
    folder: Path
    version: Path


def take_service(options: Any) -> str | None:
    """The server that --to names, if it does; --to then becomes the target that it runs."""
    if options.to not in SERVICES:
        return None
    if options.device is not None:
        raise InputError(
            f"--device with --to {options.to}",
            expected="the CPU, which the server is told to use",
            fix="--device with an export for the engine; where the server runs a model stands in its own configuration",
        )
    service: str = options.to
    options.to = SERVICES[service].target
    return service


def repository_for(service: str, output: Path | None, name: str, precision: str) -> Repository:
    """The folder of -o, by default out/<model>-<service>-<precision>; see `services.next_version`."""
    folder = output or Path("out", f"{name}-{service}-{precision}")
    return Repository(service, folder, next_version(service, folder, name))


def configured(repository: Repository) -> list[Path]:
    """Tell the server about the version, which is published by now; returns the files written."""
    return configure(repository.service, repository.folder, open_bundle(repository.version))


def as_document(repository: Repository, files: Sequence[Path]) -> dict[str, Any]:
    """For --json."""
    return {
        "service": {
            "name": repository.service,
            "repository": str(repository.folder),
            "version": int(repository.version.name),
            "files": [str(path) for path in files],
        }
    }


def show_service(console: Console, repository: Repository, files: Sequence[Path]) -> None:
    """What was written for the server, and how it is started."""
    console.print(Text.assemble(("Service ", "bold"), ", ".join(map(str, files))), soft_wrap=True)
    command = COMMANDS[repository.service].format(folder=repository.folder.absolute())
    console.print(Text.assemble(("Serve   ", "bold"), (command, "green")), soft_wrap=True)
