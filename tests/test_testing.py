"""What a failed `assert_parity` says: limits, worst images, and the layer where a fault was planted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from torch import nn

from hamsa_deploy import testing
from hamsa_deploy.models import load_model
from hamsa_deploy.parity import check_parity, layers
from hamsa_deploy.parity.metrics import Thresholds
from hamsa_deploy.samples import digits
from hamsa_deploy.testing import assert_parity, failure_text
from hamsa_runtime.errors import ParityError
from tests.shared import Nano

from .parity.planted import change_constant, nodes, with_fault

LAYER = "stages.1.blocks.0.ffn.expand"
IMAGES = list(digits()[0][:8])


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return load_model("hamsa_nano")


@pytest.fixture(scope="module")
def bundle(nano: Nano) -> Path:
    return nano("onnx").folder


def perturb(onnx: ir.Model) -> None:
    def change(weight: np.ndarray) -> np.ndarray:
        weight[3, 5] += 1.0
        return weight

    change_constant(onnx, nodes(onnx, LAYER, "MatMul")[0], 1, change)


def test_one_changed_weight_is_named_with_its_layer_and_the_worst_images(
    bundle: Path, model: nn.Module, tmp_path: Path
) -> None:
    damaged = with_fault(bundle, tmp_path / "damaged", perturb)
    with pytest.raises(AssertionError) as caught:
        assert_parity(damaged, model, IMAGES)
    text = str(caught.value)
    assert f"{damaged} is outside its limits, compared with HAMSA on 8 inputs" in text
    assert "worst of logits:" in text
    assert "instead of" not in text  # no image changed its class
    assert re.search(rf"layers: first divergence: {re.escape(LAYER)}, node .* \(MatMul\)", text)
    assert "1 of 4096 numbers" in text
    assert f"    {LAYER} (Add): own error" in text
    assert text.count("): own error") == 1  # the only layer with an error of its own


def test_layers_are_compared_on_the_worst_images(
    bundle: Path, model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = check_parity(bundle, model, IMAGES, thresholds=Thresholds(0.0, 1.0, 1.0))
    asked = []

    def record(folder: Path, module: nn.Module, data: list[np.ndarray], images: int) -> None:
        asked.extend(data)
        raise ParityError("no such luck")

    monkeypatch.setattr(layers, "layer_report", record)
    text = failure_text(bundle, report, model, IMAGES)
    worst = next(iter(report.agreements.values())).worst(testing.LAYER_IMAGES)
    assert len(asked) == testing.LAYER_IMAGES
    assert all(image is IMAGES[index] for image, index in zip(asked, worst, strict=True))
    assert text.splitlines()[-1] == "  layers: not compared: no such luck"


def test_limits_that_no_bundle_keeps_name_no_layer(bundle: Path, model: nn.Module) -> None:
    with pytest.raises(AssertionError, match="layers: no layer leaves its band"):
        assert_parity(bundle, model, IMAGES, thresholds=Thresholds(0.0, 1.0, 1.0))


def test_against_another_bundle_it_says_why_layers_are_not_compared(bundle: Path, tmp_path: Path) -> None:
    damaged = with_fault(bundle, tmp_path / "damaged", perturb)
    with pytest.raises(AssertionError, match="layers: not compared, which needs the PyTorch model"):
        assert_parity(damaged, bundle, IMAGES)
