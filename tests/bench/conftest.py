"""Tiny real bundles to measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..runtime.tiny_bundles import MakeBundle, image_model, manifest_for, save_model, write_files


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> MakeBundle:
    """A bundle of the tiny image model by name: for a target, with a dynamic batch or a fixed one."""

    def make(name: str, target: str = "onnx", batch: int | str = "batch") -> Path:
        folder = tmp_path / name
        save_model(image_model("graph", batch), folder, "openvino" if target == "openvino" else "onnx")
        manifest = manifest_for(name=name, target=target)
        for spec in (*manifest["inputs"], *manifest["outputs"]):
            spec["shape"][0] = batch
        return write_files(folder, manifest)

    return make
