"""`hamsa`: every command under one name, here and in hamsa-deploy. Imports a command's module once it is named.

hamsa-build and `hamsa build` are the same code; COMMANDS is the one list of them. Commands of hamsa-deploy are named by
their modules only: on a device, where it is not installed, they say so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from hamsa_runtime.cli.parser import exit_code_of
from hamsa_runtime.errors import InputError, MissingError, nearest

DEPLOY = "hamsa_deploy"


class Command(NamedTuple):
    """One command.

    Attributes:
        module: has `parser(prog)`, and `main(argv, prog)`, which returns the exit code.
        help: for the list.
    """

    module: str
    help: str

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]


COMMANDS = {
    "export": Command("hamsa_deploy.cli.export", "from a PyTorch model or an ONNX file to a bundle, compared with it"),
    "parity": Command("hamsa_deploy.cli.parity", "does a bundle still compute what its original computes?"),
    "bench": Command("hamsa_deploy.cli.bench", "how fast bundles are here, beside each other and beside peers"),
    "models": Command("hamsa_deploy.cli.models", "what can be exported by name: sizes, inputs, weights, sources"),
    "doctor": Command("hamsa_deploy.cli.doctor", "what this machine can build and run, and what is missing"),
    "run": Command("hamsa_runtime.cli.run", "a bundle on images, clips or arrays"),
    "embed": Command("hamsa_runtime.cli.embed", "a whole collection of images or clips, to vectors in Parquet files"),
    "build": Command("hamsa_runtime.cli.build", "the TensorRT plan of a bundle, on the device that is to run it"),
    "fix": Command("hamsa_runtime.cli.fix", "an ONNX file with its DFT and STFT as matrix products"),
    "sign": Command("hamsa_runtime.cli.sign", "keys, signatures, and whether a bundle is yours"),
    "completion": Command("hamsa_runtime.cli.completion", "a script that completes all this in your shell"),
}
# What people call them, here and elsewhere.
CALLED = {
    "convert": "export",
    "compile": "export",
    "sweep": "export --sweep",
    "quantize": "export --int8",
    "optimize": "export",
    "val": "parity",
    "validate": "parity",
    "verify": "parity",
    "compare": "parity",
    "benchmark": "bench",
    "profile": "bench",
    "list": "models",
    "zoo": "models",
    "predict": "run",
    "infer": "run",
    "classify": "run",
    "detect": "run",
    "segment": "run",
    "serve": "export --to triton",
    "inspect": "run",
    "info": "doctor",
    "checks": "doctor",
    "env": "doctor",
}
USAGE = """usage: hamsa COMMAND ...
       hamsa COMMAND --help

Takes vision models with Fourier transforms and state spaces from PyTorch to the device, checked.

commands:
{commands}

hamsa --version says which versions these are. hamsa-export and other names with a hyphen are the same commands, but for
hamsa-run, which is that of the runtime in C++.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first word names; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        return main([words[1], "--help"]) if words[1:] else _show(usage())
    if words[0] in ("--version", "-V", "version"):
        return _show(versions())
    return exit_code_of(lambda: run_of(words[0])(words[1:], prog=f"hamsa {words[0]}"))


def usage() -> str:
    """The list of commands, with what is not installed."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {each.help}{_note(each)}" for name, each in COMMANDS.items()]
    return USAGE.format(commands="\n".join(lines))


def versions() -> str:
    """Of the packages that are here."""
    here = [package for package in (DEPLOY, "hamsa_runtime") if is_here(package)]
    return ", ".join(f"{name.replace('_', '-')} {import_module(name).__version__}" for name in here) + "\n"


def run_of(name: str) -> Callable[..., int]:
    """The `main` of a command.

    Raises:
        InputError: there is no such command.
        MissingError: it belongs to hamsa-deploy, which is not installed.
    """
    main: Callable[..., int] = module_of(name).main
    return main


def module_of(name: str) -> Any:
    """The module of a command; errors as for `run_of`."""
    if name not in COMMANDS:
        meant = CALLED.get(name.lower(), name.lower().removeprefix("hamsa-"))
        is_ours = meant.partition(" ")[0] in COMMANDS
        raise InputError(
            f"hamsa: there is no command {name!r}",
            expected=f"one of {', '.join(COMMANDS)}",
            fix=f"hamsa {meant}" if is_ours else nearest(meant, COMMANDS),
        )
    command = COMMANDS[name]
    if not is_here(command.package):
        raise MissingError(
            f"hamsa {name} belongs to hamsa-deploy, which is not installed here",
            cause="hamsa-runtime alone, as on a device: it runs bundles, and does not make them",
            fix="pip install hamsa-deploy, on the workstation",
        )
    return import_module(command.module)


def is_here(package: str) -> bool:
    """Whether it can be imported."""
    return find_spec(package) is not None


def _note(command: Command) -> str:
    return "" if is_here(command.package) else f" (not here: pip install {command.package.replace('_', '-')})"


def _show(text: str) -> int:
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:  # of `hamsa | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
