"""What can be checked of the Jetson example without a Jetson and without Docker: Dockerfile, commands, run.py."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hamsa_deploy.cli import doctor, export
from hamsa_deploy.cli.jetpack import JETPACKS
from hamsa_runtime.cli import build

from .conftest import EXAMPLES
from .dockerfiles import copies, following

ROOT = EXAMPLES.parent
JETSON = EXAMPLES / "jetson"
DOCKERFILE = (JETSON / "Dockerfile").read_text()
README = (JETSON / "README.md").read_text()
PINNED_IMAGE = re.compile(r"nvcr\.io/nvidia/[\w-]+:[\w.-]*\d[\w.-]*")


def commands(program: str) -> list[list[str]]:
    """The arguments of each call of a program in the README, in blocks and in the text."""
    found = re.findall(rf"(?:^|[ `/]){re.escape(program)}((?: [^\n`|]*)?)(?:$|`|\|)", README, re.MULTILINE)
    return [shlex.split(words, comments=True) for words in found if words.strip()]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the image, copied as Docker would copy them."""
    root = tmp_path_factory.mktemp("image")
    for sources, destination in copies(JETSON / "Dockerfile"):
        target = root / destination.lstrip("/")
        for source in sources:
            path = ROOT / source
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "build"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target / path.name)
    return root / "opt/hamsa"


def test_the_base_and_all_packages_have_a_version() -> None:
    arguments = dict(words.split("=", 1) for words in following(JETSON / "Dockerfile", "ARG"))
    assert PINNED_IMAGE.fullmatch(arguments["BASE"])
    assert f"`{arguments['BASE']}`, the default" in README
    assert "cuda-python==${CUDA_PYTHON}" in DOCKERFILE
    pins = [line.split("#")[0].strip() for line in (JETSON / "requirements.txt").read_text().splitlines()]
    tested = (ROOT / "constraints.txt").read_text().lower().splitlines()
    for pin in filter(None, pins):
        assert any(line.split(";")[0] == pin.lower() for line in tested), f"{pin} is not what the tests run with"


def test_scripts_use_what_was_copied() -> None:
    for script in following(JETSON / "Dockerfile", "RUN"):
        for path in re.findall(r"/opt/hamsa/\S+", script):
            assert any(path.startswith(destination) for _, destination in copies(JETSON / "Dockerfile"))


def test_the_table_of_bases_says_what_hamsa_doctor_knows() -> None:
    known = {each.name: f"TensorRT {each.tensorrt}, CUDA {each.cuda}, Python {each.python}" for each in JETPACKS}
    rows = re.findall(r"^\| (7\S*|6\S*)((?:, [\d.]+)*) \(\w+\) \| `(\S+)`.*? \| (.*) \|$", README, re.MULTILINE)
    assert len(rows) == 2
    for first, others, base, content in rows:
        assert PINNED_IMAGE.fullmatch(base)
        for name in (first + others).replace(",", "").split():
            assert known[name] == content


def test_export_commands_would_be_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "hamsa_deploy/samples/photos", tmp_path / "photos", ignore=shutil.ignore_patterns("LICENSE"))
    shutil.copy(ROOT / "hamsa_deploy/models/weights/hamsa_nano.safetensors", tmp_path / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    found = [words for words in commands("hamsa-export") if "--recipe" in words]
    assert len(found) == 2
    for words in found:
        assert export.main([*words, "--dry-run", "--quiet"]) == 0, words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.safetensors", "photos"]


def test_the_other_commands_have_these_options(capsys: pytest.CaptureFixture[str]) -> None:
    builds = commands("hamsa-build")
    assert builds == [["/data/orin"], ["--workspace", "256", "BUNDLE"], ["--rebuild", "BUNDLE"]]
    for words in builds:
        build.parser().options_from(words)
    assert "~/doctor/bin/hamsa-doctor\n" in README
    with pytest.raises(SystemExit, match="0"):
        doctor.main(["--help"])
    assert "hamsa-doctor" in capsys.readouterr().out


def test_the_programs_in_the_image_run(image: Path, bundle: Path, digit_files: list[Path], tmp_path: Path) -> None:
    """As step 4 calls them, on a bundle for the engine that is here."""
    pytest.importorskip("faiss", reason="search.py needs faiss-cpu")
    (tmp_path / "photos").mkdir()
    shutil.copy(digit_files[0], tmp_path / "photos/photo.jpg")
    paths = {"/opt/hamsa": image, "/data/orin": bundle, "/data": tmp_path}
    environment = {**os.environ, "PYTHONPATH": str(image / "runtime")}
    calls = re.findall(r"in_hamsa python3 (.*)", README)
    printed = []
    for call in calls:
        for name, path in paths.items():
            call = re.sub(rf"(?<!\S){name}(?=[/ ]|$)", str(path), call)
        done = subprocess.run([sys.executable, *call.split()], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    run, index, query = printed
    assert re.search(r"photo\.jpg: 7 \d+\.\d%, \d .*; p50 \d+\.\d\d ms, p99 \d+\.\d\d ms\n", run)
    assert "1 embedded" in index
    assert query == f"1.0000  {tmp_path / 'photos/photo.jpg'}\n"
