"""Full disks, kills, two writers: a reader of the destination sees the old bundle or the new one, and no leftovers."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hamsa_deploy.pipeline.staging import Stage, staged_bundle
from hamsa_runtime import Engine, folders, open_bundle
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Manifest, manifest_from_json
from tests.unprivileged import unprivileged

TENSOR = {"dtype": "float32", "shape": ["batch", 2]}
MANIFEST: dict[str, Any] = {
    "schema": 1,
    "name": "tiny",
    "model": {"reference": "tests:tiny", "config": {"depths": (1, 2)}, "weights": None, "parameters": 0},
    "inputs": [{"name": "x", "layout": None, **TENSOR}],
    "outputs": [{"name": "y", **TENSOR}],
    "preprocessing": None,
    "labels": None,
    "target": "onnx",
    "precision": "fp32",
    "options": {},
    "plan": [],
    "files": {},
    "versions": {},
    "calibration": None,
    "parity": None,
}


def manifest(**changes: Any) -> Manifest:
    return manifest_from_json(json.dumps(MANIFEST | changes).encode())


def fill(stage: Stage, content: bytes = b"new", **changes: Any) -> None:
    """Two files, one of them in a sub-folder, and a manifest."""
    (stage.folder / "data.bin").write_bytes(content)
    (stage.folder / "notes").mkdir(exist_ok=True)
    (stage.folder / "notes" / "plan.txt").write_text("dense")
    stage.write_manifest(manifest(**changes))


def write(folder: Path, content: bytes = b"new", **changes: Any) -> None:
    with staged_bundle(folder) as stage:
        fill(stage, content, **changes)
        stage.publish()


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, and every folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"<folder>"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A bundle that is there already, alone in its parent folder."""
    parent = tmp_path / "parent"
    write(parent / "bundle", b"old")
    return parent / "bundle"


def test_a_published_bundle_is_complete(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "bundle")
    bundle = open_bundle(tmp_path / "a" / "b" / "bundle")
    bundle.verify()
    assert sorted(bundle.manifest.files) == ["data.bin", "notes/plan.txt"]
    assert bundle.manifest.files["data.bin"].sha256 == hashlib.sha256(b"new").hexdigest()
    text = (bundle.folder / "manifest.json").read_text()
    document = json.loads(text)
    assert text == json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert document["model"]["config"] == {"depths": [1, 2]}
    assert list((tmp_path / "a" / "b").iterdir()) == [bundle.folder]


def test_publish_returns_the_bundle_at_its_place(tmp_path: Path) -> None:
    with staged_bundle(tmp_path / "bundle") as stage:
        fill(stage)
        bundle = stage.publish()
        with pytest.raises(InputError, match="published already"):
            stage.publish()
    assert bundle.folder == tmp_path / "bundle"
    bundle.verify()


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the system's C library had no renameat2."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())


@pytest.mark.parametrize("exchange", ["renameat2", "two renames"])
def test_an_old_bundle_is_replaced_whole(old: Path, monkeypatch: pytest.MonkeyPatch, exchange: str) -> None:
    if exchange == "two renames":
        without_exchange(monkeypatch)
    with staged_bundle(old) as stage:
        (stage.folder / "only in the old one.txt").write_text("gone afterwards")
        fill(stage, b"old")
        stage.publish()
    write(old, b"new")
    assert not (old / "only in the old one.txt").exists()
    assert (old / "data.bin").read_bytes() == b"new"
    assert sorted(path.name for path in (old / "notes").iterdir()) == ["plan.txt"]
    assert list(old.parent.iterdir()) == [old]


