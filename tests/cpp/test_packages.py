"""What an install or a package takes along: all that a device needs, and nothing of the machine that built it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .building import ROOT, SOURCE, run

BUNDLE, PIXELS = SOURCE / "tests/data/tiny", SOURCE / "tests/data/pixels.npy"
SYSTEM = ("/lib", "/usr/lib")


def answer(program: Path, **variables: str) -> str:
    """What a program prints of the bundle, from a folder that is not its own, in an environment with nothing in it."""
    done = subprocess.run([program, BUNDLE, PIXELS], cwd="/", env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(prefix: Path) -> None:
    """A tree with bin and lib, which may be anywhere."""
    program, [library] = prefix / "bin/hamsa-run", list(prefix.glob("lib*/libhamsa_runtime.so.*.*.*"))
    assert "ant" in answer(program)
    loaded = re.findall(r"=> (.+) \(0x", answer(program, LD_TRACE_LOADED_OBJECTS="1"))
    assert any("libopenvino.so" in path for path in loaded)
    assert all(path.startswith((str(prefix), *SYSTEM)) for path in loaded), loaded
    assert runpath(program) == "$ORIGIN/../lib:$ORIGIN/../lib/hamsa_runtime"
    assert runpath(library) == "$ORIGIN/hamsa_runtime"
    ours = [program, library, *prefix.glob("lib/cmake/**/*.cmake")]
    assert len(ours) >= 5
    for path in ours:
        assert not [folder for folder in (ROOT, sys.prefix) if str(folder).encode() in path.read_bytes()], path


def runpath(file: Path) -> str:
    [found] = re.findall(r"\(RUNPATH\).*\[(.*)\]", run(["readelf", "-d", file], file.parent))
    return str(found)


def test_an_install_runs_wherever_it_is_moved(build: Path, tmp_path: Path) -> None:
    run(["cmake", "--install", build, "--prefix", tmp_path / "here"], tmp_path)
    (tmp_path / "here").rename(tmp_path / "and there")
    check(tmp_path / "and there")
    licences = {path.name for path in (tmp_path / "and there/share/doc").rglob("*LICENSE*")}
    assert licences == {"LICENSE"}
    shutil.rmtree(tmp_path / "and there")  # an engine weighs 150 MB


@pytest.mark.slow
def test_packages_have_the_engine_in_them_and_name_what_else_they_need(build: Path, tmp_path: Path) -> None:
    """A .tar.gz for any folder, and where dpkg-shlibdeps is, a .deb for the system that built it."""
    run(["cpack", "--config", build / "CPackConfig.cmake", "-B", tmp_path], tmp_path)
    [archive] = tmp_path.glob("hamsa-runtime-*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    [prefix] = (tmp_path / "unpacked").iterdir()
    check(prefix)
    if shutil.which("dpkg-shlibdeps") is None:
        pytest.skip("no .deb: dpkg-dev is not installed")
    [package] = tmp_path.glob("hamsa-runtime_*.deb")
    run(["dpkg-deb", "--extract", package, tmp_path / "root"], tmp_path)
    check(tmp_path / "root/usr")
    needed = run(["dpkg-deb", "--field", package, "Depends"], tmp_path)
    assert {"libc6", "libssl3", "libstdc++6"} <= {name.split()[0].removesuffix("t64") for name in needed.split(", ")}
