"""Which value of the graph stands for which tensor of the model, and which has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.graph.observing import values_by_name
from hamsa_deploy.parity.layers import LayerReport, layer_report
from hamsa_deploy.parity.layers.float32_form import float32_form
from hamsa_deploy.parity.layers.matching import orders_of_axes
from hamsa_runtime import Bundle
from hamsa_runtime.manifest import Preprocessing


class Spectrum(nn.Module):
    """Real (B, L, d) -> complex, which the graph holds as half spectra of two real values."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x, dim=1)


class Model(nn.Module):
    """A linear that is called twice, and one that works on half a spectrum."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.spectrum, self.gate = Spectrum(), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.norm(self.twice(self.norm(self.twice(x))))
        return {"gates": self.gate(self.spectrum(y).abs()), "tokens": y}


TOKENS = np.random.default_rng(0).normal(size=(3, 6, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Model().eval()


@pytest.fixture(scope="module")
def bundle(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle") / "toy"
    return hamsa_deploy.export(model, [torch.from_numpy(TOKENS)], to="onnx", output=folder, data=TOKENS)


@pytest.fixture(scope="module")
def report(model: nn.Module, bundle: Bundle) -> LayerReport:
    return layer_report(bundle.folder, model, TOKENS, images=3)


def test_what_the_graph_does_not_hold_is_listed_with_its_shape(report: LayerReport) -> None:
    assert set(report.not_comparable) == {"spectrum", "gate"}
    assert report.not_comparable["spectrum"] == "[1, 6, 8, 2] in PyTorch, [1, 4, 8] in the graph"
    assert report.not_comparable["gate"] == "[1, 6, 8] in PyTorch, [1, 4, 8] in the graph"


def test_calls_of_one_module_are_paired_in_order(report: LayerReport) -> None:
    assert report.passed, report.sentence()
    assert [row.module for row in report.rows if "engine" not in row.module] == [
        "twice", "norm", "twice#2", "norm#2", "gates",
    ]  # fmt: skip
    assert {row.module for row in report.rows if "engine" in row.module} == {"engine: gates", "engine: tokens"}


@pytest.mark.parametrize(
    ("shape", "other", "orders"),
    [
        ((2, 5, 7), (2, 5, 7), [(0, 1, 2)]),
        ((2, 5, 7), (2, 7, 5), [(0, 2, 1)]),
        ((2, 5, 3, 4), (2, 5, 12), [(0, 1, 2, 3), (0, 1, 3, 2)]),  # (B, d, H, W) as (B, d, H W), or as (B, d, W H)
        ((2, 5, 3, 4), (2, 12, 5), [(0, 2, 3, 1)]),  # channels last
        ((2, 12, 5), (2, 5, 3, 4), [(0, 2, 1)]),
        ((2, 5, 5), (2, 5, 5), [(0, 1, 2), (0, 2, 1)]),
        ((2, 6, 8), (2, 4, 8), []),
        ((2, 6, 4), (2, 8, 3), []),
    ],
)
def test_orders_of_axes(shape: tuple[int, ...], other: tuple[int, ...], orders: list[tuple[int, ...]]) -> None:
    assert orders_of_axes(shape, other) == orders


def test_the_form_exported_anew_has_the_names_of_the_bundle(model: nn.Module, bundle: Bundle) -> None:
    anew, graph = float32_form(model, bundle.manifest).graph, ir.load(bundle.folder / "model.onnx").graph
    assert list(values_by_name(anew)) == list(values_by_name(graph))
    assert [node.metadata_props.get("module") for node in anew] == [node.metadata_props.get("module") for node in graph]


class Beginning(nn.Module):
    """An image model whose forward computes something of the images' shape before its first module."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 4, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        low = torch.fft.fft2(images) * torch.linspace(1, 0, 8)
        return {"logits": self.head(torch.fft.ifft2(low).real).mean((2, 3))}


def test_the_input_is_what_the_model_is_given_and_not_what_it_makes_of_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Beginning().eval()
    how = Preprocessing((8, 8), 3, "bicubic", 1.0, (0.5,) * 3, (0.25,) * 3)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    bundle = hamsa_deploy.export(model, to="onnx", preprocessing=how, data=pixels, output=tmp_path / "bundle")
    report = layer_report(bundle.folder, model, pixels, images=2)
    assert report.passed, report.sentence()
    assert [row.module for row in report.rows][:2] == ["input", "head"]
