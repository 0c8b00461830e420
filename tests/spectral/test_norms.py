"""Norms over many numbers, by both engines, against float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from hamsa_deploy import to_real
from hamsa_deploy.targets.onnx_file import onnx_from_program

CLOSE = 2e-6  # of the largest value; engines' own are off by 2e-5 and more


class Norms(nn.Module):
    """Over 128,000 and twice 64,000 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.InstanceNorm2d(4, eps=1e-3)]
        )
        for number, each in enumerate(self.parameters()):
            each.data = torch.linspace(1, 2 + number, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(norm(x) for norm in self.norms)


def test_means_over_many_numbers_are_right(tmp_path: Path) -> None:
    model, x = Norms().eval(), 0.5 + torch.rand(2, 4, 256, 250, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = [y.numpy() for y in model.double()(x.double())]
    file, names = tmp_path / "model.onnx", ["a", "b", "c"]
    onnx_from_program(to_real(model.float(), (x,)), file, inputs=["x"], outputs=names)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    feed = {"x": x.numpy()}
    for found in (session.run(None, feed), list(compiled(feed).values())):
        for y, right in zip(found, expected, strict=True):
            assert np.abs(y - right).max() < CLOSE * np.abs(right).max()


@pytest.mark.parametrize("size", [64, 16411])
def test_few_numbers_and_those_without_divisors_are_left_to_the_engine(size: int) -> None:
    program = to_real(nn.InstanceNorm1d(2).eval(), (torch.rand(2, 2, size),))
    assert any("norm" in str(node.target) for node in program.graph.nodes)
