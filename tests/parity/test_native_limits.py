"""What ONNX Runtime's own DFT makes of the thresholds, and what it never excuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.parity import check_parity
from hamsa_deploy.parity.metrics import THRESHOLDS
from hamsa_deploy.parity.native_limits import BELOW_ANY_FAULT, ERROR_PER_POINT, wider_thresholds
from hamsa_runtime.backends.onnxruntime import has_native_transforms
from hamsa_runtime.errors import ParityError
from hamsa_runtime.manifest import Manifest, manifest_from_json
from tests.precision.typed import graph
from tests.runtime.tiny_bundles import manifest_for

needs_native = pytest.mark.skipif(not has_native_transforms(), reason="this ONNX Runtime has no inverse real DFT")


def manifest_with(kind: str, *lengths: int, precision: str = "fp32") -> Manifest:
    plan = [{"module": "m", "length": n, "factors": [n], "kind": kind} for n in lengths]
    return manifest_from_json(json.dumps(manifest_for(plan=plan, precision=precision)).encode())


def test_the_longest_length_that_is_no_power_of_two_decides() -> None:
    wider = wider_thresholds(manifest_with("native", 196, 3136, 4096))
    assert wider is not None
    limits, note = wider
    assert limits.max_relative_error == pytest.approx(3136 * 4 * 2**-23)
    assert limits.tie == pytest.approx(2 * limits.max_relative_error)
    assert (limits.cosine, limits.top1) == (THRESHOLDS["fp32"].cosine, THRESHOLDS["fp32"].top1)
    assert "Errors up to 1.5e-03, not 5e-05" in note
    assert "at 3136 points" in note


def test_no_length_excuses_a_fault() -> None:
    limits, _ = wider_thresholds(manifest_with("native", 97_344)) or pytest.fail("not wider")
    assert limits.max_relative_error == BELOW_ANY_FAULT
    assert BELOW_ANY_FAULT < 1e-2  # of a wrong norm, kernel or layout, see metrics.py


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(manifest_with("dense", 3136), id="products"),
        pytest.param(manifest_with("native", 64, 4096), id="powers of two"),
        pytest.param(manifest_with("native", 100), id="short"),
        pytest.param(manifest_with("native", 3136, precision="fp16"), id="float16 allows more by itself"),
    ],
)
def test_thresholds_are_those_of_the_precision_where_nothing_else_is_needed(manifest: Manifest) -> None:
    assert wider_thresholds(manifest) is None


@pytest.mark.parametrize("n", [3, 14, 97, 784, 3136])
def test_the_error_that_is_allowed_is_that_of_onnxruntime(n: int) -> None:
    """Two transforms at their worst: so one of them stays below half of it, and is not a hundredth of it."""
    x = np.random.default_rng(n).standard_normal((1, 16, n)).astype(np.float32)
    shapes = (f"float[1, 16, {n}, 1] x", f"float[1, 16, {n // 2 + 1}, 2] out")
    model = graph("out = DFT <onesided = 1> (x, n, axis)", *shapes, n=np.array(n), axis=np.array(2))
    (found,) = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, {"x": x[..., None]})
    expected = np.fft.rfft(x.astype(np.float64))
    error = np.abs(found[..., 0] + 1j * found[..., 1] - expected).max() / np.abs(expected).max()
    assert ERROR_PER_POINT * n / 100 < error < ERROR_PER_POINT * n / 2


class Spectrum(nn.Module):
    """Nothing but a transform: all of its error is in the outputs."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.view_as_real(torch.fft.rfft(x))


@needs_native
def test_a_bare_transform_passes_with_a_note_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    x = torch.randn(2, 3136, generator=torch.manual_seed(0))
    bundle = hamsa_deploy.export(Spectrum().eval(), (x,), to="onnx", fft="native", output=tmp_path / "b")
    parity = bundle.manifest.parity
    assert parity is not None
    assert "ONNX Runtime's own DFT" in parity.note
    assert parity.thresholds["max_relative_error"] == pytest.approx(3136 * ERROR_PER_POINT)
    assert 5e-5 < parity.metrics["output"]["max_relative_error"] < 3136 * ERROR_PER_POINT / 2

    class Wrong(Spectrum):
        def forward(self, x: Tensor) -> Tensor:
            return 1.01 * super().forward(x)

    report = check_parity(bundle.folder, Wrong(), x.numpy())
    assert not report.passed
    with pytest.raises(ParityError, match="ONNX Runtime's own DFT is no better"):
        report.require()


@needs_native
def test_a_model_that_dilutes_the_error_is_judged_like_any_other(tmp_path: Path) -> None:
    x = torch.randn(2, 100, generator=torch.manual_seed(0))
    bundle = hamsa_deploy.export(Spectrum().eval(), (x,), to="onnx", fft="native", output=tmp_path / "b")
    parity = bundle.manifest.parity
    assert parity is not None
    assert parity.passed
    assert parity.note == ""
    assert parity.thresholds["max_relative_error"] == THRESHOLDS["fp32"].max_relative_error
