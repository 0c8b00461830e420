"""The README's commands, run as they stand there, in an empty folder with the files that they name."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hamsa_deploy.cli.inputs import read_preprocessing
from hamsa_deploy.models.preprocessing import IMAGENET

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


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
QUICK = re.compile("hamsa-export *(--onnx|--model mynet)|hamsa-doctor|hamsa-fix")
COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("hamsa-")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader would have: a checkpoint, some photographs, a model of their own and an ONNX file of it."""
    path = tmp_path_factory.mktemp("readme")
    shutil.copy(ROOT / "hamsa_deploy/models/weights/hamsa_nano.safetensors", path / "mine.safetensors")
    shutil.copytree(ROOT / "hamsa_deploy/samples/photos", path / "photos", ignore=shutil.ignore_patterns("LICENSE"))
    shutil.copy(path / "photos/china_00.jpg", path / "photo.jpg")
    shutil.copytree(ROOT / "hamsa_deploy/samples/clips", path / "clips")
    shutil.copy(ROOT / "examples/denoiser/denoiser.py", path / "denoiser.py")
    shutil.copytree(ROOT / "export", path / "export")
    (path / "mynet.py").write_text(next(block for block in blocks("python") if "def make" in block))
    run([sys.executable, "-c", EXPORT_BY_SOMEBODY_ELSE], path)
    return path


# All commands in one process, as their entry points: each would import PyTorch anew.
DRIVER = """
import json, sys
from importlib.metadata import entry_points
for words in json.load(sys.stdin):
    [command] = entry_points(group="console_scripts", name=words[0])
    sys.argv = words
    code = command.load()()
    if code:
        sys.exit(f"{' '.join(words)}: exit code {code}")
"""


def run(command: list[str], folder: Path, given: str = "") -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, input=given, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def words(command: str) -> list[str]:
    """Without the comment."""
    return command.split("  #")[0].split()


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 5
    found = {command.split()[0] for command in COMMANDS}
    # hamsa-build: on a device
    assert found == {"hamsa-export", "hamsa-parity", "hamsa-doctor", "hamsa-bench", "hamsa-fix"}


def test_the_first_commands_and_then_the_programs_work(folder: Path) -> None:
    quick = [words(command) for command in COMMANDS if QUICK.match(command)]
    assert len(quick) == 4
    run([sys.executable, "-c", DRIVER], folder, json.dumps(quick))
    for program in blocks("python"):
        if "def make" not in program:
            run([sys.executable, "-W", "error::UserWarning", "-c", program], folder)


@pytest.mark.slow
def test_every_command_works(folder: Path) -> None:
    """In their order: later ones read what earlier ones have written."""
    for command in COMMANDS:
        run(words(command), folder)


def test_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_preprocessing_in_the_readme_is_read(tmp_path: Path) -> None:
    (tmp_path / "pixels.toml").write_text(next(block for block in blocks("toml") if "crop_fraction" in block))
    assert read_preprocessing(tmp_path / "pixels.toml") == IMAGENET
