"""A small Mamba, as bundles: what is promised of any model holds for one with scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamsa_deploy import export, layer_report
from hamsa_deploy.scan import selective_scan
from hamsa_runtime import Engine


class Block(nn.Module):
    """Mamba's: a projection, a causal convolution, a selective scan with its gate, a projection."""

    def __init__(self, width: int = 16, states: int = 4, rank: int = 2) -> None:
        super().__init__()
        self.split = (rank, states, states)
        self.norm, self.inner, self.outer = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.conv = nn.Conv1d(width, width, 4, padding=3, groups=width)
        self.project, self.step = nn.Linear(width, sum(self.split), bias=False), nn.Linear(rank, width)
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.D = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        u, z = self.inner(self.norm(x)).transpose(1, 2).chunk(2, 1)
        u = F.silu(self.conv(u)[..., : u.shape[-1]])
        steps, B, C = self.project(u.transpose(1, 2)).transpose(1, 2).split(self.split, 1)
        delta = (steps.transpose(1, 2) @ self.step.weight.T).transpose(1, 2)
        A = -self.A_log.exp()
        y, _ = selective_scan(u, delta, A, B[:, None], C[:, None], self.D, z, self.step.bias, True)
        return x + self.outer(y.transpose(1, 2))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.block, self.head = nn.Conv2d(3, 16, 4, 4), Block(), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.block(self.stem(images).flatten(2).transpose(1, 2))
        return {"logits": self.head(x.mean(1))}


@pytest.fixture(scope="module")
def net() -> Net:
    return Net().eval()


IMAGES = np.random.default_rng(0).standard_normal((3, 3, 32, 32), dtype=np.float32)


@pytest.fixture(scope="module")
def half(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans") / "half"
    export(net, (torch.zeros(1, 3, 32, 32),), to="onnx", precision="fp16", output=folder)
    return folder


def test_the_state_of_a_scan_stays_in_float32(half: Path) -> None:
    graph = onnx.shape_inference.infer_shapes(onnx.load(half / "model.onnx")).graph
    scans = [node for node in graph.node if node.op_type == "Scan"]
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    assert len(scans) == 1
    assert {types[name] for name in scans[0].input} == {onnx.TensorProto.FLOAT}
    narrow = [node for node in graph.node if types.get(node.output[0]) == onnx.TensorProto.FLOAT16]
    assert {"MatMul", "Conv"} <= {node.op_type for node in narrow}
    with Engine(half) as engine:
        found = engine(IMAGES)["logits"]
    np.testing.assert_allclose(found, Net()(torch.from_numpy(IMAGES))["logits"].detach(), atol=2e-3)


def test_a_scan_is_one_layer_and_what_it_is_compared_on_is_left_alone(net: Net, tmp_path: Path) -> None:
    """OpenVINO shares the memory of its inputs unless it is told not to, and writes over them in a later call."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precision = "bf16" if "BF16" in capabilities else "fp32"
    export(net, (torch.zeros(1, 3, 32, 32),), to="openvino", precision=precision, output=tmp_path / "b")
    images = IMAGES.copy()
    report = layer_report(tmp_path / "b", net, images, images=3)
    assert np.array_equal(images, IMAGES)
    assert report.passed, [(row.module, row.own_error) for row in report.rows]
    assert [row.module for row in report.rows].count("block") == 1
