"""The calibration cache: another key for anything that changed, and no entry that is not what was stored."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir import DataType

from hamsa_deploy.precision import cache
from hamsa_deploy.precision.cache import PACKAGES, cache_key, load, store
from hamsa_runtime.whole_files import temporary_folder

KEY, OTHER = "0" * 64, "1" * 64
ARRAYS = {"/blocks.0/MatMul": np.arange(3.0), "file": np.array(["a", "Σ"]), "allow_pickle": np.zeros((0, 2), np.int8)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder, which is not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hamsa-deploy" / "calibration"


def model(weight: float = 1.0, axis: int = -1, batch: int | str = "batch", opset: int = 18) -> ir.Model:
    """y = softmax(x + w)."""
    x = ir.val("x", DataType.FLOAT, [batch, 3])
    w = ir.val("w", DataType.FLOAT, [3], const_value=ir.tensor(np.full(3, weight, np.float32), name="w"))
    add = ir.node("Add", [x, w], name="add")
    softmax = ir.node("Softmax", add.outputs, {"axis": axis}, name="softmax")
    for name, node in (("s", add), ("y", softmax)):
        node.outputs[0].name, node.outputs[0].dtype = name, DataType.FLOAT
        node.outputs[0].shape = ir.Shape([batch, 3])
    imports = {"": opset}
    graph = ir.Graph([x], softmax.outputs, nodes=[add, softmax], initializers=[w], opset_imports=imports, name="g")
    return ir.Model(graph, ir_version=10)


def key(changed: ir.Model | None = None, data: str = "d", **options: Any) -> str:
    return cache_key(changed or model(), data, {"method": "mse", "percentile": 99.99, **options})


CHANGES: dict[str, Callable[[], str]] = {
    "a weight": lambda: key(model(weight=1.0000001)),
    "an attribute": lambda: key(model(axis=0)),
    "a shape": lambda: key(model(batch=4)),
    "the opset": lambda: key(model(opset=17)),
    "an image": lambda: key(data="e"),
    "the method": lambda: key(method="entropy"),
    "an option": lambda: key(percentile=99.9),
    "one option more": lambda: key(batch=4),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whatever_changes_there_is_no_entry_for_it(folder: Path, change: Callable[[], str]) -> None:
    store(key(), ARRAYS)
    assert load(key()) is not None
    assert load(change()) is None


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("changed", ["99.0", None])
def test_another_version_of_a_package_is_another_key(
    monkeypatch: pytest.MonkeyPatch, package: str, changed: str | None
) -> None:
    before, installed = key(), metadata.Distribution.from_name

    def distribution(name: str) -> Any:
        if name != package:
            return installed(name)
        if changed is None:
            raise metadata.PackageNotFoundError(name)
        return SimpleNamespace(version=changed)

    try:
        known = installed(package).version
    except metadata.PackageNotFoundError:
        known = None
    monkeypatch.setattr(metadata.Distribution, "from_name", distribution)
    assert (key() == before) == (known == changed)


def test_another_format_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    assert key() != before


def test_where_nodes_came_from_does_not_count() -> None:
    moved = model()
    next(iter(moved.graph)).metadata_props["source"] = "model.py:7"
    assert key(moved) == key()


def test_what_was_stored_is_loaded_and_leaves_one_file(folder: Path) -> None:
    assert load(KEY) is None
    store(KEY, ARRAYS)
    found = load(KEY)
    assert found is not None
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert [path.name for path in folder.iterdir()] == [KEY]


def test_a_search_that_goes_on_replaces_its_entry(folder: Path) -> None:
    store(KEY, {"names": np.array(["a"]), "errors": np.array([0.5])})
    store(KEY, {"names": np.array(["a", "b"]), "errors": np.array([0.5, 0.25])})
    found = load(KEY)
    assert found is not None
    assert found["errors"].tolist() == [0.5, 0.25]


# From the entry and the one of another key.
DAMAGE: dict[str, Callable[[bytes, bytes], bytes]] = {
    "empty": lambda data, other: b"",
    "cut": lambda data, other: data[:-7],
    "cut in the hash": lambda data, other: data[:20],
    "a bit": lambda data, other: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    "longer": lambda data, other: data + b"\0",
    "something else": lambda data, other: b"<html></html>",
    "of another key": lambda data, other: other,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_or_foreign_entry_is_discarded_reported_and_replaced(
    folder: Path, damage: Callable[[bytes, bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    for each in (KEY, OTHER):
        store(each, ARRAYS)
    path = folder / KEY
    path.write_bytes(damage(path.read_bytes(), (folder / OTHER).read_bytes()))
    assert load(KEY) is None
    assert f"{path} is damaged: discarded, and measured again" in caplog.text
    assert not path.exists()
    store(KEY, ARRAYS)
    assert load(KEY) is not None


def test_a_folder_that_cannot_be_made_is_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.parent.parent.write_text("a file")
    store(KEY, ARRAYS)
    assert load(KEY) is None
    assert "the calibration cache cannot be written" in caplog.text
    assert "the calibration cache cannot be read" in caplog.text


def test_a_full_disk_is_a_warning_and_the_old_entry_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store(KEY, ARRAYS)
    monkeypatch.setattr(os, "fsync", full)
    store(KEY, {"x": np.ones(1)})
    assert "cannot be written ([Errno 28] No space left on device)" in caplog.text
    assert list(load(KEY) or {}) == list(ARRAYS)
    assert [path.name for path in folder.iterdir()] == [KEY]


def test_what_a_killed_process_left_is_removed(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / f".{OTHER}.tmp-1-deadbeef").write_bytes(b"half")
    with temporary_folder(folder / OTHER) as at_work:
        store(KEY, ARRAYS)
        assert {path.name for path in folder.iterdir()} == {KEY, at_work.name}


@pytest.mark.parametrize("base", ["", "relative/cache"])
def test_without_an_absolute_cache_folder_the_one_at_home_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    monkeypatch.setenv("HOME", str(tmp_path))
    store(KEY, ARRAYS)
    assert (tmp_path / ".cache" / "hamsa-deploy" / "calibration" / KEY).is_file()


def test_without_a_home_there_is_a_warning_and_no_folder_called_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING, "hamsa_deploy"):
        store(KEY, ARRAYS)
    assert "there is no home folder" in caplog.text
    assert not list(tmp_path.iterdir())
