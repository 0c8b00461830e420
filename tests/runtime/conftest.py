"""Fixtures around the bundles of `tiny_bundles`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .tiny_bundles import (
    CHANNELS,
    SIZE,
    MakeBundle,
    image_model,
    manifest_for,
    save_model,
    typed_as_float16,
    write_files,
)


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Writes a bundle of the image model and returns its folder."""

    def make(
        target: str = "onnx",
        normalise: str = "graph",
        batch: int | str = "batch",
        folder: Path = tmp_path / "bundle",
        **changes: Any,
    ) -> Path:
        model = image_model(normalise, batch)
        save_model(typed_as_float16(model) if changes.get("precision") == "fp16" else model, folder, target)
        manifest = manifest_for(target=target, **changes)
        manifest["preprocessing"]["normalise"] = normalise
        for spec in (*manifest["inputs"], *manifest["outputs"]):
            spec["shape"][0] = batch
        if normalise == "runtime":
            manifest["inputs"] = [
                {"name": "x", "dtype": "float32", "shape": [batch, CHANNELS, *SIZE], "layout": "NCHW"}
            ]
        return write_files(folder, manifest)

    return make


@pytest.fixture
def pixels() -> np.ndarray:
    """Five random images of the model's size, uint8 (5, 8, 12, 3)."""
    return np.random.default_rng(3).integers(0, 256, (5, *SIZE, CHANNELS), dtype=np.uint8)
