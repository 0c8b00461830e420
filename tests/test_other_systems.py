"""Windows and macOS, as far as Linux can stand in for them: without what only POSIX has, and with files that refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.pipeline.test_staging import MANIFEST

ROOT = Path(__file__).parents[1]

# Other packages come first: how they get along on another system is theirs.
RUNS = """
import warnings
import sys
warnings.simplefilter("ignore")
{packages}
from tests import as_on_windows
as_on_windows.hide()
import hamsa_runtime.locks
assert not hamsa_runtime.locks.HAS_FLOCK
{imports}
as_on_windows.refuse()
{does}
"""


def _run(packages: str, imports: str, does: str, folder: Path) -> str:
    code = RUNS.format(packages=packages, imports=imports, does=does)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    environment["TMPDIR"] = str(folder)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


EXPORT = """
import importlib, json, pkgutil
import hamsa_deploy
modules = [m.name for p in (hamsa_runtime, hamsa_deploy) for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
for name in modules:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # an engine that is not installed
        assert error.name not in as_on_windows.MODULES, f"{name}: {error}"
staging = sys.modules["hamsa_deploy.pipeline.staging"]
staging.WINDOWS = True
"""
EXPORTED = """
code = hamsa_deploy.cli.export.main(["--model", "hamsa_nano", "--to", "onnx", "-o", "bundle"])
with hamsa_runtime.Engine("bundle") as engine:
    logits = engine(numpy.zeros((2, 32, 32, 3), numpy.uint8))["logits"]
print("\\n" + json.dumps([code, list(logits.shape), len(modules), os.listdir()]))
"""


def test_both_packages_export_and_run_without_what_only_posix_has(tmp_path: Path) -> None:
    packages = "import os, numpy, onnx, onnxruntime, onnxscript, openvino, rich, torch, torch.export, torch.onnx"
    found = _run(packages, EXPORT, EXPORTED, tmp_path)
    code, shape, modules, left = json.loads(found.splitlines()[-1])
    assert (code or 0, shape, left) == (0, [2, 10], ["bundle"])
    assert modules > 300


STAGING = """
from hamsa_runtime import locks, whole_files
from hamsa_deploy.pipeline import staging
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import manifest_from_json
import hamsa_runtime.tensorrt.cache
staging.WINDOWS = True
manifest = manifest_from_json(MANIFEST)

def write(content):
    with staging.staged_bundle("bundle") as stage:
        (stage.folder / "notes").mkdir()
        (stage.folder / "notes" / "data.bin").write_bytes(content)
        stage.write_manifest(manifest)
        stage.publish()

def refused(content):
    try:
        write(content)
    except InputError as error:
        return str(error)
"""
STAGED = """
data = Path("bundle/notes/data.bin")
write(b"old"); write(b"new")
seen = [data.read_bytes() == b"new"]
with data.open("rb") as stream:
    why = refused(b"newer")
    seen.append("what a program reads" in why and stream.read() == b"new")
write(b"newest")
seen.append(data.read_bytes() == b"newest")
Path(".file.tmp-1-deadbeef").mkdir(); Path(".file.tmp-2-deadbeef").touch(); Path(".file.tmp-3-deadbeef.lock").touch()
with whole_files.temporary_folder(Path("file").absolute()) as held:
    for text in (b"old", b"new"):
        whole_files.replace_file(Path("file"), text)
    seen.append(sorted(os.listdir()) == sorted([held.name, held.name + ".lock", "bundle", "file"]))
with whole_files.scratch_folder() as folder, whole_files.scratch_folder():
    seen.append(folder.is_dir())
waits = []
with locks.kept_lock(Path("plan.lock"), lambda: None):
    def wait():
        waits.append(1)
        if len(waits) > 2:
            raise TimeoutError
    try:
        with locks.kept_lock(Path("plan.lock"), wait):
            pass
    except TimeoutError:
        seen.append(True)
print(seen, sorted(os.listdir()))
"""


def test_files_and_locks_where_what_is_open_is_not_replaced(tmp_path: Path) -> None:
    before = f"import os, torch; from pathlib import Path; MANIFEST = {json.dumps(MANIFEST).encode()!r}"
    assert _run(before, STAGING, STAGED, tmp_path) == f"{[True] * 6} ['bundle', 'file']\n"
