"""HAMSA-S as files: the real form that this project makes, and the standard exporter's DFT operators."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import torch
from measure import images, quietly
from torch import Tensor
from torch.export import ExportedProgram

from hamsa_deploy.models import load_model
from hamsa_deploy.spectral import to_real
from hamsa_deploy.targets.onnx import onnx_from_program
from hamsa_deploy.targets.openvino import FILES, ir_from_onnx


def hamsa_s(size: int) -> torch.nn.Module:
    """HAMSA-S with seeded random weights."""
    return load_model("hamsa_s", image_size=size)


def real_program(size: int, batch: int, target: str) -> ExportedProgram:
    """HAMSA-S without complex tensors and FFTs, shaped for a target ("onnx" or "openvino"); all shapes fixed."""
    with quietly():
        return to_real(hamsa_s(size), (torch.from_numpy(images(size, batch)),), dynamic_shapes={}, target=target)


def onnx_file(program: ExportedProgram, folder: Path) -> Path:
    """The program as this project writes it."""
    path = folder / "hamsa_s.onnx"
    with quietly():
        onnx_from_program(program, path, inputs=["images"], outputs=["logits", "embedding"])
    return path


def real_form(size: int, batch: int, target: str, folder: Path) -> Path:
    """ONNX file of `real_program`, in a folder of its own."""
    own = folder / f"{target}-{size}-{batch}"
    own.mkdir()
    return onnx_file(real_program(size, batch, target), own)


def bfloat16_form(onnx_model: Path) -> Path:
    """The IR that a bfloat16 bundle for OpenVINO holds."""
    folder = onnx_model.parent / "bf16"
    if not folder.exists():
        folder.mkdir()
        ir_from_onnx(onnx_model, folder, "bf16")
    return folder / FILES[0]


def dft_form(size: int, batch: int, folder: Path) -> Path:
    """What torch.onnx.export makes of the model by itself: standard DFT operators; all shapes fixed.

    In opset 18 `axis` is an attribute of DFT, and HAMSA's transforms are two-sided: OpenVINO 2026.4 reads these rightly
    (not `axis` as an input, opset 20, nor one-sided transforms). The transform of the constant psi stays in the graph.
    ONNX Runtime folds it when it loads the file; folding it for OpenVINO beforehand gained 5 %.
    """
    path = folder / "hamsa_s_dft.onnx"
    # By itself the exporter fails on HAMSA: it has no complex linear layer. With a matmul in its place it goes on.
    with quietly(), patch("torch.nn.functional.linear", _linear):
        example = torch.from_numpy(images(size, batch))
        torch.onnx.export(
            hamsa_s(size), (example,), path, dynamo=True, opset_version=18, verbose=False, external_data=False
        )
    return path


_real_linear = torch.nn.functional.linear


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return x @ weight.mT if weight.is_complex() else _real_linear(x, weight, bias)