def test_the_exchange_is_one_system_call_on_linux(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def second_way(*_: object) -> None:
        pytest.skip("this system or file system has no RENAME_EXCHANGE")

    with staged_bundle(old) as stage:
        fill(stage, b"new")
        monkeypatch.setattr(os, "rename", second_way)
        stage.publish()
        assert (old / "data.bin").read_bytes() == b"new"
        assert (stage.folder / "data.bin").read_bytes() == b"old"


def test_an_engine_runs_the_staged_bundle_before_it_is_published(old: Path) -> None:
    before = snapshot(old)
    node = helper.make_node("Neg", ["x"], ["y"])
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
    graph = helper.make_graph([node], "g", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    parity = {"reference": "torch", "images": 1, "metrics": {}, "thresholds": {}, "passed": True}
    with staged_bundle(old) as stage:
        onnx.save(model, stage.folder / "model.onnx")
        stage.write_manifest(manifest())
        with Engine(stage.folder) as engine:
            np.testing.assert_array_equal(engine(np.ones((3, 2), np.float32))["y"], -np.ones((3, 2)))
        assert snapshot(old) == before
        stage.write_manifest(manifest(parity=parity))
        stage.publish()
    assert open_bundle(old).manifest.parity is not None


def test_leaving_without_publish_discards_everything(old: Path, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    with staged_bundle(old) as stage:
        fill(stage)
    with staged_bundle(tmp_path / "x" / "y" / "new") as stage:
        fill(stage)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_discards_everything_and_passes_through(
    old: Path, tmp_path: Path, error: type[BaseException]
) -> None:
    before = snapshot(tmp_path)

    def fail_in_the_middle() -> None:
        with staged_bundle(old) as stage:
            fill(stage)
            raise error

    with pytest.raises(error):
        fail_in_the_middle()
    assert snapshot(tmp_path) == before


def fail_at(call: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """The function, but its `call`-th call finds the disk full."""
    calls = iter(range(10_000))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **kwargs)

    return wrapped


# the four files and folders of the staged bundle, the manifest, then the renames
@pytest.mark.parametrize(("name", "calls"), [("fsync", 5), ("rename", 2), ("mkdir", 1)])
def test_a_full_disk_leaves_the_old_bundle_as_it_was(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, calls: int
) -> None:
    before = snapshot(tmp_path)
    without_exchange(monkeypatch)  # the longer way, with renames that can fail
    for call in range(calls):
        with monkeypatch.context() as patch:
            if name == "mkdir":
                patch.setattr(Path, "mkdir", fail_at(call + 1, Path.mkdir))  # the first one is the parent's
            else:
                patch.setattr(os, name, fail_at(call, getattr(os, name)))
            with pytest.raises(InputError, match="No space left on device") as caught:
                write(old)
        assert str(old) in caught.value.found
        assert snapshot(tmp_path) == before, call


def test_a_full_disk_while_the_manifest_is_written(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(tmp_path)
    real = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        if path.name != "manifest.json":
            return real(path, data)
        real(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(InputError, match="No space left on device"):
        write(old)
    assert snapshot(tmp_path) == before


def test_a_rename_that_is_not_durable_yet_is_no_failure(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", fail_at(5, os.fsync))  # the parent's: after the swap
    write(old, b"new")
    assert (old / "data.bin").read_bytes() == b"new"


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "opnvino"},
        {"options": {"x": float("nan")}},
        {"options": {"x": {1}}},
        {"inputs": ()},
        {"labels": 7},
    ],
)
def test_a_manifest_that_no_reader_would_take_is_not_written(old: Path, changes: dict[str, Any]) -> None:
    before = snapshot(old.parent)
    with staged_bundle(old) as stage:
        with pytest.raises(InputError):
            stage.write_manifest(replace(manifest(), **changes))
        assert list(stage.folder.iterdir()) == []
    assert snapshot(old.parent) == before


def test_files_that_other_systems_would_have_otherwise_are_not_published(old: Path) -> None:
    with staged_bundle(old) as stage:
        for name in ("Model.onnx", "model.onnx"):
            (stage.folder / name).write_bytes(b"1")
        with pytest.raises(InputError, match=r"names is \['Model.onnx', 'model.onnx'\]"):
            stage.write_manifest(manifest())
        assert not (stage.folder / "manifest.json").exists()


def test_a_bundle_is_not_written_to_a_device_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "WINDOWS", True)
    with pytest.raises(InputError, match="Windows has no file or folder called 'nul'"), staged_bundle(tmp_path / "nul"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_publish_needs_a_manifest_that_still_fits_the_files(old: Path) -> None:
    before = snapshot(old.parent)
    with staged_bundle(old) as stage:
        with pytest.raises(InputError, match=r"no manifest\.json"):
            stage.publish()
        fill(stage)
        (stage.folder / "data.bin").write_bytes(b"changed after the manifest")
        with pytest.raises(InputError, match=r"data\.bin"):
            stage.publish()
        (stage.folder / "data.bin").unlink()
        (stage.folder / "data.bin").symlink_to("/etc/hostname")
        with pytest.raises(InputError, match="a link"):
            stage.write_manifest(manifest())
    assert snapshot(old.parent) == before


def test_only_bundles_and_empty_folders_are_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years")
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    before = snapshot(tmp_path)
    for destination in (home, tmp_path / "file"):
        with pytest.raises(InputError, match="refusing to replace"), staged_bundle(destination):
            pytest.fail("checked before the work, not after it")
    with pytest.raises(InputError, match="cannot be written"), staged_bundle(tmp_path / "file" / "bundle"):
        pytest.fail("there is no such folder")
    assert snapshot(tmp_path) == before
    write(tmp_path / "empty")
    open_bundle(tmp_path / "empty").verify()


@pytest.mark.parametrize("name", ["notes.txt", "notes/mine.txt", ".hidden", "a link"])
def test_a_file_of_somebody_else_in_a_bundles_folder_is_not_deleted(old: Path, name: str) -> None:
    path = old / name
    path.symlink_to("/etc/hostname") if name == "a link" else path.write_text("mine")
    before = snapshot(old)
    with pytest.raises(InputError, match="no part of the bundle there") as caught, staged_bundle(old):
        pytest.fail("checked before the work, not after it")
    assert str(path) in str(caught.value)
    assert snapshot(old) == before


def test_a_bundle_whose_manifest_is_cut_is_replaced_if_nothing_else_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    for name in ("manifest.json", "manifest.sig", "model.onnx", "model.onnx.data", "state_0.bin"):
        (folder / name).write_text("{")
    write(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"data\.bin: a file that is no part"):
        write(folder)


def test_a_destination_that_fills_up_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with staged_bundle(tmp_path / "out") as stage:
        fill(stage)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("years")
        with pytest.raises(InputError, match="refusing"):
            stage.publish()
    assert snapshot(tmp_path) == {"out": b"<folder>", "out/thesis.tex": b"years"}


def test_a_link_to_a_bundle_is_followed(old: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(old)
    write(tmp_path / "latest", b"new")
    assert (tmp_path / "latest").is_symlink()
    assert (old / "data.bin").read_bytes() == b"new"


def test_names_with_spaces_unicode_and_pattern_characters(tmp_path: Path) -> None:
    for name in ("mein Modell 模型", "a*[b]", ".hidden"):
        write(tmp_path / name)
        (tmp_path / f".{name}.tmp-1-deadbeef").mkdir()  # a killed writer's
        write(tmp_path / name, b"again")
        assert (tmp_path / name / "data.bin").read_bytes() == b"again"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_relative_destination_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("bundle"))
    open_bundle("bundle").verify()
    assert (tmp_path / "bundle" / "manifest.json").is_file()


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder in which this process may not write, even when the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        with unprivileged():
            yield Path(name)


def test_a_read_only_folder_is_named(read_only: Path) -> None:
    for destination in (read_only / "bundle", read_only / "a" / "bundle"):
        with pytest.raises(InputError, match="Permission denied") as caught, staged_bundle(destination):
            pytest.fail("nothing can be written there")
        assert str(destination) in caught.value.found


KILLED = """
import ctypes, os, pathlib, signal, sys, types
from hamsa_deploy.pipeline import staging
from tests_of_bundle import fill

mode, folder = sys.argv[1:]
rename, fsync = pathlib.Path.rename, os.fsync

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def rename_or_die(path, target):
    return die() if ".tmp-" in path.name else rename(path, target)

def fsync_or_die(descriptor):
    return die() if pathlib.Path(folder, "data.bin").read_bytes() == b"new" else fsync(descriptor)

if mode == "between the two renames":
    ctypes.CDLL = lambda name: types.SimpleNamespace()
    pathlib.Path.rename = rename_or_die
if mode == "after the swap":  # what comes next is to make it durable
    os.fsync = fsync_or_die
with staging.staged_bundle(folder) as stage:
    fill(stage)
    if mode == "before publish":
        die()
    stage.publish()
"""


@pytest.mark.parametrize("mode", ["before publish", "between the two renames", "after the swap"])
def test_a_killed_writer_leaves_old_or_new_and_the_next_one_sweeps(old: Path, tmp_path: Path, mode: str) -> None:
    (tmp_path / "tests_of_bundle.py").write_text(Path(__file__).read_text())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    result = subprocess.run([sys.executable, "-c", KILLED, mode, old], env=environment, capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert len(list(old.parent.iterdir())) > 1  # it did leave something
    neighbour = old.parent / ".bundle2.tmp-1-deadbeef"
    neighbour.mkdir()
    with staged_bundle(old):
        bundle = open_bundle(old)
        bundle.verify()
        expected = b"new" if mode == "after the swap" else b"old"
        assert (old / "data.bin").read_bytes() == expected
    assert sorted(path.name for path in old.parent.iterdir()) == [".bundle2.tmp-1-deadbeef", "bundle"]


def _write_many(folder: Path, content: bytes, times: int) -> None:
    for _ in range(times):
        with staged_bundle(folder) as stage:
            fill(stage, content * 50_000)
            siblings = [path.name for path in folder.parent.iterdir() if ".tmp-" in path.name]
            if siblings != [stage.folder.name]:
                sys.exit(f"not alone: {siblings}")
            stage.publish()


def test_writers_of_one_bundle_take_turns_and_readers_always_find_one(old: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(old, letter, 15)) for letter in (b"a", b"b", b"c")]
    for each in writers:
        each.start()
    reads, deadline = 0, time.monotonic() + 60
    while any(each.is_alive() for each in writers) and time.monotonic() < deadline:
        reads += 1
        assert json.loads((old / "manifest.json").read_text())["name"] == "tiny"
    for each in writers:
        each.join(timeout=10)
    assert [each.exitcode for each in writers] == [0, 0, 0]
    assert reads > 0
    open_bundle(old).verify()
    assert list(old.parent.iterdir()) == [old]
