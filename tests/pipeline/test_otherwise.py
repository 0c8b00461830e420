"""float32 bundles that differ from their model are not blamed on a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

import hamsa_deploy
from hamsa_runtime.errors import ParityError


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(x[:, None], 4)


class Rounded(nn.Module):
    """OpenVINO leaves out the rounding to float16."""

    def forward(self, x: Tensor) -> Tensor:
        return x.half().float()


def test_an_operator_that_is_exported_for_one_size_is_told_from_a_wrong_engine(tmp_path: Path) -> None:
    shapes = ({0: Dim("batch"), 1: Dim("t", min=16, max=500)},)
    with pytest.raises(ParityError) as raised:
        hamsa_deploy.export(
            Pooled().eval(), (torch.randn(2, 160),), to="onnx", output=tmp_path / "b", dynamic_shapes=shapes
        )
    assert "for the example's size only" in raised.value.parts["cause"]
    assert "no --dynamic" in raised.value.parts["fix"]


def test_an_engine_that_computes_otherwise_is_named_with_another_one(tmp_path: Path) -> None:
    with pytest.raises(ParityError) as raised:
        hamsa_deploy.export(Rounded().eval(), (torch.randn(2, 16),), to="openvino", output=tmp_path / "b")
    assert "an operator that OpenVINO" in raised.value.parts["cause"]
    assert raised.value.parts["fix"].startswith("--to onnx")
