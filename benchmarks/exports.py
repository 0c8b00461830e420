"""HAMSA-S as files: the real form that this project makes, and the standard exporter's DFT operators."""

from __future__ import annotations

from pathlib import Path

import torch
from measure import images, quietly
from torch.export import ExportedProgram

from hamsa_deploy import to_real
from hamsa_deploy.bench.peers.dft import dft_file
from hamsa_deploy.models import load_model
from hamsa_deploy.targets.onnx_file import onnx_from_program
from hamsa_deploy.targets.openvino_ir import ir_from_onnx
from hamsa_runtime.vocabulary import IR_FILES


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
    return folder / IR_FILES[0]


def dft_form(size: int, batch: int, folder: Path) -> Path:
    """What torch.onnx.export makes of the model by itself: standard DFT operators; all shapes fixed."""
    path = folder / "hamsa_s_dft.onnx"
    dft_file(hamsa_s(size), [torch.from_numpy(images(size, batch))], path)
    return path
