"""Peers as bundles, so that they are opened, checked, timed and loaded just as the others are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hamsa_deploy.pipeline.staging import Stage
from hamsa_runtime.manifest import SCHEMA_VERSION, Manifest


def write_manifest(
    folder: Path, like: Manifest, name: str, model: nn.Module, precision: str, outputs: Mapping[str, Tensor], batch: int
) -> None:
    """Make the engine's files in a folder a bundle.

    Args:
        folder: holds model.onnx, or model.xml and model.bin.
        like: the manifest of the bundle whose target, inputs and preprocessing the peer shares.
        name: of the peer.
        model: whose parameters are counted.
        precision: that the engine is to run it in.
        outputs: by name, for this batch.
        batch: the only one that the peer takes.
    """
    how = like.preprocessing
    document: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "name": name,
        "model": {
            "reference": like.model.reference,
            "config": {},
            "weights": None,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        },
        "inputs": [{**dataclasses.asdict(spec), "shape": _fixed(spec.shape, batch)} for spec in like.inputs],
        "outputs": [
            {"name": key, "dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
            for key, value in outputs.items()
        ],
        "preprocessing": None if how is None else dataclasses.asdict(how),
        "labels": None,
        "target": like.target,
        "precision": precision,
        "options": {},
        "islands": {},
        "plan": [],
        "versions": {},
        "calibration": None,
        "parity": None,
    }
    Stage(folder, folder).write_manifest(document)


def _fixed(shape: Sequence[int | str], batch: int) -> list[int]:
    return [batch if isinstance(size, str) else size for size in shape]
