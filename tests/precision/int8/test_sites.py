"""What is said where an int8 bundle computes nothing in int8."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from hamsa_deploy import export
from hamsa_deploy.graph.constants import add_constant
from hamsa_deploy.pipeline.int8 import Calibrated
from hamsa_deploy.precision.int8.int8_sites import sites_of, why_no_site
from hamsa_deploy.precision.int8.quantisation import Quantisation
from hamsa_deploy.scan import ssd
from tests.precision.graphs import real_graph

if TYPE_CHECKING:
    from hamsa_deploy.inputs.calibration_set import CalibrationSet
    from hamsa_deploy.precision.measurements import Measurements


def graph_of(kind: str, with_weights: bool = True) -> ir.Graph:
    """One product (2, 8) x (8, 8)."""
    x, other = (ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape((2, 8))) for name in "xz")
    graph = ir.Graph([x, other], [], nodes=[], opset_imports={"": 20}, name="product")
    weight = add_constant(graph, "weight", np.eye(8, dtype=np.float32)) if with_weights else other
    graph.append(ir.node(kind, [x, weight], name="product"))
    return graph


@pytest.mark.parametrize(
    ("kind", "target", "count"), [("MatMul", "onnx", 1), ("Gemm", "onnx", 0), ("Gemm", "openvino", 1)]
)
def test_sites_are_what_the_engine_has_kernels_for(kind: str, target: str, count: int) -> None:
    assert len(sites_of(graph_of(kind), target)) == count


def test_kernels_that_an_engine_does_not_have_are_named_with_targets_that_do() -> None:
    said = why_no_site(graph_of("Conv"), "onnx")
    assert "ONNX Runtime has int8 kernels for MatMul" in said
    assert "products with weights are 1 Conv" in said
    assert "use --to openvino" in said
    assert "to onnx" not in said


def test_a_model_without_weights_is_called_that() -> None:
    assert "no product of an activation with a matrix of weights" in why_no_site(graph_of("MatMul", False), "onnx")


class Spectrogram(nn.Module):
    """Frames, cut and transformed by one convolution, behind a layer of one channel, which is one, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv1d(1, 4, 3, padding=1), nn.Linear(9, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = torch.fft.rfft(self.conv(x)[:, 0].unfold(-1, 16, 8) * torch.hann_window(16))
        return torch.as_tensor(self.linear(z.abs()))


@pytest.mark.parametrize(("target", "expected"), [("openvino", {"conv", "linear"}), ("onnx", {"linear"})])
def test_the_convolution_that_transforms_frames_stays_as_it_is(tmp_path: Path, target: str, expected: set[str]) -> None:
    graph = real_graph(Spectrogram(), torch.zeros(1, 1, 64), tmp_path, target).graph
    assert [node.op_type for node in graph].count("Conv") == 2
    assert {site.layer.split(" ")[0] for site in sites_of(graph, target)} == expected


class Normed(nn.Module):
    """State-space duality, whose sums are products with zeros and ones, and a norm over many numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.GroupNorm(1, 4), nn.Linear(128, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dt, B = x[:, :, 0, :4], x[:, :, :1, :8]
        y = ssd(x[:, :, :4, :8], dt, -torch.ones(4), B, B, dt_softplus=True)[0]
        return torch.as_tensor(self.linear(self.norm(x)) + y.sum())


def test_what_has_to_stay_in_float32_is_no_product_for_int8(tmp_path: Path) -> None:
    graph = real_graph(Normed(), torch.zeros(1, 4, 64, 128), tmp_path, "onnx").graph
    assert len([node for node in graph if node.op_type == "MatMul"]) > 3
    assert [site.layer.split(" ")[0] for site in sites_of(graph, "onnx")] == ["linear"]


class TwoLayers(nn.Module):
    """Both become Gemm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.b(torch.relu(self.a(x)))
        return y


def test_an_export_in_which_nothing_became_int8_says_so_and_not_that_it_is_slow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    torch.manual_seed(0)
    with caplog.at_level(logging.WARNING, "hamsa_deploy"):
        bundle = export(
            TwoLayers().eval(), (torch.from_numpy(x[:2]),), to="onnx", precision="int8", data=x, calibration=x,
            calibration_method="min-max", output=tmp_path / "b",
        )  # fmt: skip
    assert bundle.manifest.calibration is not None
    assert bundle.manifest.calibration.int8_layers == 0
    [said] = caplog.messages
    assert said.startswith("nothing is computed in int8: ONNX Runtime has int8 kernels for MatMul")
    assert "2 Gemm" in said


def test_layers_that_all_cost_too_much_are_not_called_missing_kernels() -> None:
    graph = graph_of("MatMul")
    sites = sites_of(graph, "onnx")
    found = Quantisation(ir.Model(graph, ir_version=10), "onnx", sites, {}, "min-max", {}, {})
    chosen = Calibrated(found, cast("CalibrationSet", None), cast("Measurements", None))
    assert (
        chosen.why_nothing_is_int8() == "every product costs more than --max-drop allows; use --fp32, or a larger one"
    )
