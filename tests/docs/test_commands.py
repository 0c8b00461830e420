"""The commands and programs of README.md and docs/, run as they stand there, in a folder with what they name."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hamsa_deploy.cli.images import read_preprocessing
from hamsa_deploy.models.preprocessing import IMAGENET

from .pages import DOCS, ROOT, blocks

EXPORT_BY_SOMEBODY_ELSE = """
import mynet, torch
torch.onnx.export(
    mynet.make().eval(), (torch.zeros(2, 64, 16),), "theirs.onnx", dynamo=True, external_data=False,
    dynamic_shapes=({0: torch.export.Dim("batch")},), input_names=["x"], output_names=["y"],
)
"""
# A first hour's commands, but for the bare `hamsa-export`, which tests/cli run, and whose export a program repeats.
# The others take minutes in all and do nothing that tests/cli and tests/sweep do not do on a smaller model: `make slow`
# runs every command.
QUICK = re.compile("hamsa (export *(--onnx|--model mynet)|doctor|fix)")
COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("hamsa")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader would have: a checkpoint, some photographs, a model of their own and an ONNX file of it."""
    path = tmp_path_factory.mktemp("reader")
    shutil.copy(ROOT / "hamsa_deploy/models/weights/hamsa_nano.safetensors", path / "mine.safetensors")
    shutil.copytree(ROOT / "hamsa_deploy/samples/photos", path / "photos", ignore=shutil.ignore_patterns("LICENSE"))
    shutil.copy(path / "photos/china_00.jpg", path / "photo.jpg")
    shutil.copytree(ROOT / "hamsa_deploy/samples/clips", path / "clips")
    shutil.copy(ROOT / "examples/denoiser/denoiser.py", path / "denoiser.py")
    (path / "mynet.py").write_text(next(block for block in blocks("python") if "def make" in block))
    run([sys.executable, "-c", EXPORT_BY_SOMEBODY_ELSE], path)
    return path


# All in one process, as each would import PyTorch anew: commands, and then programs, each with names of its own.
DRIVER = """
import json, sys, warnings
from hamsa_runtime.cli.hamsa import main
commands, programs = json.load(sys.stdin)
for words in commands:
    code = main(words)
    if code:
        sys.exit(f"hamsa {' '.join(words)}: exit code {code}")
warnings.simplefilter("error", UserWarning)
sys.path.insert(0, "")
for program in programs:
    print(program)
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})
"""


def run(command: list[str], folder: Path, given: str = "") -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, input=given, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def words(command: str) -> list[str]:
    """Behind `hamsa`, without the comment."""
    return command.split("  #")[0].split()[1:]


def test_the_pages_have_commands() -> None:
    assert len(COMMANDS) >= 5
    found = {words(command)[0] for command in COMMANDS}
    # hamsa build: on a device
    assert found == {"export", "parity", "doctor", "bench", "embed", "fix"}


def test_the_first_commands_and_then_the_programs_work(folder: Path) -> None:
    quick = [words(command) for command in COMMANDS if QUICK.match(command)]
    assert len(quick) == 4
    programs = [program for program in blocks("python") if "def make" not in program]
    assert len(programs) >= 5
    run([sys.executable, "-c", DRIVER], folder, json.dumps([quick, programs]))


@pytest.mark.slow
def test_every_command_works(folder: Path) -> None:
    """In their order: later ones read what earlier ones have written."""
    for command in COMMANDS:
        run([sys.executable, "-m", "hamsa_runtime", *words(command)], folder)


def test_the_preprocessing_in_the_pages_is_read(tmp_path: Path) -> None:
    [pixels] = blocks("toml", DOCS / "checkpoints.md")
    (tmp_path / "pixels.toml").write_text(pixels)
    assert read_preprocessing(tmp_path / "pixels.toml") == IMAGENET
