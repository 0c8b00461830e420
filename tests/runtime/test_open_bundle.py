"""Files are checked before anything is deserialised, wherever the folder is."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from hamsa_runtime import Engine, open_bundle
from hamsa_runtime.errors import InputError

from .external_models import PLACES, WEIGHTS, adding, bundle_of, external
from .tiny_bundles import MakeBundle, manifest_for, write_files


def test_a_good_bundle_verifies(make_bundle: MakeBundle) -> None:
    bundle = open_bundle(make_bundle())
    bundle.verify()
    assert bundle.manifest.name == "tiny"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def swap(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)  # opening it would wait for ever


@pytest.mark.parametrize("target", ["onnx", "openvino"])
@pytest.mark.parametrize("damage", [flip, cut, grow, swap, Path.unlink, pipe])
def test_a_damaged_file_is_found_before_the_engine_sees_it(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, target: str, damage: object
) -> None:
    folder = make_bundle(target)
    file = folder / ("model.onnx" if target == "onnx" else "model.bin")
    damage(file)  # type: ignore[operator]
    monkeypatch.setattr("hamsa_runtime.engine.backend_for", lambda *_: pytest.fail("an engine was asked for"))
    with pytest.raises(InputError, match=re.escape(str(file))):
        Engine(folder)


def test_a_link_out_of_the_folder_is_rejected(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    outside = tmp_path / "outside.onnx"
    (folder / "model.onnx").rename(outside)
    (folder / "model.onnx").symlink_to(outside)
    with pytest.raises(InputError, match="a link to"):
        open_bundle(folder).verify()


def test_the_manifest_may_not_be_a_link_out_of_the_folder(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    (folder / "manifest.json").rename(tmp_path / "m.json")
    (folder / "manifest.json").symlink_to(tmp_path / "m.json")
    with pytest.raises(InputError, match="a link to"):
        open_bundle(folder)


def test_an_engine_file_that_the_manifest_does_not_list_is_rejected(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    (folder / "model.onnx.data").write_bytes(b"weights from elsewhere")
    with pytest.raises(InputError, match=r"model\.onnx\.data: not listed"):
        open_bundle(folder).verify()


@pytest.mark.parametrize("name", ["notes.txt", "sub/weights.bin", "manifest.json.bak"])
def test_any_other_file_is_rejected_and_hidden_ones_are_left(make_bundle: MakeBundle, name: str) -> None:
    folder = make_bundle()
    (folder / ".hidden").write_bytes(b"what no model may name")
    (folder / "empty").mkdir()
    open_bundle(folder).verify()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"weights from elsewhere")
    with pytest.raises(InputError, match=rf"{re.escape(name)}: not listed"):
        open_bundle(folder).verify()


def test_a_link_to_a_folder_is_a_file_that_is_not_listed(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    (folder / "sub").symlink_to(tmp_path)
    with pytest.raises(InputError, match="sub: not listed"):
        open_bundle(folder).verify()


def test_a_file_with_a_second_name_is_rejected(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    (tmp_path / "outside").hardlink_to(folder / "model.onnx")
    with pytest.raises(InputError, match=r"model\.onnx: one of 2 names \(hard links\)"):
        open_bundle(folder).verify()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("place", PLACES)
def test_data_that_the_manifest_does_not_list_are_refused_before_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, backend: str
) -> None:
    model = adding()
    PLACES[place](model, external(location=".w.bin"))
    folder = bundle_of(model, tmp_path / "bundle")
    (folder / ".w.bin").write_bytes(WEIGHTS.tobytes())
    monkeypatch.setattr("hamsa_runtime.engine.backend_for", lambda *_: pytest.fail("an engine was asked for"))
    with pytest.raises(InputError, match=r"its tensors lie in '\.w\.bin', which manifest\.json does not list"):
        Engine(folder, backend=backend)


@pytest.mark.parametrize("location", ["*/_ORT_MEM_ADDR_/*", "/etc/hostname", "./w.bin", "sub/../w.bin", "", "W.BIN"])
def test_a_location_is_the_name_of_a_listed_file_and_nothing_like_it(tmp_path: Path, location: str) -> None:
    model = adding(external(location=location, offset=WEIGHTS.ctypes.data, length=8))
    folder = bundle_of(model, tmp_path / "bundle", {"w.bin": WEIGHTS.tobytes()})
    with pytest.raises(InputError, match="does not list"):
        open_bundle(folder).verify()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_listed_data_are_read(tmp_path: Path, backend: str) -> None:
    model = adding(external(location="w.bin", offset=0, length=8))
    with Engine(bundle_of(model, tmp_path / "bundle", {"w.bin": WEIGHTS.tobytes()}), backend=backend) as engine:
        np.testing.assert_array_equal(engine(np.zeros((1, 2), np.float32))["y"], WEIGHTS[None])


def test_an_engine_is_not_asked_for_where_the_model_is_no_model(tmp_path: Path) -> None:
    folder = bundle_of(adding(), tmp_path / "bundle")
    (folder / "model.onnx").write_bytes(b"not a model")
    write_files(folder, manifest_for())
    with pytest.raises(InputError, match=r"model\.onnx: no ONNX model that can be looked through"):
        Engine(folder)


def test_engine_files_without_a_manifest_are_refused(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"no manifest\.json in this folder") as caught:
        Engine(folder)
    assert "not run" in caught.value.cause
    with pytest.raises(InputError, match="a file, not a bundle's folder") as caught:
        Engine(folder / "model.onnx")
    assert "not run" in caught.value.cause
    with pytest.raises(InputError, match="no such folder"):
        Engine(folder / "elsewhere")


def test_an_error_in_the_manifest_names_the_folder(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    document = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**document, "target": "tensorflow"}))
    with pytest.raises(InputError) as caught:
        open_bundle(folder)
    assert str(folder) in caught.value.found
    assert "target" in caught.value.found


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_paths_with_spaces_and_unicode_and_read_only_folders_work(
    make_bundle: MakeBundle, tmp_path: Path, pixels: object, target: str
) -> None:
    folder = make_bundle(target, folder=tmp_path / "my bundles" / "Größe 模型 №1 🦢")
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    before = sorted(path.name for path in folder.iterdir())
    with Engine(folder) as engine:
        assert engine(pixels)["logits"].shape == (5, 4)  # type: ignore[arg-type]
    assert sorted(path.name for path in folder.iterdir()) == before
    folder.chmod(0o755)
    shutil.rmtree(folder)
