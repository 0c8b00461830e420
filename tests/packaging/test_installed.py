"""Wheels and source distributions, each installed in an environment of its own, and used from an empty folder there."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from .distributions import PACKAGES, build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A wheel and a source distribution of each package."""
    pytest.importorskip("build", reason="make package installs it")
    return build(tmp_path_factory.mktemp("dist"))


def environment(folder: Path) -> Path:
    """A new environment's Python, which sees what ours depends on, and not our editable installs: those are in .pth
    files, which count only in an environment's own folder."""
    venv.create(folder, with_pip=False)
    [site] = folder.glob("lib/python*/site-packages")
    seen = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in seen))
    return folder / "bin/python"


def run(python: Path, *words: str | Path, folder: Path) -> str:
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([python, *words], cwd=folder, env=outside, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout


@pytest.mark.parametrize("suffix", [".whl", ".tar.gz"])
def test_an_installed_package_works_without_the_checkout(
    distributions: list[Path], suffix: str, tmp_path: Path
) -> None:
    files = [file for file in distributions if file.name.endswith(suffix)]
    assert len(files) == len(PACKAGES)
    python = environment(tmp_path / "environment")
    pip = ["-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    # Of a source distribution, the setuptools of our own environment makes a wheel.
    run(Path(sys.executable), *pip, "--no-index", "--no-deps", "--no-build-isolation", *files, folder=tmp_path)
    (tmp_path / "empty").mkdir()
    printed = run(python, "-I", Path(__file__).with_name("installed.py"), folder=tmp_path / "empty")
    assert f"in {tmp_path / 'environment'}: hamsa, hamsa-bench, hamsa-build, " in printed


def test_the_metadata_are_what_an_index_takes(distributions: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("twine", reason="make package installs it")
    printed = run(Path(sys.executable), "-m", "twine", "check", "--strict", *distributions, folder=tmp_path)
    assert printed.count("PASSED") == len(distributions) == 2 * len(PACKAGES)
