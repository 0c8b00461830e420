"""The packages that are published: source archives, from which wheels for any system are built without a network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from hamsa_runtime.vocabulary import SCHEMA

ROOT = Path(__file__).parents[2]
BUILT = ("__pycache__", "*.egg-info", "build", "site", "node_modules")
BUILDS = "import sys, setuptools.build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"
# Of the folder that `make page` fills, which a checkout may lack.
PAGE = ("index.html", "assets/index-D_a9.js", "assets/ort-wasm.wasm")


def built(what: str, source: Path, folder: Path) -> Path:
    """An archive, by what pip and build call: in a process of its own, in the folder of the source."""
    command = [sys.executable, "-c", BUILDS, f"build_{what}", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / done.stdout.split()[-1]


def unpacked(archive: Path, folder: Path) -> Path:
    """The one folder in a source archive."""
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    [found] = folder.iterdir()
    return found


def files_in(folder: Path) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder.parent).as_posix() for path in paths}


def copied(names: tuple[str, ...], source: Path, folder: Path) -> Path:
    """A checkout, without what earlier builds have left."""
    folder.mkdir()
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns(*BUILT))
        else:
            shutil.copy(source / name, folder / name)
    return folder


def content(wheel: Path, package: str) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if name.startswith(f"{package}/")}


def test_the_runtime_is_built_of_its_source_for_any_system(tmp_path: Path) -> None:
    names = ("pyproject.toml", "README.md", "LICENSE", "hamsa_runtime")
    source = copied(names, ROOT / "runtimes/python", tmp_path / "checkout")
    archive = unpacked(built("sdist", source, tmp_path), tmp_path / "source")
    wheel = built("wheel", archive, tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert content(wheel, "hamsa_runtime") == files_in(source / "hamsa_runtime")
    with zipfile.ZipFile(wheel) as file:
        assert json.loads(file.read("hamsa_runtime/manifest.schema.json")) == SCHEMA


def test_the_exporter_is_built_of_its_source_for_any_system(tmp_path: Path) -> None:
    names = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "hamsa_deploy", "export")
    source = copied(names, ROOT, tmp_path / "checkout")
    for name in PAGE:
        path = source / "hamsa_deploy/targets/site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"of the page")
    archive = unpacked(built("sdist", source, tmp_path), tmp_path / "source")
    assert (archive / "CHANGELOG.md").is_file()
    wheel = built("wheel", archive, tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
    found = content(wheel, "hamsa_deploy")
    assert found == files_in(source / "hamsa_deploy")
    assert found >= {f"hamsa_deploy/targets/site/{name}" for name in PAGE}
    assert "hamsa_deploy/recipes/onnxruntime-cpu.toml" in found
    assert found >= {f"hamsa_deploy/models/weights/{name}.safetensors" for name in ("hamsa_nano", "vim_nano")}
