"""Peers as bundles, so that they are opened, checked, timed and loaded just as the others are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from hamsa_deploy.pipeline.staging import Stage
from hamsa_runtime.manifest import Manifest, Model, OutputSpec
from hamsa_runtime.vocabulary import SCHEMA_VERSION


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
    manifest = Manifest(
        schema=SCHEMA_VERSION,
        name=name,
        model=Model(like.model.reference, {}, None, sum(parameter.numel() for parameter in model.parameters())),
        inputs=tuple(dataclasses.replace(spec, shape=_fixed(spec.shape, batch)) for spec in like.inputs),
        outputs=tuple(
            OutputSpec(key, str(value.dtype).removeprefix("torch."), tuple(value.shape))
            for key, value in outputs.items()
        ),
        preprocessing=like.preprocessing,
        labels=None,
        target=like.target,
        precision=precision,
        options={},
        plan=(),
        files={},
        versions={},
        calibration=None,
        parity=None,
    )
    Stage(folder, folder).write_manifest(manifest)


def _fixed(shape: Sequence[int | str], batch: int) -> tuple[int, ...]:
    return tuple(batch if isinstance(size, str) else size for size in shape)
