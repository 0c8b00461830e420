"""Phases at the branch cut and at zeros of both signs, on the engines themselves."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.targets.onnx_file import onnx_from_program

NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, -3.0, 1e-30, -1e-30, 1e20, -1e20)


class Phases(nn.Module):
    def forward(self, y: Tensor, x: Tensor, signal: Tensor) -> list[Tensor]:
        z = torch.fft.rfft(signal)
        of_spectrum = torch.angle(z), torch.atan2(z.imag, z.real)
        return [torch.atan2(y, x), torch.angle(torch.complex(x, y)), torch.angle(x), *of_spectrum]


@pytest.fixture(scope="module")
def phases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray], list[np.ndarray]]:
    """The file, its inputs, and what PyTorch computes. Signals of a negative mean have phase pi at their first bin."""
    path = tmp_path_factory.mktemp("phases") / "model.onnx"
    y, x = (torch.tensor([values]) for values in zip(*itertools.product(NUMBERS, NUMBERS), strict=True))
    signals = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    inputs = (y, x, torch.cat([signals, torch.zeros(1, 16)]))
    program = to_real(Phases(), inputs, dynamic_shapes={})
    onnx_from_program(program, path, inputs=["y", "x", "signal"], outputs=list("abcde"))
    return path, [each.numpy() for each in inputs], [each.numpy() for each in Phases()(*inputs)]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_phases_are_pytorchs_at_branch_cuts_and_zeros(
    phases: tuple[Path, list[np.ndarray], list[np.ndarray]], engine: str
) -> None:
    path, inputs, expected = phases
    if engine == "onnxruntime":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = session.run(None, dict(zip(("y", "x", "signal"), inputs, strict=True)))
    else:
        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = list(compiled(inputs).values())
    for a, b in zip(found, expected, strict=True):
        assert np.isfinite(a).all()
        assert np.abs(a - b).max() < 1e-5  # a phase of the other sign would be 6.3 away
