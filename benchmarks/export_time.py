"""How long hamsa-export takes, and how much memory.

    python benchmarks/export_time.py [--rounds 5] [--only plan ...]

Each command is a process of its own, imports and all, in turn round by round. CPU seconds are those of the process on
all cores: on a busy machine they say more than the clock. The largest exports, of 1248 pixels, run once.
"""

# Nothing large is imported here: the system counts a process's memory from before it becomes another program.

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tables

COLUMNS = {"hamsa-export": "", "s": ".2f", "CPU s": ".2f", "peak MiB": ".0f", "goal": ""}

# As of an installed package: modules that are compiled anew each time would take half a second.
WITH_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}


class Command(NamedTuple):
    """What is run, what it should not exceed, and whether it is worth several rounds."""

    arguments: Sequence[str]
    goal: str = ""
    repeated: bool = True
    code: int = 0


class Taken(NamedTuple):
    seconds: float
    cpu_seconds: float
    mebibytes: float


COMMANDS = {
    "typo": Command(["--modl", "hamsa_nano"], "0.5 s", code=2),
    "plan": Command(["--dry-run"], "3 s"),
    "nano-onnx": Command(["--to", "onnx"], "6 s"),
    "nano-openvino": Command(["--to", "openvino"], "6 s"),
    "s-openvino": Command(["--model", "hamsa_s", "--to", "openvino"], "20 s"),
    "s-1248-openvino": Command(
        ["--model", "hamsa_s", "--set", "image_size=1248", "--to", "openvino"], "5 GiB", repeated=False
    ),
    "s-1248-onnx": Command(["--model", "hamsa_s", "--set", "image_size=1248", "--to", "onnx"], "5 GiB", repeated=False),
}


def main() -> None:
    parser = tables.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS), metavar="NAME")
    options, report = tables.begin(parser)
    taken: dict[str, list[Taken]] = {name: [] for name in options.only}
    for number in range(options.rounds):
        for name in options.only:
            if number == 0 or COMMANDS[name].repeated:
                taken[name].append(measured(COMMANDS[name]))
                print(f"round {number + 1}, {name}: {taken[name][-1].seconds:.1f} s", file=sys.stderr, flush=True)
    report.show("Exports", COLUMNS, [row(COMMANDS[name], each) for name, each in taken.items()])


def measured(command: Command) -> Taken:
    """One run, in a folder of its own.

    Raises:
        RuntimeError: it ended otherwise than it should; with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder, "said")
        with said.open("wb") as errors:
            words = [sys.executable, "-m", "hamsa_deploy.cli.export", "--quiet", *command.arguments]
            start = time.perf_counter()
            process = subprocess.Popen(  # noqa: S603  # our own
                words, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors, env=os.environ | WITH_BYTECODE
            )
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would wait for it
        if process.returncode != command.code:
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}: {said.read_text('utf-8')}")
    return Taken(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def row(command: Command, taken: Sequence[Taken]) -> tables.Row:
    """The command, and what its runs took."""
    return [" ".join(command.arguments), *map(tables.spread, zip(*taken, strict=True)), command.goal]


if __name__ == "__main__":
    main()
